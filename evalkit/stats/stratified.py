"""A weighted mean and its standard error, where items of one weight are a stratum and items may come in clusters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evalkit.stats.means import Array, Ints


@dataclass(frozen=True, slots=True)
class WeightedMean:
    """A mean of ``units`` independent units (items or clusters). ``stderr`` is ``None`` for one of them.

    ``df`` are its degrees of freedom, ``effective`` the number of equal units that weigh as much: 1 / sum of squared shares
    (Kish).
    """

    value: float
    stderr: float | None
    df: float
    units: int
    effective: float


def weighted_mean(x: Array, weights: Array | None = None, clusters: Ints | None = None) -> WeightedMean:
    """The mean of ``x`` (n,) under ``weights`` (n,) > 0, with the standard error of fixed strata.

    Items of one weight are a stratum (the tasks of a group that count the same are of different sizes, so of different
    weights; tasks of one size share a stratum, which can only widen the error by what they differ). Variances add over
    strata: sum over units of (weighted residuals)^2 times C / (C - 1), the squared sd / sqrt(n) for one stratum of items and
    CR1 with ``clusters`` (codes 0..C-1). Degrees of freedom by Welch and Satterthwaite: n - 1, or C - 1, for one stratum.
    Strata of a single unit are put together, and clusters that lie across strata make all one.
    """
    n = len(x)
    share = np.full(n, 1.0 / n) if weights is None else weights / weights.sum()
    units: Ints = np.arange(n, dtype=np.int64) if clusters is None else clusters
    count = int(units.max()) + 1
    sizes = np.bincount(units, weights=share, minlength=count)
    value = math.fsum((share * x).tolist()) if weights is not None else math.fsum(x.tolist()) / n
    effective = 1.0 / float(sizes @ sizes)
    if count < 2:
        return WeightedMean(value, None, 0.0, count, effective)
    of_item, of_unit = _strata(share, units, count) if weights is not None else (np.zeros_like(units), np.zeros(count, int))
    strata = int(of_unit.max()) + 1
    inside = np.bincount(of_item, weights=share, minlength=strata)
    means = np.bincount(of_item, weights=share * x, minlength=strata) / inside
    residuals = np.bincount(units, weights=share * (x - means[of_item]), minlength=count)
    members = np.bincount(of_unit, minlength=strata)
    parts = np.bincount(of_unit, weights=residuals**2, minlength=strata) * members / (members - 1)
    variance = float(parts.sum())
    freedom = float((parts**2 / (members - 1)).sum())
    df = variance**2 / freedom if freedom > 0 else float(count - strata)
    return WeightedMean(value, math.sqrt(variance), df, count, effective)


def _strata(share: Array, units: Ints, count: int) -> tuple[Ints, Ints]:
    """Stratum of each item and of each unit, each stratum with at least two units."""
    _, of_item = np.unique(np.round(share / share.max(), 12), return_inverse=True)
    first, last = np.full(count, len(share)), np.full(count, -1)
    np.minimum.at(first, units, of_item)
    np.maximum.at(last, units, of_item)
    members = np.bincount(last, minlength=int(of_item.max()) + 1)
    few = members < 2
    if (first != last).any() or members[few].sum() == 1:
        return np.zeros_like(units), np.zeros(count, dtype=np.int64)
    merged = np.where(few, len(members), np.arange(len(members)))
    _, codes = np.unique(merged[last], return_inverse=True)
    of_unit = codes.astype(np.int64)
    return of_unit[units], of_unit
