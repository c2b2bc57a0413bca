"""The expected maximum of k draws against all subsets, and permutation tests of groups against scipy's."""

from __future__ import annotations

import itertools
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.stats.maxima import expected_maximum
from evalkit.stats.randomise import _moments, _normal, permuted_groups


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.data())
@settings(deadline=None)
def test_the_expected_maximum_is_the_mean_over_all_subsets(values: list[float], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(values)))
    expected = statistics.fmean(max(subset) for subset in itertools.combinations(values, k))
    assert expected_maximum(values, k) == pytest.approx(expected, abs=1e-12)


def test_ends_of_the_expected_maximum() -> None:
    values = [0.9, 0.1, 0.2]
    assert expected_maximum(values, 1) == pytest.approx(0.4)
    assert expected_maximum(values, 3) == 0.9
    for k in (0, 4):
        with pytest.raises(ValueError, match="at least as many"):
            expected_maximum(values, k)


def test_p_values_of_two_groups_are_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(5)
    values = np.concatenate([rng.normal(0, 1, 12), rng.normal(0.8, 1, 9)])
    groups = np.array([0] * 12 + [1] * 9)
    mine = permuted_groups(values, groups)
    theirs = stats.permutation_test(
        (values[:12], values[12:]), lambda a, b: abs(a.mean() - b.mean()), n_resamples=20_000, alternative="greater", rng=1
    )
    assert mine.gap == pytest.approx(theirs.pvalue, abs=0.012)
    assert mine.against_rest == pytest.approx((mine.gap, mine.gap))
    assert 0 < mine.expected_gap < 1


def test_matched_values_are_permuted_within_their_block() -> None:
    level = np.repeat(np.arange(12.0) * 10, 3)  # prompts differ far more than groups do
    groups = np.tile(np.arange(3), 12)
    values = level + np.where(groups == 2, 0.5, 0.0) + np.tile([0.0, 0.1, 0.05], 12)
    blocks = np.repeat(np.arange(12), 3)
    within, across = permuted_groups(values, groups, blocks), permuted_groups(values, groups)
    assert within.gap < 0.001 and across.gap > 0.9
    order = np.random.default_rng(0).permutation(len(values))
    assert permuted_groups(values[order], groups[order], blocks[order]).gap < 0.001


def test_no_difference_gives_p_one_and_equal_seeds_equal_numbers() -> None:
    groups = np.array([0, 1, 2] * 4)
    flat = permuted_groups(np.ones(12), groups)
    assert flat.gap == 1.0 and set(flat.against_rest) == {1.0} and flat.expected_gap == 0.0
    values = np.random.default_rng(1).random(12)
    assert permuted_groups(values, groups) == permuted_groups(values, groups)


def test_many_values_are_tested_by_the_limit_of_the_same_distribution() -> None:
    rng = np.random.default_rng(3)
    groups, blocks = np.tile(np.arange(4), 30), np.repeat(np.arange(30), 4)
    values = rng.random(120) + np.repeat(rng.random(30), 4) + 0.12 * (groups == 1)
    few = permuted_groups(values, groups, blocks)
    assert not few.normal
    expected, variance = _moments(values, groups, blocks)
    observed = np.bincount(groups, weights=values)
    by_limit = _normal(np.abs(observed - expected), variance, 1.0)
    assert by_limit == pytest.approx(few.against_rest, abs=0.02)
    many = permuted_groups(np.tile(values, 50), np.tile(groups, 50), np.arange(6000) // 4)
    assert many.normal and many.against_rest[1] < 1e-6 and many.permutations >= 500


def test_blocks_without_every_group_are_no_bias() -> None:
    # group 1 stands in high blocks only, so that its mean is higher; within a block it is like the others
    values = np.array([0.0, 0.0, 5.0, 5.0, 5.0, 5.0])
    groups, blocks = np.array([0, 0, 0, 1, 0, 1]), np.array([0, 0, 1, 1, 2, 2])
    assert permuted_groups(values, groups, blocks).against_rest == (1.0, 1.0)


def test_false_alarms_are_as_rare_as_they_should_be() -> None:
    rng = np.random.default_rng(2)
    groups = np.arange(40) % 4
    alarms = sum(permuted_groups(rng.random(40), groups, seed=i).gap < 0.1 for i in range(60))
    assert alarms <= 13  # 6 expected; 13 or fewer with p = 0.997
