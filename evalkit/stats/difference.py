"""How much two systems differ on the same items, as something that can be asked: interval, one-sided bounds, p, power.

| rows | difference | interval | p |
|---|---|---|---|
| 0/1 an item | mean | Tango's score interval | McNemar, exact |
| other values an item | mean | Student t (n - 1) | the same |
| in clusters | mean | CR1, Student t (clusters - 1) | the same |
| of unequal weights | weighted mean | strata, Student t (Welch and Satterthwaite) | the same |
| column totals (corpus metrics) | of the values | paired bootstrap, percentile | bootstrap |

A system that equals the other on every item has shown little when items are few: intervals never have zero width, and t and
the bootstrap are widened where few items (or clusters) differ, as `evalkit.stats.sparse` explains.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from evalkit.stats.difference_kinds import MeanDifference, ShareDifference, TotalsDifference
from evalkit.stats.intervals import Interval
from evalkit.stats.means import Array, Ints
from evalkit.stats.paired import Finish, Pair, paired_replicates
from evalkit.stats.resample import replicate_stderr
from evalkit.stats.sparse import Changes, carriers
from evalkit.stats.stratified import weighted_mean

#: What units add to a value and that differs by less, relative to the value, differs by the order of a sum only.
_ROUNDING = 1e-9


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
    whatever their size); equal by default. Items of one weight are a stratum, degrees of freedom are Welch and
    Satterthwaite's. ``low``/``high``: the metric's range where it has one, which bounds what unseen differences can do; the
    range of the values seen stands in for it.

    Raises ValueError for arrays of different lengths, without items, or with values that are not finite.
    """
    n = len(baseline)
    if not n or any(len(column) != n for column in (system, clusters, weights) if column is not None):
        raise ValueError("a paired difference needs as many values of both systems (and clusters, weights), at least one")
    if not (np.isfinite(baseline).all() and np.isfinite(system).all()):
        raise ValueError("a paired difference needs finite values")
    if weights is not None and not (np.isfinite(weights).all() and (weights > 0).all()):
        raise ValueError("weights must be above 0")
    codes = _clusters(clusters)
    weights = None if weights is None or np.ptp(weights) <= 1e-12 * weights.max() else weights
    ends = (0.0, 1.0) if low is None or high is None else (low, high)
    binary = all(bool(((x == ends[0]) | (x == ends[1])).all()) for x in (baseline, system))
    if binary and codes is None and weights is None:
        lost, gained = int((system < baseline).sum()), int((system > baseline).sum())
        return ShareDifference(lost, gained, n, ends[1] - ends[0])
    span = ends[1] - ends[0] if binary else _span(np.concatenate([baseline, system]), low, high)
    differences = system - baseline
    found = weighted_mean(differences, weights, codes)
    changes = None
    if found.stderr is not None:
        share = found.units * (np.full(n, 1.0 / n) if weights is None else weights / weights.sum())
        changed = carriers(_by_unit((differences - found.value) * share, codes), span)
        changes = Changes(found.value, found.stderr, found.df, found.effective, changed, span)
    bound = math.inf if low is None or high is None else span
    return MeanDifference(found.value, n, found.units, "t" if codes is None else "t-clustered", changes, bound)


def totals_difference(
    pair: Pair,
    *,
    clusters: Ints | None = None,
    low: float | None = None,
    high: float | None = None,
    resamples: int = 10_000,
    seed: int | None = 0,
) -> Difference:
    """The difference of a value of column totals (BLEU, F1): paired bootstrap over items, or over ``clusters``.

    Where a system's value is not defined the difference is NaN, and everything else ``None``. Without ``low`` and ``high``
    (perplexity) a unit is taken to change by as much as two units differ. Raises ValueError for rows of different numbers,
    or none.
    """
    codes = _clusters(clusters)
    drawn = paired_replicates(pair, clusters=codes, resamples=resamples, seed=seed)
    n = len(pair.system)
    units = n if codes is None else int(codes.max()) + 1
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        ends = [float(pair.finish(rows.sum(axis=0)[None])[0]) for rows in (pair.baseline, pair.system)]
    value = ends[1] - ends[0]
    defined = drawn[np.isfinite(drawn)]
    stderr = replicate_stderr(defined)
    if not math.isfinite(value) or stderr is None or len(defined) < 0.5 * len(drawn):
        return TotalsDifference(value, n, units, defined, None)
    span = _totals_span(pair, codes, ends, low, high)
    changed = carriers(_deviations(pair, codes, ends), span)
    changes = Changes(value, stderr, units - 1, units, changed, span)
    return TotalsDifference(value, n, units, defined, changes, math.inf if low is None or high is None else span)


def _clusters(clusters: Ints | None) -> Ints | None:
    """Codes without gaps; clusters that all hold one item are none."""
    if clusters is None or not len(clusters):
        return None
    distinct, codes = np.unique(clusters, return_inverse=True)
    return None if len(distinct) == len(clusters) else codes.astype(np.int64).reshape(-1)


def _by_unit(values: Array, codes: Ints | None) -> Array:
    return values if codes is None else np.bincount(codes, weights=values).astype(np.float64)


def _influence(rows: Array, codes: Ints | None, finish: Finish, value: float) -> Array:
    """By how much each unit (u,) moves ``value``: (u - 1) times how that falls without the unit; NaN where nothing is left.

    Of a mean that is the unit's value less the mean (the jackknife's influence).
    """
    summed = rows if codes is None else np.stack([_by_unit(column, codes) for column in rows.T], axis=1)
    without = np.asarray(finish(rows.sum(axis=0) - summed), dtype=np.float64)
    return np.asarray((len(summed) - 1) * (value - without))


def _deviations(pair: Pair, codes: Ints | None, ends: list[float]) -> Array:
    """By how much each unit (u,) deviates from the difference; 0 where nothing is left without it."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        one, other = (
            _influence(rows, codes, pair.finish, end) for rows, end in zip((pair.baseline, pair.system), ends, strict=True)
        )
        found = other - one
    return np.where(np.isfinite(found), found, 0.0)


def _span(values: Array, low: float | None, high: float | None) -> float:
    """The most that an item can change: the metric's range, or that of the values where an end is open."""
    least, most = float(values.min()), float(values.max())
    span = max(most, most if high is None else high) - min(least, least if low is None else low)
    # nothing varies and nothing is known: at least the values' own size
    return span if span > 0 else max(abs(least), abs(most)) or 1.0


def _totals_span(pair: Pair, codes: Ints | None, values: list[float], low: float | None, high: float | None) -> float:
    """The most that a unit can change: the metric's range; where an end is open, as much as two units differ.

    A value of totals has no items' values to take a range of: the perplexity of one item is no share in that of all. What a
    unit adds is its pseudo-value v + (u - 1) (v - v without it), of a mean the unit's own value. A unit that breaks is taken
    to be as far from what it was as one unit of the baseline is from another of the system: the root mean square of that.
    """
    if low is not None and high is not None:
        return _span(np.array(values), low, high)
    variance = 0.0
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for rows, value in zip((pair.baseline, pair.system), values, strict=True):
            added = _influence(rows, codes, pair.finish, value)
            added = added[np.isfinite(added)]
            variance += float(added.var(ddof=1)) if len(added) > 1 else 0.0
    own = max(map(abs, values)) or 1.0
    # nothing varies (but for the order of sums) and nothing is known: at least the values' own size
    return math.sqrt(variance) if _ROUNDING * own < math.sqrt(variance) < math.inf else own
