"""Which interval a metric gets, and that it holds what it promises."""

from __future__ import annotations

import numpy as np
import pytest
from scorer_records import choice_record, estimates, likelihood_record, text_record

from evalkit.scorers.base import MetricInfo, MetricSpec, ScorerSpec, ScoringPlan
from evalkit.scorers.choices import ChoiceAccuracy
from evalkit.scorers.estimate import estimate
from evalkit.scorers.likelihood import Perplexity
from evalkit.scorers.registry import build_scorers
from evalkit.stats.intervals import wilson
from evalkit.stats.means import clustered_stderr

ACC = ChoiceAccuracy(("acc",))
(METRIC,) = ACC.metrics
BASE = [
    1,
    0,
    1,
    1,
    0,
    1,
    1,
    1,
    0,
    1,
    1,
    1,
    0,
    1,
    1,
    1,
    1,
    0,
    1,
    1,
    1,
    1,
    0,
    1,
    0,
    1,
    0,
    1,
    1,
    1,
    1,
    1,
    0,
    1,
    1,
    0,
    0,
    1,
    1,
    0,
]
CLUSTER = np.array(
    [
        0,
        0,
        1,
        1,
        1,
        2,
        2,
        2,
        2,
        3,
        3,
        3,
        3,
        3,
        4,
        4,
        4,
        5,
        5,
        6,
        6,
        6,
        6,
        7,
        7,
        7,
        7,
        7,
        8,
        8,
        8,
        9,
        9,
        9,
        9,
        10,
        10,
        10,
        11,
        11,
    ]
)


def column(numbers: list[float] | np.ndarray) -> np.ndarray:
    return np.asarray(numbers, dtype=float)[:, None]


def test_a_proportion_gets_wilson_on_its_rows() -> None:
    found = estimate(ACC, METRIC, column([1.0] * 189 + [0.0] * 61))
    assert found.ci == pytest.approx((0.6991489, 0.8051028), abs=1e-7)  # statsmodels
    assert found.ci_method == "wilson" and found.n == 250
    assert found.stderr == pytest.approx(np.sqrt(0.756 * 0.244 / 249))


def test_clusters_change_the_error_and_the_effective_n() -> None:
    found = estimate(ACC, METRIC, column(BASE), CLUSTER)
    assert found.stderr == pytest.approx(0.05183014216, abs=1e-9)  # statsmodels, CR1
    assert found.ci == pytest.approx(wilson(0.7, 0.21 / 0.05183014216**2), abs=1e-9)
    assert found.ci_method == "wilson-effective-n"


def test_all_wrong_and_all_right_have_width_even_in_clusters() -> None:
    zero = estimate(ACC, METRIC, column([0.0] * 10))
    assert zero.ci == pytest.approx((0.0, 0.277532799863), abs=1e-9)  # statsmodels
    full = estimate(ACC, METRIC, column([1.0] * 40), CLUSTER)
    assert full.ci == pytest.approx(wilson(1.0, 12), abs=1e-12)  # twelve clusters are twelve facts
    assert full.stderr == 0.0


def test_fractional_rows_use_the_effective_n() -> None:
    x = np.array([0.25, 0.5, 1.0, 0.75, 0.5, 0.0, 1.0, 1.0])
    found = estimate(ACC, METRIC, column(x))
    p, stderr = x.mean(), x.std(ddof=1) / np.sqrt(8)
    assert found.ci == pytest.approx(wilson(p, p * (1 - p) / stderr**2))


def test_one_row_has_no_standard_error() -> None:
    found = estimate(ACC, METRIC, column([1.0]))
    assert found.stderr is None and found.ci == pytest.approx(wilson(1.0, 1))
    assert estimate(Perplexity(), Perplexity.metrics[0], column([-1.0])).stderr is None
    assert estimate(ACC, METRIC, np.zeros((0, 1))).value is None


def test_other_means_get_a_t_interval_within_their_range() -> None:
    info = MetricInfo("m", low=0.0, high=1.0, mean=True)
    found = estimate(ACC, info, column([0.0, 0.1, 0.05, 0.9]))
    assert found.ci_method == "t" and found.ci is not None and found.ci[0] == 0.0
    assert found.stderr == pytest.approx(np.std([0.0, 0.1, 0.05, 0.9], ddof=1) / 2)


def test_missing_cells_are_left_out() -> None:
    found = estimate(ACC, MetricInfo("m", mean=True), column([1.0, np.nan, 3.0]))
    assert (found.value, found.n) == (2.0, 2)


def test_bootstrap_and_delta_method_agree() -> None:
    lls = np.random.default_rng(1).normal(-3, 1, 30_000)
    metric = Perplexity.metrics[0]
    small = estimate(Perplexity(), metric, column(lls[:5_000]))
    large = estimate(Perplexity(), metric, column(lls))
    assert small.ci_method == "bootstrap" and large.ci_method == "linearised"
    assert large.stderr == pytest.approx(float(np.exp(3.0)) * np.exp(0) / np.sqrt(30_000), rel=0.05)
    assert small.stderr == pytest.approx((large.stderr or 0) * np.sqrt(6), rel=0.06)


def test_whole_clusters_are_resampled() -> None:
    r = np.random.default_rng(2)
    clusters = np.repeat(np.arange(60), 20)
    lls = (r.normal(-3, 1, 60)[:, None] + r.normal(0, 0.1, (60, 20))).reshape(-1)
    plain = estimate(Perplexity(), Perplexity.metrics[0], column(lls))
    clustered = estimate(Perplexity(), Perplexity.metrics[0], column(lls), clusters)
    assert clustered.stderr is not None and plain.stderr is not None and clustered.stderr > 3 * plain.stderr
    expected = float(np.exp(-lls.mean())) * (clustered_stderr(lls, clusters) or 0)
    assert clustered.stderr == pytest.approx(expected, rel=0.06)


def test_labels_may_be_any_integers_and_singletons_are_none() -> None:
    x = column([1.0, 0.0, 1.0, 1.0])
    assert estimate(ACC, METRIC, x, np.array([-1, -2, -3, -4])) == estimate(ACC, METRIC, x)


def test_a_value_without_spread_claims_no_bootstrap_interval() -> None:
    records = [choice_record([-1, -2], 0, ["a", "b"]), choice_record([-2, -1], 1, ["a", "b"])] * 5
    (scorer,) = build_scorers(ScoringPlan("multiple_choice", (MetricSpec("f1"),)))
    found = estimates(scorer, records)["f1"]
    assert found.value == 1.0 and found.ci is None


def test_calibration_error_interval_holds_its_value() -> None:
    r = np.random.default_rng(0)
    records = [choice_record([0.0, float(np.log((1 - c) / c))], int(r.random() > c)) for c in r.uniform(0.5, 0.99, 400)]
    (scorer,) = build_scorers(ScoringPlan("multiple_choice", scorers=(ScorerSpec("calibration_error"),)))
    found = estimates(scorer, records)["ece"]
    assert found.ci is not None and found.value is not None
    assert 0 <= found.ci[0] <= found.value <= found.ci[1]


def test_an_aggregation_function_gets_an_interval_if_it_is_quick() -> None:
    def share_right(items: list[float]) -> float:
        return sum(items) / len(items)

    records = [text_record("a" if i % 3 else "b", "a") for i in range(90)]
    (scorer,) = build_scorers(ScoringPlan("generate_until", (MetricSpec("exact_match", share_right),)))
    found = estimates(scorer, records)["exact_match"]
    assert found.value == pytest.approx(2 / 3)
    assert found.stderr == pytest.approx(0.05, rel=0.2) and found.ci_method == "bootstrap"


def test_an_infinite_value_is_no_value() -> None:
    (scorer,) = build_scorers(ScoringPlan("loglikelihood", (MetricSpec("perplexity"),)))
    assert estimates(scorer, [likelihood_record(float("-inf"), False)] * 3)["perplexity"].value is None
