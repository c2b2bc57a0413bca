"""Evaluating a series of checkpoints, one after the other, each as a run of its own."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from evalkit.errors import ConfigError, ModelError, StoreError
from evalkit.runner.options import RunOptions
from evalkit.runner.prepare import Prepared, ready_task, select
from evalkit.runner.run import Run, open_run
from evalkit.runner.series import Member, Series
from evalkit.runner.store import MANIFEST, read_manifest
from evalkit.secrets import scrub_message
from evalkit.types import Json, content_hash

#: What a sweep would do with a checkpoint.
Intent = Literal["done", "run", "resume"]

#: Evaluates a checkpoint. Raises ModelError for one that cannot be loaded.
Evaluate = Callable[[Member, RunOptions], Run]


def check_options(options: RunOptions) -> None:
    """Refuse what a sweep cannot do."""
    if options.model is not None:
        raise ConfigError("--model and --model-glob exclude each other: a sweep takes its models from the pattern")
    if options.resume:
        raise ConfigError("--resume goes on with one run; a sweep is resumed by the same command")
    if not options.tasks:
        raise ConfigError("no task given; name one with --tasks (evalkit ls tasks lists them)")


class Present:
    """The tasks as they are now: definitions, data and scorers, each read once. A slip among them is told here."""

    def __init__(self, options: RunOptions) -> None:
        self._options = options
        self._configs = select(options).tasks
        self._known: dict[bool, Mapping[str, Json]] = {}
        self._tasks(lettered=False)

    def same(self, run: Run) -> bool:
        """Whether a run was asked the same."""
        stored = run.manifest["identity"]["tasks"]
        lettered = self._options.form == "auto" and any("form" in entry for entry in stored.values())
        return bool(stored == self._tasks(lettered=lettered))

    def _tasks(self, *, lettered: bool) -> Mapping[str, Json]:
        """As they are asked by log-likelihoods where a file says nothing, or by letters where the model could not."""
        if lettered not in self._known:
            form: Literal["letter", "loglikelihood"] = "letter" if lettered else "loglikelihood"
            ready = [ready_task(config, self._options, form) for config in self._configs]
            self._known[lettered] = {task.name: task.identity() for task in ready}
        return self._known[lettered]


def intents(
    series: Series | None, members: Iterable[Member], options: RunOptions, tasks: Present
) -> list[tuple[Member, Intent]]:
    """What the same command would do with each checkpoint."""
    found: list[tuple[Member, Intent]] = []
    for member in members:
        run = None if series is None or options.new else series.run_of(member)
        if run is None or not tasks.same(run):
            found.append((member, "run"))
        else:
            found.append((member, "done" if run.status == "complete" else "resume"))
    return found


def run_series(
    series: Series,
    options: RunOptions,
    tasks: Present,
    evaluate: Evaluate,
    *,
    changed: Callable[[], None] = lambda: None,
) -> None:
    """Evaluate what is not finished, in order; ``changed`` is called after each checkpoint.

    A checkpoint that cannot be loaded is kept as ``failed``, and the others go on. A run that is interrupted ends the sweep.
    """
    todo = [member for member, intent in intents(series, series.members, options, tasks) if intent != "done"]
    series.update(status="running")
    for member in todo:
        error = None
        try:
            run = evaluate(member, _of(member, options))
        except ModelError as raised:
            error = scrub_message(str(raised))  # and not the exception itself: its frames would keep the half-loaded model
        release()
        if error is not None:
            series.keep(replace(member, status="failed", run=None, error=error))
        else:
            counted = run.manifest.get("model", {}).get("parameters")
            parameters = counted or member.parameters
            series.keep(replace(member, run=run.path.name, status=run.status, error=None, parameters=parameters))
            if run.status == "interrupted":
                series.update(status="interrupted")
                changed()
                return
        changed()
    whole = all(member.finished for member in series.members)
    series.update(status="complete" if whole else "incomplete")
    changed()


def _of(member: Member, options: RunOptions) -> RunOptions:
    """The options of one checkpoint's run."""
    if twice := sorted(member.args.keys() & options.model_args.keys()):
        raise ConfigError(f"{member.name} is an adapter, which is loaded by a -M {twice[0]}= of its own: leave yours out")
    name = member.name if member.args and options.name is None else options.name and f"{options.name}_{member.name}"
    return replace(options, model=member.model, model_args={**options.model_args, **member.args}, name=name)


def finished_run(prepared: Prepared) -> Run | None:
    """A complete run of exactly this configuration, if there is one: a checkpoint that was evaluated by itself before."""
    if prepared.options.new:
        return None
    config_hash = content_hash(prepared.config())
    for path in sorted(Path(prepared.options.output_dir).glob(f"*_{config_hash[:8]}*/{MANIFEST}"), reverse=True):
        try:
            manifest = read_manifest(path.parent)
        except StoreError:
            continue  # damaged, so nothing to take over
        if manifest["config_hash"] == config_hash and manifest["status"] == "complete":
            return open_run(path.parent)
    return None


def release() -> None:
    """Give back the memory of a model that nothing refers to any more: networks refer to themselves in circles."""
    gc.collect()
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
