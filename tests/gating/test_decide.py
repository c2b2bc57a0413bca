"""The rule itself: PASS and FAIL exclude each other whatever the data, and each means what it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.gating.decide import Evidence, decide, decide_floor, evidence
from evalkit.gating.settle import needs
from evalkit.stats.difference import paired_difference

SHARES = st.integers(1, 60).flatmap(
    lambda n: st.integers(0, n).flatmap(lambda lost: st.tuples(st.just(n), st.just(lost), st.integers(0, n - lost)))
)
MARGINS = st.sampled_from([0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3])
ALPHAS = st.sampled_from([0.01, 0.025, 0.05, 0.1, 0.2])
SCORES = st.integers(-5000, 5000).map(lambda value: value / 1000)
ANY = st.none() | st.floats(-2, 2)


def shares(n: int, lost: int, gained: int):
    baseline = np.array([1.0] * lost + [0.0] * (n - lost))
    candidate = np.array([0.0] * lost + [1.0] * gained + [0.0] * (n - lost - gained))
    return paired_difference(baseline, candidate, low=0.0, high=1.0)


@settings(deadline=None)
@given(st.floats(-2, 2), ANY, ANY, st.none() | st.floats(0, 1), MARGINS, ALPHAS, st.booleans())
def test_no_bounds_and_p_values_both_pass_and_fail(value, lower, upper, p, margin, alpha, strict):
    """Even such as no method would give: what was seen is on one side of the margin."""
    shown = Evidence(value, lower, upper, p)
    verdict = decide(shown, margin, alpha, strict=strict)
    if verdict == "PASS":
        assert value >= -margin - 1e-9 and lower > -margin
    if verdict == "FAIL":
        assert value < -margin and p < alpha
    if strict and verdict == "FAIL":
        assert decide(shown, margin, alpha) == "FAIL" and upper < -margin


@settings(deadline=None)
@given(SHARES, MARGINS, ALPHAS)
def test_shares_pass_exactly_where_tangos_bound_does_and_fail_where_mcnemar_and_size_do(counts, margin, alpha):
    n, lost, gained = counts
    test = shares(n, lost, gained)
    passes = test.lower(alpha) > -margin
    fails = lost - gained > margin * n * (1 + 1e-9) and test.p_worse() < alpha
    assert not (passes and fails)
    assert decide(evidence(test, alpha), margin, alpha) == ("PASS" if passes else "FAIL" if fails else "INCONCLUSIVE")


@settings(deadline=None)
@given(st.lists(st.tuples(SCORES, SCORES), min_size=2, max_size=30), st.floats(0, 3), ALPHAS)
def test_continuous_values_never_both_pass_and_fail(pairs, margin, alpha):
    a, b = (np.array(column) for column in zip(*pairs, strict=True))
    shown = evidence(paired_difference(a, b), alpha)
    literal_pass = shown.lower is not None and shown.lower > -margin
    literal_fail = shown.value < -margin and shown.p is not None and shown.p < alpha
    assert not (literal_pass and literal_fail)
    verdict = decide(shown, margin, alpha)
    assert (verdict == "PASS") <= literal_pass and (verdict == "FAIL") <= literal_fail


@settings(deadline=None)
@given(SHARES, MARGINS, ALPHAS)
def test_lower_is_better_is_the_same_rule_with_the_sign_turned(counts, margin, alpha):
    n, lost, gained = counts
    turned = evidence(shares(n, gained, lost), alpha, higher_is_better=False)
    straight = evidence(shares(n, lost, gained), alpha)
    assert turned.value == pytest.approx(straight.value) and turned.lower == pytest.approx(straight.lower)
    assert decide(turned, margin, alpha) == decide(straight, margin, alpha)


def test_a_drop_of_exactly_the_margin_is_not_beyond_it():
    assert decide(evidence(shares(150, 3, 0), 0.05), 0.02, 0.5 - 1e-9) != "FAIL"
    assert decide(evidence(shares(7, 7, 0), 0.05), 1.0, 0.2) != "FAIL"


def test_five_equal_pairs_certify_nothing():
    """Where a bootstrap sees no width and ships."""
    assert decide(evidence(shares(5, 0, 0), 0.05), 0.02, 0.05) == "INCONCLUSIVE"
    assert decide(evidence(shares(132, 0, 0), 0.05), 0.02, 0.05) == "INCONCLUSIVE"
    assert decide(evidence(shares(133, 0, 0), 0.05), 0.02, 0.05) == "PASS"


def test_three_losses_without_a_win_are_no_proof():
    assert decide(evidence(shares(100, 3, 0), 0.05), 0.02, 0.05) == "INCONCLUSIVE"


def test_a_significant_drop_smaller_than_the_margin_passes():
    shown = evidence(shares(5000, 40, 10), 0.05)
    assert shown.p < 0.001
    assert decide(shown, 0.02, 0.05) == "PASS"


def test_an_adjusted_p_is_what_fail_is_held_against():
    shown = evidence(shares(200, 20, 5), 0.05)
    assert decide(shown, 0.02, 0.05) == "FAIL"
    assert decide(shown, 0.02, 0.05, p=0.06) == "INCONCLUSIVE"


@settings(deadline=None)
@given(st.floats(-1, 1), ANY, st.none() | st.floats(0, 1), ALPHAS)
def test_a_floor_is_reached_or_missed_never_both(value, lower, p, alpha):
    verdict = decide_floor(Evidence(value, lower, None, p), alpha)
    assert (verdict == "PASS") <= (value >= 0 and lower is not None and lower >= 0)
    assert (verdict == "FAIL") <= (value < 0 and p is not None and p < alpha)


@pytest.mark.parametrize(("lost", "gained", "n", "margin"), [(15, 15, 300, 0.02), (14, 8, 164, 0.05), (3, 0, 100, 0.02)])
def test_what_would_settle_it_does(lost, gained, n, margin):
    test = shares(n, lost, gained)
    shown = evidence(test, 0.05)
    assert decide(shown, margin, 0.05) == "INCONCLUSIVE"
    told = needs(test, shown, margin, 0.05, size=None, repeatable=True, percent=True)
    named = float(told.rpartition("a margin of at least ")[2].removesuffix(" pp")) / 100
    assert decide(shown, named, 0.05) == "PASS"
    assert decide(shown, named - 0.0011, 0.05) != "PASS"


def test_what_would_settle_it_names_items_repeats_and_a_margin():
    test = shares(300, 15, 15)
    shown = evidence(test, 0.05)
    told = needs(test, shown, 0.02, 0.05, size=None, repeatable=True, percent=True)
    items = int(told.split("~")[1].split()[0].replace(",", ""))
    assert items == pytest.approx(1546, rel=0.03)  # (1.645 + 0.842)^2 0.1 / 0.02^2, and what a score test adds
    repeats = math.ceil(items / 300)
    more = f"needs ~{items:,} items (has 300); or K >= {repeats} repeats, if answers are sampled"
    assert told == f"{more}; or a margin of at least 3.2 pp"
    there = needs(test, shown, 0.02, 0.05, size=1319, repeatable=False, percent=True)
    assert there == f"needs ~{items:,} items, more than the 1,319 that there are; or a margin of at least 3.2 pp"
    part = needs(test, shown, 0.02, 0.05, size=5000, repeatable=False, percent=True)
    assert part.startswith(f"needs ~{items:,} items (has 300 of 5,000)")
