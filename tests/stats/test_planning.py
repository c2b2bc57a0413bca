"""Sample sizes against statsmodels, permutation tests against scipy, prediction-powered means, BCa."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from evalkit.stats import power, shares
from evalkit.stats.location import sign_flip_test, wilcoxon
from evalkit.stats.prediction_powered import ppi_mean
from evalkit.stats.resample import bca_interval


def test_sizes_and_differences_are_inverse() -> None:
    n = power.sample_size(0.03, 1 / 9, 1 / 6, 1 / 6, 4, 2)
    assert power.detectable_difference(n, 1 / 9, 1 / 6, 1 / 6, 4, 2) == pytest.approx(0.03)
    assert power.noninferiority_size(0.2, 0.02, -0.02) == math.inf
    assert power.noninferiority_size(0.2, 0.02, 0.02) == pytest.approx(power.noninferiority_size(0.2, 0.02) / 4)


def test_repeats_help_as_far_as_answers_vary() -> None:
    repeats = power.noninferiority_repeats(1000, 0.03, 0.05, 0.2, 0.2)
    assert power.noninferiority_size(math.sqrt(0.05 + 0.4 / repeats), 0.03) == pytest.approx(1000)
    assert power.noninferiority_repeats(10**6, 0.03, 0.05, 0.2, 0.2) == 1
    assert power.noninferiority_repeats(1000, 0.03, 0.2, 0.2, 0.2) == math.inf


@pytest.mark.parametrize(
    ("effect", "alpha", "wanted", "two_sided"), [(0.5, 0.05, 0.9, True), (0.1, 0.01, 0.8, False), (-0.3, 0.05, 0.8, True)]
)
def test_paired_t_sizes_are_statsmodels(effect: float, alpha: float, wanted: float, two_sided: bool) -> None:
    solver = pytest.importorskip("statsmodels.stats.power").TTestPower()
    expected = solver.solve_power(abs(effect), alpha=alpha, power=wanted, alternative="two-sided" if two_sided else "larger")
    assert power.paired_t_size(effect, alpha=alpha, power=wanted, two_sided=two_sided) == pytest.approx(expected, abs=1e-3)
    with pytest.raises(ValueError, match="effect of zero"):
        power.paired_t_size(0.0)


@pytest.mark.parametrize("n", [2, 4, 9, 13])
def test_sign_flips_are_scipys(n: int) -> None:
    d = np.random.default_rng(n).normal(0.2, 1, n)
    found = sign_flip_test(d)
    assert found.exact and found.patterns == 2**n
    for side, p in (("two-sided", found.p_two_sided), ("less", found.p_less)):
        expected = scipy_stats.permutation_test(
            (d,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative=side, vectorized=False
        )
        assert p == pytest.approx(expected.pvalue, abs=1e-12)


def test_many_sign_flips_are_drawn() -> None:
    d = np.random.default_rng(0).normal(-0.15, 1, 200)
    found, again = sign_flip_test(d), sign_flip_test(d)
    assert not found.exact and found == again and found.patterns == 10_000
    assert found.p_two_sided == pytest.approx(scipy_stats.ttest_1samp(d, 0).pvalue, abs=0.02)
    assert sign_flip_test(np.full(40, 5.0)).p_two_sided == pytest.approx(1 / 10_001)
    assert sign_flip_test(np.zeros(40)).p_two_sided == 1


def test_clusters_change_sign_together() -> None:
    d, groups = np.ones(60), np.repeat(np.arange(5), 12)
    assert sign_flip_test(d, clusters=groups).p_two_sided == 2 / 2**5
    with pytest.raises(ValueError, match="at least one"):
        sign_flip_test(np.zeros(0))


def test_wilcoxon_of_nothing_but_zeros_is_not_defined() -> None:
    assert wilcoxon(np.zeros(10)) is None


def test_judges_correct_the_mean_only_as_far_as_they_are_right() -> None:
    rng = np.random.default_rng(1)
    truth = (rng.random(2000) < 0.6) * 1.0
    judge = np.where(rng.random(2000) < 0.9, truth, 1 - truth)
    noise = (rng.random(2000) < 0.5) * 1.0
    good = ppi_mean(truth[:100], judge[:100], judge[100:])
    bad = ppi_mean(truth[:100], noise[:100], noise[100:])
    alone = 1.96 * truth[:100].std() / 10
    assert (good.interval[1] - good.interval[0]) / 2 < 0.8 * alone
    assert (bad.interval[1] - bad.interval[0]) / 2 == pytest.approx(alone, rel=0.05)
    assert good.weight > 0.6 and bad.weight < 0.2
    assert good.interval[0] < 0.6 < good.interval[1]
    constant = ppi_mean(truth[:100], np.ones(100), np.ones(500))
    assert (constant.weight, constant.value) == (0, pytest.approx(truth[:100].mean()))


def test_prediction_powered_intervals_cover() -> None:
    rng, hits = np.random.default_rng(2), 0
    for _ in range(400):
        truth = rng.normal(1, 1, 460)
        judge = truth + rng.normal(0.5, 0.5, 460)
        low, high = ppi_mean(truth[:60], judge[:60], judge[60:], 0.9).interval
        hits += low < 1 < high
    assert hits / 400 == pytest.approx(0.9, abs=0.04)


def test_labels_must_match() -> None:
    with pytest.raises(ValueError, match="two labels of both"):
        ppi_mean(np.ones(3), np.ones(2), np.ones(5))


def test_bca_is_scipys() -> None:
    x = np.random.default_rng(3).lognormal(0, 1, 60)
    theirs = scipy_stats.bootstrap((x,), np.mean, n_resamples=9999, method="BCa", rng=np.random.default_rng(4))
    found = bca_interval(theirs.bootstrap_distribution, x.mean(), (x.sum() - x) / 59)
    assert found == pytest.approx(tuple(theirs.confidence_interval), abs=0.02)
    assert bca_interval(np.ones(100), 1.0, np.ones(5)) is None
    assert bca_interval(np.arange(100.0), 500.0, np.arange(5.0)) is None


def test_shares_by_other_intervals() -> None:
    with pytest.raises(ValueError, match="no share"):
        shares.clopper_pearson(5, 4)
    low, high = shares.newcombe(0, 0, 0, 9)
    assert low < 0 < high
