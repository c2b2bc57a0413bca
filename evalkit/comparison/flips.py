"""Which units changed between two runs, worst first."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

import numpy as np
import numpy.typing as npt

from evalkit.comparison.base import Flip, RunScores
from evalkit.comparison.pairs import Mask, MetricPairs

#: From a sample's id to its place in the system's report.
Anchor = Callable[[str], str | None]


def changed_units(pairs: MetricPairs) -> npt.NDArray[np.int64]:
    """Positions of the units whose value changed: what got most worse first; the largest changes where none is better."""
    x, y = pairs.values
    known = pairs.known & np.isfinite(x) & np.isfinite(y)
    changed = np.flatnonzero(known & (x != y))
    change = y[changed] - x[changed]
    better = pairs.metric.higher_is_better
    return changed[np.argsort(-np.abs(change) if better is None else change if better else -change, kind="stable")]


def flips_of(task: str, pairs: MetricPairs, positions: npt.NDArray[np.int64], anchor: Anchor) -> list[Flip]:
    """The units at ``positions``, in that order."""
    x, y = pairs.values
    names = pairs.units.names
    return [Flip(task, names[i], float(x[i]), float(y[i]), anchor(names[i])) for i in positions.tolist()]


def gained_and_lost(pairs: MetricPairs, mask: Mask) -> tuple[int, int]:
    """Units that got better and worse; that went up and down, where neither is better."""
    x, y = (values[mask & pairs.known] for values in pairs.values)
    up, down = int((y > x).sum()), int((y < x).sum())
    return (down, up) if pairs.metric.higher_is_better is False else (up, down)


def anchor_of(system: RunScores, task: str) -> Anchor:
    """Where samples of ``task`` stand in the system's report; nowhere where it has none, or only scores are left of it."""
    if system.path is None or not (system.path / "report.html").is_file():
        return lambda unit: None
    return lambda unit: "report.html#samples?" + urlencode({"task": task, "s": unit})
