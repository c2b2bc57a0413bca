"""Uncertainty of any weighted value: the bootstrap by re-weighting, and the delta method where that would be dear.

A bootstrap replicate is a vector of counts, so a statistic that takes weights is never asked to look at the data again.
Work and memory are bounded whatever the number of rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from evalkit.stats.distributions import normal_cdf, normal_quantile
from evalkit.stats.means import Array, Ints, clustered_stderr, mean_stderr

#: From weights (r, n) to replicates (r,) by name.
Weighted = Callable[[Array], Mapping[str, Array]]

MAX_REPLICATES = 10_000
MIN_REPLICATES = 100
_DRAWS = 20_000_000  # rows x replicates in all: half a second
_CHUNK = 1 << 18  # rows x replicates at a time: 2 MB a matrix, which a processor's cache holds


def replicates_for(n: int) -> int:
    """How many replicates ``n`` resampled units get: 10,000 while that is cheap, fewer (never under 100) beyond."""
    return int(min(MAX_REPLICATES, max(MIN_REPLICATES, _DRAWS // max(n, 1))))


def resample_counts(n: int, replicates: int, seed: int = 0) -> Iterator[Array]:
    """Chunks (r, n) of how often each of ``n`` units is drawn in a replicate of ``n`` draws; r sums to ``replicates``."""
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK // max(n, 1))
    for start in range(0, replicates, rows):
        r = min(rows, replicates - start)
        drawn = rng.integers(0, n, size=(r, n), dtype=np.int64)
        drawn += np.arange(r, dtype=np.int64)[:, None] * n
        yield np.bincount(drawn.reshape(-1), minlength=r * n).reshape(r, n).astype(np.float64)


def bootstrap(
    weighted: Weighted, n: int, *, clusters: Ints | None = None, replicates: int | None = None, seed: int = 0
) -> dict[str, Array]:
    """Bootstrap replicates by name of ``weighted`` over ``n`` rows.

    With ``clusters`` (codes 0..C-1, one a row) whole clusters are drawn. ``replicates`` defaults to `replicates_for`.
    The same seed, rows and order give the same numbers.
    """
    units = n if clusters is None else int(clusters.max()) + 1
    count = replicates_for(max(n, units)) if replicates is None else replicates
    parts: dict[str, list[Array]] = {}
    for counts in resample_counts(units, count, seed):
        for name, values in weighted(counts if clusters is None else counts[:, clusters]).items():
            parts.setdefault(name, []).append(values)
    return {name: np.concatenate(chunks) for name, chunks in parts.items()}


def percentile_interval(values: Array, level: float = 0.95) -> tuple[float, float] | None:
    """The percentile interval of bootstrap replicates; ``None`` where too few are defined, or it has no width."""
    finite = values[np.isfinite(values)]
    if len(finite) < 2 or len(finite) < 0.5 * len(values):
        return None
    low, high = np.quantile(finite, [0.5 - level / 2, 0.5 + level / 2])
    return (float(low), float(high)) if low < high else None


def bca_interval(replicates: Array, value: float, without: Array, level: float = 0.95) -> tuple[float, float] | None:
    """Efron's bias-corrected and accelerated interval (1987) of ``value`` from its bootstrap replicates.

    ``without`` (u,) are the values with one resampled unit left out each. As scipy's ``bootstrap``, ties count half.
    ``None`` where too few replicates are defined or all are the same. It follows skew better than percentiles do, and has no
    more to go by than they where few units carry the variance.
    """
    if percentile_interval(replicates, level) is None:
        return None
    finite = replicates[np.isfinite(replicates)]
    below = (float((finite < value).mean()) + float((finite <= value).mean())) / 2
    if not 0 < below < 1:
        return None
    bias = normal_quantile(below)
    gaps = without.mean() - without
    squares = float(gaps @ gaps)
    acceleration = float((gaps**3).sum()) / (6 * squares**1.5) if squares > 0 else 0.0

    def place(p: float) -> float:
        z = bias + normal_quantile(p)
        return normal_cdf(bias + z / (1 - acceleration * z))

    low, high = np.quantile(finite, [place(0.5 - level / 2), place(0.5 + level / 2)])
    return (float(low), float(high)) if low < high else None


def replicate_stderr(values: Array) -> float | None:
    """Standard error as the sample sd of the defined bootstrap replicates; ``None`` for fewer than two."""
    finite = values[np.isfinite(values)]
    return float(finite.std(ddof=1)) if len(finite) >= 2 else None


def linearised_stderr(
    finish: Callable[[Array], Mapping[str, Array]], features: Array, clusters: Ints | None = None
) -> dict[str, float | None]:
    """Delta-method standard errors of values that are functions of column totals of ``features`` (n, m).

    ``finish`` maps totals (..., m) to values (...) by name. The gradient at the observed totals is numeric (central
    differences); the influence of a row is its features times that gradient, and the standard error is that of the sum of
    influences, clustered (CR1) where ``clusters`` are given. Cost O(n m); use it where n is large.
    """
    n, width = features.shape
    totals = features.sum(axis=0)
    scale = np.abs(features).sum(axis=0)
    step = 1e-6 * np.where(scale > 0, scale, 1.0)
    nudged = np.concatenate([totals + np.diag(step), totals - np.diag(step)])
    result: dict[str, float | None] = {}
    for name, values in finish(nudged).items():
        gradient = (values[:width] - values[width:]) / (2 * step)
        gradient = np.where(scale > 0, gradient, 0.0)
        if not np.isfinite(gradient).all():
            result[name] = None
            continue
        influence = n * (features @ gradient)
        spread = mean_stderr(influence) if clusters is None else clustered_stderr(influence, clusters)
        result[name] = spread if spread is None or math.isfinite(spread) else None
    return result
