"""What a gate does in the long run: exact chances of PASS and FAIL for right/wrong items, by going through all outcomes.

The numbers to plan by (how often would this margin, with so many items, stop a model that is as good as the last one?), and
those that the gate's rule is tested by.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evalkit.stats.distributions import normal_quantile
from evalkit.stats.exact import mcnemar_worse_p
from evalkit.stats.means import Array, Ints
from evalkit.stats.tango import tango_variance, tango_z

_LEFT_OUT = 12.0  # standard deviations of a count beyond which outcomes are left out: together far below 1e-12


@dataclass(frozen=True, slots=True)
class OutcomeRates:
    """Chances over draws of the items. ``passed``, ``failed`` and ``inconclusive`` sum to 1.

    ``strict``: the upper bound, too, is below -margin (``strict: beyond_margin``). ``threshold``: the score seen is below
    -margin, which is all that a bare threshold asks.
    """

    passed: float
    failed: float
    inconclusive: float
    strict: float
    threshold: float


def outcome_rates(n: int, discordance: float, drop: float, margin: float, alpha: float = 0.05) -> OutcomeRates:
    """Exact rates of the gate's rule for ``n`` items of which a share of ``discordance`` flips.

    ``drop`` is the true difference baseline - system, so items are lost with probability (discordance + drop) / 2 and
    gained with (discordance - drop) / 2. PASS: Tango's one-sided lower bound at ``alpha`` is above -``margin``. FAIL: the
    difference seen is below -margin, and the exact one-sided McNemar p below ``alpha``. About 0.03 s for 1,000 items.
    Raises ValueError for shares that cannot be.
    """
    if n < 1 or not 0 <= abs(drop) <= discordance <= 1 or not 0 < margin < 1 or not 0 < alpha < 0.5:
        raise ValueError(
            f"no such outcomes: n={n}, discordance={discordance}, drop={drop}, margin={margin}, alpha={alpha}; "
            "needs |drop| <= discordance <= 1, 0 < margin < 1 and 0 < alpha < 0.5"
        )
    p_lost, p_gained = (discordance + drop) / 2, (discordance - drop) / 2
    lost, gained = _likely(n, p_lost)[:, None], _likely(n, p_gained)[None, :]
    chance = _chances(lost, gained, n, p_lost, p_gained)
    z = normal_quantile(1 - alpha)
    score = tango_z(lost, gained, n, -margin)
    # the difference itself, as a caller computes it: -margin is no number of items exactly
    beyond = (gained - lost) / n < -margin
    passed = score > z
    failed = beyond & (lost >= _critical(gained[0], n, alpha)[None, :])

    def rate(outcomes: np.ndarray) -> float:
        return min(1.0, math.fsum(chance[outcomes].tolist()))

    return OutcomeRates(
        passed=rate(passed),
        failed=rate(failed),
        inconclusive=rate(~passed & ~failed),
        strict=rate(failed & (score < -z)),
        threshold=rate(beyond),
    )


def items_needed(discordance: float, margin: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """Items, not rounded, that show with ``power`` that a system that is as good is not worse by ``margin``.

    ``discordance`` is the share of 0/1 items that flip all the same, half of them either way. By the score test's own
    variances, z_a sd(at -margin) + z_b sd(at 0) = margin sqrt(n). Where nothing flips this is z_a^2 (1 - margin) / margin;
    where much does it is the textbook's ((z_a + z_b) sd / margin)^2, which promises too much power where few flip.
    """
    worst = float(tango_variance(discordance / 2, discordance / 2, 1, -margin))
    reach = normal_quantile(1 - alpha) * math.sqrt(worst) + normal_quantile(power) * math.sqrt(discordance)
    return (reach / margin) ** 2


def certifiable_margin(n: int, discordance: float, alpha: float = 0.05, power: float = 0.8) -> float | None:
    """The smallest margin for which ``n`` items are enough: `items_needed` turned around; ``None`` where none below 1 is."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if items_needed(discordance, middle, alpha, power) <= n else (middle, high)
    return high if high < 1 else None


def _likely(n: int, p: float) -> Ints:
    """The counts that a binomial variable takes but for a chance that does not matter."""
    spread = _LEFT_OUT * math.sqrt(n * p * (1 - p)) + _LEFT_OUT
    return np.arange(max(0, math.floor(n * p - spread)), min(n, math.ceil(n * p + spread)) + 1, dtype=np.int64)


def _chances(lost: Ints, gained: Ints, n: int, p_lost: float, p_gained: float) -> Array:
    """Multinomial chances of every pair of counts; 0 where they are more than ``n`` together."""
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    same = n - lost - gained
    kept = np.maximum(same, 0)
    p_same = max(0.0, 1 - p_lost - p_gained)
    logs = log_factorial[n] - log_factorial[lost] - log_factorial[gained] - log_factorial[kept]
    for count, p in ((lost, p_lost), (gained, p_gained), (kept, p_same)):
        logs = logs + (count * math.log(p) if p > 0 else np.where(count > 0, -np.inf, 0.0))
    return np.where(same >= 0, np.exp(logs), 0.0)


def _critical(gained: Ints, n: int, alpha: float) -> Ints:
    """For each number gained, the fewest items lost at which McNemar's one-sided p is below ``alpha``; n + 1: none."""
    found = []
    for count in gained.tolist():
        low, high = 0, n + 1  # p falls as more are lost
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if mcnemar_worse_p(middle, count) < alpha else (middle, high)
        found.append(high)
    return np.array(found, dtype=np.int64)
