"""The log's own numbers held against those of the run, metric by metric and sample by sample."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from evalkit.importers.base import Reported, RunLog, TaskLog
from evalkit.runner.run import Run
from evalkit.runner.values import metric_names, values
from evalkit.scorers.given import given_values
from evalkit.tasks.schema import MetricEntry, ScorerEntry
from evalkit.types import Json

#: Numbers that differ by less, relatively, are the same: they are sums in another order.
TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Check:
    """A number of the log (``given``) and what the run has for it.

    ``native``: evalkit computed it. ``differing`` counts samples whose own values differ.
    """

    task: str
    metric: str
    filter: str
    value: float | None
    given: float | None
    native: bool
    differing: int = 0

    @property
    def equal(self) -> bool:
        return self.differing == 0 and (self.given is None or _same(self.value, self.given))

    def line(self, origin: str) -> str:
        """In words."""
        name = f"{self.task} {self.metric}" + (f" ({self.filter})" if self.filter != "none" else "")
        if self.equal and self.given is None:
            return f"{name} {_shown(self.value)}, a number that {origin}'s results have not"
        if self.equal:
            return f"{name} {_shown(self.value)} as in {origin}'s results"
        if self.value is None:
            return f"{name}: not imported ({origin} has {_shown(self.given)}), it cannot be computed from what was logged"
        samples = f", {self.differing} samples differ" if self.differing else ""
        return f"{name}: {_shown(self.value)} here, {_shown(self.given)} in {origin}'s results{samples}"

    def public(self) -> dict[str, Json]:
        return {
            "task": self.task,
            "metric": self.metric,
            "filter": self.filter,
            "value": self.value,
            "given": self.given,
            "computed_by": "evalkit" if self.native else "origin",
            "equal": self.equal,
        }


def checks(run: Run, tasks: Sequence[TaskLog], log: RunLog) -> tuple[Check, ...]:
    """Every number that the log reports, with the run's."""
    found = {(s.task, s.metric, s.filter): s.value for s in run.summary() if s.slice is None}
    differing = _differing(run, [r for task in tasks for r in task.reported if r.native and r.each])
    reported = [*(r for task in tasks for r in task.reported), *log.reported]
    return tuple(
        Check(r.task, r.metric, r.filter, found.get(key), r.value, r.native, differing[key])
        for r in reported
        if (key := (r.task, r.metric, r.filter))
    )


def kept_as_given(task: TaskLog, wrong: Iterable[Check]) -> TaskLog:
    """The task with the log's own values for the metrics that did not come out the same."""
    names = {check.metric for check in wrong}
    return as_given(task, names) if names else task


def as_given(task: TaskLog, names: Iterable[str]) -> TaskLog:
    """The task with the metrics ``names`` carried instead of computed (those that can be)."""
    names = set(names)
    reported = tuple(replace(r, native=False) if r.metric in names else r for r in task.reported)
    carried = {r.metric: r.given for r in reported if not r.native and r.given is not None}
    computed = [entry for entry in task.config.metric_list or () if entry.metric not in names]
    scorers = [ScorerEntry(name="given", **entry) for entry in carried.values()]
    if not computed and not scorers:
        computed = [MetricEntry(metric="bypass")]  # an empty list would mean the usual metrics
    config = task.config.model_copy(update={"metric_list": computed, "scorers": scorers})
    return replace(task, reported=reported, config=config)


def _differing(run: Run, reported: Sequence[Reported]) -> Counter[tuple[str, str, str]]:
    """How many samples have another value than the log's, by task, metric and filter."""
    wanted: dict[tuple[str, str], list[str]] = {}
    for r in reported:
        wanted.setdefault((r.task, r.filter), []).append(r.metric)
    counts: Counter[tuple[str, str, str]] = Counter()
    names = metric_names(run)
    for task in dict.fromkeys(task for task, _ in wanted):
        for view in run.records(task):
            own = values(view, names)
            for metric in wanted.get((view.task, view.filter), ()):
                given = given_values(view.record, metric)
                if given and not _equal_values(own, metric, given[0]):
                    counts[(view.task, metric, view.filter)] += 1
    return counts


def _equal_values(own: Mapping[str, float | None], metric: str, given: Json) -> bool:
    return metric not in own or not isinstance(given, int | float) or _same(own[metric], float(given))


def _same(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-9)


def _shown(value: float | None) -> str:
    return "no value" if value is None else f"{value:.4f}"
