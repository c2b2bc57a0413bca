"""Other intervals for one share and for the difference of two paired ones, to compare with what other tools report.

evalkit itself uses Wilson's (`intervals.wilson`) and Tango's (`tango.tango_interval`): Wald's have no width at 0 and 1, and
cover too seldom near them.
"""

from __future__ import annotations

import math

from evalkit.stats.distributions import normal_quantile
from evalkit.stats.intervals import Interval, wilson


def clopper_pearson(k: int, n: int, level: float = 0.95) -> Interval:
    """The exact interval of ``k`` of ``n``: covers at least ``level`` of the time, mostly more. Needs scipy."""
    from scipy.special import betaincinv

    tail = _tail(k, n, level)
    low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, tail))
    return low, 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - tail))


def jeffreys(k: int, n: int, level: float = 0.95) -> Interval:
    """The equal-tailed interval under Jeffreys' prior, Beta(1/2, 1/2), for ``k`` of ``n``. Needs scipy."""
    from scipy.special import betaincinv

    tail = _tail(k, n, level)
    return float(betaincinv(k + 0.5, n - k + 0.5, tail)), float(betaincinv(k + 0.5, n - k + 0.5, 1 - tail))


def agresti_coull(k: int, n: int, level: float = 0.95) -> Interval:
    """Wald's interval after adding z^2 trials, half of them successes; cut at 0 and 1."""
    z2 = normal_quantile(1 - _tail(k, n, level)) ** 2
    return wald((k + z2 / 2) / (n + z2), n + z2, level)


def wald(p: float, n: float, level: float = 0.95) -> Interval:
    """Wald's p +- z sqrt(p (1 - p) / n), cut at 0 and 1. No width at 0 and 1: not for reporting."""
    half = normal_quantile(0.5 + level / 2) * math.sqrt(p * (1 - p) / n)
    return max(p - half, 0.0), min(p + half, 1.0)


def paired_wald(lost: float, gained: float, n: float, level: float = 0.95) -> Interval:
    """Wald's interval of (gained - lost) / n: no width where nothing changed."""
    difference = (gained - lost) / n
    half = normal_quantile(0.5 + level / 2) * math.sqrt(lost + gained - n * difference**2) / n
    return difference - half, difference + half


def agresti_min(lost: int, gained: int, n: int, level: float = 0.95) -> Interval:
    """Agresti and Min's (2005): Wald's interval after adding half a pair to each cell of the 2 x 2 table."""
    return paired_wald(lost + 0.5, gained + 0.5, n + 2, level)


def newcombe(both: int, lost: int, gained: int, neither: int, level: float = 0.95) -> Interval:
    """Newcombe's (1998) square-and-add interval: the two shares' Wilson intervals, and their correlation phi as it was seen.

    His method 10 shrinks phi for continuity besides; other tools often call this form, method 8, by that name.
    """
    n = both + lost + gained + neither
    first, second = (both + lost) / n, (both + gained) / n
    (low1, high1), (low2, high2) = wilson(first, n, level), wilson(second, n, level)
    spread = (both + lost) * (gained + neither) * (both + gained) * (lost + neither)
    phi = (both * neither - lost * gained) / math.sqrt(spread) if spread else 0.0
    difference = second - first
    below = _joined(second - low2, high1 - first, phi)
    above = _joined(high2 - second, first - low1, phi)
    return difference - below, difference + above


def _joined(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(one**2 - 2 * phi * one * other + other**2, 0.0))


def _tail(k: int, n: int, level: float) -> float:
    if not 0 <= k <= n or n < 1:
        raise ValueError(f"no share: {k} of {n}")
    return (1 - level) / 2
