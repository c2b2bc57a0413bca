"""Means and their standard errors: independent, clustered, repeated, and pooled over the tasks of a group.

Formulas and recommendations follow E. Miller, "Adding Error Bars to Evals" (arXiv 2411.00640).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def mean(x: Array) -> float:
    """The arithmetic mean, summed exactly (the same in any order); NaN for no values."""
    return math.fsum(x.tolist()) / len(x) if len(x) else float("nan")


def mean_stderr(x: Array) -> float | None:
    """Standard error of the mean, sample sd / sqrt(n) (ddof 1); ``None`` for fewer than two values."""
    n = len(x)
    return None if n < 2 else float(np.std(x, ddof=1) / math.sqrt(n))


def cluster_codes(clusters: Sequence[Any] | npt.NDArray[Any]) -> tuple[Ints, int]:
    """Cluster labels as codes 0..C-1 and their number C; numbered by first appearance in sorted order."""
    unique, codes = np.unique(np.asarray(clusters), return_inverse=True)
    return codes.astype(np.int64).reshape(-1), len(unique)


def clustered_stderr(x: Array, clusters: Sequence[Any] | npt.NDArray[Any], *, correct: bool = True) -> float | None:
    """Standard error of a mean whose values ``x`` (n,) are dependent within ``clusters`` (n labels).

    CR0 = sqrt(sum over clusters of (sum of residuals)^2) / n; with ``correct`` CR1 = CR0 * sqrt(C / (C - 1)), the form to
    use with t(C - 1). ``None`` for fewer than two clusters, where nothing can be estimated.
    """
    codes, count = cluster_codes(clusters)
    if count < 2:
        return None
    sums = np.bincount(codes, weights=x - np.mean(x), minlength=count)
    cr0 = math.sqrt(float(sums @ sums)) / len(x)
    return cr0 * math.sqrt(count / (count - 1)) if correct else cr0


@dataclass(frozen=True, slots=True)
class VarianceSplit:
    """How the variance of a mean over items splits when every item was answered K times.

    ``between`` is the variance of the items' true rates (omega^2), ``within`` the mean variance of an item's own answers
    (sigma^2, one answer). ``stderr`` belongs to the mean as measured; the other two say what one answer an item, or
    infinitely many, would have given.
    """

    mean: float
    stderr: float | None
    between: float
    within: float
    stderr_one: float
    stderr_many: float


def variance_split(scores: Array) -> VarianceSplit:
    """Split the variance of ``scores`` (n items, K answers), n >= 2 and K >= 2: Var(mean) = (omega^2 + sigma^2 / K) / n.

    The unit of analysis is the item mean, never the n * K rows. Raises ValueError for other shapes.
    """
    if scores.ndim != 2 or scores.shape[0] < 2 or scores.shape[1] < 2:
        raise ValueError(f"variance_split needs at least 2 items with 2 answers each, not an array of shape {scores.shape}")
    n, repeats = scores.shape
    item_means = scores.mean(axis=1)
    within = float(scores.var(axis=1, ddof=1).mean())
    between = max(float(item_means.var(ddof=1)) - within / repeats, 0.0)
    return VarianceSplit(
        mean=float(item_means.mean()),
        stderr=mean_stderr(item_means),
        between=between,
        within=within,
        stderr_one=math.sqrt((between + within) / n),
        stderr_many=math.sqrt(between / n),
    )


def pooled_stderr(stderrs: Sequence[float], sizes: Sequence[int]) -> float:
    """Standard error of a size-weighted mean over tasks, as lm-eval reports it for groups.

    sqrt(sum((n_i - 1) n_i se_i^2) / (N - k) / N): pooled within-task variance over the total size N of k tasks.
    """
    total = sum(sizes)
    variance = sum((n - 1) * n * se**2 for n, se in zip(sizes, stderrs, strict=True)) / (total - len(sizes))
    return math.sqrt(variance / total)


def unweighted_stderr(stderrs: Sequence[float]) -> float:
    """Standard error of the plain mean of k independent task values: sqrt(sum(se_i^2)) / k."""
    return math.sqrt(sum(se**2 for se in stderrs)) / len(stderrs)
