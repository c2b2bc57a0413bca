"""How many items, before a model is run: sample sizes and smallest effects for comparisons and non-inferiority.

Sample sizes are not rounded; take the ceiling. Formulas are those of E. Miller, "Adding Error Bars to Evals" (arXiv
2411.00640, section 5), and the usual ones of non-inferiority trials, by the normal approximation.
"""

from __future__ import annotations

import math

from evalkit.stats.distributions import normal_quantile, t_cdf


def sample_size(
    difference: float,
    between: float,
    within_a: float = 0.0,
    within_b: float = 0.0,
    repeats_a: int = 1,
    repeats_b: int = 1,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
) -> float:
    """Items for a two-sided paired test at ``alpha`` to find ``difference`` with ``power`` (Miller's equation 9).

    ``between`` is the variance over items of the difference of the two models' true scores (omega^2), ``within`` a model's
    mean variance of one answer (sigma^2), ``repeats`` how often an item is answered.
    """
    variance = between + within_a / repeats_a + within_b / repeats_b
    return _factor(alpha / 2, power) ** 2 * variance / difference**2


def detectable_difference(
    n: float,
    between: float,
    within_a: float = 0.0,
    within_b: float = 0.0,
    repeats_a: int = 1,
    repeats_b: int = 1,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
) -> float:
    """The smallest difference that ``n`` items find with ``power``: `sample_size` turned around (equation 10)."""
    variance = between + within_a / repeats_a + within_b / repeats_b
    return _factor(alpha / 2, power) * math.sqrt(variance / n)


def noninferiority_size(
    sd: float, margin: float, true_difference: float = 0.0, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Items to show with ``power``, one-sided at ``alpha``, that a difference is above -``margin``.

    ``sd`` is that of an item's difference. Infinite where the ``true_difference`` is itself not above -``margin``.
    """
    room = margin + true_difference
    return (_factor(alpha, power) * sd / room) ** 2 if room > 0 else math.inf


def noninferiority_repeats(
    n: float, margin: float, between: float, within_a: float, within_b: float, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """How often each of ``n`` items must be answered by both models to show a difference above -``margin``, were there none.

    ``between`` and ``within`` are those of `sample_size` (`means.variance_split` estimates them). Infinite where the items
    alone differ too much: then only more items, or a larger margin, help.
    """
    room = n * (margin / _factor(alpha, power)) ** 2 - between
    return max(1.0, (within_a + within_b) / room) if room > 0 else math.inf


def discordance_sd(discordance: float, true_difference: float = 0.0) -> float:
    """Standard deviation of the difference of 0/1 items, of which a share of ``discordance`` flips."""
    return math.sqrt(max(discordance - true_difference**2, 0.0))


def noninferiority_p(difference: float, stderr: float, df: float, margin: float) -> tuple[float, float]:
    """Student's t of a ``difference`` against -``margin``, and the one-sided p of "worse by the margin or more"."""
    t = (difference + margin) / stderr
    return t, t_cdf(-t, df)


def paired_t_size(effect: float, *, alpha: float = 0.05, power: float = 0.8, two_sided: bool = True) -> float:
    """Items for a paired t test to find a standardised ``effect`` (mean / sd of differences), by the noncentral t.

    As statsmodels' ``TTestPower``; needs scipy. Raises ValueError for an effect of zero.
    """
    from scipy.optimize import brentq
    from scipy.stats import nct, t

    if effect == 0:
        raise ValueError("no number of items finds an effect of zero")
    size, tail = abs(effect), alpha / 2 if two_sided else alpha

    def shortfall(n: float) -> float:
        df, centre = n - 1, size * math.sqrt(n)
        critical = t.isf(tail, df)
        found = nct.sf(critical, df, centre) + (nct.cdf(-critical, df, centre) if two_sided else 0.0)
        return float(found) - power

    high = 4.0
    while shortfall(high) < 0:
        high *= 2
    return 2.0 if shortfall(2.0) >= 0 else float(brentq(shortfall, 2.0, high, xtol=1e-9))


def design_effect(cluster_size: float, icc: float) -> float:
    """How many times the variance of a mean grows in clusters of ``cluster_size`` with intraclass correlation ``icc``.

    n items are worth n / design_effect independent ones.
    """
    return 1 + (cluster_size - 1) * icc


def _factor(tail: float, power: float) -> float:
    return normal_quantile(1 - tail) + normal_quantile(power)
