"""All 51 golden cases (of scipy, statsmodels, sacrebleu, ppi-python, krippendorff, or by hand), at their tolerance."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalkit.stats import multiple, power, shares
from evalkit.stats.agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha
from evalkit.stats.calibration import brier, calibration_error, calibration_features
from evalkit.stats.correlation import weighted
from evalkit.stats.difference import paired_difference, totals_difference
from evalkit.stats.difference_kinds import MeanDifference
from evalkit.stats.distributions import normal_quantile
from evalkit.stats.exact import mcnemar_chi2, mcnemar_mid_p, mcnemar_p
from evalkit.stats.intervals import t_interval, wilson
from evalkit.stats.location import sign_flip_test, wilcoxon
from evalkit.stats.means import cluster_codes, clustered_stderr, mean, mean_stderr, variance_split
from evalkit.stats.paired import Pair, mean_pair, paired_replicates, paired_tests
from evalkit.stats.passk import pass_at_k, pass_hat_k
from evalkit.stats.prediction_powered import ppi_mean
from evalkit.stats.resample import bca_interval, bootstrap, percentile_interval, replicate_stderr
from evalkit.stats.tango import tango_interval, tango_z

GOLDENS = Path(__file__).resolve().parents[3] / "shared" / "goldens" / "golden_stats.json"
NUMBER_OF_CASES = 51

Case = Mapping[str, Any]
Data = Mapping[str, Any]
Computed = dict[str, Any]

pytestmark = pytest.mark.skipif(not GOLDENS.is_file(), reason="golden_stats.json is not beside the checkout")
GOLDEN: dict[str, Any] = json.loads(GOLDENS.read_text()) if GOLDENS.is_file() else {}
NAMES = [name for name in GOLDEN if not name.startswith("_")]


def column(name: str) -> np.ndarray:
    data = GOLDEN["_data"]
    if name.startswith("diff_"):
        return column(f"cand_{name[5:]}") - column(f"base_{name[5:]}")
    if "-" in name:
        first, second = name.split("-")
        return column(first) - column(second)
    return np.array(data[name], dtype=float)


def codes(name: str = "cluster") -> np.ndarray:
    return cluster_codes(GOLDEN["_data"][name])[0]


def mean_clt(case: Case) -> Computed:
    x = column(case["in"]["x"])
    value, stderr = mean(x), mean_stderr(x)
    assert stderr is not None
    if set(case["out"]) == {"se"}:  # Bernoulli's form, which is half of Wald's width
        low, high = shares.wald(value, len(x))
        return {"se": (high - low) / 2 / normal_quantile(0.975)}
    return {
        "n": len(x),
        "mean": value,
        "se": stderr,
        "ci95_z": t_interval(value, stderr, math.inf),
        "ci95_t": t_interval(value, stderr, len(x) - 1),
    }


def clustered_se(case: Case) -> Computed:
    x = column(case["in"]["x"])
    labels = GOLDEN["_data"][case["in"]["cluster"]]
    count = cluster_codes(labels)[1]
    cr0, cr1, naive = clustered_stderr(x, labels, correct=False), clustered_stderr(x, labels), mean_stderr(x)
    assert cr0 is not None and cr1 is not None and naive is not None
    return {
        "cr0": cr0,
        "cr1": cr1,
        "miller_eq4": math.sqrt(cr0**2 + naive**2 / len(x)),
        "naive": naive,
        "n_clusters": count,
        "deff": (cr1 / naive) ** 2,
        "mean": mean(x),
        "ci95_t_cminus1": t_interval(mean(x), cr1, count - 1),
    }


def paired_t(case: Case) -> Computed:
    a, b = column(case["in"]["a"]), column(case["in"]["b"])
    found = paired_difference(b, a, low=0, high=1)
    errors = mean_stderr(a), mean_stderr(b)
    assert isinstance(found, MeanDifference) and found.stderr is not None and None not in errors
    correlation = float(weighted(a, b, np.ones((1, len(a))))["pearson"][0])
    plain = errors[0] ** 2 + errors[1] ** 2
    return {
        "mean_diff": found.value,
        "se": found.stderr,
        "t": found.value / found.stderr,
        "df": found.changes.df,
        "p_two_sided": found.p_two_sided(),
        "ci95": found.interval(),
        "p_less": found.p_worse(),
        "corr": correlation,
        "se_unpaired": math.sqrt(plain),
        "se_paired_identity": math.sqrt(plain - 2 * correlation * errors[0] * errors[1]),
        "cohen_dz": found.value / (found.stderr * math.sqrt(found.n)),
    }


def noninferiority_t(case: Case) -> Computed:
    margin = case["in"]["margin"]
    found = paired_difference(column(case["in"]["b"]), column(case["in"]["a"]), low=0, high=1)
    assert found.stderr is not None
    t, p = power.noninferiority_p(found.value, found.stderr, found.n - 1, margin)
    return {
        "t": t,
        "p_noninferior": p,
        "p_worse_than_margin": 1 - p,
        "lower95_one_sided": found.lower(0.05),
        "upper95_one_sided": found.upper(0.05),
        "tost_equivalence_p": max(p, power.noninferiority_p(-found.value, found.stderr, found.n - 1, margin)[1]),
    }


def signed_rank(case: Case) -> Computed:
    statistic, p = wilcoxon(column(case["in"]["d"]))
    return {"statistic": statistic, "p": p}


def bootstrapped(case: Case) -> Computed:
    d = column(case["in"]["d"])
    clusters = codes() if "cluster" in case["in"] else None
    drawn = bootstrap(
        lambda w: {"d": (w @ d) / w.sum(axis=1)}, len(d), clusters=clusters, replicates=case["in"]["resamples"], seed=1
    )["d"]
    if "bca" in case["name"]:
        return {"ci95": bca_interval(drawn, mean(d), (d.sum() - d) / (len(d) - 1))}
    found = totals_difference(mean_pair(np.zeros(len(d)), d), clusters=clusters, resamples=20_000, low=0, high=1)
    assert found.stderr == pytest.approx(case["out"]["se"], abs=case["tol"])
    if clusters is None:  # a dozen clusters are too few to leave percentiles as they are
        assert found.interval() == pytest.approx(case["out"]["ci95"], abs=case["tol"])
    return {"ci95": percentile_interval(drawn), "se": replicate_stderr(drawn)}


def permuted(case: Case) -> Computed:
    found = sign_flip_test(np.array(case["in"]["d"]))
    assert found.exact
    return {"p_two_sided": found.p_two_sided, "n_perms": found.patterns}


def mcnemar(case: Case) -> Computed:
    both, lost, gained, neither = (case["in"][key] for key in ("both", "base_only", "cand_only", "neither"))
    n = both + lost + gained + neither
    baseline = np.repeat([1.0, 1.0, 0.0, 0.0], [both, lost, gained, neither])
    system = np.repeat([1.0, 0.0, 1.0, 0.0], [both, lost, gained, neither])
    found = paired_difference(baseline, system)
    plain, corrected = mcnemar_chi2(lost, gained), mcnemar_chi2(lost, gained, correct=True)
    assert found.p_two_sided() == mcnemar_p(lost, gained) and found.interval() == tango_interval(lost, gained, n)
    return {
        "table_[[both,base_only],[cand_only,neither]]": [
            [int(((baseline == a) & (system == b)).sum()) for b in (1, 0)] for a in (1, 0)
        ],
        "n": found.n,
        "diff": found.value,
        "p_exact": found.p_two_sided(),
        "p_midp": mcnemar_mid_p(lost, gained),
        "chi2": plain and plain[0],
        "p_chi2": plain and plain[1],
        "chi2_cc": corrected and corrected[0],
        "p_chi2_cc": corrected and corrected[1],
        "wald_se": found.stderr * math.sqrt((n - 1) / n),  # the sample's, with n for n - 1
        "wald_ci95": shares.paired_wald(lost, gained, n),
        "agresti_min_ci95": shares.agresti_min(lost, gained, n),
        "newcombe10_ci95": shares.newcombe(both, lost, gained, neither),
        "tango_ci95": found.interval(),
        "tango_z_at_-0.05": float(tango_z(lost, gained, n, -0.05)),
        "odds_ratio_cand_over_base": gained / lost if lost else None,
    }


def proportion(case: Case) -> Computed:
    k, n = case["in"]["k"], case["in"]["n"]
    return {
        "wilson": wilson(k / n, n),
        "clopper_pearson": shares.clopper_pearson(k, n),
        "jeffreys": shares.jeffreys(k, n),
        "wald": shares.wald(k / n, n),
        "agresti_coull": shares.agresti_coull(k, n),
        "wilson_lower_one_sided95": wilson(k / n, n, 0.9)[0],
    }


def krippendorff(case: Case) -> Computed:
    ratings = np.array(case["in"]["coders_x_units_null_missing"], dtype=float)
    return {scale: krippendorff_alpha(ratings, scale) for scale in case["out"]}


def cohen(case: Case) -> Computed:
    place = {value: code for code, value in enumerate(case["in"]["categories"])}
    first, second = (np.array([place[value] for value in case["in"][key]]) for key in ("r1", "r2"))
    plain, linear, quadratic = (cohen_kappa(first, second, len(place), kind) for kind in ("none", "linear", "quadratic"))
    return {
        "kappa": plain.value,
        "kappa_linear": linear.value,
        "kappa_quadratic": quadratic.value,
        "se_kappa": plain.stderr,
        "ci95": t_interval(plain.value, plain.stderr, math.inf),
    }


def fleiss(case: Case) -> Computed:
    return {"kappa": fleiss_kappa(np.array(case["in"]["items_x_categories_counts"], dtype=float))}


def correlation(case: Case) -> Computed:
    x, y = column(case["in"]["x"]), column(case["in"]["y"])
    found = weighted(x, y, np.ones((1, len(x))))
    return {"pearson": found["pearson"][0], "spearman": found["spearman"][0], "kendall_tau_b": found["kendall"][0]}


CORRECTIONS = {
    "bonferroni": multiple.bonferroni,
    "holm": multiple.holm,
    "holm_unsorted_order": multiple.holm,
    "hommel": multiple.hommel,
    "fdr_bh": multiple.benjamini_hochberg,
    "fdr_by": multiple.benjamini_yekutieli,
    "holm-sidak": multiple.holm_sidak,
}


def corrected(case: Case) -> Computed:
    adjusted = CORRECTIONS[case["name"].split("/")[1]](case["in"]["p"])
    return {"adjusted": adjusted, "reject": [p <= case["in"]["alpha"] for p in adjusted]}


def miller_n(case: Case) -> Computed:
    sizes = [
        power.sample_size(
            one["delta"], one["om2"], one.get("sA", 0.0), one.get("sB", 0.0), one.get("KA", 1), one.get("KB", 1)
        )
        for one in case["in"]["cases"]
    ]
    return {"n": sizes, "n_ceil": [math.ceil(n) for n in sizes]}


def miller_mde(case: Case) -> Computed:
    given = case["in"]
    variances = given["omega2"], given["s2A"], given["s2B"]
    return {"mde": [power.detectable_difference(given["n"], *variances, k, k) for k in given["K"]]}


def noninferiority_n(case: Case) -> Computed:
    given = case["in"]
    sizes = [power.noninferiority_size(given["sd_diff"], margin) for margin in given["margin"]]
    return {"n": sizes, "n_ceil": [math.ceil(n) for n in sizes]}


def noninferiority_n_binary(case: Case) -> Computed:
    given = case["in"]
    sds = [power.discordance_sd(share, given["true_diff"]) for share in given["discordance"]]
    return {"n_ceil": [math.ceil(power.noninferiority_size(sd, given["margin"])) for sd in sds]}


def ttest_paired(case: Case) -> Computed:
    return {"n": power.paired_t_size(case["in"]["effect_dz"])}


def deff(case: Case) -> Computed:
    return {"deff": power.design_effect(case["in"]["mean_cluster_size"], case["in"]["icc"])}


def variance_components(case: Case) -> Computed:
    scores = np.array(case["in"]["scores_items_x_K"], dtype=float)
    split = variance_split(scores)
    return {
        "mean": split.mean,
        "se_item_means": split.stderr,
        "mean_conditional_var_s2": split.within,
        "var_item_means": split.between + split.within / scores.shape[1],
        "omega2_hat": split.between,
        "se_if_K1": split.stderr_one,
        "se_if_Kinf": split.stderr_many,
        "wrong_naive_se_all_rows": mean_stderr(scores.reshape(-1)),
    }


def pass_k(case: Case) -> Computed:
    cases = case["in"]["n_c_k"]
    return {"pass_at_k": [pass_at_k(*one) for one in cases], "pass_hat_k": [pass_hat_k(*one) for one in cases]}


def sacrebleu_paired(case: Case) -> Computed:
    from sacrebleu.metrics import BLEU, CHRF, TER

    from evalkit.scorers.ngram.counts import bleu_scores, chrf_scores, ter_scores

    given, seed = case["in"], case["in"]["seed"]
    computed: Computed = {key: value for key, value in case["out"].items() if "signature" in key}  # tests/scorers has them
    for name, short, metric, finish in (
        ("BLEU", "BLEU", BLEU(), bleu_scores),
        ("CHRF", "chrF2", CHRF(), chrf_scores),
        ("TER", "TER", TER(), ter_scores),
    ):
        rows = [
            np.array(metric._extract_corpus_statistics(given[side], [given["refs"]]), dtype=float)
            for side in ("A_baseline", "B_system")
        ]
        found = paired_tests({name: Pair(rows[0], rows[1], finish)}, seed=seed, resamples=given["n_samples"])[name]
        computed |= {f"{name}_A": found.baseline, f"{name}_B": found.system}
        computed |= {f"bs/{short}/p": found.p_bootstrap, f"ar/{short}/p": found.p_randomisation}
        # the system alone, on the same draws: its mean, and half the width of its interval, as sacrebleu reports them
        alone = Pair(np.zeros_like(rows[1]), rows[1], lambda t, of=finish: np.where(t.any(axis=-1), of(t), 0.0))
        drawn = np.sort(paired_replicates(alone, seed=seed, resamples=given["n_samples"]))
        cut = given["n_samples"] // 40
        computed[f"bs/{short}/mean,ci"] = [drawn.mean(), (drawn[given["n_samples"] - cut - 1] - drawn[cut]) / 2]
    return {key: computed[key] for key in case["out"]}


def ppi(case: Case) -> Computed:
    human, labelled, unlabelled = (
        np.array(case["in"][key]) for key in ("human_labels", "judge_on_labelled", "judge_on_unlabelled")
    )
    plain, tuned = ppi_mean(human, labelled, unlabelled, 0.9, lam=1.0), ppi_mean(human, labelled, unlabelled, 0.9)
    return {
        "lam=1_point": plain.value,
        "lam=1_ci90": plain.interval,
        "tuned_point": tuned.value,
        "tuned_ci90": tuned.interval,
        "naive_judge_mean": mean(unlabelled),
        "human_only_mean": mean(human),
    }


def calibration(case: Case) -> Computed:
    confidence, correct = (np.array(case["in"][key], dtype=float) for key in ("confidence", "correct"))
    totals = calibration_features(confidence, correct, 10).sum(axis=0)
    return {"ece_equal_width_10_right_open": float(calibration_error(totals)), "brier": brier(confidence, correct)}


#: What computes a case, by the start of its name.
COMPUTE: dict[str, Callable[[Case], Computed]] = {
    "mean_clt/": mean_clt,
    "clustered_se/": clustered_se,
    "paired_t/": paired_t,
    "noninferiority_t/": noninferiority_t,
    "wilcoxon/": signed_rank,
    "bootstrap/": bootstrapped,
    "permutation/": permuted,
    "mcnemar/": mcnemar,
    "proportion/": proportion,
    "krippendorff/": krippendorff,
    "cohen_kappa/": cohen,
    "fleiss_kappa/": fleiss,
    "correlation/": correlation,
    "multitest/": corrected,
    "power/miller_n": miller_n,
    "power/miller_mde": miller_mde,
    "power/noninferiority_n_binary": noninferiority_n_binary,
    "power/noninferiority_n": noninferiority_n,
    "power/ttest_paired_exact": ttest_paired,
    "power/deff": deff,
    "resample/variance_components": variance_components,
    "pass_at_k": pass_k,
    "sacrebleu/paired": sacrebleu_paired,
    "ppi/mean": ppi,
    "calibration/": calibration,
}


def computed(name: str) -> Computed:
    start = max((start for start in COMPUTE if name.startswith(start)), key=len)
    return COMPUTE[start]({**GOLDEN[name], "name": name})


def test_every_case_is_there_and_has_its_function() -> None:
    assert len(NAMES) == NUMBER_OF_CASES
    assert [name for name in NAMES if not any(name.startswith(start) for start in COMPUTE)] == []


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str) -> None:
    case = GOLDEN[name]
    found = computed(name)
    assert found.keys() == case["out"].keys()
    for key, expected in case["out"].items():
        if expected is None or isinstance(expected, str):
            assert found[key] == expected, key
        else:
            got = (
                [list(row) if isinstance(row, tuple) else row for row in found[key]]
                if isinstance(expected, list)
                else found[key]
            )
            np.testing.assert_allclose(
                np.array(got, dtype=float), np.array(expected, dtype=float), rtol=0, atol=case["tol"], err_msg=key
            )
