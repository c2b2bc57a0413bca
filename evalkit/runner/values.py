"""A record's values by metric name, from the scores that hold them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from evalkit.scorers.base import Scorer
from evalkit.tasks.base import Filter
from evalkit.types import Score, Summary

#: Metric names by task, filter and scorer, in the scorer's order.
MetricNames = Mapping[tuple[str, str, str], list[str]]


class Scored(Protocol):
    """The part of a record's view that is needed here."""

    @property
    def task(self) -> str: ...

    @property
    def filter(self) -> str: ...

    @property
    def scores(self) -> Mapping[str, Score]: ...


class Summarised(Protocol):
    """A run, as far as its summaries go."""

    def summary(self) -> Iterable[Summary]: ...


class Scoring(Protocol):
    """A task, as far as what it reports goes."""

    @property
    def name(self) -> str: ...

    @property
    def filters(self) -> tuple[Filter, ...]: ...

    @property
    def scorers(self) -> tuple[Scorer, ...]: ...


def names_to_come(tasks: Sequence[Scoring]) -> MetricNames:
    """What `metric_names` will read from the summaries of these tasks."""
    names: dict[tuple[str, str, str], list[str]] = {}
    for task in tasks:
        for filter_ in task.filters:
            for scorer in task.scorers:
                names.setdefault((task.name, filter_.name, scorer.name), []).extend(m.name for m in scorer.metrics)
    return names


def metric_names(run: Summarised) -> MetricNames:
    """What each scorer reports, read from the summaries."""
    names: dict[tuple[str, str, str], list[str]] = {}
    for s in run.summary():
        if s.slice is None:
            names.setdefault((s.task, s.filter, s.scorer), []).append(s.metric)
    return names


def values(view: Scored, names: MetricNames) -> dict[str, float | None]:
    """A record's value of every metric that has one for a single record.

    A scorer of several metrics gives the first as its score's value and the others, by name, in the score's detail.
    """
    found: dict[str, float | None] = {}
    for scorer, score in view.scores.items():
        first, *others = names.get((view.task, view.filter, scorer)) or [scorer]
        found[first] = score.value
        for metric in others:
            value: Any = score.detail.get(metric)
            if isinstance(value, int | float):
                found[metric] = float(value)
    return found
