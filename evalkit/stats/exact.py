"""Exact tests of counts, and what goes with a Pearson correlation: its p value and its interval."""

from __future__ import annotations

import math

from evalkit.stats.distributions import incomplete_beta, normal_cdf, normal_quantile, t_cdf
from evalkit.stats.intervals import Interval


def binomial_p(successes: int, trials: int, chance: float = 0.5) -> float:
    """Two-sided exact p of ``successes`` in ``trials`` under ``chance`` in (0, 1); 1 without any trial.

    The outcomes that are no likelier than what was seen, as scipy's ``binomtest`` counts them.
    """
    if not 0 <= successes <= trials or not 0 < chance < 1:
        raise ValueError(f"no binomial outcome: {successes} of {trials} at {chance}")
    logs = [_log_probability(k, trials, chance) for k in range(trials + 1)]
    bound = logs[successes] + 1e-7
    return min(1.0, math.fsum(math.exp(value) for value in logs if value <= bound))


def _log_probability(k: int, n: int, p: float) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p) + (n - k) * math.log1p(-p)


def mcnemar_p(one: int, other: int) -> float:
    """Exact McNemar (sign) test: p of pairs that changed in ``one`` direction and in the ``other``, were both as likely."""
    return binomial_p(one, one + other)


def mcnemar_worse_p(lost: int, gained: int) -> float:
    """One-sided exact McNemar: the chance of at least ``lost`` of the pairs that changed, were both directions as likely.

    Small where a system lost more than it gained; 1 where it lost nothing.
    """
    if lost < 0 or gained < 0:
        raise ValueError(f"no counts: {lost} lost and {gained} gained")
    return 1.0 if lost == 0 else incomplete_beta(lost, gained + 1, 0.5)


def mcnemar_mid_p(one: int, other: int) -> float:
    """Two-sided mid-p McNemar: half the chance of what was seen is left out (Fagerland et al. 2013); 1 where both are equal.

    Less conservative than `mcnemar_p`, but it may exceed its level a little: no test to gate by.
    """
    if one == other:
        return 1.0
    seen = math.exp(_log_probability(min(one, other), one + other, 0.5))
    return mcnemar_p(one, other) - seen


def mcnemar_chi2(one: int, other: int, *, correct: bool = False) -> tuple[float, float] | None:
    """McNemar's large-sample statistic and p, with Edwards' continuity correction where asked; ``None`` without a change.

    As statsmodels, whose correction makes 1 of 0. The exact test needs neither; this is for comparing with other tools.
    """
    if one + other == 0:
        return None
    statistic: float = (abs(one - other) - (1 if correct else 0)) ** 2 / (one + other)
    return statistic, 2 * normal_cdf(-math.sqrt(statistic))


def pearson_p(r: float, n: int) -> float | None:
    """Two-sided p of a Pearson correlation of ``n`` pairs, were there none: Student's t with n - 2 degrees of freedom."""
    if n < 3 or not math.isfinite(r):
        return None
    if abs(r) >= 1:
        return 0.0
    t = abs(r) * math.sqrt((n - 2) / (1 - r * r))
    return 2 * t_cdf(-t, n - 2)


def fisher_interval(r: float, n: int, level: float = 0.95) -> Interval | None:
    """Fisher's z interval of a Pearson correlation of ``n`` > 3 pairs that are about normal."""
    if n < 4 or not abs(r) < 1:
        return None
    half = normal_quantile(0.5 + level / 2) / math.sqrt(n - 3)
    return math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)
