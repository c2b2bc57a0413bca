"""Scorers over lm-eval's items: a task's ``process_results``, metric functions, built-in metrics aggregated otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from evalkit.scorers.aggregations import Aggregation, NotAnItem, aggregation
from evalkit.scorers.base import Array, BaseScorer, MetricInfo
from evalkit.types import Json, Record, Score

#: What a metric yields for a record, by metric name; several names from one function are possible.
Items = Callable[[Record], Mapping[str, Any]]

#: How many records may be tried to learn which metrics a function yields.
_PROBE = 10


class NoItem(ValueError):
    """A record for which a metric has nothing to say; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Part:
    """One metric of an `ItemScorer`: its aggregation and the columns of statistics that are its own."""

    aggregation: Aggregation
    columns: slice


class ItemScorer(BaseScorer):
    """Metrics whose items come from ``items(record)``, each with its own aggregation.

    ``declared`` are the aggregations by metric name; names that ``items`` yields beyond them are learnt in `prepare` and
    get ``fallback(name)``. A name a record does not yield is NaN in its row: no value, not zero. After scoring, ``metrics``
    holds the names that some record had.
    """

    def __init__(
        self,
        name: str,
        items: Items,
        declared: Mapping[str, Aggregation],
        *,
        fallback: Callable[[str], Aggregation] | None = None,
        parameters: Mapping[str, Json] | None = None,
    ) -> None:
        self.name = name
        self._items = items
        self._fallback = fallback or (lambda metric: aggregation(metric, "mean"))
        self._infos: dict[str, MetricInfo] = {}
        self._seen: set[str] = set()
        self._parameters = dict(parameters or {})
        self._parts: dict[str, Part] = {}
        self._lay_out(declared)

    def _lay_out(self, parts: Mapping[str, Aggregation]) -> None:
        self._parts = {}
        start = 0
        self._infos = {}
        for metric, how in parts.items():
            self._parts[metric] = Part(how, slice(start, start + how.width))
            info = how.metrics[0]
            self._infos[metric] = MetricInfo(metric, higher_is_better=info.higher_is_better, mean=how.mean, column=start)
            start += how.width
        self.metrics = tuple(self._infos.values())

    def parameters(self) -> Mapping[str, Json]:
        return self._parameters

    def part(self, metric: str) -> Part:
        """The aggregation and columns of one metric."""
        return self._parts[metric]

    def prepare(self, records: Iterable[Record]) -> None:
        """Learn the metric names from the first records that yield any."""
        for record in islice((r for r in records if r.complete), _PROBE):
            found = self._try(record)
            if isinstance(found, str):
                continue
            kept = {name: part.aggregation for name, part in self._parts.items()}  # rows of another filter rely on them
            self._lay_out(kept | {name: self._fallback(name) for name in found if name not in kept})
            return

    def _try(self, record: Record) -> Mapping[str, Any] | str:
        """A record's items, or why there are none."""
        try:
            return self._items(record)
        except NoItem as reason:
            return str(reason)
        except Exception as error:  # a task folder's function: its failure is this sample's, not the run's
            return f"{self.name} failed: {type(error).__name__}: {error}"

    def score(self, records: Sequence[Record], state: Any) -> Sequence[Score]:
        scores = [self._one(record) for record in records]
        self.metrics = tuple(info for name, info in self._infos.items() if name in self._seen) or tuple(self._infos.values())
        return scores

    def _one(self, record: Record) -> Score:
        found = self._try(record)
        if isinstance(found, str):
            return Score.unscored(found)
        row: list[float] = []
        reasons = []
        for metric, part in self._parts.items():
            missing = (float("nan"),) * part.aggregation.width
            if metric not in found or found[metric] is None:
                row.extend(missing)
                continue
            try:
                row.extend(part.aggregation.encode(found[metric]))
                self._seen.add(metric)
            except NotAnItem as reason:
                reasons.append(f"{metric}: {reason}")
                row.extend(missing)
        if all(math.isnan(x) for x in row):
            return Score.unscored(reasons[0] if reasons else f"{self.name} gave none of {', '.join(self._parts)}")
        plain = {k: v for k, v in found.items() if isinstance(v, str | int | float | bool)}
        first = next(iter(self._parts.values()))
        value = row[0] if first.aggregation.mean and not math.isnan(row[0]) else None
        return Score(tuple(row), value, detail=plain if len(self._parts) > 1 else {})

    def aggregate(self, stats: Array, weights: Array) -> Mapping[str, Array]:
        values: dict[str, Array] = {}
        for metric, part in self._parts.items():
            own = stats[:, part.columns]
            known = ~np.isnan(own).any(axis=1)
            values[metric] = part.aggregation.aggregate(own[known], weights[..., known])[part.aggregation.name]
        return values
