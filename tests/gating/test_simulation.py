"""How often the rule is wrong: exact rates over all outcomes, through the function that decides gates.

The table is that of the design: alpha 5 %, a margin of 2 points, discordance = share of items whose correctness flips.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from gate_runs import run, task

from evalkit.gating.decide import decide, evidence
from evalkit.gating.gate import decide_gate
from evalkit.gating.policy import Policy
from evalkit.stats.difference import paired_difference
from evalkit.stats.difference_kinds import ShareDifference
from evalkit.stats.operating import outcome_rates

ALPHA, MARGIN = 0.05, 0.02


@cache
def verdicts(lost: int, gained: int, n: int) -> tuple[str, bool]:
    """The rule's verdict, and what a bare threshold would do."""
    shown = evidence(ShareDifference(lost, gained, n), ALPHA)
    return decide(shown, MARGIN, ALPHA), shown.value < -MARGIN - 1e-12


def rates(n: int, discordance: float, drop: float) -> dict[str, float]:
    """Chances of each verdict (and of a threshold's alarm), summed over outcomes that are not vanishingly rare."""
    p_lost, p_gained = (discordance + drop) / 2, (discordance - drop) / 2
    found = dict.fromkeys(("PASS", "FAIL", "INCONCLUSIVE", "threshold"), 0.0)
    reach = [6 * math.sqrt(n * p * (1 - p)) + 6 for p in (p_lost, p_gained)]
    for lost in range(max(0, int(n * p_lost - reach[0])), min(n, int(n * p_lost + reach[0])) + 1):
        for gained in range(max(0, int(n * p_gained - reach[1])), min(n - lost, int(n * p_gained + reach[1])) + 1):
            logs = math.lgamma(n + 1) - sum(math.lgamma(k + 1) for k in (lost, gained, n - lost - gained))
            same = 1 - p_lost - p_gained
            chance = math.exp(
                logs + lost * math.log(p_lost) + gained * math.log(p_gained) + (n - lost - gained) * math.log(same)
            )
            verdict, alarm = verdicts(lost, gained, n)
            found[verdict] += chance
            found["threshold"] += chance * alarm
    return found


@pytest.mark.parametrize(
    ("drop", "n", "discordance", "threshold", "fail", "passed"),
    [
        (0.0, 100, 0.06, 0.149, 0.015, 0.18),
        (0.0, 100, 0.15, 0.258, 0.030, 0.13),
        (0.05, 100, 0.15, 0.74, 0.28, 0.008),
    ],
)
def test_rates_are_those_of_the_design(drop, n, discordance, threshold, fail, passed):
    found = rates(n, discordance, drop)
    exact = outcome_rates(n, discordance, drop, MARGIN, ALPHA)
    assert found["PASS"] == pytest.approx(exact.passed, abs=1e-6)
    assert found["FAIL"] == pytest.approx(exact.failed, abs=1e-6)
    assert found["threshold"] == pytest.approx(threshold, abs=0.006)
    assert found["FAIL"] == pytest.approx(fail, abs=0.006)
    assert found["PASS"] == pytest.approx(passed, abs=0.006)


def test_three_false_alarms_in_a_hundred_where_a_threshold_gives_twenty_six():
    found = rates(100, 0.15, 0.0)
    assert round(found["FAIL"], 2) == 0.03 and round(found["threshold"], 2) == 0.26


@pytest.mark.parametrize(
    ("drop", "n", "discordance", "threshold", "fail", "passed"),
    [
        (0.0, 500, 0.06, 0.028, 0.027, 0.56),
        (0.0, 500, 0.15, 0.112, 0.039, 0.31),
        (0.0, 1000, 0.06, 0.004, 0.004, 0.81),
        (0.0, 1000, 0.15, 0.047, 0.042, 0.49),
        (0.05, 250, 0.15, 0.88, 0.61, 0.002),
        (0.05, 500, 0.15, 0.96, 0.88, 0.0),
        (0.05, 1000, 0.15, 0.99, 0.99, 0.0),
    ],
)
def test_rates_of_larger_data(drop, n, discordance, threshold, fail, passed):
    """By the enumeration that the test above holds against the rule."""
    exact = outcome_rates(n, discordance, drop, MARGIN, ALPHA)
    assert exact.threshold == pytest.approx(threshold, abs=0.006)
    assert exact.failed == pytest.approx(fail, abs=0.006)
    assert exact.passed == pytest.approx(passed, abs=0.006)


@pytest.mark.parametrize("n", [50, 100])
def test_a_candidate_worse_by_the_margin_seldom_passes(n):
    """Paired t and BCa let 13 % through here."""
    assert rates(n, 0.06, MARGIN)["PASS"] <= 0.05


def test_continuous_scores_hold_their_rates_too():
    rng = np.random.default_rng(0)
    a = rng.uniform(1, 5, (200, 80))
    worse = [decide(evidence(paired_difference(x, x + rng.normal(-0.3, 1, 80)), ALPHA), 0.3, ALPHA) for x in a]
    same = [decide(evidence(paired_difference(x, x + rng.normal(0, 1, 80)), ALPHA), 0.1, ALPHA) for x in a]
    assert worse.count("PASS") / 200 <= 0.08
    assert same.count("FAIL") / 200 <= 0.08


def test_a_gate_of_many_checks_keeps_its_false_alarms():
    """Twelve checks without Holm would stop many a candidate that is as good as the last one."""
    rng = np.random.default_rng(7)
    policy = Policy.model_validate({"gate": "g", "checks": [{"task": "*", "margin": "2pp"}]})
    stopped = raw = 0
    for _ in range(25):
        pairs = [equal_systems(rng, 100, 0.15) for _ in range(12)]
        baseline = run("base", *(task(f"t{i}", x) for i, (x, _) in enumerate(pairs)))
        candidate = run("cand", *(task(f"t{i}", y) for i, (_, y) in enumerate(pairs)))
        result = decide_gate(policy, baseline, candidate)
        stopped += result.verdict == "FAIL"
        raw += any(c.p is not None and c.p < ALPHA and c.difference < -MARGIN for c in result.checks)
    assert stopped / 25 <= 0.05 < 0.2 < raw / 25


def equal_systems(rng: np.random.Generator, n: int, discordance: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores of two systems that are equally good and differ on a share of items."""
    draw, right = rng.random(n), rng.random(n) < 0.7
    baseline = np.where(draw < discordance / 2, 1.0, np.where(draw < discordance, 0.0, right))
    return baseline, np.where(draw < discordance, 1 - baseline, baseline)
