"""Names that a policy uses, found in both runs: tasks, groups, metrics, filters, slices; what is absent is told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from evalkit.comparison.base import Comparison, Measured, RunScores, TaskScores
from evalkit.errors import NotComparable, nearest
from evalkit.gating.policy import Policy


@dataclass(frozen=True, slots=True)
class Named:
    """What a check names: tasks and groups (each with its tasks, itself for a task), and metrics."""

    tasks: Mapping[str, tuple[str, ...]]
    metrics: tuple[str, ...]


def names_of(policy: Policy, at: int, baseline: RunScores, candidate: RunScores) -> Named:
    """What check number ``at`` names. Raises NotComparable for what either run does not have."""
    check = policy.checks[at]
    runs = (baseline, candidate)
    sides = [matching_tasks(check.task, run) for run in runs]
    for run, found in zip(runs, sides, strict=True):
        for name in sides[0] or [check.task]:
            if name not in found:
                raise absent(policy, at, "task", name, task_names(run), run)
    alone = [] if check.metric is not None else members_alone(policy, at, baseline, sides[0])
    named = list(dict.fromkeys([*sides[0], *alone]))
    known = [_metrics(run, named, headline=check.metric is None) for run in runs]
    wanted = matching(check.metric, known[0]) if check.metric is not None else known[0]
    for run, names in zip(runs, known, strict=True):
        for name in wanted or [check.metric or "*"]:
            if name not in names:
                raise absent(policy, at, "metric", name, names, run)
        own = [scores for (task, _), scores in run.tasks.items() if any(task in leaves(run, name) for name in sides[0])]
        if check.filter is not None and check.filter not in (filters := [scores.filter for scores in own]):
            raise absent(policy, at, "filter", check.filter, filters, run)
        slices = {name: None for scores in own for name in scores.slices}
        for name in (part.name.partition("=")[0] for part in check.slices):
            if name not in slices:
                raise absent(policy, at, "slices", name, slices, run)
        if check.cluster_by is not None and not all(check.cluster_by in scores.slices for scores in own):
            raise absent(policy, at, "cluster_by", check.cluster_by, slices, run)
    return Named({name: leaves(baseline, name) for name in named}, tuple(wanted))


def members_alone(policy: Policy, at: int, run: RunScores, tasks: Iterable[str]) -> list[str]:
    """Members of groups among ``tasks`` that have no metric of their group, and that no other check names.

    They are in no figure of the group: a check of the group that names no metric is one of each of them, too.
    """
    alone: dict[str, None] = {}
    for name in tasks:
        for leaf in leaves(run, name) if _group(run, name) else ():
            if not _metrics(run, [name], headline=False, only=leaf) and not named_apart(policy, at, leaf):
                alone[leaf] = None
    return list(alone)


def named_apart(policy: Policy, at: int, task: str) -> bool:
    """Whether another check than number ``at`` names the task."""
    return any(matching(check.task, [task]) for other, check in enumerate(policy.checks) if other != at)


def is_pattern(task: str) -> bool:
    return any(mark in task for mark in "*?[")


def leaves(run: RunScores, task: str) -> tuple[str, ...]:
    """The tasks of a group, or the task itself."""
    return tuple(group["leaves"]) if (group := _group(run, task)) else (task,)


def task_names(run: RunScores) -> list[str]:
    """Groups that are whole in a run, and its tasks."""
    have = {task for task, _ in run.tasks}
    groups = [g["group"] for g in run.manifest.get("groups") or () if g["leaves"] and have.issuperset(g["leaves"])]
    return list(dict.fromkeys([*groups, *(task for task, _ in run.tasks)]))


def matching_tasks(pattern: str, run: RunScores) -> list[str]:
    """The task or group of this name, else the tasks that a pattern fits, else the groups."""
    names = task_names(run)
    tasks = [name for name in names if any(name == task for task, _ in run.tasks)]
    return [name for name in names if name == pattern] or matching(pattern, tasks) or matching(pattern, names)


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    known = list(names)
    return [name for name in known if name == pattern] or [name for name in known if fnmatchcase(name, pattern)]


def measured_of(run: RunScores, found: Comparison) -> list[tuple[TaskScores, Measured]]:
    """Where a comparison's values come from in a run; of a group, the first scorer of each task that has the metric."""
    members = leaves(run, found.task)
    rows: list[tuple[TaskScores, Measured]] = []
    for name in members:
        task = run.tasks.get((name, found.filter))
        having = (
            [] if task is None else [m for m in task.measured if any(i.name == found.metric.name for i in m.scorer.metrics)]
        )
        own = having if members != (found.task,) else [m for m in having if m.scorer.name == found.scorer]
        if task is not None and own:
            rows.append((task, own[0]))
    return rows


def absent(
    policy: Policy, at: int, what: str, name: str, known: Iterable[str], run: RunScores | None = None
) -> NotComparable:
    """The error to raise for a name that is not there, with the line of the policy and the nearest names."""
    names = list(dict.fromkeys(known))
    check = policy.checks[at]
    who = " of ".join([*([] if what == "task" else [check.task]), *([] if run is None else [run.name])])
    listed = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    hint = nearest(name, names) or (f"; there are {listed}" if names else "")
    thing = "slice" if what in ("slices", "cluster_by") else what
    return NotComparable(f"{policy.where('checks', at, what)}: {who} has no {thing} {name!r}{hint}")


def _group(run: RunScores, name: str) -> Mapping[str, Any] | None:
    return next((group for group in run.manifest.get("groups") or () if group["group"] == name), None)


def _metrics(run: RunScores, tasks: Iterable[str], *, headline: bool, only: str | None = None) -> list[str]:
    """Names of the metrics of ``tasks``; of a group those that it aggregates (and that its task ``only`` has)."""
    names: dict[str, None] = {}
    for name in tasks:
        rules = (_group(run, name) or {}).get("aggregate_metric_list")
        allowed = None if rules is None else {rule["metric"] for rule in rules}
        for (task, _), scores in run.tasks.items():
            if task in leaves(run, name) and only in (None, task):
                infos = [info for m in scores.measured for info in m.scorer.metrics if info.headline or not headline]
                names.update({info.name: None for info in infos if allowed is None or info.name in allowed})
    return list(names)
