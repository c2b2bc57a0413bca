"""Which units changed between two runs, worst first."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

import numpy as np
import numpy.typing as npt

from evalkit.comparison.base import Flip, RunScores
from evalkit.comparison.pairs import Mask, MetricPairs
from evalkit.scorers.base import Array

#: From a sample's id to its place in the system's report.
Anchor = Callable[[str], str | None]

#: A metric's value that moves by less, relative to itself, has not moved: only the order of a sum differed.
_ROUNDING = 1e-13


def effects(pairs: MetricPairs) -> Array:
    """By how much each unit's change (n,) moves the metric, times their number; 0 where it did not change or is not seen.

    Of a mean that is the system's value less the baseline's. Of other metrics it is what the value of all becomes when one
    unit is the system's and the rest stay the baseline's: the value of a unit need not go the metric's way.
    """
    x, y = pairs.values
    changed = pairs.known & np.isfinite(x) & np.isfinite(y) & (x != y)
    found = np.zeros(len(x))
    if pairs.finish is None:
        found[changed] = y[changed] - x[changed]
    elif changed.any():
        total = pairs.baseline[pairs.known].sum(axis=0)
        moved = total + pairs.system[changed] - pairs.baseline[changed]
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            value = pairs.finish(total[None])
            by = pairs.finish(moved) - value
        seen = np.isfinite(by) & (np.abs(by) > _ROUNDING * np.abs(value))
        found[changed] = np.where(seen, by * int(pairs.known.sum()), 0.0)
    return found


def changed_units(pairs: MetricPairs, effect: Array) -> npt.NDArray[np.int64]:
    """Positions of the units whose value changed: what got most worse first; the largest changes where none is better.

    ``effect`` is that of `effects`.
    """
    x, y = pairs.values
    changed = np.flatnonzero(pairs.known & np.isfinite(x) & np.isfinite(y) & (x != y))
    change = effect[changed]
    better = pairs.metric.higher_is_better
    return changed[np.argsort(-np.abs(change) if better is None else change if better else -change, kind="stable")]


def flips_of(task: str, pairs: MetricPairs, positions: npt.NDArray[np.int64], effect: Array, anchor: Anchor) -> list[Flip]:
    """The units at ``positions``, in that order."""
    x, y = pairs.values
    names = pairs.units.names
    return [Flip(task, names[i], float(x[i]), float(y[i]), anchor(names[i]), float(effect[i])) for i in positions.tolist()]


def gained_and_lost(pairs: MetricPairs, mask: Mask, effect: Array) -> tuple[int, int]:
    """Units that got better and worse; that went up and down, where neither is better."""
    inside = effect[mask & pairs.known]
    up, down = int((inside > 0).sum()), int((inside < 0).sum())
    return (down, up) if pairs.metric.higher_is_better is False else (up, down)


def anchor_of(system: RunScores, task: str) -> Anchor:
    """Where samples of ``task`` stand in the system's report; nowhere where it has none, or only scores are left of it."""
    if system.path is None or not (system.path / "report.html").is_file():
        return lambda unit: None
    return lambda unit: "report.html#samples?" + urlencode({"task": task, "s": unit})
