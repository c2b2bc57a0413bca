"""What a run is scored again with: further scorers that fit its tasks, and that it holds all data and answers for.

Scorers may ask models again, whose answers join the run's journal. The model under test is never asked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from evalkit.errors import ConfigError, Incomplete, Interrupted, ScorerError
from evalkit.figures import counted
from evalkit.models.base import ConnectingModel, KeepingModel, Model
from evalkit.runner.asking import Asker, Watch, keep_account, response_cache, tell_of_unknown_prices
from evalkit.runner.budget import Account, Budget, quotes_of
from evalkit.runner.execute import stop_on_signals
from evalkit.runner.judging import Rounds
from evalkit.runner.options import RunOptions
from evalkit.runner.prepare import check_columns, judge_warnings, role_models, scorer_spec
from evalkit.runner.roles import public, remembered, role_infos
from evalkit.runner.run import Run
from evalkit.runner.scoring import Watching
from evalkit.runner.session import Progress, answer_counts, score_run
from evalkit.runner.store import RunStore, file_name
from evalkit.runner.stored import StoredTask, scorer_names, stored_tasks
from evalkit.scorers.base import ScorerSpec
from evalkit.scorers.registry import fits, misfits
from evalkit.tasks.schema import GroupConfig


def rescore_run(
    store: RunStore, options: RunOptions, *, allow_code: bool | None, progress: Progress, watching: Watching
) -> None:
    """Score a run's answers again, with the scorers of ``options`` on top; the models that it names, or that those scorers
    do, are asked first. Where that is not done wholly, or a scorer does not work, the run stays as it was.

    Raises what `evalkit.rescore` does.
    """
    added = [scorer_spec(item) for item in options.scorers]
    entries = with_scorers(store.manifest["tasks"], added)
    for line in (warnings := misfits(added, {name: entry["output_type"] for name, entry in entries.items()})):
        progress.warning(line)
    manifest = {**store.manifest, "tasks": entries}
    tasks = stored_tasks(store, manifest, allow_code=allow_code)
    require_columns(store, tasks, entries)
    models = judges_of(store, tasks, scorer_names(store, manifest, added, allow_code=allow_code), options, progress.phase)
    known = _with_models(store.manifest, models)
    fingerprints = dict({**manifest, **known}["fingerprints"])
    if models:
        tasks = stored_tasks(store, {**manifest, **known}, allow_code=allow_code)
    require_answers(store, tasks, fingerprints, models)
    if models:
        related = judge_warnings(tasks, remembered({**manifest, **known}))
        for line in (fresh := [line for line in related if line not in store.manifest["warnings"]]):
            progress.warning(line)
        warnings += fresh
        ask_judges(store, tasks, models, fingerprints, options, progress)
    groups = [GroupConfig.model_validate(group) for group in store.manifest["groups"]]
    score_run(store, tasks, groups, fingerprints, progress, watching)
    warnings = list(dict.fromkeys([*store.manifest["warnings"], *warnings]))
    if models:
        known["counts"] = {**store.manifest.get("counts", {}), **answer_counts(store)}
        known["judges"] = {**store.manifest.get("judges", {}), **options.public()["roles"]}  # to ask of another run the same
    store.update(tasks=entries, warnings=warnings, **known)  # only now: what does not work must not stay with the run


def _with_models(manifest: Mapping[str, Any], models: Mapping[str, Model]) -> dict[str, Any]:
    """What the manifest learns of the models that answer from now on; nothing without any."""
    if not models:
        return {}
    infos = role_infos(models)
    return {
        "roles": {**manifest.get("roles", {}), **{role: public(info) for role, info in infos.items()}},
        "fingerprints": {**manifest["fingerprints"], **{role: info.fingerprint for role, info in infos.items()}},
    }


def with_scorers(tasks: Mapping[str, Any], added: Sequence[ScorerSpec]) -> dict[str, Any]:
    """The manifest's tasks with the further scorers that fit them, each once a task."""
    entries = {}
    for name, entry in tasks.items():
        known = entry.get("extra_scorers", [])
        fitting = [asdict(spec) for spec in added if fits(spec, entry["output_type"])]
        entries[name] = {**entry, "extra_scorers": [*known, *(item for item in fitting if item not in known)]}
    return entries


def require_columns(store: RunStore, tasks: Sequence[StoredTask], entries: Mapping[str, Any]) -> None:
    """Refuse a further scorer that reads a column which the stored samples have not."""
    for task in tasks:
        log = store.samples(task.name)
        if entries[task.name]["extra_scorers"] and len(log) and not log.damaged:
            check_columns(log[0][0], task.scorers)


def require_answers(
    store: RunStore, tasks: Sequence[StoredTask], fingerprints: Mapping[str, str], asked: Collection[str] = ()
) -> None:
    """Refuse a scorer that asks models, where the run does not hold a single one of the answers it needs.

    Those of the roles ``asked`` are still to come.
    """
    for task in tasks:
        for scorer in task.scorers:
            for role in set(scorer.roles) - set(fingerprints):
                raise ScorerError(
                    f"a scorer asks the role {role!r}, which this run had no model for; name it with --role "
                    f"{role}=provider/name"
                )
            only = replace(task, scorers=(scorer,))
            needs = bool(scorer.roles) and not set(scorer.roles) & set(asked)
            keys = [q.key for q in Rounds(store, [only], fingerprints).requests()] if needs else []
            if keys and not any(map(store.journal.known, keys)):
                roles = ", ".join(scorer.roles)
                raise ScorerError(
                    f"{task.name}: {scorer.name} asks a model ({roles}) what this run did not ask it; rescoring calls no "
                    f"model unless one is named: --role {scorer.roles[0]}=provider/name"
                )


def judges_of(
    store: RunStore,
    tasks: Sequence[StoredTask],
    added: Collection[str],
    options: RunOptions,
    tell: Callable[[str], None],
) -> dict[str, Model]:
    """The models to ask, by role: those that ``options`` name, and those that scorers called ``added`` name themselves.

    Raises ConfigError for a role that no scorer asks, and for another model in a role that the run has one for.
    """
    scorers = [scorer for task in tasks for scorer in task.scorers]
    specs = dict(options.roles)
    for scorer in scorers:
        for role, model in getattr(scorer, "default_models", {}).items() if scorer.name in added else ():
            if specs.setdefault(role, model) != model and role not in options.roles:
                raise ConfigError(_two_models(role, str(specs[role]), str(model)))
    asking = dict.fromkeys(role for scorer in scorers for role in scorer.roles)
    for role in specs:
        if role not in asking:
            known = f"; they ask {', '.join(asking)}" if asking else ""
            raise ConfigError(f"--role {role}: no scorer of this run asks it{known}")
    if specs:
        tell(
            "loading " + ", ".join(dict.fromkeys(spec if isinstance(spec, str) else f"the {r}" for r, spec in specs.items()))
        )
    models = role_models(specs, options)
    for role, model in models.items():
        if isinstance(model, ConnectingModel):
            model.connect()
        before = store.manifest["fingerprints"].get(role)
        if before is not None and before != model.fingerprint:
            name = store.manifest.get("roles", {}).get(role, {}).get("name", "another model")
            raise ConfigError(_two_models(role, f"{name} (in this run so far)", model.name))
    return models


def _two_models(role: str, one: str, other: str) -> str:
    return (
        f"the role {role!r} would be two models, {one} and {other}: give the new scorer a role (and a label) of its own, "
        f"as in judge:coherence,role={role}_2,label=second,model=..."
    )


def ask_judges(
    store: RunStore,
    tasks: Sequence[StoredTask],
    models: Mapping[str, Model],
    fingerprints: Mapping[str, str],
    options: RunOptions,
    progress: Progress,
    stop: threading.Event | None = None,
) -> None:
    """Ask ``models`` (by role) what the tasks' scorers ask them and the journal does not hold; the run keeps the account.

    The budget of ``options`` is of what these roles take in this run, over all attempts.

    Raises:
        Interrupted: it was stopped; whatever was answered is kept.
        Incomplete: a budget is spent, an endpoint is gone, or some failures may yet be mended; the same again goes on.
    """
    stop = stop or threading.Event()
    account = Account(quotes_of(options, models), Budget(options.max_cost, options.max_tokens_total))
    account.restore(store.manifest.get("spent"), store.journal, models)
    for role, model in models.items():
        if isinstance(model, KeepingModel):
            model.keep(store.path / "kept" / file_name(role))
    tell_of_unknown_prices(account, models, progress)
    with stop_on_signals(stop), response_cache(options, progress) as cache:
        progress.started(Run(store), *_size(store, tasks, models, fingerprints))
        asker = Asker(store, progress, stop, account, cache, options.retry_errors)
        counts = asker.ask_scorers(tasks, models, fingerprints, Watch(progress))
    keep_account(store, account, models)
    why = counts.systemic or counts.budget
    if counts.stopped and why is None:
        raise Interrupted("interrupted; the run is as it was, all answers are kept, and the same again goes on")
    if why is None and (counts.retryable or counts.unanswered):
        why = f"{counted(counts.retryable + counts.unanswered, 'request')} failed that may yet be answered"
    if why is not None:
        raise Incomplete(
            f"not scored, {why}. The run is as it was, and whatever was answered is kept: the same again goes on"
        )
    if counts.failed:
        progress.warning(f"{counted(counts.failed, 'request')} failed for good; --retry-errors asks them again")


def _size(
    store: RunStore, tasks: Sequence[StoredTask], models: Collection[str], fingerprints: Mapping[str, str]
) -> tuple[int, int, int]:
    """Samples, the requests that they make of ``models`` at first, and how many of these are answered."""
    requests = answered = 0
    for request in Rounds(store, tasks, fingerprints).requests():
        if request.role in models:
            requests += 1
            answered += request.key in store.journal
    return sum(len(store.samples(task.name)) for task in tasks), requests, answered
