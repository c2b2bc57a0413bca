"""Comparing many groups honestly: an exact test of two shares, and a correction for how many were compared."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from evalkit.stats import multiple
from evalkit.stats.distributions import t_cdf
from evalkit.stats.means import Array, Ints, cluster_codes

Flags = npt.NDArray[np.bool_]


def fisher_p(hits: int, trials: int, other_hits: int, other_trials: int) -> float | None:
    """Two-sided p of Fisher's exact test that two shares are equal; ``None`` where one has no trials.

    The tables no likelier than what was seen, as scipy's ``fisher_exact`` counts them.
    """
    if not (0 <= hits <= trials and 0 <= other_hits <= other_trials):
        raise ValueError(f"no shares: {hits} of {trials}, {other_hits} of {other_trials}")
    if not trials or not other_trials:
        return None
    whole, marked = trials + other_trials, hits + other_hits
    first, last = max(0, marked - other_trials), min(marked, trials)

    def log_ways(k: int) -> float:
        return _log_choose(trials, k) + _log_choose(other_trials, marked - k)

    bound = log_ways(hits) + 1e-7
    total = _log_choose(whole, marked)
    return min(1.0, math.fsum(math.exp(w - total) for k in range(first, last + 1) if (w := log_ways(k)) <= bound))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def holm(p: Sequence[float | None]) -> list[float | None]:
    """As `stats.multiple.holm`, for tests some of which could not be made: those (``None``) stay so and do not count."""
    known = [i for i, value in enumerate(p) if value is not None]
    adjusted: list[float | None] = [None] * len(p)
    for i, value in zip(known, multiple.holm([value for value in p if value is not None]), strict=True):
        adjusted[i] = value
    return adjusted


def clustered_difference_p(values: Array, member: Flags, clusters: Ints) -> float | None:
    """Two-sided p that the mean of the ``values`` (n,) of a group is that of all others, where rows come in ``clusters``.

    Groups may share clusters (sentences of one template). Student's t with clusters - 1 degrees of freedom and the CR1
    standard error of the difference; ``None`` without rows on a side, for fewer than two clusters and where nothing varies.
    """
    inside, outside = values[member], values[~member]
    codes, count = cluster_codes(clusters)
    if not len(inside) or not len(outside) or count < 2:
        return None
    influence = np.where(member, (values - inside.mean()) / len(inside), -(values - outside.mean()) / len(outside))
    sums = np.bincount(codes, weights=influence, minlength=count)
    stderr = math.sqrt(float(sums @ sums) * count / (count - 1))
    if stderr < 1e-12:
        return None
    return min(1.0, 2 * (1 - t_cdf(abs(float(inside.mean() - outside.mean())) / stderr, count - 1)))
