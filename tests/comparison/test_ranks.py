"""Ranks of several systems: who can be told apart, and what follows from it."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_comparisons import ACC, LOSS, compared, rows

from evalkit.comparison.ranks import letter_groups, pairwise, rank, rank_ranges
from evalkit.scorers.base import MetricInfo


def ranking(named, metric=ACC, **more):
    names, columns = list(named), list(named.values())
    pairs = {(i, j): compared(columns[i], columns[j], metric=metric) for i, j in combinations(range(len(columns)), 2)}
    values = [(float(column.mean()), (0.0, 1.0)) for column in columns]
    return rank(names, values, pairs, **more)


def test_equal_systems_are_one_group():
    found = ranking({name: rows(50, 100) for name in "xyz"})
    assert [(s.system, s.ranks, s.groups) for s in found.systems] == [(name, (1, 3), ("a",)) for name in "xyz"]
    assert (found.n, found.pairs) == (100, 3)


def test_a_clear_best_is_alone():
    found = ranking({"poor": rows(30, 100), "best": rows(80, 100), "fair": rows(33, 100)})
    assert [(s.system, s.ranks, s.groups) for s in found.systems] == [
        ("best", (1, 1), ("a",)),
        ("fair", (2, 3), ("b",)),
        ("poor", (2, 3), ("b",)),
    ]
    first = next(s for s in found.systems if s.system == "poor")
    assert first.to_first is None
    assert found.systems[0].to_first.test.value == pytest.approx(0.5)
    assert found.systems[0].p_adjusted < 0.001


def test_a_system_between_two_that_differ_is_in_the_groups_of_both():
    # 6 and 6 one-sided flips: p = .031 each, adjusted (.031 x 3 = .094) no difference; 12: p = .0005, adjusted .0015
    found = ranking({"low": rows(20, 100), "middle": rows(26, 100), "high": rows(32, 100)})
    assert [(s.system, s.ranks, s.groups) for s in found.systems] == [
        ("high", (1, 2), ("a",)),
        ("middle", (1, 3), ("a", "b")),
        ("low", (2, 3), ("b",)),
    ]


def test_holm_is_over_all_pairs_of_the_table():
    found = pairwise({(0, 1): (0.06, 0.03125), (0, 2): (0.12, 0.00048828125), (1, 2): (0.06, 0.03125)}, True)
    assert found.adjusted == pytest.approx({(0, 1): 0.0625, (0, 2): 0.00146484375, (1, 2): 0.0625})
    assert found.beats == {(2, 0)}


def test_lower_is_better_puts_the_lowest_first():
    found = ranking({"bad": rows(90, 100) + 1, "good": rows(10, 100) + 1}, LOSS)
    assert [(s.system, s.ranks, s.groups) for s in found.systems] == [("good", (1, 1), ("a",)), ("bad", (2, 2), ("b",))]


def test_without_a_better_direction_there_are_groups_but_no_ranks():
    share = MetricInfo("to_occupation", None, low=0.0, high=1.0, mean=True, proportion=True)
    found = ranking({"one": rows(10, 100), "other": rows(90, 100)}, share)
    assert [(s.system, s.ranks, s.groups) for s in found.systems] == [("one", None, ("a",)), ("other", None, ("b",))]


def test_a_pair_without_a_test_cannot_be_told_apart():
    untested = compared(rows(10, 100), rows(90, 100), test=None)
    found = rank(["x", "y"], [(0.1, None), (0.9, None)], {(0, 1): untested})
    assert [(s.system, s.groups) for s in found.systems] == [("y", ("a",)), ("x", ("a",))]
    assert found.pairs == 0


def test_a_system_without_a_value_is_last():
    pairs = {pair: compared(rows(50, 100), rows(50, 100)) for pair in [(0, 1), (0, 2), (1, 2)]}
    found = rank(["none", "y", "z"], [(None, None), (0.5, None), (0.6, None)], pairs)
    assert [s.system for s in found.systems] == ["z", "y", "none"]


def test_every_pair_must_be_there():
    pair = compared(rows(50, 100), rows(50, 100))
    for names, pairs in ((["x"], {}), (["x", "y", "z"], {(0, 1): pair})):
        with pytest.raises(ValueError, match="all pairs"):
            rank(names, [(0.5, None)] * len(names), pairs)


def test_ranges_count_who_is_better_and_worse():
    assert rank_ranges(4, frozenset({(0, 2), (0, 3), (1, 3)})) == [(1, 2), (1, 3), (2, 4), (3, 4)]


@settings(deadline=None)
@given(st.integers(1, 7), st.data())
def test_two_share_a_letter_exactly_where_they_cannot_be_told_apart(count, data):
    beats = frozenset(pair for pair in combinations(range(count), 2) if data.draw(st.booleans()))
    letters = letter_groups(range(count), beats)
    for i, j in combinations(range(count), 2):
        assert bool(set(letters[i]) & set(letters[j])) == ((i, j) not in beats)
    assert all(letters.values())
    assert "a" in letters[0]


def test_many_groups_have_letters_that_stay_apart():
    count = 60
    letters = letter_groups(range(count), frozenset(combinations(range(count), 2)))
    assert len({letters[i] for i in range(count)}) == count
    assert letters[26] == ("a1",)


def test_random_equal_systems_are_seldom_told_apart():
    draws = np.random.default_rng(7)
    apart = 0
    for _ in range(60):
        truth = draws.random(200) < 0.6
        systems = {name: (truth ^ (draws.random(200) < 0.1)).astype(float) for name in "wxyz"}
        apart += any(s.groups != ("a",) for s in ranking(systems).systems)
    assert apart <= 7  # 5 % of 60 is 3; more than 7 has a chance of 2 %
