"""A mean of differences most of which are zero: what Student's t overlooks, and a score statistic that does not.

A system that equals another on every item seen has a sample variance of zero, and one that differs on a few a variance that
says little; t (and a bootstrap, which can only draw what was seen) then finds bounds that are far too near. Binary items
have Tango's answer: the variance is that of the likeliest world *in which the hypothesis is true*. The same idea for any
values: to reach a mean delta below the mean d that was seen, a share of the units must fall to some change -s while the rest
stay as they were seen. With J = s + d, and v the variance of a unit that was seen, a unit's variance in that world is

    v (1 - x / J) + x (J - x),    x = d - delta,

and the bound at t standard errors solves a quadratic in x. Without any change seen that is x = s t^2 / (N + t^2), Tango's
and Wilson's bound. For s stand the sizes of the changes that were seen together with `PRIOR` units that changed by the
whole range: a few changes do not tell how large others are, many do. Bounds are never nearer than t's own, and where all
units differ (dense data) the two soon agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from evalkit.stats.distributions import normal_quantile, t_cdf, t_quantile

#: Units that are taken to have changed by the whole range, beside those that were seen to change.
PRIOR = 2.0
_TINY = 1e-12
MOST_ITEMS = 10**9


@dataclass(frozen=True, slots=True)
class Changes:
    """What was seen of ``units`` > 0 independent differences (an effective, fractional number where they weigh unequally).

    ``stderr`` is that of their mean ``value``, ``df`` its degrees of freedom, ``changed`` the share of units that are not
    zero, and ``span`` > 0 the most that a unit can change.
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
            if high > MOST_ITEMS:
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

    def _size(self, units: float) -> float:
        """Root mean square of changes, as among ``units`` that change as these do, with the prior ones."""
        seen = units * (self._variance + self.value**2) + PRIOR * self.span**2
        return math.sqrt(seen / (units * self.changed + PRIOR))

    def _reach(self, value: float, t: float) -> float:
        """How far below ``value`` (the mean, or its negative) the bound at ``t`` standard errors lies."""
        jump = max(self._size(self.units) + value, _TINY * self.span)
        variance = self._variance
        linear = t * t * (jump - variance / jump)
        root = math.sqrt(linear**2 + 4 * (self.units + t * t) * t * t * variance)
        return max((linear + root) / (2 * (self.units + t * t)), t * self.stderr)

    def _statistic(self) -> float:
        """Standard errors between the mean and zero, the smaller of the two forms."""
        x = abs(self.value)
        if x == 0:
            return 0.0
        variance = max(_null_variance(x, self._size(self.units) + x, self._variance), self._variance)
        return self.value * math.sqrt(self.units / variance) if variance > 0 else math.copysign(math.inf, self.value)

    def _certifies(self, units: float, margin: float, alpha: float, power: float) -> bool:
        """Whether so many units certify: z_a sd(margin) + z_b sd(0) <= margin sqrt(units), as for any score test."""
        variance, jump = self._variance, self._size(units)
        worst = max(_null_variance(margin, jump, variance), variance)
        df = max(1.0, float(int(self.df * units / self.units)))
        reach = t_quantile(1 - alpha, df) * math.sqrt(worst) + normal_quantile(power) * math.sqrt(variance)
        return reach <= margin * math.sqrt(units)


def _null_variance(x: float, jump: float, variance: float) -> float:
    """A unit's variance where the mean was moved by ``x`` through a share of units that jump."""
    return variance * (1 - x / jump) + x * (jump - x)
