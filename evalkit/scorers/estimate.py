"""A metric's value with its standard error and interval, by the fitting method.

| rows | standard error | interval |
|---|---|---|
| mean of right/wrong rows | sd/sqrt(n), clustered CR1 | Wilson on n, or on p(1-p)/SE^2 where clustered or fractional |
| mean of other rows | the same | t(n-1), or t(clusters-1) |
| function of totals, up to 5,000 rows | bootstrap by re-weighting | percentile |
| function of totals, more rows | delta method | t |
| anything else | bootstrap (200 replicates for a task folder's function, if it is quick) | percentile |
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from evalkit.scorers.aggregations import Aggregation, Custom
from evalkit.scorers.base import Array, MetricInfo, Scorer
from evalkit.scorers.items import ItemScorer
from evalkit.scorers.labelled import Labelled
from evalkit.scorers.totals import TotalsScorer
from evalkit.stats.intervals import effective_n, t_interval, wilson
from evalkit.stats.means import Ints, cluster_codes, clustered_stderr, mean, mean_stderr
from evalkit.stats.resample import bootstrap, linearised_stderr, percentile_interval, replicate_stderr

#: Beyond this many rows (or clusters) the delta method replaces the bootstrap: it then has no noise of its own to add.
MAX_BOOTSTRAP_ROWS = 5_000
_CUSTOM_REPLICATES = 200
_CUSTOM_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and how sure it is; ``None`` where it is undefined. ``n`` counts the units that have a value."""

    value: float | None
    stderr: float | None = None
    ci: tuple[float, float] | None = None
    ci_method: str | None = None
    n: int = 0


def estimate(
    scorer: Scorer,
    metric: MetricInfo,
    stats: Array,
    clusters: npt.NDArray[np.int64] | None = None,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Estimate ``metric`` of ``scorer`` from ``stats`` (n, width) and optional cluster labels (n,), one a row.

    Rows with a NaN in a column that the metric reads are left out. Clusters that all hold one row are none. The standard
    error is ``None`` for fewer than two rows (or clusters).
    """
    if isinstance(scorer, Labelled):
        return estimate(scorer.inner, scorer.original(metric), stats, clusters, level=level, seed=seed)
    if isinstance(scorer, ItemScorer):
        part = scorer.part(metric.name)
        if part.columns.stop > stats.shape[1]:  # learnt from a later filter's records
            return Estimate(None)
        return estimate(
            part.aggregation, replace(metric, column=0), stats[:, part.columns], clusters, level=level, seed=seed
        )
    known = ~np.isnan(stats[:, metric.column] if metric.mean else stats.sum(axis=1))
    stats = stats[known]
    n = len(stats)
    if n == 0:
        return Estimate(None)
    codes: Ints | None = None
    if clusters is not None:
        codes, count = cluster_codes(clusters[known])
        if count == n:
            codes = None
    if metric.mean:
        return _mean(metric, stats[:, metric.column], codes, level)
    return _general(scorer, metric, stats, codes, level, seed)


def _mean(metric: MetricInfo, x: Array, codes: Ints | None, level: float) -> Estimate:
    n, value = len(x), mean(x)
    if not math.isfinite(value):
        return Estimate(None, n=n)
    units = n if codes is None else int(codes.max()) + 1
    stderr = mean_stderr(x) if codes is None else clustered_stderr(x, codes)
    binary = bool(((x == 0.0) | (x == 1.0)).all())
    unbounded = metric.low is None and metric.high is None and metric.ideal is None
    unit_range = metric.low == 0.0 and metric.high == 1.0
    # a mean within [0, 1] with no spread, and a metric of unknown kind whose rows are all 0 or 1, are proportions too
    if metric.proportion or (unbounded and binary) or (unit_range and not stderr):
        plain = codes is None and binary
        trials = float(n) if plain else effective_n(value, stderr, units)
        return Estimate(value, stderr, wilson(value, trials, level), "wilson" if plain else "wilson-effective-n", n)
    if stderr is None:
        return Estimate(value, n=n)
    interval = _clipped(t_interval(value, stderr, units - 1, level), metric)
    return Estimate(value, stderr, interval, "t" if codes is None else "t-clustered", n)


def _general(scorer: Scorer, metric: MetricInfo, stats: Array, codes: Ints | None, level: float, seed: int) -> Estimate:
    n = len(stats)
    units = n if codes is None else int(codes.max()) + 1
    started = time.perf_counter()
    value = float(scorer.aggregate(stats, np.ones(n))[metric.name])
    elapsed = time.perf_counter() - started
    if not math.isfinite(value):
        return Estimate(None, n=n)
    if units < 2 or (isinstance(scorer, Aggregation) and not scorer.resampled):
        return Estimate(value, n=n)
    if isinstance(scorer, TotalsScorer):
        features = scorer.features(stats)
        if scorer.prefer_linear or units > MAX_BOOTSTRAP_ROWS:
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                stderr = linearised_stderr(scorer.finish, features, codes)[metric.name]
            interval = None if not stderr else _clipped(t_interval(value, stderr, units - 1, level), metric)
            return Estimate(value, stderr, interval, "linearised" if interval else None, n)
        return _bootstrapped_totals(scorer, metric, value, features, codes, level, seed, n)
    replicates = None
    if isinstance(scorer, Custom):
        if elapsed > _CUSTOM_SECONDS:  # a function that loads a model, say: 200 more calls would take minutes
            return Estimate(value, n=n)
        replicates = _CUSTOM_REPLICATES
    drawn = bootstrap(
        lambda weights: {metric.name: scorer.aggregate(stats, weights)[metric.name]},
        n,
        clusters=codes,
        replicates=replicates,
        seed=seed,
    )
    return _replicated(metric, value, drawn[metric.name], level, n)


def _bootstrapped_totals(
    scorer: TotalsScorer,
    metric: MetricInfo,
    value: float,
    features: Array,
    codes: Ints | None,
    level: float,
    seed: int,
    n: int,
) -> Estimate:
    """The bootstrap on totals: rows of a cluster are summed first, so that a replicate is one product."""
    if codes is not None:
        summed = np.zeros((int(codes.max()) + 1, features.shape[1]))
        np.add.at(summed, codes, features)
        features = summed
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        drawn = bootstrap(
            lambda weights: {metric.name: scorer.finish(weights @ features)[metric.name]}, len(features), seed=seed
        )
    return _replicated(metric, value, drawn[metric.name], level, n)


def _replicated(metric: MetricInfo, value: float, replicates: Array, level: float, n: int) -> Estimate:
    interval = percentile_interval(replicates, level)
    return Estimate(value, replicate_stderr(replicates), interval, "bootstrap" if interval else None, n)


def _clipped(interval: tuple[float, float], metric: MetricInfo) -> tuple[float, float]:
    """The interval within the metric's range."""
    low, high = interval
    return (low if metric.low is None else max(low, metric.low)), (high if metric.high is None else min(high, metric.high))
