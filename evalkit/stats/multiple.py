"""Several tests at once: p values that keep the chance of false alarms among them at the level of one test.

| | keeps | under |
|---|---|---|
| `bonferroni`, `holm` | the chance of any false alarm | any dependence |
| `holm_sidak` | the same | independence or positive dependence |
| `hommel` | the same, with more power | independence or positive dependence (Simes) |
| `benjamini_hochberg` | the expected share of false alarms among all | independence or positive dependence |
| `benjamini_yekutieli` | the same | any dependence |

All take p values in any order, give adjusted ones in that order (reject where one is at most the level), and raise
ValueError for what is no probability. The figures are statsmodels' (``multipletests``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence


def bonferroni(ps: Sequence[float]) -> list[float]:
    """Each p times their number."""
    return [min(1.0, len(_checked(ps)) * p) for p in ps]


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down adjusted p values, in the order given; each holds for any dependence between the tests.

    The k-th smallest of m is multiplied by m - k + 1, made no smaller than the one before, and cut at 1.
    """
    return _step_down(ps, lambda p, left: left * p)


def holm_sidak(ps: Sequence[float]) -> list[float]:
    """Holm's procedure with Sidak's adjustment, 1 - (1 - p)^(m - k + 1), of the k-th smallest."""
    return _step_down(ps, lambda p, left: -math.expm1(left * math.log1p(-p)) if p < 1 else 1.0)


def hommel(ps: Sequence[float]) -> list[float]:
    """Hommel's (1988) procedure, the closure of Simes' test, by Wright's (1992) algorithm: O(m^2)."""
    order = sorted(range(len(_checked(ps))), key=ps.__getitem__)
    ordered = [ps[at] for at in order]
    m = len(ordered)
    reached = list(ordered)
    for size in range(m, 1, -1):
        last = m - size + 1  # the tests from here on are the larger ones of a subset of this size
        simes = min(size * ordered[last + i] / (2 + i) for i in range(size - 1))
        reached = [max(found, min(simes, size * ordered[k]) if k < last else simes) for k, found in enumerate(reached)]
    return _in_order(reached, order)


def benjamini_hochberg(ps: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's (1995) adjusted p values for the false discovery rate."""
    order = sorted(range(len(_checked(ps))), key=ps.__getitem__)
    reached, adjusted = 1.0, [0.0] * len(ps)
    for rank in range(len(ps), 0, -1):
        at = order[rank - 1]
        reached = adjusted[at] = min(reached, len(ps) * ps[at] / rank)
    return adjusted


def benjamini_yekutieli(ps: Sequence[float]) -> list[float]:
    """Benjamini and Yekutieli's (2001): as Benjamini and Hochberg's, times 1 + 1/2 + ... + 1/m."""
    factor = math.fsum(1 / k for k in range(1, len(ps) + 1))
    return [min(1.0, factor * p) for p in benjamini_hochberg(ps)]


def _step_down(ps: Sequence[float], adjust: Callable[[float, int], float]) -> list[float]:
    adjusted, reached = [0.0] * len(ps), 0.0
    for rank, at in enumerate(sorted(range(len(_checked(ps))), key=ps.__getitem__)):
        reached = max(reached, min(1.0, adjust(ps[at], len(ps) - rank)))
        adjusted[at] = reached
    return adjusted


def _in_order(values: Sequence[float], order: Sequence[int]) -> list[float]:
    placed = [0.0] * len(values)
    for value, at in zip(values, order, strict=True):
        placed[at] = min(1.0, value)
    return placed


def _checked(ps: Sequence[float]) -> Sequence[float]:
    if any(not 0 <= p <= 1 for p in ps):
        raise ValueError(f"p values must be within 0 and 1: {list(ps)}")
    return ps
