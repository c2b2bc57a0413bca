"""Win rates at equal length: against statsmodels' fit, and where there is nothing to fit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evalkit.stats.length_control import controlled_win_rate, length_gap


def data(n: int = 300, slope: float = 1.5, constant: float = 0.4, seed: int = 0):
    rng = np.random.default_rng(seed)
    ours, theirs = rng.integers(50, 500, n).astype(float), rng.integers(20, 400, n).astype(float)
    gap = length_gap(ours, theirs)
    wins = (rng.random(n) < 1 / (1 + np.exp(-constant - slope * gap))).astype(float)
    wins[rng.random(n) < 0.1] = 0.5
    return wins, gap


def test_it_is_the_intercept_of_a_logistic_regression():
    import statsmodels.api as sm

    wins, gap = data()
    weights = np.random.default_rng(1).integers(0, 4, len(wins)).astype(float)
    for counted in (np.ones(len(wins)), weights):
        fit = sm.GLM(wins, sm.add_constant(gap), family=sm.families.Binomial(), freq_weights=counted).fit()
        expected = 1 / (1 + math.exp(-fit.params[0]))
        assert float(controlled_win_rate(wins, gap, counted)) == pytest.approx(expected, abs=1e-4)


def test_all_weightings_at_once_are_each_by_itself():
    wins, gap = data(60)
    weights = np.random.default_rng(2).integers(0, 3, (2, 3, 60)).astype(float)
    together = controlled_win_rate(wins, gap, weights)
    assert together.shape == (2, 3)
    assert together[1, 2] == pytest.approx(float(controlled_win_rate(wins, gap, weights[1, 2])), abs=1e-9)


def test_a_preference_for_length_alone_is_an_even_match_at_equal_length():
    wins, gap = data(20_000, slope=3.0, constant=0.0)
    assert wins.mean() > 0.56
    assert float(controlled_win_rate(wins, gap, np.ones(len(wins)))) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("difference", [0.0, 40.0])
def test_lengths_that_differ_by_the_same_everywhere_control_for_nothing(difference):
    wins = np.array([1.0, 0.0, 1.0, 0.5])
    gap = length_gap(np.full(4, 100 + difference), np.full(4, 100.0))
    assert float(controlled_win_rate(wins, gap, np.ones(4))) == 0.625


def test_only_wins_and_perfect_separation_have_a_value_within_the_range():
    rng = np.random.default_rng(0)
    gap = length_gap(rng.random(50), rng.random(50))
    assert 0.95 < float(controlled_win_rate(np.ones(50), gap, np.ones(50))) <= 1.0
    assert 0 < float(controlled_win_rate((gap > 0).astype(float), gap, np.ones(50))) < 1


def test_nothing_weighted_has_no_value():
    wins, gap = data(10)
    assert np.isnan(controlled_win_rate(wins, gap, np.zeros(10)))
    assert math.isnan(float(controlled_win_rate(np.zeros(0), np.zeros(0), np.zeros(0))))
