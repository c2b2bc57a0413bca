"""How far a judge agrees with people beyond chance, and how far people agree with each other."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from evalkit.calibrate.judge_human import Joined
from evalkit.stats.agreement import cohen_kappa, krippendorff_alpha
from evalkit.stats.correlation import tidy, weighted
from evalkit.stats.distributions import normal_quantile
from evalkit.stats.means import Array, Ints, cluster_codes
from evalkit.stats.resample import percentile_interval, resample_counts
from evalkit.types import Json

_WORK = 4_000_000
#: Ratings that a person and the others must share before that person is held against them.
_SHARED = 10
#: Points of a scale up to which levels are told apart.
MOST_POINTS = 20


def alpha(judge: Array, human: Array, scale: Literal["interval", "ordinal"], weights: Array) -> Array:
    """Krippendorff's alpha (r,) of two raters without gaps (n,), under ``weights`` (r, n) that count a row so many times.

    `krippendorff_alpha` in closed form: on these scales the expected disagreement is the pooled variance, of the values or
    of their mean ranks. NaN where all values are the same.
    """
    pooled = np.concatenate([judge, human])
    double = np.concatenate([weights, weights], axis=1)
    total = double.sum(axis=1)
    if scale == "ordinal":
        distinct, codes = np.unique(pooled, return_inverse=True)
        order = np.argsort(codes, kind="stable")
        sizes = np.add.reduceat(double[:, order], np.searchsorted(codes[order], np.arange(len(distinct))), axis=1)
        values = (np.cumsum(sizes, axis=1) - sizes / 2)[:, codes]
    else:
        values = np.broadcast_to(pooled - pooled.mean(), double.shape)
    n = len(judge)
    observed = (weights * (values[:, :n] - values[:, n:]) ** 2).sum(axis=1)
    spread = total * (double * values**2).sum(axis=1) - (double * values).sum(axis=1) ** 2
    flat = spread <= 1e-12 * np.maximum((total * np.abs(values).max(axis=1, initial=0.0)) ** 2, 1e-300)
    return np.asarray(1 - (total - 1) * observed / np.where(flat, np.nan, spread), dtype=np.float64)


def agreement(data: Joined, replicates: int, seed: int) -> dict[str, Json]:
    """Alpha (interval and ordinal) and quadratic kappa of the judge with the mean person, and people's own agreement."""
    rows = data.rated
    judge, human = tidy(data.judge[rows]), tidy(data.human[rows])
    codes, count = cluster_codes([data.items[i] for i in rows])
    found: dict[str, Json] = {"n": len(rows)}
    for scale in ("interval", "ordinal"):
        value = float(alpha(judge, human, scale, np.ones((1, len(rows))))[0])
        drawn = _drawn(judge, human, scale, codes, count, replicates, seed)
        found[f"alpha_{scale}"] = _told(value, percentile_interval(drawn) if len(drawn) else None)
    points = levels_of(data)
    if points is not None:
        kappa = cohen_kappa(nearest_level(judge, points), nearest_level(human, points), len(points), "quadratic")
        half = 0.0 if kappa is None else normal_quantile(0.975) * kappa.stderr
        ci = None if kappa is None else (max(-1.0, kappa.value - half), min(1.0, kappa.value + half))
        found["kappa_quadratic"] = _told(math.nan if kappa is None else kappa.value, ci)
    return found | {"people": people(data)}


def _drawn(
    judge: Array, human: Array, scale: Literal["interval", "ordinal"], codes: Ints, count: int, replicates: int, seed: int
) -> Array:
    if count < 2 or not replicates:
        return np.zeros(0)
    most = min(replicates, max(100, _WORK // len(judge)))
    step = max(1, 100_000 // len(judge))
    return np.concatenate(
        [
            alpha(judge, human, scale, counts[at : at + step][:, codes])
            for counts in resample_counts(count, most, seed)
            for at in range(0, len(counts), step)
        ]
    )


def _told(value: float, ci: tuple[float, float] | None) -> dict[str, Json]:
    if not math.isfinite(value):
        return {"value": None, "ci": None, "reason": "all ratings are the same"}
    return {"value": value, "ci": None if ci is None else list(ci)}


def levels_of(data: Joined) -> Array | None:
    """The whole points of the scale; with the middle where people used it on a scale from 0 to 1 (a tie).

    ``None`` where there are none or too many.
    """
    low, high = data.low, data.high
    if low is None or high is None or low % 1 or high % 1 or high - low > MOST_POINTS:
        return None
    tied = high - low == 1 and bool((data.raters == (low + high) / 2).any())
    return np.arange(low, high + 0.25, 0.5 if tied else 1.0)


def nearest_level(values: Array, points: Array) -> Ints:
    """The number of the point (evenly spaced) that each value is nearest to, halves upwards."""
    places = np.clip(np.floor((values - points[0]) / (points[1] - points[0]) + 0.5), 0, len(points) - 1)
    return np.asarray(places, dtype=np.int64)


def people(data: Joined) -> dict[str, Json]:
    """The human ceiling: alpha among the people, and each person against the mean of the others.

    ``one`` are the mean correlations of a person with the others over the rows they share, ``judge_instead`` those of the
    judge with the same means of the others: the two are on one footing, as the judge's with all people is not.
    """
    ratings = data.raters[:, data.rated]
    judge = data.judge[data.rated]
    several = np.isfinite(ratings).sum(axis=0) > 1
    if len(ratings) < 2 or not several.any():
        return {"raters": len(ratings), "reason": "nobody else rated the same items: there is no ceiling to compare with"}
    found: dict[str, Json] = {"raters": len(ratings), "shared": int(several.sum())}
    for scale in ("interval", "ordinal"):
        found[f"alpha_{scale}"] = krippendorff_alpha(ratings, scale)
    one, instead = [], []
    for person in range(len(ratings)):
        others = np.delete(ratings, person, axis=0)
        counts = np.isfinite(others).sum(axis=0)
        rows = np.flatnonzero(np.isfinite(ratings[person]) & (counts > 0))
        if len(rows) < _SHARED:
            continue
        rest = tidy(np.where(np.isfinite(others[:, rows]), others[:, rows], 0.0).sum(axis=0) / counts[rows])
        one.append(_correlations(tidy(ratings[person, rows]), rest))
        instead.append(_correlations(tidy(judge[rows]), rest))
    if one:
        found |= {"people_used": len(one), "one": _mean(one), "judge_instead": _mean(instead)}
    return found


def _correlations(x: Array, y: Array) -> dict[str, float]:
    found = weighted(x, y, np.ones((1, len(x))))
    return {name: float(found[name][0]) for name in ("pearson", "spearman", "kendall")}


def _mean(found: list[dict[str, float]]) -> dict[str, Json]:
    """Over the people for whom the coefficient is defined."""
    values = {name: [one[name] for one in found if math.isfinite(one[name])] for name in found[0]}
    return {name: math.fsum(known) / len(known) if known else None for name, known in values.items()}
