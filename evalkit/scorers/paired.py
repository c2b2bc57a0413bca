"""A metric in the form that `stats.paired` tests: column totals and their value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from evalkit.scorers.base import Array, MetricInfo, Scorer
from evalkit.scorers.items import ItemScorer, Part
from evalkit.scorers.labelled import Labelled
from evalkit.scorers.totals import TotalsScorer
from evalkit.stats.paired import Finish, mean_of_totals


@dataclass(frozen=True, slots=True)
class PairedMetric:
    """``table``: from statistics (n, width) to columns (n, m) to total; ``finish``: the value of totals (..., m).

    ``known`` marks the rows (n,) that have a value. Make one a metric and use it for all systems.
    """

    table: Callable[[Array], Array]
    finish: Finish
    known: Callable[[Array], npt.NDArray[np.bool_]]


def paired_metric(scorer: Scorer, metric: MetricInfo) -> PairedMetric | None:
    """The metric as totals; ``None`` where it is neither a mean nor a function of totals, and so has no paired test."""
    if isinstance(scorer, Labelled):
        return paired_metric(scorer.inner, scorer.original(metric))
    if isinstance(scorer, ItemScorer):
        return _of_part(scorer.part(metric.name), metric)
    column = metric.column
    if metric.mean:
        return PairedMetric(
            lambda stats: np.column_stack([stats[:, column], np.ones(len(stats))]),
            mean_of_totals,
            lambda stats: ~np.isnan(stats[:, column]),
        )
    if isinstance(scorer, TotalsScorer):
        return PairedMetric(
            scorer.features,
            lambda totals: scorer.finish(totals)[metric.name],
            lambda stats: ~np.isnan(stats.sum(axis=1)),
        )
    return None


def _of_part(part: Part, metric: MetricInfo) -> PairedMetric | None:
    """One of several aggregations side by side, each with columns of its own."""
    own = paired_metric(part.aggregation, replace(metric, name=part.aggregation.name, column=0))
    if own is None:
        return None
    return PairedMetric(
        lambda stats: own.table(stats[:, part.columns]), own.finish, lambda stats: own.known(stats[:, part.columns])
    )
