"""How many samples the tasks of a policy have, without a run: of tasks whose data is at hand, nothing is fetched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evalkit.errors import UsageError
from evalkit.gating.names import is_pattern, matching, named_apart
from evalkit.gating.policy import Policy
from evalkit.runner.options import RunOptions
from evalkit.runner.prepare import ReadyTask, ready_task
from evalkit.scorers.base import MetricInfo
from evalkit.tasks.load import TaskLibrary
from evalkit.tasks.schema import TaskConfig

_LOCAL = ("json", "jsonl", "csv", "tsv", "parquet", "text")
_AWAY = "its data is not at hand: name a baseline"


@dataclass(frozen=True, slots=True)
class Sized:
    """A metric of a task or group under a filter, over ``n`` samples; ``unknown`` says why ``n`` or metric is not known."""

    task: str
    filter: str = ""
    metric: MetricInfo | None = None
    n: int | None = None
    unknown: str = ""


def sized_tasks(policy: Policy, at: int) -> Iterator[Sized]:
    """What check number ``at`` names. Raises TaskError for tasks that are not known."""
    check = policy.checks[at]
    selection = TaskLibrary().resolve([check.task])
    ready = {config.task: _ready(config) for config in selection.tasks}
    groups = {} if is_pattern(check.task) else {group.group: group for group in selection.groups}
    if check.task not in groups:
        for name, task in ready.items():
            yield from _of(check.metric, check.filter, name, [task])
        return
    group = groups[check.task]
    aggregated = {rule.metric for rule in group.aggregate_metric_list}
    found = _of(check.metric, check.filter, group.group, [ready[leaf] for leaf in group.leaves])
    yield from (one for one in found if one.metric is None or one.metric.name in aggregated)
    for leaf in group.leaves if check.metric is None else ():  # a member that lacks the group's metric is a check of its own
        task = ready[leaf]
        if task is not None and not any(_has(task, metric) for metric in aggregated) and not named_apart(policy, at, leaf):
            yield from _of(None, check.filter, leaf, [task])


def _of(metric: str | None, filter_: str | None, name: str, tasks: list[ReadyTask | None]) -> Iterator[Sized]:
    known = [task for task in tasks if task is not None]
    if not known or len(known) < len(tasks):
        yield Sized(name, unknown=_AWAY)
        return
    infos = {
        info.name: info for task in known for scorer in task.scorers for info in scorer.metrics if metric or info.headline
    }
    wanted = matching(metric, infos) if metric is not None else list(infos)
    filters = [one.name for one in known[0].filters if filter_ in (None, one.name)]
    sizes = {key: sum(task.task.size for task in known if _has(task, key)) for key in wanted}
    yield from (Sized(name, one, infos[key], sizes[key]) for one in filters for key in wanted)
    if not wanted or not filters:
        missing = f"metric {metric!r}" if not wanted else f"filter {filter_!r}"
        yield Sized(name, unknown=f"it has no {missing}")


def _has(task: ReadyTask, metric: str) -> bool:
    return any(info.name == metric for scorer in task.scorers for info in scorer.metrics)


def _ready(config: TaskConfig) -> ReadyTask | None:
    """The task with its data; ``None`` where that would have to be fetched, or cannot be read."""
    local = config.dataset_path in _LOCAL or (config.dataset_path is not None and Path(config.dataset_path).exists())
    if not local or config.custom_dataset is not None:
        return None
    try:
        return ready_task(config, RunOptions(tasks=[config.task], model=""))
    except UsageError:
        return None  # a plan is no check of the data: the run will say what is wrong
