"""Agreement of many raters from counts: the numbers that other packages computed, and what is undefined."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.stats.agreement import krippendorff_alpha
from evalkit.stats.crossed import crossed_mean
from evalkit.stats.gwet import gwet_ac
from evalkit.stats.reliability import (
    alphas,
    fleiss,
    mean_pairwise_kappa,
    percent_agreement,
    value_counts,
    with_interval,
)

NAN = np.nan
#: Krippendorff (2011), section E: four coders, twelve units, some ratings missing.
TEXTBOOK = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
)
FIVE = (1.0, 2.0, 3.0, 4.0, 5.0)


def counted(ratings: np.ndarray, points=FIVE) -> np.ndarray:
    given = ~np.isnan(ratings)
    units = np.broadcast_to(np.arange(ratings.shape[1]), ratings.shape)[given]
    return value_counts(units, ratings[given], points)


@pytest.mark.parametrize(("scale", "expected"), [("nominal", 0.743421), ("ordinal", 0.815388), ("interval", 0.849107)])
def test_the_textbooks_alpha(scale, expected):
    assert alphas(counted(TEXTBOOK), FIVE, scale)[0] == pytest.approx(expected, abs=1e-6)


def test_gwets_coefficients_of_the_textbooks_matrix_are_irrcacs():
    """The manual of irrCAC gives AC1 of this matrix as 0.77544."""
    assert gwet_ac(counted(TEXTBOOK), FIVE)[0] == pytest.approx(0.77544, abs=5e-6)


@pytest.mark.parametrize("scale", ["nominal", "ordinal", "interval"])
def test_a_replicate_is_alpha_of_the_drawn_units(scale):
    rng = np.random.default_rng(0)
    ratings = rng.integers(1, 6, size=(4, 30)).astype(float)
    ratings[rng.random(ratings.shape) < 0.3] = NAN
    draws = rng.multinomial(30, np.ones(30) / 30, size=5).astype(float)
    found = alphas(counted(ratings), FIVE, scale, draws)
    for replicate, times in zip(found, draws, strict=True):
        drawn = np.repeat(ratings, times.astype(int), axis=1)
        assert replicate == pytest.approx(krippendorff_alpha(drawn, scale), abs=1e-12)


def test_the_order_of_the_points_is_the_order_of_the_ordinal_scale():
    counts = counted(TEXTBOOK)
    shuffled = [2, 0, 4, 1, 3]
    assert alphas(counts, FIVE, "ordinal")[0] != pytest.approx(alphas(counts[:, shuffled], FIVE, "ordinal")[0])


def test_constant_and_lonely_ratings_have_no_agreement():
    constant = np.full((3, 10), 4.0)
    lonely = np.where(np.eye(3, 10, dtype=bool), 2.0, NAN)
    for ratings in (constant, lonely):
        counts = counted(ratings)
        for scale in ("nominal", "ordinal", "interval"):
            assert np.isnan(alphas(counts, FIVE, scale)[0])
        assert np.isnan(gwet_ac(counts, FIVE, "quadratic")[0])
        assert with_interval(lambda draws, c=counts: alphas(c, FIVE, "ordinal", draws), 10, 25).value is None
    assert percent_agreement(counted(constant))[0] == 1
    assert np.isnan(percent_agreement(counted(lonely))[0])
    assert mean_pairwise_kappa(np.tile(np.arange(10), 3), np.repeat(np.arange(3), 10), np.full(30, 3), 5) is None


def test_fleiss_needs_equal_numbers_of_ratings():
    assert fleiss(counted(TEXTBOOK)) is None
    assert fleiss(counted(TEXTBOOK[[1, 3]][:, :9])) is not None


def test_the_interval_draws_clusters_and_is_reproducible():
    rng = np.random.default_rng(1)
    truth = rng.integers(1, 6, size=100)
    ratings = np.clip(truth + rng.integers(-1, 2, size=(3, 100)), 1, 5).astype(float)
    counts = counted(np.repeat(ratings, 4, axis=1))  # four outputs of an item that are rated alike

    def of(draws):
        return alphas(counts, FIVE, "interval", draws)

    alone = with_interval(of, 400, 25)
    together = with_interval(of, 400, 25, clusters=np.repeat(np.arange(100), 4))
    assert together == with_interval(of, 400, 25, clusters=np.repeat(np.arange(100), 4))
    assert together.ci[0] < together.value < together.ci[1]
    assert together.ci[1] - together.ci[0] > 1.6 * (alone.ci[1] - alone.ci[0])


def test_a_value_off_the_scale_is_refused():
    with pytest.raises(ValueError, match=r"no(ne)?.*2\.5"):
        value_counts(np.array([0]), np.array([2.5]), FIVE)


def test_items_count_the_same_in_a_crossed_mean():
    items, raters = np.array([0, 0, 0, 1]), np.array([0, 1, 2, 0])
    assert crossed_mean(np.array([1.0, 1, 1, 5]), items, raters).value == 3


def test_a_crossed_mean_of_balanced_data_has_the_textbook_variance():
    """Both CR1 variances of a full table by hand."""
    rng = np.random.default_rng(2)
    y = rng.normal(size=(20, 4))
    items, raters = (codes.reshape(-1) for codes in np.indices(y.shape))
    found = crossed_mean(y.reshape(-1), items, raters)
    by_item, by_rater = (means.var(ddof=1) / len(means) for means in (y.mean(axis=1), y.mean(axis=0)))
    assert found.stderr == pytest.approx(np.sqrt(by_item + by_rater))
    assert found.df == pytest.approx((by_item + by_rater) ** 2 / (by_item**2 / 19 + by_rater**2 / 3))
    assert (found.n, found.items, found.raters) == (80, 20, 4)


@pytest.mark.parametrize("leniency", [0.0, 0.3, 0.8])
def test_intervals_cover_the_truth_whatever_the_annotators_leniency(leniency):
    rng = np.random.default_rng(3)
    items, raters = (codes.reshape(-1) for codes in np.indices((40, 4)))
    hits = 0
    for _ in range(400):
        y = rng.normal(0, 0.5, 40)[items] + rng.normal(0, leniency, 4)[raters] + rng.normal(0, 0.6, 160)
        low, high = crossed_mean(y, items, raters).interval()
        hits += low <= 0 <= high
    assert 0.91 <= hits / 400 <= 1


def test_nothing_is_said_of_one_item_or_equal_values():
    one = crossed_mean(np.array([1.0, 2, 3]), np.zeros(3, int), np.arange(3))
    same = crossed_mean(np.full(6, 4.0), np.arange(6), np.zeros(6, int))
    assert one.interval() is None and one.p() is None
    assert same.interval() is None and same.value == 4


def test_one_annotator_leaves_the_clusters_of_items():
    values = np.array([1.0, 2, 4, 5, 3])
    found = crossed_mean(values, np.arange(5), np.zeros(5, int))
    assert found.stderr == pytest.approx(values.std(ddof=1) / np.sqrt(5))
    assert found.df == 4
