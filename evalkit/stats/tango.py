"""Tango's score interval for the difference of two paired shares (T. Tango, Statistics in Medicine 17, 1998).

Of n items answered by two systems, ``lost`` are right for the baseline only and ``gained`` for the system only. The score
statistic of a difference delta takes its variance from the most likely shares that have this difference, so that it holds
its level where pairs that differ are few, and the interval has width where there are none: +-z^2 / (n + z^2).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from evalkit.stats.distributions import normal_quantile
from evalkit.stats.intervals import Interval
from evalkit.stats.means import Array

Numbers = float | npt.NDArray[np.integer] | Array

_HALVINGS = 60  # of a bracket no wider than 2: to 2e-18


def tango_variance(lost: Numbers, gained: Numbers, n: Numbers, delta: Numbers) -> Array:
    """Variance of one item's difference under the likeliest shares whose difference gained - lost is ``delta`` in (-1, 1).

    The likeliest share of lost items, q, is the root of a quadratic; the variance is 2 q + delta (1 - delta). Arrays of any
    shapes that fit together.
    """
    b, c, d = (np.asarray(value, dtype=np.float64) for value in (lost, gained, delta))
    a = 2.0 * np.asarray(n, dtype=np.float64)
    linear = -b - c + (a - c + b) * d
    q = (np.sqrt(np.maximum(linear**2 + 4 * a * b * d * (1 - d), 0.0)) - linear) / (2 * a)
    return np.asarray(2 * np.maximum(q, np.maximum(0.0, -d)) + d * (1 - d), dtype=np.float64)


def tango_z(lost: Numbers, gained: Numbers, n: Numbers, delta: Numbers) -> Array:
    """The score statistic of the hypothesis that the difference is ``delta``: above 0 where the data show more than that."""
    size = np.asarray(n, dtype=np.float64)
    distance = np.asarray(gained, dtype=np.float64) - np.asarray(lost, dtype=np.float64) - size * delta
    spread = np.sqrt(size * np.maximum(tango_variance(lost, gained, n, delta), 1e-300))
    return np.asarray(distance / spread, dtype=np.float64)


def tango_interval(lost: int, gained: int, n: int, level: float = 0.95) -> Interval:
    """The differences gained - lost (as shares of ``n``) that the score test does not refuse; within [-1, 1].

    Raises ValueError for counts that are none, or more than ``n`` together.
    """
    if lost < 0 or gained < 0 or n < 1 or lost + gained > n:
        raise ValueError(f"no paired counts: {lost} lost and {gained} gained of {n}")
    z = normal_quantile(0.5 + level / 2)
    return -_upper(gained, lost, n, z), _upper(lost, gained, n, z)


def _upper(lost: int, gained: int, n: int, z: float) -> float:
    """The largest difference whose statistic is above -z: it falls as the difference grows."""
    low, high = (gained - lost) / n, 1.0
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        if _statistic(lost, gained, n, middle) > -z:
            low = middle
        else:
            high = middle
    return high


def _statistic(b: int, c: int, n: int, d: float) -> float:
    """`tango_z` of plain numbers, twenty times as fast."""
    a, linear = 2.0 * n, -b - c + (2 * n - c + b) * d
    q = (math.sqrt(max(linear * linear + 4 * a * b * d * (1 - d), 0.0)) - linear) / (2 * a)
    return (c - b - n * d) / math.sqrt(n * max(2 * max(q, 0.0, -d) + d * (1 - d), 1e-300))
