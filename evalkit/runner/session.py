"""One run from start to end: resume or create, ask, score, summarise."""

from __future__ import annotations

import gc
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from evalkit.cache import ResponseCache
from evalkit.encoder.base import watched
from evalkit.errors import ConfigError
from evalkit.models.base import KeepingModel, Model
from evalkit.runner.asking import Asker, Watch, keep_account, response_cache, scorers_requests, tell_of_unknown_prices
from evalkit.runner.budget import Account, Budget, quotes_of
from evalkit.runner.environment import environment, installed
from evalkit.runner.execute import Execution, final_from_now, stop_on_signals
from evalkit.runner.files import writing
from evalkit.runner.live import LiveScores
from evalkit.runner.plan import planned
from evalkit.runner.prepare import Prepared, ReadyTask
from evalkit.runner.roles import public
from evalkit.runner.run import Run, write_summaries
from evalkit.runner.score import Facts, Scored
from evalkit.runner.scoring import Scoring, Watching
from evalkit.runner.store import RunStore, file_name, find_run, newest_unfinished, read_manifest, require_same_config
from evalkit.runner.stored import task_entry
from evalkit.runner.summarise import summarise, summarise_group
from evalkit.secrets import redact_text, scrub_facts, scrub_message
from evalkit.tasks.schema import GroupConfig
from evalkit.types import Json, Summary, content_hash

#: Options that may change from one execution of a run to the next: the last ones count.
_SPENDING = ("max_cost", "max_tokens_total", "price", "prices", "cache")


class Progress(Protocol):
    """Who shows how a run proceeds. Called from the thread that runs; must be quick."""

    def started(self, run: Run, samples: int, requests: int, resumed: int) -> None:
        """``requests`` is an estimate (each task's first sample times its size); ``resumed`` are answered already."""
        ...

    def answered(self, task: str, done: int, errors: int, running: tuple[str, float] | None) -> None:
        """``done`` requests of this run are answered, ``errors`` failed; ``running`` is the task's metric so far."""
        ...

    def phase(self, text: str) -> None: ...

    def working(self, what: str, done: int, total: int) -> None:
        """A scorer's network is at ``what`` (``encoding``): ``done`` of ``total`` texts. Called after every batch."""
        ...

    def warning(self, text: str) -> None: ...

    def scored(self, task: str, summaries: Sequence[Summary]) -> None: ...


class Silent:
    """Shows nothing."""

    def started(self, run: Run, samples: int, requests: int, resumed: int) -> None: ...

    def answered(self, task: str, done: int, errors: int, running: tuple[str, float] | None) -> None: ...

    def phase(self, text: str) -> None: ...

    def working(self, what: str, done: int, total: int) -> None: ...

    def warning(self, text: str) -> None: ...

    def scored(self, task: str, summaries: Sequence[Summary]) -> None: ...


def run_prepared(
    prepared: Prepared,
    *,
    store: bool,
    progress: Progress,
    stop: threading.Event | None = None,
    watching: Watching | None = None,
) -> Run:
    """Execute and score. Returns a run whose ``status`` says whether everything asked for was done."""
    stop = stop or threading.Event()
    begun = time.monotonic()
    models = {"model": prepared.model, **prepared.roles}
    quotes = quotes_of(prepared.options, models)
    keep = None if store else tempfile.TemporaryDirectory(prefix="evalkit-")
    parent = Path(prepared.options.output_dir) if keep is None else Path(keep.name)
    opened = _open(prepared, parent, fresh=keep is not None)
    run = Run(opened, keep=keep)
    account = Account(quotes, Budget(prepared.options.max_cost, prepared.options.max_tokens_total))
    for role, model in models.items():
        if isinstance(model, KeepingModel):
            model.keep(opened.path / "kept" / file_name(role))
    with closing(opened), stop_on_signals(stop), _settled(), _scoring(prepared, opened, watching) as scoring:
        account.restore(opened.manifest.get("spent"), opened.journal)
        tell_of_unknown_prices(account, models, progress)
        with response_cache(prepared.options, progress) as cache:
            counts = _ask_everything(prepared, opened, run, progress, stop, account, cache, scoring)
        keep_account(opened, account, models)
        if counts.from_cache:
            progress.phase(f"{counts.from_cache} answers from the cache")
        status = _status(counts, opened, prepared)
        if status != "interrupted":
            progress.phase("scoring")
            score_run(opened, prepared.tasks, prepared.groups, prepared.fingerprints, progress, scoring=scoring)
        facts = {**opened.manifest["model"], **_model_facts(prepared.model)}
        opened.update(status=status, counts=_counts(opened, counts), timing=_timing(opened, counts, begun), model=facts)
    return run


def _scoring(prepared: Prepared, store: RunStore, watching: Watching | None) -> Scoring:
    """Ahead of further answers where this execution asks for each only once: a judge may be the model itself."""
    once = not prepared.roles
    final = final_from_now(store.journal, retry_errors=prepared.options.retry_errors) if once else None
    return Scoring(store, prepared.tasks, prepared.fingerprints, watching, final)


@contextmanager
def _settled() -> Iterator[None]:
    """While it lasts, what exists now is not searched for garbage: it lives as long as the run, and each search of all of it
    takes as long as hundreds of samples.
    """
    if gc.get_freeze_count():  # the caller's own doing, which is not for us to undo
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def score_run(
    store: RunStore,
    tasks: Sequence[Scored],
    groups: Sequence[GroupConfig],
    fingerprints: dict[str, str],
    progress: Progress,
    watching: Watching | None = None,
    scoring: Scoring | None = None,
) -> None:
    """Score every task, aggregate the groups and store the summaries in the order of tasks, then groups.

    What was learned of the tasks' answers joins the manifest in memory: the caller's next update stores it. ``watching``
    sees the records of a run whose records can be scored one by one. ``scoring`` of these tasks may have begun.
    """
    scoring = scoring or Scoring(store, tasks, fingerprints, watching)
    summaries: list[Summary] = []
    facts_by_task: dict[str, Facts] = {}
    with writing(store.path), watched(progress.working, progress.warning), scoring.whole:
        for task in tasks:
            rows, facts = scoring.rows(task)
            facts_by_task[task.name] = facts
            n_shot = int(store.manifest["tasks"][task.name]["num_fewshot"])
            own = [s for r in rows for s in summarise(r, facts, n_shot)]
            progress.scored(task.name, own)
            summaries += own
        summaries += [s for group in groups for s in summarise_group(group, summaries)]
        write_summaries(store.path, summaries, tasks)
    store.manifest["facts"] = {name: asdict(facts) for name, facts in facts_by_task.items()}


def _open(prepared: Prepared, parent: Path, *, fresh: bool) -> RunStore:
    """The run to go on with, or a new one."""
    config = prepared.config()
    config_hash = content_hash(config)
    options = prepared.options
    if options.resume and options.new:
        raise ConfigError("--resume and --new exclude each other")
    found = find_run(options.resume, parent) if options.resume else None
    if found is None and not options.new and not fresh and parent.is_dir():
        found = newest_unfinished(parent, config_hash)
    if found is not None:
        require_same_config(found, read_manifest(found)["identity"], config)
        store = RunStore.open(found, write=True)
        shown = options.public()
        limits = {name: shown[name] for name in _SPENDING}
        resumed = [*store.manifest.get("resumed", []), _now()]
        store.update(status="running", resumed=resumed, config={**store.manifest["config"], **limits})
        return store
    name = options.name or _default_name(prepared)
    return RunStore.create(parent, name, _manifest(prepared, config, config_hash, name))


def _manifest(prepared: Prepared, config: dict[str, Json], config_hash: str, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "status": "running",
        "created": _now(),
        "evalkit": installed("evalkit"),
        "config_hash": config_hash,
        "identity": config,
        "config": prepared.options.public(),
        "command": [scrub_message(redact_text(word)) for word in prepared.options.command],
        "model": _model_facts(prepared.model),
        "fingerprints": prepared.fingerprints,
        "roles": {role: public(info) for role, info in prepared.infos.items()},
        "environment": environment(),
        "warnings": list(prepared.warnings),
        "tasks": {ready.name: _task_manifest(ready) for ready in prepared.tasks},
        "groups": [group.model_dump(mode="json") for group in prepared.groups],
    }


def _model_facts(model: Model) -> dict[str, Json]:
    """Told again at the end of a run: some facts (which engine it was) show only when the model is used."""
    facts: dict[str, Json] = scrub_facts({"name": model.name, **model.describe()})
    return facts


def _task_manifest(ready: ReadyTask) -> dict[str, Json]:
    task = ready.task
    return {
        "alias": task.alias,
        "version": task.version,
        "output_type": task.output_type,
        "num_fewshot": task.num_fewshot,
        "repeats": task.repeats,
        "samples": len(task),
        "size": task.size,
        "hash": content_hash(task.config),
        "data_hash": task.data_hash,
        "config": task.config,
        "tags": list(ready.definition.tags),
        "extra_scorers": [{"name": s.name, "params": dict(s.params)} for s in ready.extra],
        **task_entry(ready.definition, task.scoring),
    }


def _default_name(prepared: Prepared) -> str:
    model = Path(prepared.model.name).name or prepared.model.name
    names = [Path(str(t)).stem for t in prepared.options.tasks]
    return f"{model}_{names[0] if len(names) == 1 else f'{len(prepared.tasks)}-tasks'}"


def _ask_everything(
    prepared: Prepared,
    store: RunStore,
    run: Run,
    progress: Progress,
    stop: threading.Event,
    account: Account,
    cache: ResponseCache | None,
    scoring: Scoring,
) -> Execution:
    """The tasks' own requests first, then those of scorers that ask models of theirs."""
    tasks = [ready.task for ready in prepared.tasks]
    progress.started(run, sum(len(task) for task in tasks), sum(map(_estimate, prepared.tasks)), len(store.journal))
    live = None if isinstance(progress, Silent) else LiveScores(store.journal, list(prepared.tasks))
    requests = planned(tasks, prepared.model, store, None if live is None else live.planned)
    watch = Watch(progress, live)

    ahead = scoring.ahead if scoring.can_begin else None
    asker = Asker(store, progress, stop, account, cache, prepared.options.retry_errors, ahead)
    counts = asker.ask(prepared.model, requests, watch)
    if prepared.roles and not stop.is_set():
        counts += asker.ask_scorers(prepared.tasks, prepared.roles, prepared.fingerprints, watch)
    return counts


def _estimate(ready: ReadyTask) -> int:
    """About how many requests a task and its scorers make: by its first sample (rendering prompts could disturb draws)."""
    task = ready.task
    first = next(iter(task.samples()), None)
    scored = task.output_type == "multiple_choice"
    choices = len(first.choices) if scored and first is not None and first.choices else 1
    return len(task) * task.repeats * choices + scorers_requests(ready).total()


def _status(counts: Execution, store: RunStore, prepared: Prepared) -> str:
    if counts.systemic or counts.budget:
        return "incomplete"
    if counts.stopped:
        return "interrupted"
    # Of the whole run, not of this execution: failures that are final are not asked again after a restart.
    share = store.journal.failures / max(1, store.journal.failures + len(store.journal))
    if counts.retryable or counts.unanswered or share > prepared.options.max_error_rate:
        return "incomplete"
    return "complete"


def _counts(store: RunStore, counts: Execution) -> dict[str, Json]:
    """Of this execution; ``answers`` and ``failures`` are those of the whole run."""
    found = asdict(counts)
    found.pop("seconds")
    return {**found, **answer_counts(store)}


def answer_counts(store: RunStore) -> dict[str, Json]:
    """What the run holds in all: distinct requests that are answered, and that failed."""
    return {"answers": len(store.journal), "failures": store.journal.failures}


def _timing(store: RunStore, counts: Execution, begun: float) -> dict[str, Json]:
    """Seconds over all executions of the run: in all, and asking models."""
    before = store.manifest.get("timing", {})
    return {
        "started": store.manifest["created"],
        "ended": _now(),
        "seconds": round(before.get("seconds", 0.0) + time.monotonic() - begun, 3),
        "request_seconds": round(before.get("request_seconds", 0.0) + counts.seconds, 3),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
