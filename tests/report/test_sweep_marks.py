"""The two marks of a sweep, on series whose answer is known: where chance level is left, and the first regression."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from evalkit.report.sweep_axis import amount, axes, positions, scale
from evalkit.report.sweep_marks import Decline, best_before, emergence, p_at_chance, regressions
from evalkit.runner.series import Member
from evalkit.stats.intervals import t_interval, wilson
from evalkit.types import Summary


def share(right: int, n: int = 400, chance: float | None = 0.25, **more: object) -> Summary:
    p = right / n
    stderr = (p * (1 - p) / (n - 1)) ** 0.5
    found = Summary("t", "acc", p, n, stderr=stderr, ci=wilson(p, n), ci_method="wilson", chance=chance, low=0.0, high=1.0)
    return replace(found, **more)


@pytest.mark.parametrize(("right", "n", "chance"), [(130, 400, 0.25), (95, 400, 0.25), (51, 100, 0.5), (0, 20, 0.25)])
def test_p_of_a_share_is_that_of_the_score_test(right, n, chance):
    from statsmodels.stats.proportion import proportions_ztest

    _, p = proportions_ztest(right, n, chance, alternative="larger", prop_var=chance)
    assert p_at_chance(share(right, n, chance)) == pytest.approx(p, abs=1e-12)


def test_p_says_what_the_one_sided_bound_of_the_interval_says():
    for right in range(100, 140):
        s = share(right)
        above = wilson(right / 400, 400, 0.90)[0] > 0.25
        assert above == (p_at_chance(s) < 0.05), right


def test_p_of_a_mean_is_that_of_a_t_test_and_clusters_have_their_degrees_of_freedom():
    x = np.random.default_rng(0).normal(0.3, 0.4, 40)
    stderr = float(stats.sem(x))
    plain = share(10, 40, ci_method="t", value=float(x.mean()), stderr=stderr, ci=t_interval(float(x.mean()), stderr, 39))
    assert p_at_chance(plain) == pytest.approx(stats.ttest_1samp(x, 0.25, alternative="greater").pvalue)
    clustered = replace(plain, ci_method="t-clustered", ci=t_interval(float(x.mean()), stderr, 7))
    expected = stats.t.sf((x.mean() - 0.25) / stderr, 7)
    assert p_at_chance(clustered) == pytest.approx(expected, rel=1e-6)


def test_metrics_where_less_is_better_leave_chance_downwards():
    low = share(40, higher_is_better=False)
    assert p_at_chance(low) < 1e-6 < 0.999 < p_at_chance(replace(low, higher_is_better=True))
    assert p_at_chance(replace(low, higher_is_better=None)) is None
    assert p_at_chance(replace(low, chance=None)) is None


def first(*right: int) -> int | None:
    found = emergence([share(r) for r in right])
    return None if found is None else found.first


def test_the_mark_is_where_all_that_follow_are_above_chance():
    assert first(100, 98, 103, 180, 220, 300) == 3
    assert first(100, 180, 101, 180, 220) == 3, "what was lost again was not for good"
    assert first(100, 180, 220, 99) is None
    assert first(100, 100, 100) is None
    found = emergence([share(r) for r in (180, 200, 220)])
    assert found.first == 0
    assert found.throughout


def test_many_checkpoints_are_corrected_for():
    """p = 0.0185 alone: of one checkpoint a sign, of five none."""
    assert 0.01 < p_at_chance(share(118)) < 0.05
    assert first(118) == 0
    assert first(100, 100, 100, 100, 118) is None


def test_checkpoints_without_a_value_are_passed_over():
    found = emergence([share(100), None, share(220), None, share(240)])
    assert found.first == 2
    assert found.p[1] is None
    assert emergence([share(100, chance=None), None]) is None


def test_the_best_before_is_the_first_of_equals_and_looks_at_the_direction():
    assert best_before([0.3, 0.5, 0.5, 0.4, 0.6], True) == [None, (0, 1), (1, 2), (1, 3), (1, 4)]
    assert best_before([9.0, 7.0, 8.0], False) == [None, (0, 1), (1, 2)]
    assert best_before([None, 0.5, None, 0.4], True) == [None, None, None, (1, 1)]


def drop(improvement: float, p: float, chosen_from: int = 1, margin: float = 0.01) -> Decline:
    return Decline(0, chosen_from, improvement, p, margin)


def test_a_regression_is_significant_and_beyond_the_margin():
    assert regressions([None, drop(-0.05, 1e-6), drop(-0.05, 1e-6, 2)]).regressed == (1, 2)
    assert regressions([None, drop(-0.009, 1e-6)]).first is None, "certain, but within the margin"
    assert regressions([None, drop(-0.05, 0.06)]).first is None, "large, but not certain"
    assert regressions([None, drop(0.05, 0.999)]).first is None


def test_p_is_corrected_for_the_choice_of_the_best_and_then_by_holm():
    found = regressions([None, drop(-0.1, 0.004), drop(-0.1, 0.004, 2), drop(-0.1, 0.03, 3), None])
    assert found.adjusted == pytest.approx((None, 0.012, 0.016, 0.09, None), nan_ok=True)
    assert found.regressed == (1, 2)


def test_equal_checkpoints_are_rarely_marked():
    """Ten equal checkpoints, 15 % of answers flip between any two: one sweep in ten without the factor."""
    draw = np.random.default_rng(7)
    sweeps, k, n = 400, 10, 300
    marked = naive = 0
    for _ in range(sweeps):
        unstable = draw.random(n) < 0.3
        right = np.where(unstable, draw.random((k, n)) < 0.5, draw.random(n) < 0.6)
        values = right.mean(axis=1)
        found: list[Decline | None] = []
        for at, best in enumerate(best_before(list(values), True)):
            if best is None:
                found.append(None)
                continue
            lost, gained = (int(x.sum()) for x in (right[best[0]] & ~right[at], ~right[best[0]] & right[at]))
            p = float(stats.binom.cdf(gained, lost + gained, 0.5))
            found.append(Decline(*best, float(values[at] - values[best[0]]), p, 0.01))
        marked += regressions(found).first is not None
        naive += regressions([None if d is None else replace(d, chosen_from=1) for d in found]).first is not None
    assert marked / sweeps <= 0.05
    assert naive / sweeps > 0.07, "this is what the factor is for"


def members(*facts: dict[str, object]) -> list[Member]:
    return [Member(name=f"m{i}", model="x", **fact) for i, fact in enumerate(facts)]


def test_an_axis_is_offered_where_two_checkpoints_differ_on_it():
    same_size = members({"step": 1, "parameters": 10}, {"step": 2, "parameters": 10}, {"parameters": 10})
    assert axes(same_size) == ["step"]
    assert axes(members({"parameters": 10}, {"parameters": 20, "tokens": 5.0})) == ["parameters"]
    counted = members({"parameters": 10, "tokens": 5.0}, {"parameters": 20, "tokens": 5.0})
    assert axes(counted) == ["parameters", "compute"]
    assert positions("compute", counted) == [300.0, 600.0]
    assert axes(members({}, {})) == ["order"]
    assert axes(members({"step": 1})) == ["order"]


def test_a_scale_is_logarithmic_beyond_two_decades_and_keeps_step_zero():
    linear = scale("step", members({"step": 0}, {"step": 10}, {"step": 1000}), 0, 500)
    assert not linear.log
    found = scale("step", members({"step": 0}, {"step": 1}, {"step": 1000}), 0, 500)
    assert found.log
    at = [found.at(v) for v in (0, 1, 10, 100, 1000)]
    assert at == sorted(at)
    assert len(set(at)) == 5
    assert at[4] - at[3] == pytest.approx(at[2] - at[1], abs=0.2)
    assert [text for _, text in found.ticks()] == ["0", "1", "10", "100", "1k"]


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (500, "500"), (1500, "1.5k"), (134515008, "134.5M"), (2e9, "2B"), (3.2e18, "3.2e18")]
)
def test_amounts_are_short(value, text):
    assert amount(value) == text
