"""A plan says what can be certified before anything is spent."""

from __future__ import annotations

import numpy as np
import pytest
from gate_runs import Likert, flipped, run, task

from evalkit.errors import NotComparable, TaskError
from evalkit.gating.gate import decide_gate
from evalkit.gating.plan import Spread, certifiable_margin, plan_gate
from evalkit.gating.policy import Policy


def policy(*checks, **keys) -> Policy:
    return Policy.model_validate({"gate": "g", "checks": list(checks), **keys})


@pytest.mark.parametrize(("n", "points"), [(164, 5.5), (198, 5.0), (541, 3.0), (1319, 1.9), (14042, 0.6)])
def test_the_smallest_margins_are_those_of_known_benchmarks(n, points):
    """HumanEval, GPQA, IFEval, GSM8K and MMLU at 80 % power, one-sided 5 %, 8 % of items flipping."""
    baseline = run("base", task("t", flipped(n, 0, 0)[0]))
    (row,) = plan_gate(policy({"task": "t", "margin": "2pp"}), baseline)
    assert round(100 * row.certifiable, 1) == points and row.percent and row.n == n
    assert row.can == (points <= 2)
    assert row.needed == 1237


@pytest.mark.parametrize(("discordance", "needed"), [(0.05, 773), (0.1, 1546), (0.2, 3092), (0.3, 4637)])
def test_items_needed_for_two_points(discordance, needed):
    baseline = run("base", task("t", flipped(300, 0, 0)[0], size=1319))
    (row,) = plan_gate(policy({"task": "t", "margin": "2pp"}), baseline, discordance=discordance)
    assert row.needed == needed and row.can is False
    more = "of 1,319" if needed <= 1319 else "more than the 1,319 that there are"
    assert more in row.sentence


def test_a_margin_that_no_flip_at_all_would_certify_is_not_promised():
    baseline = run("base", task("t", flipped(100, 0, 0)[0]))
    (row,) = plan_gate(policy({"task": "t", "margin": "2pp"}), baseline, discordance=1e-6)
    assert row.certifiable == pytest.approx(1.6449**2 / (100 + 1.6449**2), rel=1e-3)
    assert row.needed == 133 and not row.can


def test_continuous_metrics_take_the_spread_of_the_baseline():
    rng = np.random.default_rng(0)
    x = rng.integers(1, 6, 400).astype(float)
    (row,) = plan_gate(policy({"task": "t", "margin": 0.1}), run("base", task("t", x, scorer=Likert())))
    assert row.certifiable == pytest.approx(2.4865 * x.std(ddof=1) / 20, rel=1e-3)
    assert not row.percent and "vary as the baseline's values do" in row.assumed


def test_a_plan_promises_nothing_that_an_equal_candidate_would_not_get():
    x = np.array([3.0] * 59 + [4.0])
    baseline = run("base", task("t", x, scorer=Likert()))
    (row,) = plan_gate(policy({"task": "t", "margin": 0.1}), baseline)
    (check, _) = decide_gate(policy({"task": "t", "margin": 0.1}), baseline, baseline).checks
    assert row.certifiable == pytest.approx(-check.bound, rel=1e-6) and row.certifiable > 0.1 and row.can is False
    enough = run("base", task("t", np.resize(x, row.needed), scorer=Likert()))
    assert decide_gate(policy({"task": "t", "margin": 0.1}), enough, enough).verdict == "PASS"


def test_clusters_count_by_their_design_effect():
    values = np.repeat(np.arange(40) % 2, 10).astype(float)
    labels = [f"p{i // 10}" for i in range(400)]
    alone, own = (
        plan_gate(policy({"task": "t", "margin": "5pp"}), run("b", task("t", values, clusters=clusters)))[0]
        for clusters in (None, labels)
    )
    assert own.certifiable == pytest.approx(alone.certifiable * np.sqrt(10), rel=0.02) and "clusters" in own.assumed


def test_slices_have_rows_of_their_own():
    found = policy({"task": "t", "margin": "5pp", "slices": ["s"]})
    labels = ["a"] * 280 + ["b"] * 20
    rows = plan_gate(found, run("b", task("t", flipped(300, 0, 0)[0], slices={"s": labels})))
    assert [(row.slice, row.n, row.can) for row in rows] == [(None, 300, True), ("s=a", 280, True), ("s=b", 20, None)]
    assert "fewer than min_n 30" in rows[2].sentence


def test_without_a_baseline_sizes_are_those_of_data_at_hand():
    rows = plan_gate(
        policy(
            {"task": "quickstart", "metric": "acc"},
            {"task": "arithmetic", "slices": ["kind"]},
            {"task": "translation", "metric": "chrf", "margin": 5},
            {"task": "gsm8k"},
            defaults={"margin": "5pp"},
        ),
        None,
    )
    shown = {(row.name, row.n, row.can) for row in rows}
    assert shown == {
        ("quickstart acc", 300, True),
        ("arithmetic last-number exact_match", 70, False),
        ("arithmetic last-number exact_match [kind]", None, None),
        ("translation chrf", 60, None),
        ("gsm8k", None, None),
    }
    with pytest.raises(TaskError, match="did you mean"):
        plan_gate(policy({"task": "arithmetik", "margin": "5pp"}), None)


def test_a_plan_refuses_what_the_gate_would():
    with pytest.raises(NotComparable, match=r"base has no task 'u'"):
        plan_gate(policy({"task": "u", "margin": "5pp"}), run("base", task("t", [1.0] * 40)))
    with pytest.raises(ValueError, match="power and discordance"):
        plan_gate(policy({"task": "t", "margin": "5pp"}), None, power=80)


def test_more_power_asks_for_more():
    spread = Spread(0.28, 1.0, 1.0, "")
    assert certifiable_margin(spread, 500, 0.05, 0.9) > certifiable_margin(spread, 500, 0.05, 0.8)
