"""Agreement of many raters from counts of values: Krippendorff's alpha and others, with bootstrap intervals over units.

A unit is what is rated (an output of a system for an item). Everything is a function of how often each unit got each value,
so time and memory grow with units times the points of the scale, never with pairs of ratings, and a bootstrap replicate is
one row of a matrix product. Nothing is reported where all ratings are the same value: ``None``, never 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.stats.agreement import Scale, cohen_kappa, fleiss_kappa
from evalkit.stats.intervals import Interval
from evalkit.stats.means import Array, Ints
from evalkit.stats.resample import percentile_interval, resample_counts

REPLICATES = 1_000
_WORK = 2_000_000_000  # multiplications that intervals may cost


@dataclass(frozen=True, slots=True)
class Coefficient:
    """``value`` is ``None`` where it is not defined; ``ci`` is a 95 % percentile interval."""

    value: float | None
    ci: Interval | None = None


def value_counts(units: Ints, values: Array, points: Sequence[float]) -> Array:
    """How often each unit (codes 0.., one a rating) got each of ``points``: (units, points). Others raise ValueError."""
    order = np.argsort(np.asarray(points, dtype=np.float64), kind="stable")
    known = np.asarray(points, dtype=np.float64)[order]
    at = np.clip(np.searchsorted(known, values - 1e-9), 0, len(known) - 1)
    if len(values) and np.abs(known[at] - values).max() > 1e-9:
        raise ValueError(f"a value is none of the points of the scale: {values[np.abs(known[at] - values).argmax()]:g}")
    width = int(units.max(initial=-1)) + 1
    codes = units * len(points) + order[at]
    return np.bincount(codes, minlength=width * len(points)).reshape(width, len(points)).astype(np.float64)


def alphas(counts: Array, points: Sequence[float], scale: Scale, draws: Array | None = None) -> Array:
    """Krippendorff's alpha from ``counts`` (units, points) under ``draws`` (r, units), how often each unit counts: (r,).

    The same as `agreement.krippendorff_alpha`. The order of ``points`` is that of the ordinal scale. NaN: not defined.
    """
    raters = counts.sum(axis=1)
    used = counts[raters > 1]
    draws = np.ones((1, len(used))) if draws is None else draws[:, raters > 1]
    seen = np.flatnonzero(used.sum(axis=0))
    used, values = used[:, seen], np.asarray(points, dtype=np.float64)[seen]
    if len(seen) < 2:
        return np.full(len(draws), np.nan)
    totals = draws @ used
    disagreement = _disagreement(values, totals, scale)
    low, high = np.triu_indices(len(seen), k=1)
    met = draws @ (used[:, low] * used[:, high] / (used.sum(axis=1) - 1)[:, None])
    apart = disagreement[:, low, high]
    observed = (met * apart).sum(axis=1)
    expected = (totals[:, low] * totals[:, high] * apart).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected > 0, 1 - (totals.sum(axis=1) - 1) * observed / expected, np.nan)


def _disagreement(values: Array, totals: Array, scale: Scale) -> Array:
    """How far each two values are apart, (r or 1, v, v); ranks depend on how often each value was given."""
    if scale == "nominal":
        return (1.0 - np.eye(len(values)))[None]
    if scale == "ordinal":
        middles = np.cumsum(totals, axis=1) - totals / 2
        return np.asarray((middles[:, :, None] - middles[:, None, :]) ** 2, dtype=np.float64)
    if scale == "interval":
        return np.asarray(np.subtract.outer(values, values)[None] ** 2, dtype=np.float64)
    raise ValueError(f"scale must be nominal, ordinal or interval, not {scale!r}")


def percent_agreement(counts: Array, draws: Array | None = None) -> Array:
    """The share of pairs of raters who gave the same value, the mean over units with two ratings or more: (r,)."""
    raters = counts.sum(axis=1)
    used, n = counts[raters > 1], raters[raters > 1]
    draws = np.ones((1, len(used))) if draws is None else draws[:, raters > 1]
    same = (used * (used - 1)).sum(axis=1) / (n * (n - 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(draws @ same / draws.sum(axis=1), dtype=np.float64)


def fleiss(counts: Array) -> float | None:
    """Fleiss' kappa, ``None`` where units have different numbers of ratings: alpha takes those."""
    raters = counts.sum(axis=1)
    return fleiss_kappa(counts) if len(counts) and raters.min() == raters.max() >= 2 else None


def mean_pairwise_kappa(units: Ints, raters: Ints, codes: Ints, categories: int) -> float | None:
    """Quadratic kappa of every two raters over the units that both rated, averaged with the number of those units.

    One rating a unit and rater; ``codes`` 0..categories-1 in the order of the scale. Pairs for which kappa is not defined
    are left out; ``None`` where none is left.
    """
    table = np.full((int(raters.max(initial=-1)) + 1, int(units.max(initial=-1)) + 1), -1, dtype=np.int64)
    table[raters, units] = codes
    given = (table >= 0).astype(np.float64)
    shared = np.triu(given @ given.T, k=1)
    total, weight = 0.0, 0.0
    for one, other in np.argwhere(shared > 0):
        both = (table[one] >= 0) & (table[other] >= 0)
        found = cohen_kappa(table[one, both], table[other, both], categories, "quadratic")
        if found is not None:
            total, weight = total + found.value * found.n, weight + found.n
    return total / weight if weight else None


def with_interval(
    of: Callable[[Array | None], Array], units: int, cost: int, *, clusters: Ints | None = None, seed: int = 0
) -> Coefficient:
    """The coefficient that ``of`` makes from draws (r, units), with its percentile interval over units.

    With ``clusters`` (codes 0.., one a unit: the item that outputs were made for) whole clusters are drawn. ``cost`` is what
    one unit costs a replicate, in multiplications; large data gets fewer than `REPLICATES`, 100 at least.
    """
    value = float(of(None)[0])
    groups = units if clusters is None else int(clusters.max(initial=-1)) + 1
    if not math.isfinite(value) or groups < 2:
        return Coefficient(value if math.isfinite(value) else None)
    count = int(min(REPLICATES, max(100, _WORK // max(units * cost, 1))))
    drawn = [of(some if clusters is None else some[:, clusters]) for some in resample_counts(groups, count, seed)]
    return Coefficient(value, percentile_interval(np.concatenate(drawn)))
