"""The three kinds of paired difference behind `evalkit.stats.difference`: of shares, of means, of values of totals."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from evalkit.stats.exact import mcnemar_p, mcnemar_worse_p
from evalkit.stats.intervals import Interval
from evalkit.stats.means import Array
from evalkit.stats.operating import certifiable_margin, items_needed
from evalkit.stats.sparse import MOST_UNITS, Changes
from evalkit.stats.tango import tango_interval

#: Replicates this near to the difference, relative to the values, are the same: only the order of a sum differed.
_SAME = 1e-9


@dataclass(frozen=True, slots=True)
class ShareDifference:
    """Of 0/1 items: counts of those lost and gained, each worth ``scale`` in the metric's units."""

    lost: int
    gained: int
    n: int
    scale: float = 1.0
    method: str = "tango"
    p_method: str = "mcnemar-exact"

    @property
    def value(self) -> float:
        return self.scale * (self.gained - self.lost) / self.n

    @property
    def stderr(self) -> float | None:
        """The sample's, sd / sqrt(n): the interval does not rest on it."""
        if self.n < 2:
            return None
        difference = (self.gained - self.lost) / self.n
        return self.scale * math.sqrt(((self.lost + self.gained) / self.n - difference**2) / (self.n - 1))

    @property
    def units(self) -> int:
        return self.n

    def interval(self, level: float = 0.95) -> Interval | None:
        low, high = tango_interval(self.lost, self.gained, self.n, level)
        return self.scale * low, self.scale * high

    def lower(self, alpha: float) -> float | None:
        return self.scale * tango_interval(self.lost, self.gained, self.n, 1 - 2 * alpha)[0]

    def upper(self, alpha: float) -> float | None:
        return self.scale * tango_interval(self.lost, self.gained, self.n, 1 - 2 * alpha)[1]

    def p_two_sided(self) -> float | None:
        return mcnemar_p(self.lost, self.gained)

    def p_worse(self) -> float | None:
        return mcnemar_worse_p(self.lost, self.gained)

    def needed(self, margin: float, alpha: float, power: float = 0.8) -> int | None:
        """For as large a share of flips, by the score test's own variances (`operating.items_needed`)."""
        if not 0 < margin < self.scale:
            return None
        needed = items_needed(self._flips, margin / self.scale, alpha, power)
        return math.ceil(needed) if needed <= MOST_UNITS else None

    def certifiable(self, alpha: float, power: float = 0.8) -> float | None:
        margin = certifiable_margin(self.n, self._flips, alpha, power)
        return None if margin is None else self.scale * margin

    def flipped(self) -> ShareDifference:
        return replace(self, lost=self.gained, gained=self.lost)

    @property
    def _flips(self) -> float:
        return (self.lost + self.gained) / self.n


@dataclass(frozen=True, slots=True)
class MeanDifference:
    """Of other values, clusters or weights: Student's t, widened where few units differ (`evalkit.stats.sparse`).

    ``changes`` is ``None`` for a single unit. ``bound``: the largest difference that there can be, where that is known.
    """

    value: float
    n: int
    units: int
    method: str
    changes: Changes | None
    bound: float = math.inf

    @property
    def stderr(self) -> float | None:
        return None if self.changes is None else self.changes.stderr

    @property
    def p_method(self) -> str:
        return self.method

    def interval(self, level: float = 0.95) -> Interval | None:
        low, high = self.lower((1 - level) / 2), self.upper((1 - level) / 2)
        return None if low is None or high is None else (low, high)

    def lower(self, alpha: float) -> float | None:
        return None if self.changes is None else max(self.changes.lower(alpha), -self.bound)

    def upper(self, alpha: float) -> float | None:
        return None if self.changes is None else min(self.changes.upper(alpha), self.bound)

    def p_two_sided(self) -> float | None:
        return None if self.changes is None else self.changes.p_two_sided()

    def p_worse(self) -> float | None:
        return None if self.changes is None else self.changes.p_below()

    def needed(self, margin: float, alpha: float, power: float = 0.8) -> int | None:
        return _items(self.changes, self.n, margin, alpha, power)

    def certifiable(self, alpha: float, power: float = 0.8) -> float | None:
        return None if self.changes is None else self.changes.certifiable(alpha, power)

    def flipped(self) -> MeanDifference:
        changes = None if self.changes is None else replace(self.changes, value=-self.changes.value)
        return replace(self, value=-self.value, changes=changes)


@dataclass(frozen=True, slots=True, eq=False)
class TotalsDifference:
    """Of values of column totals: percentiles of ``replicates`` (r,), widened where few units differ.

    p values are those of the replicates moved to a mean of zero, or of the widened interval where that is larger.
    """

    value: float
    n: int
    units: int
    replicates: Array
    changes: Changes | None
    bound: float = math.inf
    method: str = "bootstrap"
    p_method: str = "bootstrap"

    @property
    def stderr(self) -> float | None:
        return None if self.changes is None else self.changes.stderr

    def interval(self, level: float = 0.95) -> Interval | None:
        low, high = self.lower((1 - level) / 2), self.upper((1 - level) / 2)
        return None if low is None or high is None else (low, high)

    def lower(self, alpha: float) -> float | None:
        if self.changes is None:
            return None
        return max(min(float(np.quantile(self.replicates, alpha)), self.changes.lower(alpha)), -self.bound)

    def upper(self, alpha: float) -> float | None:
        if self.changes is None:
            return None
        return min(max(float(np.quantile(self.replicates, 1 - alpha)), self.changes.upper(alpha)), self.bound)

    def p_two_sided(self) -> float | None:
        if self.changes is None:
            return None
        beyond = np.abs(self._centred()) >= abs(self.value) * (1 - _SAME)
        return max(self._share(int(beyond.sum())), self.changes.p_two_sided())

    def p_worse(self) -> float | None:
        if self.changes is None:
            return None
        beyond = self._centred() <= self.value + _SAME * abs(self.value)
        return max(self._share(int(beyond.sum())), self.changes.p_below())

    def needed(self, margin: float, alpha: float, power: float = 0.8) -> int | None:
        return _items(self.changes, self.n, margin, alpha, power)

    def certifiable(self, alpha: float, power: float = 0.8) -> float | None:
        return None if self.changes is None else self.changes.certifiable(alpha, power)

    def flipped(self) -> TotalsDifference:
        changes = None if self.changes is None else replace(self.changes, value=-self.changes.value)
        return replace(self, value=-self.value, replicates=-self.replicates, changes=changes)

    def _centred(self) -> Array:
        return np.asarray(self.replicates - self.replicates.mean(), dtype=np.float64)

    def _share(self, count: int) -> float:
        return (count + 1) / (len(self.replicates) + 1)


def _items(changes: Changes | None, n: int, margin: float, alpha: float, power: float) -> int | None:
    """Items for the units needed, at as many items a unit as there are."""
    units = None if changes is None else changes.needed(margin, alpha, power)
    return None if changes is None or units is None else math.ceil(units * n / changes.units)
