"""A scorer's value of every output, and of every system, with no run around it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evalkit.calibrate.reading import SOURCE, RatedOutputs
from evalkit.errors import DataError, ScorerError
from evalkit.runner.prepare import scorer_spec
from evalkit.scorers.base import Array, MetricInfo, Scorer, ScoringPlan, pinned
from evalkit.scorers.registry import build_scorer
from evalkit.stats.levels import Rated, SystemValues
from evalkit.stats.means import Ints
from evalkit.types import Score

NO_OUTPUT = "no output"


@dataclass(frozen=True, slots=True)
class MetricValues:
    """One metric over the outputs: ``values`` (n,), NaN where it has none (``missing`` counts the reasons).

    Higher is better: values of a metric where lower is better are ``negated``. ``by_system`` makes the values of systems
    from resampling counts of items; ``None`` where a system's value is the mean of its outputs'.
    """

    name: str
    values: Array
    scorer: str = ""
    signature: str = ""
    negated: bool = False
    missing: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    by_system: Callable[[Rated, Ints], SystemValues] | None = None


def build(item: str | Mapping[str, Any], *, allow_code: bool = False) -> Scorer:
    """A scorer by name and parameters that can score outputs alone. Raises ScorerError for one that cannot."""
    scorer = build_scorer(scorer_spec(item), ScoringPlan("generate_until", allow_code=allow_code))
    if scorer.roles:
        raise ScorerError(f"scorer {scorer.name!r} asks a model ({', '.join(scorer.roles)}), which needs a run: evalkit run")
    if scorer.unit != "sample":
        raise ScorerError(f"scorer {scorer.name!r} scores groups of samples: it has no value for a single output")
    return scorer


def scored(data: RatedOutputs, scorer: Scorer) -> list[MetricValues]:
    """Every headline metric of ``scorer`` over the outputs, all scored in one call.

    Raises ScorerError where the data lacks a column that the scorer reads, DataError where it holds no outputs.
    """
    records = [output.record for output in data.outputs]
    _require_columns(data, scorer)
    if not data.columns.output:
        raise DataError(f"{data.where}: which column holds the outputs to score? Name it with --prediction")
    given = [i for i, record in enumerate(records) if record.answer is not None]
    usable = [records[i] for i in given]
    found = scorer.score(usable, scorer.prepare(usable)) if usable else []
    scores = [Score.unscored(NO_OUTPUT)] * len(records)
    for i, score in zip(given, found, strict=True):
        scores[i] = score
    missing = dict(Counter(score.reason or "no reason given" for score in scores if score.stats is None))
    if len(records) == sum(missing.values()):
        reason = max(missing, key=lambda text: missing[text])
        reason += "" if data.columns.references else "; references are named with --references"
        raise ScorerError(f"scorer {scorer.name!r} has no value for any of the {len(records)} outputs: {reason}")
    stats = _stats(scores)
    known = stats[~np.isnan(stats).all(axis=1)]
    notes = tuple(getattr(scorer, "notes", lambda stats: ())(known))
    metrics = [metric for metric in scorer.metrics if metric.headline] or list(scorer.metrics)
    return [
        MetricValues(
            metric.name,
            _sign(metric) * np.array([_value(scorer, metric, score) for score in scores]),
            scorer.name,
            pinned(scorer, known),
            metric.higher_is_better is False,
            missing,
            notes,
            None if metric.mean else _aggregated(scorer, metric, stats),
        )
        for metric in metrics
    ]


def computed(data: RatedOutputs) -> list[MetricValues]:
    """The numbers that came with the data, as metrics."""
    return [
        MetricValues(name, np.array([output.computed.get(name, np.nan) for output in data.outputs]), "(data)")
        for name in data.computed
    ]


def _require_columns(data: RatedOutputs, scorer: Scorer) -> None:
    known = {key for output in data.outputs for key in output.record.sample.doc}
    for column in getattr(scorer, "columns", ()):
        if column not in known:
            option = "; name its column with --source" if column == SOURCE else ""
            raise ScorerError(
                f"scorer {scorer.name!r} reads the column {column!r}, which {data.where} does not have{option}"
            )


def _sign(metric: MetricInfo) -> float:
    return -1.0 if metric.higher_is_better is False else 1.0


def _stats(scores: Sequence[Score]) -> Array:
    """The statistics (n, width); NaN rows where there are none."""
    width = max(len(score.stats) for score in scores if score.stats is not None)
    stats = np.full((len(scores), width), np.nan)
    for row, score in enumerate(scores):
        if score.stats is not None:
            stats[row] = score.stats
    return stats


def _value(scorer: Scorer, metric: MetricInfo, score: Score) -> float:
    """One output's value: what the scorer says of it, else what its statistics alone come to."""
    if score.stats is None:
        return float("nan")
    if metric.mean:
        return score.stats[metric.column]
    if metric is scorer.metrics[0] and score.value is not None:
        return score.value
    told = score.detail.get(metric.name)
    if isinstance(told, int | float):
        return float(told)
    return float(scorer.aggregate(np.array([score.stats]), np.ones(1))[metric.name])


def _aggregated(scorer: Scorer, metric: MetricInfo, stats: Array) -> Callable[[Rated, Ints], SystemValues]:
    """System values as the scorer itself aggregates: corpus BLEU of a system, not the mean of its sentences."""

    def of(rows: Rated, kept: Ints) -> SystemValues:
        members = [np.flatnonzero(rows.systems == system) for system in range(rows.system_count)]

        def values(weights: Array) -> Array:
            columns = [scorer.aggregate(stats[kept[part]], weights[:, rows.items[part]])[metric.name] for part in members]
            return _sign(metric) * np.stack(columns, axis=1)

        return values

    return of
