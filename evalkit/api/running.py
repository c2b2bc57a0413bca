"""Run tasks, say what that would ask, open what was run, and score it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit.models.base import ConnectingModel
from evalkit.report.export import Export
from evalkit.report.finished import executed, finish
from evalkit.runner.asking import scorers_requests
from evalkit.runner.budget import quotes_of
from evalkit.runner.options import RunOptions
from evalkit.runner.plan import TaskPlan, forecast
from evalkit.runner.prepare import prepare
from evalkit.runner.rescoring import rescore_run
from evalkit.runner.run import Run
from evalkit.runner.run import open_run as _open_run
from evalkit.runner.session import Progress, Silent
from evalkit.runner.store import RunStore, find_run


def run(
    tasks: str | Sequence[str] | None = None,
    model: Any = None,
    *,
    options: RunOptions | None = None,
    store: bool = True,
    progress: Progress | None = None,
    **settings: Any,
) -> Run:
    """Evaluate ``model`` on ``tasks``.

    Args:
        tasks: names, tags, groups, globs or YAML paths; one or several.
        model: ``provider/name``, a callable ``prompt -> text``, a loaded transformers module (its ``tokenizer=`` beside it)
            or a Model.
        options: everything at once, instead of ``tasks``, ``model`` and ``settings``.
        store: write a run directory under ``output_dir``; without it nothing is left on disk.
        progress: who shows how it goes; nobody by default.
        settings: any further field of `RunOptions`.

    Returns:
        The run. Its ``status`` is ``complete``, or ``incomplete`` or ``interrupted``: run the same again to resume.

    Raises:
        UsageError: bad input, with one line that says what, where and what to do.
    """
    options = options or RunOptions(tasks=task_names(tasks), model=model, **settings)
    progress = progress or Silent()
    return executed(prepare(options, progress.phase), store, progress)


def plan(
    tasks: str | Sequence[str] | None = None, model: Any = None, *, options: RunOptions | None = None, **settings: Any
) -> list[TaskPlan]:
    """What `run` would ask, with no call: samples, requests, distinct requests, tokens and cost a task.

    What judges are asked comes on top: see `TaskPlan.scorers_ask`.
    """
    options = options or RunOptions(tasks=task_names(tasks), model=model, **settings)
    prepared = prepare(options, connect=False)
    prices = quotes_of(options, {"model": prepared.model, **prepared.roles})
    plans = forecast([ready.task for ready in prepared.tasks], prepared.model, prices["model"].price)
    open_question = options.form == "auto" and isinstance(prepared.model, ConnectingModel)
    for found, ready in zip(plans, prepared.tasks, strict=True):
        found.form = ready.definition.form
        found.unsure = open_question and ready.task.output_type == "multiple_choice"
        found.scorers_ask = dict(scorers_requests(ready))
    return plans


def open_run(name: str | Path = "latest", *, output_dir: str | Path = "runs") -> Run:
    """A run by directory, by (part of its) name under ``output_dir``, or the ``latest``."""
    return _open_run(find_run(str(name), Path(output_dir)))


def rescore(
    name: str | Path,
    scorers: Sequence[str | Mapping[str, Any]] = (),
    *,
    roles: Mapping[str, Any] | None = None,
    output_dir: str | Path = "runs",
    allow_code: bool | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Run:
    """Score a run's stored responses again, with further ``scorers`` on top of its tasks' own.

    The model under test is never asked. Models are called only where one is named: as ``roles`` (role -> model), or by a
    scorer (``judge:coherence,model=...``). Their answers and what they cost join the run. A scorer that cannot measure some
    of the tasks is left out there, with a warning.

    Args:
        name: a run, as `open_run` has it.
        scorers: as in a task file.
        roles: role -> model that scorers may ask.
        output_dir: where the run is looked for by name.
        allow_code: whether code of task folders may be loaded; as the run was allowed to, by default.
        progress: who shows how it goes; nobody by default.
        settings: of `RunOptions`, for the models that are called: ``max_cost`` (of these roles), ``price``, ``cache``,
            ``retry_errors``, ``device``, ``max_connections``, ...

    Raises:
        ScorerError: a scorer needs model calls that the run does not hold, and no model is named for them.
        DataError: a scorer reads a column which the run's data has not.
        Incomplete, Interrupted: not all was answered; the run is as it was, and the same again goes on.
    """
    options = RunOptions(tasks=(), model=None, roles=roles or {}, scorers=scorers, **settings)
    store = RunStore.open(find_run(str(name), Path(output_dir)), write=True)
    export = Export()
    try:
        rescore_run(store, options, allow_code=allow_code, progress=progress or Silent(), watching=export.watching)
    finally:
        store.close()
    done = Run(store)
    finish(export, done)
    return done


def task_names(tasks: str | Sequence[str] | None) -> tuple[str, ...]:
    """One name, or several with commas in a text, or a sequence of either; nothing for None."""
    if tasks is None:
        return ()
    return tuple(part for name in ([tasks] if isinstance(tasks, str) else tasks) for part in str(name).split(",") if part)
