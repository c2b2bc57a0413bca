"""How sure one can be of a percentile of latencies, and of the ratio of two runs' percentiles over the same samples."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from evalkit.gating.decide import Evidence
from evalkit.stats.intervals import Interval
from evalkit.stats.means import Array

#: Samples below which a bootstrap of the percentile says nothing: it can only draw what was seen.
LEAST = {0.5: 20, 0.95: 100}
_REPLICATES = 2000
_DRAWN = 5000  # samples a replicate at most
_CHUNK = 1 << 18


def exceeds_p(slower: int, n: int, share: float) -> float:
    """P(at least ``slower`` of ``n`` exceed the limit) were ``share`` of all above it: small where more are."""
    return min(1.0, math.fsum(_probabilities(n, share)[slower:]))


def below_p(slower: int, n: int, share: float) -> float:
    """P(at most ``slower`` of ``n`` exceed the limit) were ``share`` of all above it: small where fewer are."""
    return min(1.0, math.fsum(_probabilities(n, share)[: slower + 1]))


def shown_at(x: Array, q: float, level: float = 0.95) -> tuple[float, Interval | None]:
    """The percentile of ``x`` (n,), n > 0, and its exact interval between order statistics (``None``: n is too small)."""
    ordered = np.sort(x)
    value = float(np.quantile(ordered, q, method="inverted_cdf"))
    below = np.cumsum(_probabilities(len(x), q))  # P(at most k of n lie below the percentile)
    tail = (1 - level) / 2
    low = int(np.searchsorted(below, tail, side="right"))
    high = int(np.searchsorted(below, 1 - tail, side="left")) + 1
    if low < 1 or high > len(x):
        return value, None
    return value, (float(ordered[low - 1]), float(ordered[high - 1]))


def ratio_evidence(baseline: Array, candidate: Array, q: float, alpha: float, seed: int = 0) -> tuple[Evidence, Interval]:
    """How much faster the candidate is, as a part of the baseline's percentile, and the ratio's 95 % interval.

    Samples (n,) are drawn in pairs; bounds are percentiles of the replicates, p is the share of them in which the candidate
    is not slower.
    """
    ratio = float(np.quantile(candidate, q) / np.quantile(baseline, q))
    drawn = _ratios(baseline, candidate, q, seed)
    low, high = (float(value) for value in np.quantile(drawn, [alpha, 1 - alpha]))
    p = (int((drawn <= 1).sum()) + 1) / (len(drawn) + 1)
    ends = np.quantile(drawn, [0.025, 0.975])
    return Evidence(1 - ratio, 1 - max(high, ratio), 1 - min(low, ratio), p), (float(ends[0]), float(ends[1]))


def _ratios(baseline: Array, candidate: Array, q: float, seed: int) -> Array:
    """Replicates of the ratio. Of very many samples a part is drawn each time, and the spread scaled to all of them."""
    n = len(baseline)
    m = min(n, _DRAWN)
    rng = np.random.default_rng(seed)
    size = max(1, _CHUNK // m)
    parts = []
    for start in range(0, _REPLICATES, size):
        rows = rng.integers(0, n, size=(min(size, _REPLICATES - start), m))
        with np.errstate(divide="ignore", invalid="ignore"):
            parts.append(np.quantile(candidate[rows], q, axis=1) / np.quantile(baseline[rows], q, axis=1))
    drawn = np.concatenate(parts)
    drawn = drawn[np.isfinite(drawn)]
    ratio = float(np.quantile(candidate, q) / np.quantile(baseline, q))
    return np.asarray(ratio + (drawn - ratio) * math.sqrt(m / n), dtype=np.float64)


@lru_cache(maxsize=4)
def _probabilities(n: int, share: float) -> Array:
    """Of 0..n successes."""
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    k = np.arange(n + 1)
    logs = factorials[n] - factorials - factorials[::-1] + k * math.log(share) + (n - k) * math.log1p(-share)
    return np.asarray(np.exp(logs), dtype=np.float64)
