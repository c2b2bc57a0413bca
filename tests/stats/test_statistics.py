"""Standard errors, intervals and resampling against figures from scipy, statsmodels and published formulas."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from evalkit.stats.calibration import brier, calibration_error, calibration_features
from evalkit.stats.distributions import incomplete_beta, t_cdf, t_quantile
from evalkit.stats.intervals import at_chance, effective_n, saturated, t_interval, wilson
from evalkit.stats.means import (
    cluster_codes,
    clustered_stderr,
    mean,
    mean_stderr,
    pooled_stderr,
    unweighted_stderr,
    variance_split,
)
from evalkit.stats.passk import pass_at_k, pass_hat_k
from evalkit.stats.resample import (
    bootstrap,
    linearised_stderr,
    percentile_interval,
    replicate_stderr,
    replicates_for,
    resample_counts,
)

GOLDENS = Path(__file__).resolve().parents[3] / "shared" / "goldens" / "golden_stats.json"


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    if not GOLDENS.is_file():
        pytest.skip("golden_stats.json is not beside the checkout")
    return json.loads(GOLDENS.read_text())


def data(golden: dict[str, Any], name: str) -> np.ndarray:
    if name == "diff_cont":
        return data(golden, "cand_cont") - data(golden, "base_cont")
    if name == "diff_binary":
        return data(golden, "cand_binary") - data(golden, "base_binary")
    return np.array(golden["_data"][name], dtype=float)


@pytest.mark.parametrize("name", ["base_cont", "base_binary"])
def test_mean_and_its_t_interval_match_scipy(golden: dict[str, Any], name: str) -> None:
    out = golden[f"mean_clt/{name}"]["out"]
    x = data(golden, name)
    stderr = mean_stderr(x)
    assert stderr is not None
    assert mean(x) == pytest.approx(out["mean"], abs=1e-9)
    assert stderr == pytest.approx(out["se"], abs=1e-9)
    assert t_interval(mean(x), stderr, len(x) - 1) == pytest.approx(out["ci95_t"], abs=1e-9)


@pytest.mark.parametrize("name", ["base_cont", "base_binary", "diff_cont", "diff_binary"])
def test_clustered_standard_errors_match_statsmodels(golden: dict[str, Any], name: str) -> None:
    out = golden[f"clustered_se/{name}"]["out"]
    x, clusters = data(golden, name), golden["_data"]["cluster"]
    cr1 = clustered_stderr(x, clusters)
    assert cr1 is not None
    assert clustered_stderr(x, clusters, correct=False) == pytest.approx(out["cr0"], abs=1e-9)
    assert cr1 == pytest.approx(out["cr1"], abs=1e-9)
    assert t_interval(mean(x), cr1, cluster_codes(clusters)[1] - 1) == pytest.approx(out["ci95_t_cminus1"], abs=1e-9)


def test_wilson_matches_statsmodels(golden: dict[str, Any]) -> None:
    cases = [v for k, v in golden.items() if k.startswith("proportion/")]
    assert len(cases) == 6
    for case in cases:
        k, n = case["in"]["k"], case["in"]["n"]
        assert wilson(k / n, n) == pytest.approx(case["out"]["wilson"], abs=1e-8)


def test_repeats_are_reduced_first_and_the_variance_splits(golden: dict[str, Any]) -> None:
    case = golden["resample/variance_components"]
    split = variance_split(np.array(case["in"]["scores_items_x_K"], dtype=float))
    out = case["out"]
    assert split.mean == pytest.approx(out["mean"], abs=1e-9)
    assert split.stderr == pytest.approx(out["se_item_means"], abs=1e-9)
    assert split.within == pytest.approx(out["mean_conditional_var_s2"], abs=1e-9)
    assert split.between == pytest.approx(out["omega2_hat"], abs=1e-9)
    assert split.stderr_one == pytest.approx(out["se_if_K1"], abs=1e-9)
    assert split.stderr_many == pytest.approx(out["se_if_Kinf"], abs=1e-9)


def test_pass_at_k_is_unbiased_form(golden: dict[str, Any]) -> None:
    case = golden["pass_at_k"]
    for (n, c, k), plain, hat in zip(case["in"]["n_c_k"], case["out"]["pass_at_k"], case["out"]["pass_hat_k"], strict=True):
        assert pass_at_k(n, c, k) == pytest.approx(plain, abs=1e-9)
        assert pass_hat_k(n, c, k) == pytest.approx(hat, abs=1e-9)
    with pytest.raises(ValueError, match="pass@k needs"):
        pass_at_k(3, 1, 4)


def test_calibration_error_and_brier(golden: dict[str, Any]) -> None:
    case = golden["calibration/ece10_brier"]
    confidence, correct = (np.array(case["in"][key], dtype=float) for key in ("confidence", "correct"))
    totals = calibration_features(confidence, correct, 10).sum(axis=0)
    assert float(calibration_error(totals)) == pytest.approx(case["out"]["ece_equal_width_10_right_open"], abs=1e-9)
    assert brier(confidence, correct) == pytest.approx(case["out"]["brier"], abs=1e-9)


@pytest.mark.parametrize("df", [1, 2.5, 11, 39, 999, 1000, 4321, 1e6])
@pytest.mark.parametrize("p", [0.025, 0.4, 0.9, 0.975, 0.995])
def test_t_distribution_matches_scipy(p: float, df: float) -> None:
    assert t_quantile(p, df) == pytest.approx(scipy_stats.t.ppf(p, df), abs=1e-9)
    assert t_cdf(t_quantile(p, df), df) == pytest.approx(p, abs=1e-9)


def test_t_with_infinite_freedom_is_normal() -> None:
    assert t_cdf(1.959963984540054, math.inf) == pytest.approx(0.975)
    assert incomplete_beta(2, 3, 0) == 0 and incomplete_beta(2, 3, 1) == 1
    assert t_quantile(0.5, 7) == 0


def test_too_little_data_has_no_standard_error() -> None:
    assert mean_stderr(np.array([1.0])) is None
    assert clustered_stderr(np.array([1.0, 0.0]), ["a", "a"]) is None
    assert math.isnan(mean(np.array([])))
    with pytest.raises(ValueError, match="at least 2 items"):
        variance_split(np.ones((3, 1)))


def test_group_standard_errors_equal_lm_evals() -> None:
    # lm_eval.api.metrics 0.4.13: pooled_sample_stderr and unweighted_mean_stderr
    assert pooled_stderr([0.03, 0.05, 0.02], [200, 80, 500]) == pytest.approx(0.015806430648418062, abs=1e-12)
    assert unweighted_stderr([0.03, 0.05, 0.02]) == pytest.approx(0.020548046676563254, abs=1e-12)


def test_zero_and_full_marks_have_width() -> None:
    assert wilson(0.0, 50)[0] == 0 and 0.05 < wilson(0.0, 50)[1] < 0.1
    assert wilson(1.0, 50)[1] == 1 and 0.9 < wilson(1.0, 50)[0] < 0.95
    assert effective_n(1.0, 0.0, 12) == 12
    assert effective_n(1 / 3, 1e-17, 2) == 2  # clusters with equal means: only rounding is left of the error
    assert effective_n(0.5, 0.05, 12) == pytest.approx(100)


def test_chance_and_saturation() -> None:
    assert at_chance((0.2, 0.3), 0.25) and not at_chance((0.26, 0.3), 0.25) and not at_chance((0.2, 0.3), None)
    assert saturated((0.95, 0.995), 0, 1) and saturated((0.0, 0.2), 0, 1)
    assert not saturated((0.4, 0.6), 0, 1) and not saturated((0.4, 0.99999), None, None) and not saturated(None, 0, 1)


def test_bootstrap_counts_draw_n_each_and_are_seeded() -> None:
    counts = np.concatenate(list(resample_counts(7, 500, seed=3)))
    assert counts.shape == (500, 7)
    assert (counts.sum(axis=1) == 7).all()
    assert (np.concatenate(list(resample_counts(7, 500, seed=3))) == counts).all()
    assert (np.concatenate(list(resample_counts(7, 500, seed=4))) != counts).any()


def test_chunks_bound_the_memory_of_a_large_bootstrap() -> None:
    chunk = next(resample_counts(100_000, 200))
    assert chunk.size <= 2_000_000
    assert replicates_for(100) == 10_000 and replicates_for(10**6) == 100


@pytest.mark.parametrize(("clustered", "key"), [(False, "percentile_mean_diff"), (True, "cluster_mean_diff")])
def test_bootstrap_matches_the_golden_intervals(golden: dict[str, Any], clustered: bool, key: str) -> None:
    x = data(golden, "diff_cont")
    codes = cluster_codes(golden["_data"]["cluster"])[0] if clustered else None
    drawn = bootstrap(lambda w: {"d": (w @ x) / w.sum(axis=1)}, len(x), clusters=codes, replicates=20_000, seed=1)["d"]
    out = golden[f"bootstrap/{key}"]["out"]
    assert percentile_interval(drawn) == pytest.approx(out["ci95"], abs=2e-3)
    assert replicate_stderr(drawn) == pytest.approx(out["se"], rel=0.03)


def test_replicates_that_say_nothing_give_no_interval() -> None:
    assert percentile_interval(np.ones(100)) is None
    assert percentile_interval(np.array([np.nan, np.nan, 1.0, 2.0, np.nan])) is None
    assert replicate_stderr(np.array([np.nan, 1.0])) is None


def test_linearised_error_of_a_mean_is_the_closed_form() -> None:
    x = np.random.default_rng(0).normal(3, 2, 500)
    clusters = np.repeat(np.arange(50), 10)
    features = np.stack([x, np.ones_like(x)], axis=1)

    def finish(totals: np.ndarray) -> dict[str, np.ndarray]:
        return {"mean": totals[..., 0] / totals[..., 1]}

    assert linearised_stderr(finish, features)["mean"] == pytest.approx(mean_stderr(x), rel=1e-6)
    assert linearised_stderr(finish, features, clusters)["mean"] == pytest.approx(clustered_stderr(x, clusters), rel=1e-6)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=40))
def test_singleton_clusters_are_no_clusters(numbers: list[float]) -> None:
    x = np.array(numbers)
    assert clustered_stderr(x, list(range(len(x)))) == pytest.approx(mean_stderr(x), rel=1e-9, abs=1e-9)


@given(st.integers(1, 400), st.data())
def test_wilson_holds_the_proportion_and_stays_in_range(n: int, draw: st.DataObject) -> None:
    p = draw.draw(st.integers(0, n)) / n
    low, high = wilson(p, n)
    assert 0 <= low <= p <= high <= 1
    assert high - low > 0
