"""What the exports need of a run, and the facts they read from its manifest, in one place."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from evalkit.errors import StoreError
from evalkit.runner.values import MetricNames, metric_names, values
from evalkit.types import Json, Record, Score, Summary

__all__ = [
    "MetricNames", "ReportableRun", "Status", "View", "alias", "command", "content_warnings", "failures", "folder", "groups",
    "metric_names", "outline", "part", "run_id", "seconds", "status", "values",
]  # fmt: skip

Status = Literal["ok", "error", "unscored", "missing"]


class View(Protocol):
    """One record of a run, seen through one filter, with its scores by scorer name."""

    @property
    def task(self) -> str: ...

    @property
    def filter(self) -> str: ...

    @property
    def record(self) -> Record: ...

    @property
    def scores(self) -> Mapping[str, Score]: ...


class ReportableRun(Protocol):
    """The part of ``evalkit.Run`` that is exported."""

    @property
    def path(self) -> Path | None: ...

    @property
    def name(self) -> str: ...

    @property
    def status(self) -> str: ...

    @property
    def manifest(self) -> Mapping[str, Any]: ...

    def summary(self) -> list[Summary]: ...

    def records(self, task: str | None = None) -> Iterable[View]:
        """Records as a stream: the exports never hold all of them."""
        ...


def folder(run: ReportableRun) -> Path:
    """The run's directory; a StoreError where it has none (a run made with ``store=False``)."""
    if run.path is None:
        raise StoreError(f"run {run.name} has no directory (store=False), so there is nowhere to write its files")
    return run.path


def status(view: View) -> Status:
    """How a record ended: exactly one of answered and scored, failed, answered but unscored, not answered yet."""
    if view.record.failure is not None:
        return "error"
    if not view.record.complete:
        return "missing"
    if view.scores and all(score.stats is None for score in view.scores.values()):
        return "unscored"
    return "ok"


def part(run: ReportableRun, key: str) -> Mapping[str, Any]:
    """A section of the manifest, empty where the run has none."""
    value = run.manifest.get(key)
    return value if isinstance(value, Mapping) else {}


def alias(run: ReportableRun, name: str) -> str:
    """How a task or group is called in tables."""
    found = {**{g["group"]: g.get("group_alias") for g in run.manifest.get("groups", ())}}
    found |= {task: entry.get("alias") for task, entry in part(run, "tasks").items()}
    return str(found.get(name) or name)


def groups(run: ReportableRun) -> dict[str, list[str]]:
    """Groups by name with their direct members, in the order of the run."""
    return {group["group"]: list(group["children"]) for group in run.manifest.get("groups", ())}


def run_id(run: ReportableRun) -> str:
    """The name of the run's directory; the run's own name where it has none."""
    return str(run.manifest.get("id") or run.name)


def content_warnings(run: ReportableRun) -> dict[str, str]:
    """Tasks whose data a reader is warned of before seeing it, with the warning; as the task files say."""
    found: dict[str, str] = {}
    for task, entry in part(run, "tasks").items():
        text = (entry.get("definition") or {}).get("content_warning")
        if text:
            found[task] = str(text)
    return found


def seconds(run: ReportableRun) -> float | None:
    """Time spent, over all the sessions of a resumed run."""
    value = part(run, "timing").get("seconds")
    return None if value is None else float(value)


def failures(run: ReportableRun) -> int:
    """Requests that have no answer but a failure."""
    return int(part(run, "counts").get("failures") or 0)


def outline(run: ReportableRun) -> Iterator[tuple[str, int]]:
    """Every group and task once, each below its group, with its depth: the order of all tables."""
    members = groups(run)
    inner = {child for children in members.values() for child in children}
    seen: set[str] = set()

    def walk(name: str, depth: int) -> Iterator[tuple[str, int]]:
        if name in seen:
            return
        seen.add(name)
        yield name, depth
        for child in members.get(name, ()):
            yield from walk(child, depth + 1)

    known = dict.fromkeys([*members, *part(run, "tasks"), *(s.task for s in run.summary())])
    for name in known:
        if name not in inner:
            yield from walk(name, 0)
    for name in known:  # members of a circle of groups, which no top-level group reaches
        yield from walk(name, 0)


def command(run: ReportableRun) -> str:
    """The command line that makes this run again: options of the environment and of a run file are written out."""
    given = run.manifest.get("command") or ()
    if list(given[1:2]) in (["score"], ["import"]):  # nothing but its files says what was scored
        return shlex.join(given)
    config = part(run, "config")
    words = ["evalkit", "run"]
    for key, flag in _FLAGS.items():
        value = config.get(key)
        if value in (None, False, "", [], {}, ()) and not (key == "fewshot_as_multiturn" and value is False):
            continue
        if key == "samples":
            words += [flag, _word(value)]
        elif isinstance(value, Mapping):
            words += [w for k, v in value.items() for w in (flag, f"{k}={_word(v)}")]
        elif isinstance(value, list | tuple):
            joined = [",".join(str(v) for v in value)] if key == "tasks" else [_word(v) for v in value]
            words += [w for v in joined for w in (flag, v)]
        elif isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        else:
            words += [flag, str(value)]
    return shlex.join(words)


def _word(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


#: Fields of the run's configuration and the flags that set them, in the order a person would type them.
_FLAGS = {
    "model": "--model",
    "model_args": "-M",
    "tasks": "--tasks",
    "task_dirs": "--task-dir",
    "data": "--data",
    "num_fewshot": "--num-fewshot",
    "limit": "--limit",
    "samples": "--samples",
    "seed": "--seed",
    "batch_size": "--batch-size",
    "device": "--device",
    "apply_chat_template": "--apply-chat-template",
    "system_instruction": "--system-instruction",
    "fewshot_as_multiturn": "--fewshot-as-multiturn",
    "gen_kwargs": "--gen-kwargs",
    "compat": "--compat",
    "roles": "--role",
    "scorers": "--scorers",
    "allow_code": "--allow-code",
    "trust_remote_code": "--trust-remote-code",
    "max_error_rate": "--max-error-rate",
}
