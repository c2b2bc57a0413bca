"""AUC, average precision, rates and the subgroup AUCs against scikit-learn, scipy and figures by hand."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from sklearn import metrics as sk

from evalkit.stats.groups import clustered_difference_p, fisher_p, holm
from evalkit.stats.ranking import (
    Ranking,
    SubgroupRankings,
    average_precision,
    bias_score,
    confusion,
    power_mean,
    rates,
    roc_auc,
    sweep,
)


def drawn(seed: int, n: int = 60, ties: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.4
    scores = np.clip(rng.normal(0.4 + 0.2 * positive, 0.25), 0, 1)
    return (np.round(scores, 1) if ties else scores), positive, rng.integers(0, 4, n).astype(float)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ties", [True, False])
def test_auc_and_average_precision_are_scikit_learns(seed: int, ties: bool) -> None:
    scores, positive, weights = drawn(seed, ties=ties)
    assert float(roc_auc(scores, positive)) == pytest.approx(sk.roc_auc_score(positive, scores), abs=1e-12)
    assert float(average_precision(scores, positive)) == pytest.approx(
        sk.average_precision_score(positive, scores), abs=1e-12
    )
    weighted = sk.roc_auc_score(positive, scores, sample_weight=weights)
    assert float(roc_auc(scores, positive, weights)) == pytest.approx(weighted, abs=1e-12)
    weighted = sk.average_precision_score(positive, scores, sample_weight=weights)
    assert float(average_precision(scores, positive, weights)) == pytest.approx(weighted, abs=1e-12)


def test_auc_is_the_share_of_pairs_in_order() -> None:
    scores, positive, _ = drawn(3)
    pairs = [(a > b) + (a == b) / 2 for a in scores[positive] for b in scores[~positive]]
    assert float(roc_auc(scores, positive)) == pytest.approx(np.mean(pairs), abs=1e-12)


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.booleans(), st.integers(0, 3)), min_size=1, max_size=12)
)
def test_weights_count_rows(rows: list[tuple[float, bool, int]]) -> None:
    scores, positive, counts = (np.array(column) for column in zip(*rows, strict=True))
    ranking = Ranking(scores, positive)
    stacked = np.stack([counts, np.ones(len(rows))]).astype(float)
    repeated = Ranking(np.repeat(scores, counts), np.repeat(positive, counts))
    ones = np.ones(int(counts.sum()))
    np.testing.assert_allclose(ranking.auc(stacked), [repeated.auc(ones), ranking.auc(np.ones(len(rows)))])
    np.testing.assert_allclose(ranking.average_precision(stacked)[0], repeated.average_precision(ones))


def test_weights_may_have_any_shape() -> None:
    scores, positive, _ = drawn(5)
    weights = np.random.default_rng(5).integers(0, 3, (2, 3, 60)).astype(float)
    ranking = Ranking(scores, positive)
    for found, of in ((ranking.auc(weights), roc_auc), (ranking.average_precision(weights), average_precision)):
        assert found.shape == (2, 3)
        assert float(found[1, 2]) == pytest.approx(float(of(scores, positive, weights[1, 2])))


def test_one_class_has_no_auc() -> None:
    assert math.isnan(roc_auc(np.array([0.1, 0.2]), np.array([True, True])))
    assert math.isnan(average_precision(np.array([0.1, 0.2]), np.array([False, False])))
    assert math.isnan(roc_auc(np.zeros(0), np.zeros(0, dtype=bool)))
    with pytest.raises(ValueError, match="finite"):
        Ranking(np.array([0.1, np.nan]), np.array([True, False]))


@pytest.mark.parametrize("seed", range(3))
def test_rates_are_scikit_learns(seed: int) -> None:
    scores, positive, weights = drawn(seed)
    flagged = scores >= 0.5
    found = {name: float(value) for name, value in rates(weights @ confusion(flagged, positive)).items()}
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(positive, flagged, sample_weight=weights))
    for name, score in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
        assert found[name] == pytest.approx(score(positive, flagged, sample_weight=weights))
    tn, fp, fn, tp = sk.confusion_matrix(positive, flagged, sample_weight=weights).ravel()
    assert (found["fpr"], found["fnr"]) == pytest.approx((fp / (fp + tn), fn / (fn + tp)))


def test_rates_without_rows_are_undefined() -> None:
    found = rates(confusion(np.array([False]), np.array([False])).sum(axis=0))
    assert found["accuracy"] == 1 and found["fpr"] == 0
    assert all(math.isnan(found[name]) for name in ("precision", "recall", "f1", "fnr"))


def test_the_sweep_holds_the_curves_of_scikit_learn() -> None:
    scores, positive, _ = drawn(1)
    found = sweep(scores, positive)
    precision, recall, thresholds = sk.precision_recall_curve(positive, scores)
    np.testing.assert_allclose(found.thresholds, thresholds)
    np.testing.assert_allclose(found.rates["precision"], precision[:-1])
    np.testing.assert_allclose(found.rates["recall"], recall[:-1])
    best = found.best_f1()
    assert best is not None
    f1 = [sk.f1_score(positive, scores >= t) for t in np.unique(scores)]
    assert f1[best] == pytest.approx(max(f1)) and found.rates["f1"][best] == pytest.approx(max(f1))
    at = found.at_fpr(0.1)
    assert at is not None
    assert found.rates["fpr"][at] <= 0.1 < found.rates["fpr"][at - 1]


def test_a_sweep_may_find_nothing() -> None:
    assert sweep(np.array([0.9, 0.1]), np.array([False, True])).at_fpr(0.5) is None
    assert sweep(np.array([0.9, 0.1]), np.array([False, False])).best_f1() is None


def test_subgroup_aucs_rank_the_rows_that_their_names_say() -> None:
    scores, positive, _ = drawn(7, n=200)
    member = np.random.default_rng(1).random(200) < 0.3
    found = SubgroupRankings(scores, positive, member)
    aucs = {name: float(value) for name, value in found.aucs(np.ones(200)).items()}
    kept = {
        "subgroup_auc": member,
        "bpsn_auc": (~member & positive) | (member & ~positive),
        "bnsp_auc": (~member & ~positive) | (member & positive),
    }
    for name, rows in kept.items():
        assert aucs[name] == pytest.approx(sk.roc_auc_score(positive[rows], scores[rows])), name
        assert found.sizes[name] == rows.sum()


def test_a_subgroup_that_is_flagged_wrongly_has_a_low_bpsn_and_a_high_bnsp() -> None:
    scores, positive, _ = drawn(2, n=400, ties=False)
    member = np.arange(400) < 100
    aucs = SubgroupRankings(scores + 0.5 * member, positive, member).aucs(np.ones(400))
    fair = SubgroupRankings(scores, positive, member).aucs(np.ones(400))
    assert aucs["bpsn_auc"] < fair["bpsn_auc"] - 0.2 and aucs["bnsp_auc"] > fair["bnsp_auc"]
    assert aucs["subgroup_auc"] == fair["subgroup_auc"]


def test_generalised_mean_and_final_score_by_hand() -> None:
    values = [0.9, 0.8, 0.5]
    by_hand = ((0.9**-5 + 0.8**-5 + 0.5**-5) / 3) ** (-1 / 5)
    assert float(power_mean([np.array(v) for v in values])) == pytest.approx(by_hand)
    assert float(power_mean([np.array(0.7), np.array(np.nan)])) == pytest.approx(0.7)
    assert math.isnan(power_mean([np.array(np.nan)]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert float(power_mean([np.array(0.0), np.array(1.0)])) == 0.0
    means = {"subgroup_auc": np.array(0.8), "bpsn_auc": np.array(0.6), "bnsp_auc": np.array(0.7)}
    assert float(bias_score(np.array(0.9), means)) == pytest.approx(0.25 * (0.9 + 0.8 + 0.6 + 0.7))


def test_fishers_exact_test_is_scipys() -> None:
    for a, n, b, m in ((3, 10, 9, 12), (0, 5, 5, 5), (7, 7, 7, 7), (120, 400, 60, 380), (0, 4, 0, 9)):
        assert fisher_p(a, n, b, m) == pytest.approx(scipy_stats.fisher_exact([[a, n - a], [b, m - b]]).pvalue, abs=1e-9)
    assert fisher_p(0, 0, 1, 3) is None
    with pytest.raises(ValueError, match="no shares"):
        fisher_p(3, 2, 0, 1)


def test_holms_correction_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # statsmodels
    found = holm([0.6, None, 0.9])
    assert found[1] is None and found[0] == found[2] == 1.0
    assert holm([]) == []


def test_a_difference_in_clusters_is_welchs_where_each_row_is_its_own() -> None:
    rng = np.random.default_rng(0)
    values, member = rng.normal(size=400), np.arange(400) < 150
    values[member] += 0.2
    plain = clustered_difference_p(values, member, np.arange(400))
    assert plain == pytest.approx(scipy_stats.ttest_ind(values[member], values[~member], equal_var=False).pvalue, rel=0.05)
    copied = np.repeat(values, 5)
    p = clustered_difference_p(copied, np.repeat(member, 5), np.repeat(np.arange(400), 5))
    assert p == pytest.approx(plain, rel=1e-6)


def test_matched_groups_are_compared_within_their_clusters() -> None:
    rng = np.random.default_rng(1)
    level = np.repeat(rng.normal(size=40) * 5, 2)
    member = np.tile([True, False], 40)
    values = level + 0.3 * member + rng.normal(size=80) * 0.3
    matched = clustered_difference_p(values, member, np.arange(80) // 2)
    assert matched == pytest.approx(scipy_stats.ttest_rel(values[member], values[~member]).pvalue, rel=1e-6)
    assert clustered_difference_p(values, np.ones(80, dtype=bool), np.arange(80)) is None
    assert clustered_difference_p(np.ones(4), np.arange(4) < 2, np.arange(4)) is None
