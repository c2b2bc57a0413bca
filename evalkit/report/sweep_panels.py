"""A series of checkpoints as panels: one metric of one task over the checkpoints, with its marks."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from evalkit.comparison.base import Comparison, RunScores
from evalkit.comparison.compare import compare_scores
from evalkit.comparison.load import load_scores
from evalkit.errors import NotComparable, StoreError
from evalkit.report import base
from evalkit.report.sweep_marks import MARGIN, Decline, Emergence, Regressions, best_before, emergence, regressions
from evalkit.runner.run import Run
from evalkit.runner.series import Member, Series
from evalkit.runner.stored import SUMMARY
from evalkit.stats.difference import Difference
from evalkit.types import Summary

#: Runs whose scores are kept in memory: the checkpoint that is compared, and the best ones before it of its many metrics.
_KEPT = 12

Key = tuple[str, str, str, str]
"""Task (or group), filter, scorer and metric."""

Best = list[tuple[int, int] | None]
"""As `best_before` gives it."""


class Comparing(Protocol):
    """Compares two runs on the same samples."""

    def __call__(self, baseline: Path, system: Path, tasks: Collection[str]) -> Sequence[Comparison]:
        """Raises NotComparable, StoreError."""
        ...


@dataclass(frozen=True, slots=True)
class Point:
    """A checkpoint's value of the panel's metric. ``against`` is the best checkpoint before it, ``note`` why it could not be
    compared with that. ``p_worse`` is corrected, ``above`` whether it is above chance level (``None``: not tested).
    """

    member: Member
    summary: Summary | None
    above: bool | None = None
    p_chance: float | None = None
    against: Member | None = None
    comparison: Comparison | None = None
    p_worse: float | None = None
    regressed: bool = False
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """``points`` are of all checkpoints with a complete run, in order; ``first`` positions are among them."""

    key: Key
    name: str
    group: bool
    summary: Summary
    points: tuple[Point, ...]
    emergence: Emergence | None
    regressions: Regressions

    @property
    def share(self) -> bool:
        """Whether values are within 0 and 1, so that differences are told in percentage points."""
        return (self.summary.low, self.summary.high) == (0.0, 1.0)

    @property
    def emerged(self) -> Point | None:
        """The first checkpoint from which on all are above chance level, where one before it is not."""
        left = self.emergence
        return None if left is None or left.first is None or left.throughout else self.points[left.first]

    @property
    def regressed(self) -> Point | None:
        """The first checkpoint that regressed."""
        return None if self.regressions.first is None else self.points[self.regressions.first]


class Reader:
    """Summaries and comparisons of a series' runs, each read and made once however often the page is."""

    def __init__(self, comparing: Comparing | None = None) -> None:
        self._comparing = comparing or Paired()
        self._runs: dict[str, dict[Key, Summary]] = {}
        self._pairs: dict[tuple[str, str, str], list[Comparison] | str] = {}

    def summaries(self, run: Run) -> dict[Key, Summary]:
        """The headline metrics of tasks and groups as a whole."""
        name = str(run.path)
        if name not in self._runs:
            headline, found = _headlines(run), self._runs.setdefault(name, {})
            for s in run.summary():
                if s.slice is None and ((s.task, s.scorer, s.metric) in headline or s.unit == "group of tasks"):
                    found.setdefault((s.task, s.filter, s.scorer, s.metric), s)  # the first is the task's own
        return self._runs[name]

    def pair(self, baseline: Path, system: Path, task: str) -> list[Comparison] | str:
        """The comparisons of a task's metrics, or why there are none."""
        key = (str(baseline), str(system), task)
        if key not in self._pairs:
            try:
                self._pairs[key] = list(self._comparing(baseline, system, [task]))
            except (NotComparable, StoreError) as error:
                self._pairs[key] = str(error)
        return self._pairs[key]


class Paired:
    """Comparisons of whole runs, from their stored scores."""

    def __init__(self) -> None:
        self._scores: OrderedDict[Path, RunScores] = OrderedDict()

    def __call__(self, baseline: Path, system: Path, tasks: Collection[str]) -> Sequence[Comparison]:
        return compare_scores(self._load(baseline), self._load(system), tasks=tasks, slices=False)

    def _load(self, path: Path) -> RunScores:
        if path not in self._scores:
            self._scores[path] = load_scores(path)
            if len(self._scores) > _KEPT:
                self._scores.popitem(last=False)
        self._scores.move_to_end(path)
        return self._scores[path]


def panels(series: Series, reader: Reader, margin: float = MARGIN) -> list[Panel]:
    """Every headline metric of every group and task, in the order of the runs' tables."""
    done = [(member, run) for member in series.members if member.finished and (run := series.run_of(member)) is not None]
    if not done:
        return []
    latest = done[-1][1]
    found: dict[Key, Summary] = {}
    for _, run in done:
        found |= reader.summaries(run)
    order = {name: at for at, (name, _) in enumerate(base.outline(latest))}
    groups = base.groups(latest)
    keys = sorted(found, key=lambda key: order.get(key[0], len(order)))  # a sort keeps a task's metrics in order
    best = {key: _best(found[key], [reader.summaries(run).get(key) for _, run in done]) for key in keys}
    _compare(done, best, reader)
    return [
        _panel(key, found[key], base.alias(latest, key[0]), key[0] in groups, done, best[key], reader, margin)
        for key in keys
    ]


def _best(summary: Summary, summaries: Sequence[Summary | None]) -> Best:
    if summary.higher_is_better is None:
        return [None] * len(summaries)
    return best_before([None if s is None else s.value for s in summaries], summary.higher_is_better)


def _compare(done: Sequence[tuple[Member, Run]], best: Mapping[Key, Best], reader: Reader) -> None:
    """All comparisons, checkpoint by checkpoint: metric by metric, the scores of every run would be read for each."""
    for at, (_, run) in enumerate(done):
        wanted = {(before[0], key[0]) for key, found in best.items() if (before := found[at]) is not None}
        for before_, task in sorted(wanted):
            reader.pair(done[before_][1].path, run.path, task)


def _panel(
    key: Key,
    summary: Summary,
    name: str,
    group: bool,
    done: Sequence[tuple[Member, Run]],
    best: Best,
    reader: Reader,
    margin: float,
) -> Panel:
    summaries = [reader.summaries(run).get(key) for _, run in done]
    left = emergence(summaries)
    pairs = list(_pairs(key, done, best, reader))
    declines = [
        None if at is None or pair is None or pair.test is None else _decline(summary, at, pair, pair.test, margin)
        for at, (pair, _) in zip(best, pairs, strict=True)
    ]
    worse = regressions(declines)
    points = [
        Point(
            member=member,
            summary=summaries[i],
            above=None if left is None or left.adjusted[i] is None else left.above(i),
            p_chance=None if left is None else left.adjusted[i],
            against=None if (at := best[i]) is None else done[at[0]][0],
            comparison=pairs[i][0],
            p_worse=worse.adjusted[i],
            regressed=i in worse.regressed,
            note=pairs[i][1],
        )
        for i, (member, _) in enumerate(done)
    ]
    return Panel(key, name, group, summary, tuple(points), left, worse)


def _pairs(
    key: Key, done: Sequence[tuple[Member, Run]], best: Best, reader: Reader
) -> Iterator[tuple[Comparison | None, str | None]]:
    """Each checkpoint compared with the best before it, or why it is not."""
    for (_, run), at in zip(done, best, strict=True):
        if at is None:
            yield None, None
            continue
        found = reader.pair(done[at[0]][1].path, run.path, key[0])
        if isinstance(found, str):
            yield None, found
            continue
        own = next((c for c in found if (c.task, c.filter, c.scorer, c.metric.name) == key and c.slice is None), None)
        yield own, None if own is not None and own.test is not None else "this metric has no paired test"


def _decline(summary: Summary, at: tuple[int, int], pair: Comparison, test: Difference, margin: float) -> Decline:
    improvement = test if summary.higher_is_better else test.flipped()
    if summary.low is not None and summary.high is not None:
        allowed = margin * (summary.high - summary.low)
    else:
        allowed = margin * abs(pair.baseline_value or 0.0)
    return Decline(*at, improvement.value, improvement.p_worse(), allowed)


def _headlines(run: Run) -> set[tuple[str, str, str]]:
    """Task, scorer and name of the metrics that a run's scorers put into tables."""
    try:
        tasks = json.loads((run.path / SUMMARY).read_text("utf-8"))["scorers"]
        return {
            (task, scorer["name"], metric["name"])
            for task, scorers in tasks.items()
            for scorer in scorers
            for metric in scorer["metrics"]
            if metric["headline"]
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{run.path / SUMMARY} is damaged ({error}); evalkit rescore {run.path} makes it anew") from error
