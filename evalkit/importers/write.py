"""A log as a run directory: written, scored with evalkit's own scorers, and held against the log's own numbers."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.importers.base import Answered, RunLog, TaskLog
from evalkit.importers.check import Check, checks, kept_as_given
from evalkit.runner.budget import Account
from evalkit.runner.environment import installed
from evalkit.runner.options import RunOptions, redact
from evalkit.runner.run import Run
from evalkit.runner.session import Progress, Silent, score_run
from evalkit.runner.store import RunStore
from evalkit.runner.stored import stored_tasks, task_entry
from evalkit.scorers.base import ScoringPlan
from evalkit.secrets import scrub_facts
from evalkit.tasks.definition import definition
from evalkit.types import Json, Request, content_hash

if TYPE_CHECKING:
    from evalkit.runner.scoring import Watching


@dataclass(frozen=True, slots=True)
class Imported:
    """An imported run, and how its numbers compare with those that came with it."""

    run: Run
    checks: tuple[Check, ...]


def write_run(
    log: RunLog,
    output_dir: Path,
    *,
    name: str | None = None,
    command: Sequence[str] = (),
    progress: Progress | None = None,
    watching: Watching | None = None,
) -> Imported:
    """The run directory of ``log`` under ``output_dir``. On an error nothing of it stays."""
    progress = progress or Silent()
    latest = _pointed(output_dir)
    store = RunStore.create(output_dir, name or log.name, _manifest(log, name or log.name, command))
    try:
        _write_answers(store, log, progress)
        found = _score(store, log, progress, watching)
        _finish(store, log, found)
    except BaseException:
        store.close()
        shutil.rmtree(store.path, ignore_errors=True)
        _point_back(output_dir, latest)
        raise
    store.close()
    return Imported(Run(store), found)


def _write_answers(store: RunStore, log: RunLog, progress: Progress) -> None:
    fingerprint = store.manifest["fingerprints"]["model"]
    for task in log.tasks:
        progress.phase(f"reading {task.name}")
        samples = store.samples(task.name)
        for answered in task.records():
            sample, requests, responses = _keyed(answered, fingerprint)
            samples.append(sample, requests)
            for response in responses:
                store.journal.append(response, task=task.name)
        samples.close()
    store.journal.commit()


def _keyed(answered: Answered, fingerprint: str) -> Answered:
    """With keys of their own: the same prompt may have been answered twice, and differently."""
    sample, requests, responses = answered
    keys = [content_hash([fingerprint, q.task, sample.id, q.slot, q.repeat]) for q in requests]
    asked: tuple[Request, ...] = tuple(replace(q, key=key) for q, key in zip(requests, keys, strict=True))
    return sample, asked, tuple(replace(r, key=key) for r, key in zip(responses, keys, strict=True))


def _score(store: RunStore, log: RunLog, progress: Progress, watching: Watching | None) -> tuple[Check, ...]:
    """Score with evalkit's scorers; what does not come out as the log has it is scored anew with the log's own values."""
    progress.phase("scoring")
    tasks = list(log.tasks)
    for last in (False, True):
        store.manifest["tasks"] = {task.name: _entry(task) for task in tasks}
        score_run(
            store,
            stored_tasks(store, store.manifest, allow_code=False),
            log.groups,
            store.manifest["fingerprints"],
            progress,
            watching,
        )
        found = checks(Run(store), tasks, log)
        wrong = [check for check in found if not check.equal and check.native]
        if last or not wrong:
            break
        tasks = [kept_as_given(task, [check for check in wrong if check.task == task.name]) for task in tasks]
    return found


def _finish(store: RunStore, log: RunLog, found: Sequence[Check]) -> None:
    account = Account()
    account.restore(None, store.journal)
    told = [check.line(log.origin) for check in found if not check.equal]
    answers, failures = len(store.journal), store.journal.failures
    store.update(
        status="complete",
        counts={"answers": answers, "failures": failures, "asked": 0},
        timing=_timing(log),
        usage=account.public({"model": str(log.model.get("name"))}),
        warnings=[*log.warnings, *told],
        imported={**store.manifest["imported"], "checks": [check.public() for check in found]},
    )


def _timing(log: RunLog) -> dict[str, Json]:
    return {"started": log.created, "ended": None, "seconds": log.seconds, "request_seconds": log.seconds}


def _manifest(log: RunLog, name: str, command: Sequence[str]) -> dict[str, Any]:
    fingerprint = content_hash(["imported", log.origin, dict(log.model), dict(log.files)])
    options = RunOptions(**{**log.options, "name": name, "max_error_rate": 1.0})
    identity = {
        "model": {"name": log.model.get("name"), "fingerprint": fingerprint},
        "roles": {},
        "options": options.content(),
        "tasks": {task.name: _identity(task) for task in log.tasks},
        "imported": {"from": log.origin, "files": dict(log.files)},
    }
    return {
        "name": name,
        "status": "running",
        "created": log.created or _now(),
        "evalkit": installed("evalkit"),
        "config_hash": content_hash(identity),
        "identity": identity,
        "config": options.public(),
        "command": list(command),
        "model": scrub_facts({key: value for key, value in log.model.items() if value is not None}),
        "fingerprints": {"model": fingerprint},
        "environment": {"imported_from": log.origin, **{k: v for k, v in log.details.items() if v is not None}},
        "warnings": list(log.warnings),
        "tasks": {},
        "groups": [group.model_dump(mode="json") for group in log.groups],
        "imported": {
            "from": log.origin,
            "file": str(log.source),
            "files": dict(log.files),
            "at": _now(),
            "details": redact(log.details),
        },
    }


def _identity(task: TaskLog) -> dict[str, Json]:
    config = task.config
    resolved = content_hash(definition(config, task.resolved))
    return {"definition": resolved, "data": "", "version": config.version, "num_fewshot": task.n_shot}


def _entry(task: TaskLog) -> dict[str, Json]:
    config = task.config
    resolved = definition(config, task.resolved)
    plan = ScoringPlan(config.output_type, multiple_inputs=task.multiple_inputs, multiple_targets=task.multiple_targets)
    return {
        "alias": config.task_alias or config.task,
        "version": config.version,
        "output_type": config.output_type,
        "num_fewshot": task.n_shot,
        "repeats": config.repeats,
        "samples": task.samples,
        "size": task.size,
        "hash": content_hash(resolved),
        "data_hash": "",
        "config": resolved,
        "tags": [],
        "extra_scorers": [],
        **task_entry(config, plan),
    }


def _pointed(output_dir: Path) -> str | None:
    latest = output_dir / "latest"
    return str(latest.readlink()) if latest.is_symlink() else None


def _point_back(output_dir: Path, target: str | None) -> None:
    """Let ``latest`` point where it did before."""
    latest = output_dir / "latest"
    latest.unlink(missing_ok=True)
    if target is not None:
        latest.symlink_to(target)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
