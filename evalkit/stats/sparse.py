"""A mean of differences most of which are zero: what Student's t overlooks, and a score statistic that does not.

A system that equals another on every item seen has a sample variance of zero, and one that differs on a few a variance that
says little; t (and a bootstrap, which can only draw what was seen) then finds bounds that are far too near. Binary items
have Tango's answer: the variance is that of the likeliest world *in which the hypothesis is true*. The same idea for any
values: to reach a mean delta below the mean d that was seen, a share of the units must fall J below d while the rest stay as
they were seen. With v the variance of a unit that was seen, a unit's variance in that world is

    v (1 - x / J) + x (J - x),    x = d - delta,

and the bound at t standard errors solves a quadratic in x. Without any change seen that is x = J t^2 / (N + t^2), Tango's
and Wilson's bound. J^2 is the mean square of the deviations from d that were seen and of one more, to the end of the range:
a few changes do not tell how large others are, many do.

How many were seen is a matter of what carries the variance: k = (sum e^2)^2 / sum e^4 of the deviations e, which is about 12
for twelve equal changes and 2 for two large ones among noise, and less where all together are below `_NOISE` of the range
(what another number format rounds is no change). The score variance counts in full at k = 0 and fades out until t is left as
it is: once k is `MANY`, and `SHARE` of the units. Bounds are never nearer than t's own.

What no sample tells is a rare failure that it does not hold. Where most units differ a little, and so t is left alone, a
failure of one unit in fifty goes unseen in a sample of fifty once in three times: n matters, not the formula.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evalkit.stats.distributions import normal_quantile, t_cdf, t_quantile
from evalkit.stats.means import Array

#: So many changes, and this share of the units (normal differences have 1/3), from which on t holds its level.
MANY, SHARE = 10.0, 0.1
_NOISE = 0.02
_TINY = 1e-12
MOST_UNITS = 10**9


def carriers(deviations: Array, span: float) -> float:
    """How many units carry the variance of a mean.

    ``deviations`` (u,) are those of the units' differences from their mean, each times its weight (1 on average); ``span``
    is the most that a unit of weight 1 can change.
    """
    squares = np.square(deviations / span)
    total = float(squares.sum())
    if total < _TINY**2:
        return 0.0
    return total**2 / float(squares @ squares) * total / (total + _NOISE**2)


@dataclass(frozen=True, slots=True)
class Changes:
    """What was seen of ``units`` > 0 independent differences (an effective, fractional number where they weigh unequally).

    ``stderr`` is that of their mean ``value``, ``df`` its degrees of freedom, ``changed`` how many of them are `carriers`,
    and ``span`` > 0 the most that a unit can change.
    """

    value: float
    stderr: float
    df: float
    units: float
    changed: float
    span: float

    def lower(self, alpha: float) -> float:
        return self.value - self._reach(self.value, t_quantile(1 - alpha, self.df))

    def upper(self, alpha: float) -> float:
        return self.value + self._reach(-self.value, t_quantile(1 - alpha, self.df))

    def p_below(self) -> float:
        """One-sided p of "the mean is not below zero", which agrees with `upper`."""
        return t_cdf(self._statistic(), self.df)

    def p_two_sided(self) -> float:
        return min(1.0, 2 * t_cdf(-abs(self._statistic()), self.df))

    def needed(self, margin: float, alpha: float, power: float) -> float | None:
        """Units whose lower bound is above -``margin`` with ``power``, were the true mean zero; ``None`` beyond 10^9."""
        if not margin > 0:
            return None
        low, high = 1.0, 2.0
        while not self._certifies(high, margin, alpha, power):
            low, high = high, 2 * high
            if high > MOST_UNITS:
                return None
        while high - low > 0.25:
            middle = 0.5 * (low + high)
            low, high = (low, middle) if self._certifies(middle, margin, alpha, power) else (middle, high)
        return high

    def certifiable(self, alpha: float, power: float) -> float | None:
        """The smallest margin that these units certify with ``power``, were the true mean zero; ``None`` above the span."""
        low, high = 0.0, self.span
        if not self._certifies(self.units, high, alpha, power):
            return None
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (low, middle) if self._certifies(self.units, middle, alpha, power) else (middle, high)
        return high

    @property
    def _variance(self) -> float:
        return self.units * self.stderr**2

    def _carriers(self, units: float) -> float:
        return self.changed * units / self.units

    def _doubt(self, units: float) -> float:
        """How much the score variance counts among ``units`` that change as these do, in [0, 1]."""
        return max(0.0, 1 - self._carriers(units) / MANY, 1 - self._carriers(units) / (SHARE * units))

    def _jump(self, value: float, units: float) -> float:
        """Root mean square of deviations among ``units`` that deviate as these do, and of one more, to the range's end."""
        furthest = max(self.span + value, _TINY * self.span)
        return math.sqrt((units * self._variance + furthest**2) / (self._carriers(units) + 1))

    def _reach(self, value: float, t: float) -> float:
        """How far below ``value`` (the mean, or its negative) the bound at ``t`` standard errors lies."""
        jump = self._jump(value, self.units)
        variance, t2 = self._variance, t * t
        doubt = self._doubt(self.units)
        linear = doubt * t2 * (jump - variance / jump)
        square = self.units + doubt * t2
        return max((linear + math.sqrt(linear**2 + 4 * square * t2 * variance)) / (2 * square), t * self.stderr)

    def _statistic(self) -> float:
        """Standard errors between the mean and zero."""
        x = abs(self.value)
        variance = self._null_variance(x, self._jump(x, self.units), self.units)
        return self.value * math.sqrt(self.units / variance) if x > 0 else 0.0

    def _certifies(self, units: float, margin: float, alpha: float, power: float) -> bool:
        """Whether so many units certify: z_a sd(at -margin) + z_b sd(at 0) <= margin sqrt(units), as for any score test."""
        worst = self._null_variance(margin, self._jump(0.0, units), units)
        df = max(1.0, float(int(self.df * units / self.units)))
        reach = t_quantile(1 - alpha, df) * math.sqrt(worst) + normal_quantile(power) * math.sqrt(self._variance)
        return reach <= margin * math.sqrt(units)

    def _null_variance(self, x: float, jump: float, units: float) -> float:
        """A unit's variance where the mean was moved by ``x`` through a share of units that jump."""
        variance = self._variance
        moved = variance * (1 - x / jump) + x * (jump - x)
        return variance + self._doubt(units) * max(0.0, moved - variance)
