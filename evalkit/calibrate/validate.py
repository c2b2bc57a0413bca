"""Does a metric agree with people? Correlation of scorers' values with human ratings, at three levels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.calibrate.columns import Columns
from evalkit.calibrate.metric_values import MetricValues, build, computed, scored
from evalkit.calibrate.reading import RatedOutputs, read_rated
from evalkit.errors import DataError, UsageError, nearest
from evalkit.runner.run import Run
from evalkit.stats.correlation import COEFFICIENTS
from evalkit.stats.levels import LEVELS, REPLICATES, Level, agreement, rated
from evalkit.types import Json


@dataclass(frozen=True, slots=True)
class Validity:
    """One metric against one rating at one level."""

    metric: str
    rating: str
    level: Level
    values: MetricValues

    def flat(self) -> dict[str, Json]:
        """One line of a table: every coefficient with its interval, what it rests on, and why it is missing."""
        line: dict[str, Json] = {
            "metric": self.metric,
            "rating": self.rating,
            "level": self.level.name,
            "n": self.level.n,
            "items": self.level.items,
            "systems": self.level.systems,
        }
        for name in COEFFICIENTS:
            found = self.level.coefficients[name]
            low, high = found.ci or (None, None)
            line |= {name: found.value, f"{name}_low": low, f"{name}_high": high, f"{name}_used": found.used}
        line["accuracy_calibrated"], line["tie_threshold"] = self.level.calibrated or (None, None)
        line["reason"] = next((a.reason for a in self.level.coefficients.values() if a.reason), None)
        return line | {"negated": self.values.negated, "scorer": self.values.scorer, "signature": self.values.signature}


@dataclass(frozen=True, slots=True)
class Validation:
    """What `validate_metrics` found: ``rows`` by rating, level, metric, and the data they rest on."""

    data: RatedOutputs
    metrics: tuple[MetricValues, ...]
    rows: tuple[Validity, ...]

    def flat(self) -> list[dict[str, Json]]:
        """One dict a row, all with the same keys."""
        return [row.flat() for row in self.rows]

    def find(self, metric: str, rating: str, level: str) -> Level:
        """One row's level. Raises UsageError where there is none."""
        for row in self.rows:
            if (row.metric, row.rating, row.level.name) == (metric, rating, level):
                return row.level
        raise UsageError(f"nothing for metric {metric!r}, rating {rating!r}, level {level!r}")

    def to_dict(self) -> dict[str, Json]:
        """Everything as JSON."""
        systems = self.data.systems
        return {
            "data": {
                "file": self.data.where,
                "outputs": len(self.data.outputs),
                "items": len(set(self.data.items)),
                "systems": 1 if systems is None else len(set(systems)),
                "columns": self.data.columns.described(),
                "rated": {name: sum(name in output.ratings for output in self.data.outputs) for name in self.data.ratings},
            },
            "metrics": [
                {
                    "metric": metric.name,
                    "scorer": metric.scorer,
                    "signature": metric.signature,
                    "negated": metric.negated,
                    "values": int(np.isfinite(metric.values).sum()),
                    "missing": dict(metric.missing),
                    "notes": list(metric.notes),
                }
                for metric in self.metrics
            ],
            "rows": self.flat(),
        }


def validate_metrics(
    data: str | Path | Iterable[Mapping[str, Any]],
    scorers: Sequence[str | Mapping[str, Any]] = (),
    *,
    columns: Columns | Mapping[str, str | Sequence[str]] | None = None,
    levels: Sequence[str] | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
    allow_code: bool = False,
    runs: Sequence[Run] = (),
) -> Validation:
    """Correlate ``scorers``, and numbers that the data holds already, with the human ratings of ``data``.

    Args:
        data: a file of rated outputs, or rows in memory; see `Columns` for what a row holds. A study's folder, or a table
            of single ratings.
        scorers: registered names with parameters, as everywhere (``"rouge:use_stemmer=true"``, a mapping).
        columns: what is where (``{"human": "scores", "item": "doc"}``); what is not named is recognised.
        levels: of ``segment``, ``summary``, ``system``; without it those that the data has.
        replicates: bootstrap draws an interval; 0 for none.
        seed: of the bootstrap.
        allow_code: whether a scorer may load code from the Hugging Face hub.
        runs: what a table of single ratings rates, where it is in no study.

    Returns:
        All coefficients by rating, level and metric. What is undefined is ``None`` with a reason.

    Raises:
        DataError: a column that is not there, no ratings, nothing to correlate.
        ScorerError: a scorer that is unknown, needs a model call, or finds no value for any output.
    """
    wrong = [level for level in levels or () if level not in LEVELS]
    if wrong:
        raise UsageError(f"unknown level {wrong[0]!r}{nearest(wrong[0], LEVELS) or f'; known: {chr(44).join(LEVELS)}'}")
    built = [build(item, allow_code=allow_code) for item in scorers]
    found = read_rated(data, Columns.of(columns), runs)
    if not built and not found.computed:
        raise DataError(
            f"{found.where}: nothing to validate; name scorers with --scorers, or columns of numbers with --columns"
        )
    metrics = [*(metric for scorer in built for metric in scored(found, scorer)), *computed(found)]
    names = _distinct(metrics)
    rows = [
        Validity(name, rating, _level(found, metric, rating, level, replicates, seed), metric)
        for rating in found.ratings
        for level in (levels or _levels(found))
        for name, metric in zip(names, metrics, strict=True)
    ]
    return Validation(found, tuple(metrics), tuple(rows))


def _levels(data: RatedOutputs) -> list[str]:
    """The levels that the data has: several outputs of an item, several systems."""
    items, systems = data.items, data.systems or []
    found = {"segment": True, "summary": len(set(items)) < len(items), "system": len(set(systems)) > 1}
    return [level for level in LEVELS if found[level]]


def _distinct(metrics: Sequence[MetricValues]) -> list[str]:
    """A name for each metric; metrics of one name are told apart by scorer, then by number."""
    names = [metric.name for metric in metrics]
    names = [f"{m.scorer}/{m.name}" if names.count(m.name) > 1 else m.name for m in metrics]
    return [f"{name}#{names[:i].count(name) + 1}" if names.count(name) > 1 else name for i, name in enumerate(names)]


def _level(data: RatedOutputs, metric: MetricValues, rating: str, level: str, replicates: int, seed: int) -> Level:
    ratings = np.array([output.ratings.get(rating, np.nan) for output in data.outputs])
    rows, kept = rated(metric.values, ratings, data.items, data.systems)
    own = metric.by_system(rows, kept) if metric.by_system is not None and level == "system" else None
    return agreement(rows, level, replicates=replicates, seed=seed, system_values=own)
