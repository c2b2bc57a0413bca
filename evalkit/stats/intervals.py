"""Confidence intervals for one value, and what they say about chance and saturation."""

from __future__ import annotations

import math

from evalkit.stats.distributions import normal_quantile, t_quantile

Interval = tuple[float, float]


def t_interval(value: float, stderr: float, df: float, level: float = 0.95) -> Interval:
    """``value`` +- t(df) * ``stderr``. df is n - 1, or clusters - 1 with a clustered standard error."""
    half = t_quantile(0.5 + level / 2, df) * stderr
    return value - half, value + half


def wilson(p: float, n: float, level: float = 0.95) -> Interval:
    """Wilson's score interval for a proportion ``p`` of ``n`` > 0 trials; ``n`` may be an effective, fractional number.

    It has width at 0 and 1 and never leaves [0, 1].
    """
    z2 = normal_quantile(0.5 + level / 2) ** 2
    centre = p + z2 / (2 * n)
    half = math.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n)))
    low, high = (centre - half) / (1 + z2 / n), (centre + half) / (1 + z2 / n)
    # the exact bounds at 0 and 1 are 0 and 1; rounding would leave 1e-17 there
    return (0.0 if p <= 0 else max(low, 0.0)), (1.0 if p >= 1 else min(high, 1.0))


def effective_n(p: float, stderr: float | None, units: int) -> float:
    """How many independent trials a proportion's standard error is worth: p(1-p) / SE^2.

    ``units`` (independent clusters, or rows) stands in where the standard error is missing or zero, as at 0 and 100 %:
    there the data cannot tell how much the rows of a cluster repeat each other, so they count once. Clusters with equal
    means leave a standard error of rounding alone, which is zero here.
    """
    variance = p * (1 - p)
    if stderr is None or stderr <= 1e-9 or variance <= 0:
        return float(units)
    return variance / stderr**2


def at_chance(ci: Interval | None, chance: float | None) -> bool:
    """Whether a result cannot be told from guessing: the interval holds the chance level."""
    return ci is not None and chance is not None and ci[0] <= chance <= ci[1]


def saturated(ci: Interval | None, low: float | None, high: float | None, slack: float = 0.01) -> bool:
    """Whether a result leaves no room to tell models apart: the interval reaches an end of the scale.

    ``slack`` is the share of the range [low, high] that counts as touching.
    """
    if ci is None or low is None or high is None or not high > low:
        return False
    margin = slack * (high - low)
    return ci[0] <= low + margin or ci[1] >= high - margin
