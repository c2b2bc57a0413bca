"""Agreement between raters beyond chance: Cohen's, Fleiss' and Krippendorff's coefficients.

1 is full agreement, 0 what chance would give, below 0 less than that. Where there is but one value the coefficients are not
defined, and are ``None`` here, never 1: raters who only ever say "good" show nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evalkit.stats.means import Array, Ints

Weighting = Literal["none", "linear", "quadratic"]
Scale = Literal["nominal", "ordinal", "interval", "ratio"]

_CHUNK = 4_000_000  # pairs of values at a time


@dataclass(frozen=True, slots=True)
class Kappa:
    """Cohen's kappa with its large-sample standard error, ``observed`` and ``expected`` (weighted) agreement, and n."""

    value: float
    stderr: float
    observed: float
    expected: float
    n: int


def cohen_kappa(first: Ints, second: Ints, categories: int, weighting: Weighting = "none") -> Kappa | None:
    """Cohen's kappa of two raters' codes 0..categories-1 (n,), in their order where it is weighted.

    Disagreement counts by the distance of codes (``linear``), its square (``quadratic``), or fully. Standard error of
    Fleiss, Cohen and Everitt (1969). ``None`` where both raters gave one and the same code throughout. Raises ValueError
    for columns of different lengths or codes outside the range.
    """
    n = len(first)
    if not n or n != len(second):
        raise ValueError(f"two raters need as many ratings, at least one: {n} and {len(second)}")
    codes = np.concatenate([first, second])
    if codes.min() < 0 or codes.max() >= categories:
        raise ValueError(f"codes must be within 0 and {categories - 1}")
    table = np.bincount(first * categories + second, minlength=categories**2).reshape(categories, categories) / n
    distance = np.abs(np.subtract.outer(np.arange(categories), np.arange(categories))) / max(categories - 1, 1)
    weights = 1 - {"none": (distance > 0) * 1.0, "linear": distance, "quadratic": distance**2}[weighting]
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    observed, expected = float((weights * table).sum()), float(rows @ weights @ columns)
    if 1 - expected < 1e-12:
        return None
    value = (observed - expected) / (1 - expected)
    reach = (weights @ columns)[:, None] + (rows @ weights)[None, :]
    spread = float((table * (weights - reach * (1 - value)) ** 2).sum()) - (value - expected * (1 - value)) ** 2
    return Kappa(value, math.sqrt(max(spread, 0.0) / n) / (1 - expected), observed, expected, n)


def fleiss_kappa(counts: Array) -> float | None:
    """Fleiss' kappa from ``counts`` (items, categories) of how many raters chose what; the same number for every item.

    Raises ValueError where the numbers differ (Krippendorff's alpha takes missing ratings), or are below two.
    """
    raters = counts.sum(axis=1)
    if not len(counts) or raters.min() != raters.max() or raters[0] < 2:
        raise ValueError("Fleiss' kappa needs the same number of raters for every item, at least two")
    n = float(raters[0])
    observed = float((((counts**2).sum(axis=1) - n) / (n * (n - 1))).mean())
    shares = counts.sum(axis=0) / counts.sum()
    expected = float(shares @ shares)
    return None if 1 - expected < 1e-12 else (observed - expected) / (1 - expected)


def krippendorff_alpha(ratings: Array, scale: Scale) -> float | None:
    """Krippendorff's alpha of ``ratings`` (coders, units), NaN where a coder gave none: 1 - observed / expected.

    Written out here (numpy alone) after K. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), with his
    treatment of missing ratings: units with fewer than two are left out. Numbers stand for the categories of the
    ``nominal`` scale. ``ratio`` values must not be negative (ValueError). ``None`` where no unit has two ratings, or all
    values are the same. Memory is bounded: no table of all values by all values is held.
    """
    given = ~np.isnan(ratings)
    used = given.sum(axis=0) > 1
    ratings, given = ratings[:, used], given[:, used]
    distinct, counts = np.unique(ratings[given], return_counts=True)
    if len(distinct) < 2:
        return None
    if scale == "ratio" and distinct[0] < 0:
        raise ValueError("the ratio scale has no negative values")
    if scale == "ordinal":  # the distance of two ranks is the number of ratings from the middle of one to that of the other
        middles = np.cumsum(counts) - counts / 2
        ratings = np.where(given, middles[np.searchsorted(distinct, np.where(given, ratings, distinct[0]))], np.nan)
        distinct = middles
    observed = 0.0
    weights = 2 / (given.sum(axis=0) - 1)
    for one in range(len(ratings)):
        for other in range(one):
            both = given[one] & given[other]
            observed += float(weights[both] @ _disagreement(ratings[one, both], ratings[other, both], scale))
    step = max(1, _CHUNK // len(distinct))
    expected = sum(
        float(counts[at : at + step] @ _disagreement(distinct[at : at + step, None], distinct[None], scale) @ counts)
        for at in range(0, len(distinct), step)
    )
    return 1 - observed * float(counts.sum() - 1) / expected


def _disagreement(x: Array, y: Array, scale: Scale) -> Array:
    if scale == "nominal":
        return np.asarray(x != y, dtype=np.float64)
    if scale == "ratio":
        total = x + y
        return np.asarray(np.divide(x - y, total, out=np.zeros_like(total), where=total > 0) ** 2, dtype=np.float64)
    return np.asarray((x - y) ** 2, dtype=np.float64)
