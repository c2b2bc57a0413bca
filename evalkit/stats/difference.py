"""How much two systems differ on the same items, as something that can be asked: interval, one-sided bounds, p, power.

| rows | difference | interval | p |
|---|---|---|---|
| 0/1 an item | mean | Tango's score interval | McNemar, exact |
| other values an item | mean | Student t (n - 1) | the same |
| in clusters | mean | CR1, Student t (clusters - 1) | the same |
| column totals (corpus metrics) | of the values | paired bootstrap, percentile | bootstrap |

A system that equals the other on every item has shown little when items are few: intervals never have zero width.
"""

from __future__ import annotations

from typing import Protocol

from evalkit.stats.intervals import Interval
from evalkit.stats.means import Array, Ints
from evalkit.stats.paired import Pair


class Difference(Protocol):
    """A paired difference, system - baseline, in the metric's units. ``n`` counts items, ``units`` independent ones."""

    @property
    def value(self) -> float: ...

    @property
    def stderr(self) -> float | None: ...

    @property
    def n(self) -> int: ...

    @property
    def units(self) -> int: ...

    @property
    def method(self) -> str:
        """How intervals are made: ``tango``, ``t``, ``t-clustered``, ``bootstrap``."""
        ...

    @property
    def p_method(self) -> str:
        """How p values are made: ``mcnemar-exact``, ``t``, ``t-clustered``, ``bootstrap``."""
        ...

    def interval(self, level: float = 0.95) -> Interval | None:
        """Two-sided interval; ``None`` where nothing can be said (one unit)."""
        ...

    def lower(self, alpha: float) -> float | None:
        """One-sided lower bound: the lower end of the interval at level 1 - 2 alpha."""
        ...

    def upper(self, alpha: float) -> float | None: ...

    def p_two_sided(self) -> float | None: ...

    def p_worse(self) -> float | None:
        """One-sided p of "not worse": small where the system's true value is below the baseline's."""
        ...

    def needed(self, margin: float, alpha: float, power: float = 0.8) -> int | None:
        """Items needed to show with ``power``, were the systems equal, that it is not worse by ``margin``."""
        ...

    def certifiable(self, alpha: float, power: float = 0.8) -> float | None:
        """The smallest margin that this many items certify with ``power``, were the systems equal."""
        ...

    def flipped(self) -> Difference:
        """The same with its sign changed: for metrics where lower is better."""
        ...


def paired_difference(
    baseline: Array,
    system: Array,
    *,
    clusters: Ints | None = None,
    weights: Array | None = None,
    low: float | None = None,
    high: float | None = None,
) -> Difference:
    """The difference of two means over the same items (n,), values as the metric has them, no NaN.

    ``clusters``: codes 0..C-1, one an item. ``weights`` (n,): how much an item counts (tasks of a group that count the same
    whatever their size); equal by default. ``low``/``high``: the metric's range where it has one, which bounds what unseen
    differences can do. Raises ValueError for arrays of different lengths or without items.
    """
    raise NotImplementedError


def totals_difference(
    pair: Pair,
    *,
    clusters: Ints | None = None,
    low: float | None = None,
    high: float | None = None,
    resamples: int = 10_000,
    seed: int | None = 0,
) -> Difference:
    """The difference of a value of column totals (BLEU, F1): paired bootstrap over items, or over ``clusters``."""
    raise NotImplementedError
