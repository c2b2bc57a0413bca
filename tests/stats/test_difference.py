"""Paired differences: which method where, bounds against scipy and statsmodels, no zero width, p and bounds that agree."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from evalkit.stats.difference import Difference, paired_difference, totals_difference
from evalkit.stats.means import Array, clustered_stderr
from evalkit.stats.operating import outcome_rates
from evalkit.stats.paired import Pair, mean_of_totals, mean_pair
from evalkit.stats.power import design_effect, discordance_sd, noninferiority_size
from evalkit.stats.tango import tango_interval


def dense(n: int, seed: int = 0, shift: float = 0.0, sd: float = 0.1) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    first = rng.uniform(0.3, 0.7, n)
    return first, first + rng.normal(shift, sd, n)


def flips(lost: int, gained: int, n: int) -> tuple[Array, Array]:
    same = n - lost - gained
    return np.repeat([1.0, 0.0, 1.0], [lost, gained, same]), np.repeat([0.0, 1.0, 1.0], [lost, gained, same])


def kinds(first: Array, second: Array) -> dict[str, Difference]:
    """The same differences by every method that is not Tango's."""
    n = len(first)
    return {
        "t": paired_difference(first, second, low=0, high=2),
        "clusters": paired_difference(first, second, clusters=np.arange(n) // 2, low=0, high=2),
        "weights": paired_difference(first, second, weights=1.0 + (np.arange(n) % 2), low=0, high=2),
        "bootstrap": totals_difference(mean_pair(first, second), low=0, high=2, resamples=500),
    }


def test_right_or_wrong_items_take_tango_and_mcnemar() -> None:
    found = paired_difference(*flips(8, 4, 83))
    assert (found.method, found.p_method, found.n, found.units) == ("tango", "mcnemar-exact", 83, 83)
    assert found.value == pytest.approx(-4 / 83)
    assert found.interval() == pytest.approx((-0.139833677823, 0.037921727601), abs=1e-9)
    assert found.lower(0.025) == found.interval(0.95)[0] and found.upper(0.05) == found.interval(0.9)[1]
    assert found.p_two_sided() == pytest.approx(0.3876953125)
    assert found.p_worse() == pytest.approx(scipy_stats.binomtest(8, 12, alternative="greater").pvalue)
    assert found.stderr == pytest.approx(scipy_stats.sem(np.subtract(*reversed(flips(8, 4, 83)))))


def test_right_or_wrong_on_another_scale() -> None:
    first, second = flips(8, 4, 83)
    found, plain = paired_difference(100 * first, 100 * second, low=0, high=100), paired_difference(first, second)
    assert found.method == "tango"
    assert found.interval() == pytest.approx([100 * end for end in plain.interval()])
    assert found.needed(2, 0.05) == plain.needed(0.02, 0.05)
    assert found.certifiable(0.05) == pytest.approx(100 * plain.certifiable(0.05))
    # values that happen to be 0 and 1 on a scale that goes further are no shares
    assert paired_difference(first, second, low=0, high=5).method == "t"


def test_dense_values_take_students_t_as_it_is() -> None:
    first, second = dense(60)
    found, expected = paired_difference(first, second, low=0, high=1), scipy_stats.ttest_rel(second, first)
    assert (found.method, found.p_method) == ("t", "t")
    assert found.interval() == pytest.approx(tuple(expected.confidence_interval()), abs=1e-9)
    assert found.p_two_sided() == pytest.approx(expected.pvalue, abs=1e-9)
    assert found.p_worse() == pytest.approx(scipy_stats.ttest_rel(second, first, alternative="less").pvalue, abs=1e-9)


def test_clusters_take_cr1_as_statsmodels() -> None:
    api = pytest.importorskip("statsmodels.api")
    first, second = dense(300, 1)
    groups = np.repeat(np.arange(60), 5)
    second = second + np.random.default_rng(2).normal(0, 0.1, 60)[groups]
    found = paired_difference(first, second, clusters=groups, low=0, high=1)
    fit = api.OLS(second - first, np.ones(300)).fit(cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False})
    cr1 = float(fit.bse[0]) * math.sqrt(60 / 59)
    assert (found.method, found.n, found.units) == ("t-clustered", 300, 60)
    assert found.stderr == pytest.approx(cr1, rel=1e-9)
    half = scipy_stats.t.ppf(0.975, 59) * cr1
    assert found.interval() == pytest.approx((found.value - half, found.value + half), abs=1e-9)
    assert paired_difference(first, second, clusters=np.arange(300), low=0, high=1).method == "t"


def test_weights_of_two_tasks_are_two_strata() -> None:
    (a1, a2), (b1, b2) = dense(80, 3), dense(400, 4, shift=0.05)
    weights = np.repeat([1 / 80, 1 / 400], [80, 400])
    found = paired_difference(np.r_[a1, b1], np.r_[a2, b2], weights=weights, low=0, high=1)
    tasks = [scipy_stats.sem(a2 - a1), scipy_stats.sem(b2 - b1)]
    assert found.value == pytest.approx(((a2 - a1).mean() + (b2 - b1).mean()) / 2)
    assert found.stderr == pytest.approx(math.hypot(*tasks) / 2)
    parts = [(se / 2) ** 2 for se in tasks]
    df = sum(parts) ** 2 / (parts[0] ** 2 / 79 + parts[1] ** 2 / 399)
    half = scipy_stats.t.ppf(0.975, df) * found.stderr
    assert found.interval() == pytest.approx((found.value - half, found.value + half), abs=1e-9)


def test_weights_and_clusters_together() -> None:
    first, second = dense(120, 5)
    weights, groups = np.repeat([3.0, 1.0], 60), np.arange(120) // 4
    found = paired_difference(first, second, weights=weights, clusters=groups, low=0, high=1)
    d = second - first
    parts = [clustered_stderr(part, groups[:60]) * share for part, share in ((d[:60], 0.75), (d[60:], 0.25))]
    assert found.stderr == pytest.approx(math.hypot(*parts))
    assert (found.method, found.units) == ("t-clustered", 30)
    across = paired_difference(first, second, weights=weights, clusters=np.arange(120) % 30, low=0, high=1)
    assert across.units == 30 and across.stderr > 0


def test_equal_weights_are_none_and_odd_ones_are_pooled() -> None:
    first, second = flips(3, 1, 40)
    assert paired_difference(first, second, weights=np.full(40, 0.1)).method == "tango"
    first, second = dense(50)
    every = paired_difference(first, second, weights=np.linspace(1, 2, 50), low=0, high=1)  # no two alike
    assert every.stderr == pytest.approx(paired_difference(first, second, low=0, high=1).stderr, rel=0.2)
    one = paired_difference(first, second, weights=np.r_[np.ones(49), 5.0], low=0, high=1)
    assert one.stderr > 0 and one.interval() is not None


def test_totals_take_the_paired_bootstrap() -> None:
    first, second = dense(200, 6)
    found = totals_difference(mean_pair(first, second), low=0, high=1)
    expected = scipy_stats.ttest_rel(second, first)
    assert (found.method, found.p_method, found.n, found.units) == ("bootstrap", "bootstrap", 200, 200)
    assert found.interval() == pytest.approx(tuple(expected.confidence_interval()), abs=0.001)
    assert found.p_two_sided() == pytest.approx(expected.pvalue, abs=0.02)
    assert found.p_worse() == pytest.approx(scipy_stats.ttest_rel(second, first, alternative="less").pvalue, abs=0.02)
    groups = np.arange(200) // 10
    clustered = totals_difference(mean_pair(first, second), clusters=groups, low=0, high=1)
    assert clustered.units == 20
    assert clustered.stderr == pytest.approx(clustered_stderr(second - first, groups), rel=0.1)
    again = totals_difference(mean_pair(first, second), low=0, high=1)
    assert again.interval() == found.interval()


def test_an_undefined_value_has_a_difference_of_nothing() -> None:
    found = totals_difference(Pair(np.zeros((5, 2)), np.ones((5, 2)), mean_of_totals))
    assert math.isnan(found.value)
    assert found.interval() is None and found.lower(0.05) is None and found.upper(0.05) is None
    assert found.p_worse() is None and found.p_two_sided() is None and found.stderr is None
    assert found.needed(0.02, 0.05) is None and found.certifiable(0.05) is None


@pytest.mark.parametrize("n", [5, 50, 120])
def test_a_system_against_itself_certifies_nothing_on_few_items(n: int) -> None:
    values = np.random.default_rng(n).random(n)
    right = (values < 0.7) * 1.0
    found = {
        "tango": paired_difference(right, right),
        "t": paired_difference(values, values, low=0, high=1),
        "rounded": paired_difference(values, values + np.random.default_rng(0).normal(0, 1e-4, n), low=0, high=1),
        "clusters": paired_difference(right, right, clusters=np.arange(n) // 2),
        "weights": paired_difference(right, right, weights=1.0 + (np.arange(n) % 2)),
        "bootstrap": totals_difference(mean_pair(values, values), low=0, high=1, resamples=200),
    }
    for kind, one in found.items():
        low, high = one.interval()
        assert low < 0 < high and one.lower(0.05) < -0.02, kind
        assert one.certifiable(0.05) > 0.02, kind
        assert one.p_worse() > 0.4, kind


@pytest.mark.parametrize("n", [150, 300, 2000])
def test_a_system_against_itself_certifies_two_points_on_many(n: int) -> None:
    values = np.random.default_rng(n).random(n)
    right = (values < 0.7) * 1.0
    for found in (
        paired_difference(right, right),
        paired_difference(values, values, low=0, high=1),
        paired_difference(np.repeat(right, 2), np.repeat(right, 2), clusters=np.repeat(np.arange(n), 2)),
        totals_difference(mean_pair(values, values), low=0, high=1, resamples=100),
    ):
        assert found.lower(0.05) > -0.02 and found.certifiable(0.05) < 0.02
        assert 133 <= found.needed(0.02, 0.05) * found.units / found.n <= 136


def test_the_smallest_n_that_certifies_two_points() -> None:
    assert (
        paired_difference(np.ones(132), np.ones(132)).lower(0.05)
        < -0.02
        < paired_difference(np.ones(133), np.ones(133)).lower(0.05)
    )


def test_clusters_that_all_agree_count_once() -> None:
    """A hundred answers to each of twenty passages do not show that no passage could have gone wrong."""
    right = np.ones(2000)
    found = paired_difference(right, right, clusters=np.repeat(np.arange(20), 100))
    assert found.lower(0.05) < -0.1


def test_without_a_range_the_values_seen_stand_in() -> None:
    values = np.random.default_rng(0).uniform(3, 9, 40)
    found = paired_difference(values, values)
    assert found.lower(0.05) == pytest.approx(
        6 * paired_difference(values / 6, values / 6, low=0.5, high=1.5).lower(0.05), rel=0.05
    )
    assert paired_difference(np.full(30, 4.0), np.full(30, 4.0)).lower(0.05) < -0.1
    half_known = paired_difference(values, values, low=0)
    assert half_known.lower(0.05) < found.lower(0.05)


def test_bounds_stay_within_what_can_be() -> None:
    first, second = np.full(3, 0.9), np.array([0.1, 0.9, 0.5])
    low, high = paired_difference(first, second, low=0, high=1).interval()
    assert low == -1 and high <= 1


def test_one_unit_says_nothing() -> None:
    for found in (
        paired_difference(np.array([0.2]), np.array([0.5])),
        paired_difference(np.ones(9), np.zeros(9), clusters=np.zeros(9, dtype=np.int64)),
        totals_difference(mean_pair(np.array([0.2]), np.array([0.5]))),
    ):
        assert found.interval() is None and found.stderr is None and found.p_worse() is None
        assert found.needed(0.1, 0.05) is None and found.certifiable(0.05) is None
        assert found.flipped().value == -found.value


@pytest.mark.parametrize(("lost", "gained", "size"), [(3, 0, 0.4), (0, 3, 0.4), (2, 1, 1.0), (9, 4, 0.5)])
def test_sparse_changes_are_judged_about_as_exact_tests_do(lost: int, gained: int, size: float) -> None:
    """Where t finds three losses of 100 significant, McNemar on the same pattern does not."""
    first, second = np.full(100, 0.45), np.full(100, 0.45)
    second[:lost] -= size
    second[lost : lost + gained] += size
    exact = scipy_stats.binomtest(lost, lost + gained, alternative="greater").pvalue
    for kind, found in kinds(first, second).items():
        assert found.p_worse() > 0.5 * exact, kind


@given(
    st.integers(0, 10_000), st.sampled_from([4, 12, 40, 150]), st.sampled_from([0.02, 0.06, 0.3, 1.0]), st.floats(-0.3, 0.3)
)
@settings(deadline=None, max_examples=60)
def test_p_and_bounds_agree_and_flip_together(seed: int, n: int, share: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    first = rng.uniform(0.4, 1.6, n)
    second = np.where(rng.random(n) < share, np.clip(first + rng.normal(shift, 0.2, n), 0, 2), first)
    for kind, found in kinds(first, second).items():
        for alpha in (0.025, 0.05, 0.2):
            low, high = found.lower(alpha), found.upper(alpha)
            assert low <= found.value <= high and low < high
            if kind != "bootstrap":
                assert (high < 0) == (found.p_worse() < alpha)
                assert (low > 0 or high < 0) == (found.p_two_sided() < 2 * alpha)
            flipped = found.flipped()
            assert (flipped.value, flipped.lower(alpha)) == (-found.value, pytest.approx(-high, abs=1e-12))
            assert flipped.p_two_sided() == pytest.approx(found.p_two_sided())
        wider = found.interval(0.99)
        assert wider[0] <= found.interval(0.8)[0] and wider[1] >= found.interval(0.8)[1]


def test_flipping_shares_swaps_lost_and_gained() -> None:
    found = paired_difference(*flips(8, 4, 83)).flipped()
    assert found.interval() == tango_interval(4, 8, 83)
    assert found.p_worse() == pytest.approx(scipy_stats.binomtest(4, 12, alternative="greater").pvalue)


@pytest.mark.parametrize("discordance", [0.05, 0.1, 0.2, 0.3])
def test_needed_items_reach_their_power(discordance: float) -> None:
    found = paired_difference(*flips(int(500 * discordance), int(500 * discordance), 1000))
    needed = found.needed(0.02, 0.05)
    plain = noninferiority_size(discordance_sd(discordance), 0.02)
    assert plain < needed < 1.1 * plain  # the plain formula leaves out what the score test adds where changes are few
    assert outcome_rates(needed, discordance, 0.0, 0.02).passed == pytest.approx(0.8, abs=0.012)


def test_needed_and_certifiable_are_each_others_inverse() -> None:
    first, second = dense(150, 7, sd=0.2)
    sparse = np.where(np.random.default_rng(8).random(150) < 0.06, second, first)
    for found in (*kinds(first, second).values(), *kinds(first, sparse).values(), paired_difference(*flips(9, 7, 150))):
        margin = found.certifiable(0.05)
        assert found.needed(margin * 1.0001, 0.05) == pytest.approx(found.n, rel=0.03)
        assert found.needed(margin / 2, 0.05) > 1.5 * found.n
        assert found.certifiable(0.05, 0.95) > margin
        assert found.needed(0, 0.05) is None
    assert paired_difference(first, second).needed(1e-9, 0.05) is None


def test_clusters_need_more_by_the_design_effect() -> None:
    rng = np.random.default_rng(9)
    groups = np.repeat(np.arange(400), 5)
    d = rng.normal(0, 0.1, 400)[groups] + rng.normal(0, 0.1, 2000)
    first = np.full(2000, 0.5)
    plain, clustered = (paired_difference(first, first + d, clusters=c, low=0, high=1) for c in (None, groups))
    ratio = clustered.needed(0.02, 0.05) / plain.needed(0.02, 0.05)
    assert ratio == pytest.approx(design_effect(5, 0.5), rel=0.15)


@pytest.mark.parametrize(
    ("first", "second", "options", "message"),
    [
        ([1.0, 0.0], [1.0], {}, "as many values"),
        ([], [], {}, "at least one"),
        ([1.0, math.nan], [1.0, 0.0], {}, "finite"),
        ([1.0, 0.0], [1.0, 0.0], {"weights": np.array([1.0, 0.0])}, "above 0"),
        ([1.0, 0.0], [1.0, 0.0], {"clusters": np.array([1])}, "as many values"),
    ],
)
def test_what_cannot_be_paired_is_refused(
    first: list[float], second: list[float], options: dict[str, Array], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        paired_difference(np.array(first), np.array(second), **options)


def test_rows_of_totals_must_match() -> None:
    with pytest.raises(ValueError, match="as many"):
        totals_difference(Pair(np.ones((2, 2)), np.ones((3, 2)), mean_of_totals))


@pytest.mark.parametrize("n", [3, 30, 1000])
def test_the_same_change_everywhere_has_width_too(n: int) -> None:
    first = np.full(n, 0.5)
    for kind, found in kinds(first, first - 0.1).items():
        low, high = found.interval()
        assert low < -0.1 < high, kind
        assert 0 < found.p_worse() < 0.5, kind
    assert kinds(first, first - 0.1)["t"].upper(0.05) < 0 or n < 100


def perplexity(totals: Array) -> Array:
    return np.exp(totals[..., 0] / totals[..., 1])


def losses(nats: Array) -> Array:
    return np.column_stack([nats, np.ones(len(nats))])


def spread_losses(n: int = 300) -> Array:
    """Negative log-likelihoods as those of LAMBADA's last words: 0 to about 17 nats, 3.7 on average."""
    return np.random.default_rng(0).gamma(1.3, 2.9, n)


def test_a_perplexity_against_itself_certifies_five_per_cent_on_300_items() -> None:
    """A single item's own perplexity, up to e^17 here, is no measure of what an item can do to that of all."""
    nats = spread_losses()
    value = math.exp(nats.mean())
    found = totals_difference(Pair(losses(nats), losses(nats), perplexity), low=1.0)
    assert found.value == 0 and -0.05 * value < found.lower(0.05) < -0.03 * value
    # as of a mean whose items are as far apart as these: sqrt(2) standard deviations, times the perplexity
    reach = math.sqrt(2) * nats.std(ddof=1) * value
    assert found.upper(0.05) == pytest.approx(reach * 2.72 / 302.7, rel=0.03)
    grouped = totals_difference(Pair(losses(nats), losses(nats), perplexity), clusters=np.arange(300) // 3, low=1.0)
    assert grouped.units == 100 and grouped.upper(0.05) > 1.4 * found.upper(0.05)


def test_perplexities_of_another_number_format_and_of_a_wreck() -> None:
    nats, rng = spread_losses(), np.random.default_rng(1)
    value = math.exp(nats.mean())
    rounded = totals_difference(
        Pair(losses(nats), losses(nats + rng.normal(0.002, 0.03, 300)), perplexity), low=1.0
    ).flipped()
    assert rounded.lower(0.05) > -0.01 * value and rounded.p_worse() > 0.05
    wreck = totals_difference(Pair(losses(nats), losses(nats + abs(rng.normal(6.8, 3, 300))), perplexity), low=1.0).flipped()
    assert wreck.value < -500 * value and wreck.p_worse() < 0.01 and wreck.upper(0.05) < 0


def test_where_no_row_of_totals_varies_the_value_itself_stands_in() -> None:
    lengths = np.random.default_rng(0).integers(5, 90, 30)  # all words alike likely: only sums are rounded
    for same in (losses(np.full(30, 2.0)), np.column_stack([lengths * math.log(7.3), lengths])):
        found = totals_difference(Pair(same, same, perplexity), low=1.0)
        value = perplexity(same.sum(axis=0))
        assert found.lower(0.05) == pytest.approx(-value * 2.887 / 32.887, rel=0.01)
