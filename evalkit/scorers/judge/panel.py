"""Several judges as one instrument: their verdicts combined, and how far they disagree.

Verga et al., "Replacing Judges with Juries" (2404.18796): a panel of small models of different families costs less than one
large judge and has less of any one family's taste.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from evalkit.stats.means import Array
from evalkit.types import Json

Combine = Literal["mean", "median", "majority"]


def majority(values: Sequence[float]) -> float:
    """The value that most judges gave (rounded to the scale's points where scores are weighted); ties: their mean."""
    counts = Counter(round(value) for value in values)
    most = max(counts.values())
    return statistics.fmean(value for value, count in counts.items() if count == most)


COMBINE: Mapping[Combine, Callable[[Sequence[float]], float]] = {
    "mean": statistics.fmean,
    "median": statistics.median,
    "majority": majority,
}


def combine(values: Sequence[float], how: Combine) -> float:
    """One value from the judges'; NaN where none has one. A judge without a verdict (NaN) is left out, not counted as 0."""
    known = [value for value in values if not math.isnan(value)]
    return COMBINE[how](known) if known else math.nan


def disagreement(columns: Array, judges: Sequence[str]) -> Mapping[str, Json]:
    """How the judges of a panel differ, from their values (n, judges), NaN for a missing one.

    ``spread``: the mean over items of the standard deviation between judges; ``mean``: each judge's mean;
    ``without``: the panel's mean if one judge is left out.
    """
    whole = columns[~np.isnan(columns).all(axis=1)]
    if not len(whole):
        return {}
    counts = (~np.isnan(whole)).sum(axis=1)
    several = whole[counts > 1]
    found: dict[str, Json] = {"items": len(whole), "mean": {}, "without": {}}
    if len(several):
        found["spread"] = float(np.nanstd(several, axis=1, ddof=1).mean())
    for at, judge in enumerate(judges):
        own = whole[:, at][~np.isnan(whole[:, at])]
        found["mean"][judge] = float(own.mean()) if len(own) else None
        others = np.delete(whole, at, axis=1)
        rest = others[~np.isnan(others).all(axis=1)]
        found["without"][judge] = float(np.nanmean(rest, axis=1).mean()) if len(rest) else None
    return found
