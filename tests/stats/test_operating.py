"""How often the gate's rule passes and fails: the published table, and simulation with the same decisions."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.stats.difference import paired_difference
from evalkit.stats.operating import certifiable_margin, items_needed, outcome_rates

#: True drop, share of flips, n: chances that a bare threshold fails, the rule fails, passes, fails strictly (margin 2 pp).
TABLE = [
    (0.0, 0.06, 100, (0.149, 0.015, 0.18, 0.01)),
    (0.0, 0.06, 500, (0.028, 0.027, 0.56, 0.0)),
    (0.0, 0.06, 1000, (0.004, 0.004, 0.81, 0.0)),
    (0.0, 0.15, 100, (0.258, 0.030, 0.13, 0.02)),
    (0.0, 0.15, 500, (0.112, 0.039, 0.31, 0.0)),
    (0.0, 0.15, 1000, (0.047, 0.042, 0.49, 0.0)),
    (0.05, 0.15, 100, (0.74, 0.28, 0.008, 0.20)),
    (0.05, 0.15, 250, (0.88, 0.61, 0.002, 0.34)),
    (0.05, 0.15, 500, (0.96, 0.88, 0.0, 0.55)),
    (0.05, 0.15, 1000, (0.99, 0.99, 0.0, 0.80)),
]


def printed(expected: float) -> float:
    """Half of the last digit that the table prints; it has three digits of small chances."""
    return 0.00051 if expected in (0.008, 0.002) or round(expected * 1000) % 10 else 0.0051


@pytest.mark.parametrize(("drop", "discordance", "n", "expected"), TABLE)
def test_the_published_table(drop: float, discordance: float, n: int, expected: tuple[float, ...]) -> None:
    rates = outcome_rates(n, discordance, drop, 0.02)
    found = (rates.threshold, rates.failed, rates.passed, rates.strict)
    for rate, value in zip(found, expected, strict=True):
        assert rate == pytest.approx(value, abs=printed(value))
    assert rates.passed + rates.failed + rates.inconclusive == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("n", "rate"), [(50, 0.042), (100, 0.048)])
def test_a_drop_of_the_margin_passes_no_more_often_than_alpha(n: int, rate: float) -> None:
    assert outcome_rates(n, 0.06, 0.02, 0.02).passed == pytest.approx(rate, abs=0.0005)


def test_the_worst_case_is_known() -> None:
    """Losses only, at the first n that certifies 2 pp without a flip: the score test is then off its level by two points."""
    worst = max(outcome_rates(n, share, 0.02, 0.02).passed for n in (133, 150, 200, 300, 500) for share in (0.02, 0.04, 0.1))
    assert worst == pytest.approx(0.98**133, abs=1e-6) and worst < 0.07


def test_the_same_as_drawing_and_deciding() -> None:
    rng = np.random.default_rng(0)
    n, discordance, drop, margin, alpha = 80, 0.2, 0.04, 0.03, 0.05
    draws = rng.multinomial(n, [(discordance + drop) / 2, (discordance - drop) / 2, 1 - discordance], size=3000)
    verdicts = {"passed": 0, "failed": 0}
    for lost, gained, same in draws.tolist():
        baseline = np.repeat([1.0, 0.0, 1.0], [lost, gained, same])
        found = paired_difference(baseline, np.repeat([0.0, 1.0, 1.0], [lost, gained, same]))
        verdicts["passed"] += found.lower(alpha) > -margin
        verdicts["failed"] += found.value < -margin and found.p_worse() < alpha
    rates = outcome_rates(n, discordance, drop, margin, alpha)
    assert verdicts["passed"] / 3000 == pytest.approx(rates.passed, abs=0.015)
    assert verdicts["failed"] / 3000 == pytest.approx(rates.failed, abs=0.025)


@pytest.mark.parametrize(("n", "textbook"), [(164, 0.055), (198, 0.050), (541, 0.030), (1319, 0.019), (14042, 0.006)])
def test_the_smallest_margins_of_known_benchmarks(n: int, textbook: float) -> None:
    """8 % flips, power .8. The textbook's margins (HumanEval 5.5 pp ... MMLU 0.6 pp) have less power on few items."""
    margin = certifiable_margin(n, 0.08)
    assert textbook - 0.0006 < margin < 1.15 * textbook
    assert outcome_rates(n, 0.08, 0.0, margin).passed == pytest.approx(0.8, abs=0.04)
    assert outcome_rates(n, 0.08, 0.0, margin).passed > 0.795
    assert items_needed(0.08, margin) == pytest.approx(n)


def test_margins_where_nothing_flips_or_items_are_few() -> None:
    assert items_needed(0.0, 0.02) == pytest.approx(132.6, abs=0.1)
    assert certifiable_margin(1, 0.9, power=0.99) is None


def test_shares_at_their_ends() -> None:
    assert outcome_rates(200, 0.0, 0.0, 0.02).passed == 1
    assert outcome_rates(50, 0.0, 0.0, 0.02).inconclusive == 1
    assert outcome_rates(30, 1.0, 1.0, 0.02).failed == pytest.approx(1)
    assert outcome_rates(400, 0.1, -0.1, 0.02).passed == pytest.approx(1)


@pytest.mark.parametrize("wrong", [(0, 0.1, 0, 0.02), (10, 0.1, 0.2, 0.02), (10, 1.1, 0, 0.02), (10, 0.1, 0, 0)])
def test_what_cannot_be_is_refused(wrong: tuple[int, float, float, float]) -> None:
    with pytest.raises(ValueError, match="no such outcomes"):
        outcome_rates(*wrong)
