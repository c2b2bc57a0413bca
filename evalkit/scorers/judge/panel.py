"""Several judges as one instrument: their verdicts combined, and how far they disagree.

Verga et al., "Replacing Judges with Juries" (2404.18796): a panel of small models of different families costs less than one
large judge and has less of any one family's taste.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np

from evalkit.stats.agreement import krippendorff_alpha
from evalkit.stats.means import Array
from evalkit.types import Json

Combine = Literal["mean", "median", "majority"]

#: The ways to make one value of several.
COMBINE: tuple[Combine, ...] = ("mean", "median", "majority")


def nearest_point(value: float, points: Sequence[float]) -> float:
    """The point of a scale that ``value`` is nearest to, the lower one of two that are equally near."""
    return min(sorted(points), key=lambda point: abs(point - value))


def majority(values: Sequence[float], points: Sequence[float]) -> float:
    """The point of the scale that most judges gave, each counted at the point nearest to its value; ties: their mean."""
    counts = Counter(nearest_point(value, points) for value in values)
    most = max(counts.values())
    return statistics.fmean(value for value, count in counts.items() if count == most)


def combine(values: Sequence[float], how: Combine, points: Sequence[float]) -> float:
    """One value from the judges'; NaN where none has one. A judge without a verdict (NaN) is left out, not counted as 0.

    ``points`` are the values of the scale, which ``majority`` votes on.
    """
    known = [value for value in values if not math.isnan(value)]
    return _combiner(how, points)(known) if known else math.nan


def _combiner(how: Combine, points: Sequence[float]) -> Callable[[Sequence[float]], float]:
    if how == "mean":
        return statistics.fmean
    return statistics.median if how == "median" else partial(majority, points=points)


def disagreement(columns: Array, judges: Sequence[str], how: Combine, points: Sequence[float]) -> Mapping[str, Json]:
    """How the judges of a panel differ, from their values (n, judges), NaN for a missing one.

    ``items``: those that any judge has a value for, ``incomplete`` of them not all judges; ``spread``: the mean over items
    of the standard deviation between judges; ``alpha``: Krippendorff's, on an interval scale (null where it is undefined);
    ``mean``: each judge's mean over the items of its own; ``without``: what the panel's mean is when one judge is left out.
    """
    whole = columns[~np.isnan(columns).all(axis=1)]
    if not len(whole):
        return {}
    counts = (~np.isnan(whole)).sum(axis=1)
    several = whole[counts > 1]
    found: dict[str, Json] = {
        "items": len(whole),
        "incomplete": int((counts < len(judges)).sum()),
        "spread": float(np.nanstd(several, axis=1, ddof=1).mean()) if len(several) else None,
        "alpha": krippendorff_alpha(whole.T, "interval"),
        "mean": {},
        "without": {},
    }
    for at, judge in enumerate(judges):
        own = whole[:, at][~np.isnan(whole[:, at])]
        found["mean"][judge] = float(own.mean()) if len(own) else None
        rest = [combine(row, how, points) for row in np.delete(whole, at, axis=1).tolist()]
        known = [value for value in rest if not math.isnan(value)]
        found["without"][judge] = math.fsum(known) / len(known) if known else None
    return found
