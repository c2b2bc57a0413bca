"""Prediction-powered means: ppi-python's numbers, and intervals that hold what they promise on simulated data."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.stats.intervals import t_interval
from evalkit.stats.means import mean_stderr
from evalkit.stats.prediction_powered import corrected_mean, ppi_mean

HUMAN = [5, 4, 4, 5, 3, 4, 5, 2, 1, 2, 2, 5, 5, 1, 3, 5, 1, 4, 1, 3, 5, 2, 2, 2, 4, 2, 5, 3, 3, 3]
JUDGE = [5, 3, 4, 4, 2, 3, 5, 1, 2, 3, 2, 3, 5, 1, 3, 4, 1, 4, 1, 4, 5, 2, 3, 2, 4, 2, 5, 2, 3, 4]
OTHERS = (
    "2224434542421342441124423533342535513422145234531523453342555435533122452311245443125423534533334234"
    "2132415234155313455223335245545532352135555152555255345524223252113225525222252335145355533454553545"
)


@pytest.mark.parametrize(
    ("lam", "value", "ci95"),
    [  # printed by ppi-python 0.2.3: ppi_mean_pointestimate and ppi_mean_ci(alpha=0.05) on these very ratings
        (None, 3.4048636980849367, (3.1017866469581623, 3.707940749211711)),
        (1, 3.473333333333333, (3.1560419488061227, 3.7906247178605437)),
        (0.0, 3.2, (2.6990256397591965, 3.700974360240804)),
        (0.5, 3.336666666666667, (2.9991035802552255, 3.6742297530781083)),
    ],
)
def test_the_numbers_are_ppi_pythons(lam, value, ci95) -> None:
    others = np.array([float(digit) for digit in OTHERS])
    assert len(others) == 200
    found = ppi_mean(np.array(HUMAN, float), np.array(JUDGE, float), others, lam=lam)
    assert found.value == pytest.approx(value, abs=1e-12)
    assert found.interval == pytest.approx(ci95, abs=1e-9)


def test_the_corrected_mean_is_ppi_s_with_a_wider_interval() -> None:
    others = np.array([float(digit) for digit in OTHERS])
    theirs = ppi_mean(np.array(HUMAN, float), np.array(JUDGE, float), others)
    ours = corrected_mean(np.array(HUMAN, float), np.array(JUDGE, float), others)
    assert ours.value == theirs.value and ours.weight == theirs.weight
    assert 1.02 < ours.stderr / theirs.stderr < 1.04
    assert ours.interval[0] < theirs.interval[0] < theirs.interval[1] < ours.interval[1]


def graded(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Ratings of mean 3 and sd 1, and a judge that follows them (r = 0.8) half a point too high."""
    truth = rng.normal(3, 1, n)
    return truth, 0.8 * (truth - 3) + 0.6 * rng.normal(0, 1, n) + 3.5


def passfail(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """60 % pass, and a judge that lets a fifth of the failures pass."""
    truth = (rng.random(n) < 0.6).astype(float)
    return truth, np.where(rng.random(n) < 0.2, 1.0, truth)


@pytest.mark.parametrize(("made", "mean", "ends"), [(graded, 3.0, None), (passfail, 0.6, (0.0, 1.0))])
def test_a_thousand_data_sets_with_a_biased_judge(made, mean, ends) -> None:
    rng = np.random.default_rng(8)
    covered = {"corrected": 0, "judge": 0, "human": 0}
    widths = {name: 0.0 for name in covered}
    for _ in range(1000):
        truth, judge = made(rng, 1000)
        few = truth[:50]
        intervals = {
            "corrected": corrected_mean(few, judge[:50], judge[50:], ends=ends).interval,
            "judge": t_interval(judge.mean(), mean_stderr(judge) or 0.0, 999),
            "human": t_interval(few.mean(), mean_stderr(few) or 0.0, 49),
        }
        for name, (low, high) in intervals.items():
            covered[name] += low < mean < high
            widths[name] += high - low
    assert 930 <= covered["corrected"] <= 970
    assert covered["judge"] < 10  # sure of itself, and wrong
    assert widths["corrected"] < 0.8 * widths["human"]


@pytest.mark.parametrize("n", [10, 20])
@pytest.mark.parametrize(("made", "mean", "ends"), [(graded, 3.0, None), (passfail, 0.6, (0.0, 1.0))])
def test_few_rated_items_still_cover(made, mean, ends, n) -> None:
    rng, hits, plain = np.random.default_rng(n), 0, 0
    for _ in range(1000):
        truth, judge = made(rng, 200)
        low, high = corrected_mean(truth[:n], judge[:n], judge[n:], ends=ends).interval
        hits += low < mean < high
        low, high = ppi_mean(truth[:n], judge[:n], judge[n:]).interval
        plain += low < mean < high
    assert hits >= 930 and plain < 930


def test_differences_of_two_systems_cover() -> None:
    rng, hits = np.random.default_rng(5), {"graded": 0, "passfail": 0}
    for _ in range(1000):
        (a, judge_a), (b, judge_b) = graded(rng, 400), graded(rng, 400)
        d, j = a - b - 0.3, judge_a - judge_b - 0.1  # the judge sees a third of the difference
        low, high = corrected_mean(d[:40], j[:40], j[40:]).interval
        hits["graded"] += low < -0.3 < high
        (a, judge_a), (b, judge_b) = passfail(rng, 400), passfail(rng, 400)
        d, j = a - b, judge_a - judge_b
        low, high = corrected_mean(d[:40], j[:40], j[40:], ends=(0.0, 1.0), difference=True).interval
        hits["passfail"] += low < 0 < high
    assert 930 <= hits["graded"] <= 970 and hits["passfail"] >= 930


def test_a_constant_judge_leaves_the_humans_mean() -> None:
    few = np.array([1.0, 2.0, 4.0, 4.0, 5.0])
    found = corrected_mean(few, np.ones(5), np.ones(100))
    assert (found.value, found.weight) == (pytest.approx(3.2), 0.0)


def test_too_few_are_refused() -> None:
    with pytest.raises(ValueError, match="three labels of both"):
        corrected_mean(np.ones(2), np.ones(2), np.ones(5))
