"""A classifier held against labels: figures that scikit-learn, scipy and published measurements agree with."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats
from sklearn import metrics as sk

from evalkit.calibrate.classifier import evaluate_classifier
from evalkit.calibrate.labelled_texts import read_labelled
from evalkit.classifiers.base import BaseClassifier, Counted, Verdict
from evalkit.errors import DataError, ScorerError, UsageError
from evalkit.stats.intervals import wilson

FIGURES = Path(__file__).with_name("profanity_scores.json")
TOXICITY = Path(__file__).resolve().parents[3] / "shared" / "data" / "toxicity"


def made(seed: int = 0, n: int = 300) -> list[dict[str, Any]]:
    """Rows with scores that are too high for group b."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        label, group = int(rng.random() < 0.4), "abc"[i % 3]
        score = float(np.clip(rng.normal(0.35 + 0.25 * label + 0.2 * (group == "b"), 0.2), 0, 1))
        rows.append(
            {"text": f"t{i}", "label": label, "group": group, "s": score, "functionality": f"f{i % 4}", "pair": i // 5}
        )
    return rows


def columns(rows: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.array([row["label"] for row in rows], dtype=bool),
        np.array([row["s"] for row in rows]),
        np.array([row["group"] for row in rows]),
    )


def test_overall_figures_are_scikit_learns_with_intervals_and_n() -> None:
    rows = made()
    y, s, _ = columns(rows)
    found = evaluate_classifier(rows, columns={"scores": "s"}, threshold=0.6, replicates=300)
    flagged = s >= 0.6
    expected = {
        "accuracy": (sk.accuracy_score(y, flagged), len(y)),
        "precision": (sk.precision_score(y, flagged), flagged.sum()),
        "recall": (sk.recall_score(y, flagged), y.sum()),
        "f1": (sk.f1_score(y, flagged), len(y)),
        "auc": (sk.roc_auc_score(y, s), len(y)),
        "average_precision": (sk.average_precision_score(y, s), len(y)),
        "fpr": (flagged[~y].mean(), (~y).sum()),
    }
    assert [figure.metric for figure in found.figures] == list(expected)
    for metric, (value, n) in expected.items():
        figure = found.find(metric)
        assert (figure.value, figure.n) == (pytest.approx(value), n), metric
        assert figure.ci is not None and figure.ci[0] < value < figure.ci[1]
        assert figure.ci_method == ("bootstrap" if metric in ("f1", "auc", "average_precision") else "wilson")
    assert found.find("recall").ci == pytest.approx(wilson(float(flagged[y].mean()), int(y.sum())))
    meaning = found.to_dict()["meaning"]
    assert meaning["fpr"]["ideal"] == 0 and meaning["fpr"]["higher_is_better"] is False
    assert meaning["auc"]["range"] == [0.0, 1.0] and "0.5 is chance" in meaning["auc"]["meaning"]


def test_groups_have_aucs_error_rates_and_corrected_tests() -> None:
    rows = made(n=600)
    y, s, g = columns(rows)
    found = evaluate_classifier(rows, columns={"scores": "s", "groups": "group"}, replicates=400)
    assert [(row.group, row.n) for row in found.groups] == [("a", 200), ("b", 200), ("c", 200)]
    b = g == "b"
    bpsn = (~b & y) | (b & ~y)
    assert found.find("bpsn_auc", "b").value == pytest.approx(sk.roc_auc_score(y[bpsn], s[bpsn]))
    assert found.find("bpsn_auc", "b").n == bpsn.sum()
    fpr = found.find("fpr", "b")
    assert fpr.value == pytest.approx((s[b & ~y] >= 0.5).mean()) and fpr.n == (b & ~y).sum()
    tests = {test.metric: test for test in found.groups[1].tests}
    table = [[int((s[m & ~y] >= 0.5).sum()), int((s[m & ~y] < 0.5).sum())] for m in (b, ~b)]
    assert tests["fpr"].p == pytest.approx(scipy_stats.fisher_exact(table).pvalue)
    assert tests["fpr"].others == pytest.approx((s[~b & ~y] >= 0.5).mean())
    ps = [next(t.p for t in row.tests if t.metric == "fpr") for row in found.groups]
    assert tests["fpr"].adjusted == pytest.approx(3 * min(ps)) and 3 * min(ps) < 0.05
    auc = tests["subgroup_auc"]
    assert auc.p is not None and auc.adjusted is not None and auc.p <= auc.adjusted
    aucs = [float(found.find("bpsn_auc", name).value or 0) for name in "abc"]
    assert found.find("bpsn_auc_mean").value == pytest.approx(np.mean([a**-5 for a in aucs]) ** (-1 / 5))
    bias = found.find("bias_score")
    parts = ("auc", "subgroup_auc_mean", "bpsn_auc_mean", "bnsp_auc_mean")
    assert bias.value == pytest.approx(np.mean([found.find(name).value for name in parts])) and bias.ci is not None


def test_texts_that_resemble_each_other_count_for_less() -> None:
    rows = [dict(row, pair=i) for i, row in enumerate(made(n=60)) for _ in range(5)]
    plain = evaluate_classifier(rows, columns={"scores": "s", "groups": "group"}, replicates=300)
    clustered = evaluate_classifier(rows, columns={"scores": "s", "groups": "group", "cluster": "pair"}, replicates=300)
    for metric in ("accuracy", "auc", "f1"):
        (a, b), (c, d) = (found.find(metric).ci or (0, 0) for found in (plain, clustered))
        assert d - c > 1.5 * (b - a), metric
    test = clustered.groups[1].tests[0]
    assert test.test.startswith("normal") and test.p is not None and plain.groups[1].tests[0].p is not None
    assert test.p > plain.groups[1].tests[0].p


def test_the_sweep_shows_the_given_threshold_the_best_f1_and_fixed_false_positive_rates() -> None:
    rows = made()
    y, s, _ = columns(rows)
    found = evaluate_classifier(rows, columns={"scores": "s"}, replicates=0)
    by_reason = {why: row for row in found.thresholds for why in row.why.split(", ")}
    assert {"given", "best F1", "FPR <= 0.05", "grid"} <= set(by_reason)
    best = by_reason["best F1"]
    assert best.rates["f1"] == pytest.approx(max(sk.f1_score(y, s >= t) for t in s))
    limited = by_reason["FPR <= 0.05"]
    assert (limited.rates["fpr"] or 0) <= 0.05 and limited.rates["fpr"] == pytest.approx((s[~y] >= limited.threshold).mean())
    assert found.find("auc").ci is None and "chosen on these very texts" in found.notes[0]


def test_a_score_that_is_missing_is_counted_and_never_zero() -> None:
    rows = [*made(n=50), {"text": "x", "label": 1, "group": "a", "s": None}]
    found = evaluate_classifier(rows, columns={"scores": "s"}, replicates=0)
    assert (found.n, found.unscored) == (50, {"the score is missing": 1})
    assert found.find("auc").value == evaluate_classifier(rows[:50], columns={"scores": "s"}, replicates=0).find("auc").value


class Lengths(BaseClassifier):
    """Longer is worse; a text with a question mark cannot be read."""

    name, labels, threshold = "lengths", ("length",), 0.3
    counts = Counted(("length",))

    @property
    def version(self) -> str:
        return "1"

    def classify(self, texts: Sequence[str]) -> list[Verdict]:
        return [Verdict.unscored("a question") if "?" in t else Verdict({"length": min(len(t) / 10, 1.0)}) for t in texts]


def test_a_threshold_beyond_all_scores_is_refused() -> None:
    with pytest.raises(UsageError, match="--threshold 3: the scores of lengths are within 0 and 1"):
        evaluate_classifier([{"text": "a", "label": 1}], Lengths(), threshold=3)


def test_a_classifier_brings_its_threshold_and_counts_what_it_cannot_read() -> None:
    rows = [{"text": t, "label": n} for t, n in (("aaaa", 1), ("aa", 1), ("a", 0), ("aaaaa", 0), ("a?", 1), (None, 0))]
    found = evaluate_classifier(rows, Lengths(), replicates=0)
    assert found.unscored == {"a question": 1, "there is no text": 1} and found.threshold == 0.3
    assert [found.find(m).value for m in ("accuracy", "recall", "fpr", "auc")] == [0.5, 0.5, 0.5, 0.5]
    assert found.classifier["name"] == "lengths" and found.to_dict()["data"]["unscored"]["a question"] == 1
    assert evaluate_classifier(rows, Lengths(), threshold=0.1, replicates=0).find("recall").value == 1.0


def test_low_scores_can_mean_the_positive_class() -> None:
    rows = [dict(row, good=1 - row["s"]) for row in made()]
    high = evaluate_classifier(rows, columns={"scores": "s"}, threshold=0.25, replicates=0)
    low = evaluate_classifier(rows, columns={"scores": "-good"}, threshold=0.75, replicates=0)
    for metric in ("auc", "recall", "fpr"):
        assert low.find(metric).value == pytest.approx(high.find(metric).value), metric


def test_what_is_undefined_says_why() -> None:
    rows = [{"label": i % 2, "s": 0.1 * (i % 2), "group": "a" if i % 2 else "b"} for i in range(8)]
    found = evaluate_classifier(rows, columns={"scores": "s", "groups": "group"}, replicates=50)
    assert found.find("precision").value is None and found.find("precision").reason == "no such text"
    assert found.find("subgroup_auc", "a").reason == "one class only"
    assert found.find("bias_score").value is None
    assert found.groups[0].tests[2].p is None and found.groups[0].tests[2].adjusted is None
    json.dumps(found.to_dict(), allow_nan=False)


def test_functionalities_have_their_accuracy() -> None:
    rows = made()
    y, s, _ = columns(rows)
    found = evaluate_classifier(rows, columns={"scores": "s"}, replicates=0)
    own = np.arange(len(rows)) % 4 == 2
    positive, figure = found.functionality["f2"]
    assert figure.value == pytest.approx(((s >= 0.5) == y)[own].mean()) and figure.n == own.sum()
    assert positive is bool(y[own].mean() >= 0.5) and figure.ci_method == "wilson"


def test_everything_is_in_the_flat_rows() -> None:
    found = evaluate_classifier(made(), columns={"scores": "s", "groups": "group"}, replicates=50)
    rows = found.flat()
    assert {row["part"] for row in rows} == {"overall", "threshold", "group", "functionality"}
    assert len({tuple(row) for row in rows}) == 1
    (one,) = (r for r in rows if (r["part"], r["name"], r["metric"]) == ("group", "b", "fpr"))
    assert one["p_holm"] == found.groups[1].tests[0].adjusted and one["others"] == found.groups[1].tests[0].others


def test_bad_input() -> None:
    with pytest.raises(UsageError, match="one of them"):
        evaluate_classifier(made(n=10))
    with pytest.raises(UsageError, match="one of them"):
        evaluate_classifier(made(n=10), "wordlist", columns={"scores": "s"})
    with pytest.raises(ScorerError, match="unknown classifier"):
        evaluate_classifier(made(n=10), "profanty")
    with pytest.raises(DataError, match="not of both classes"):
        evaluate_classifier([{"label": 1, "s": None}, {"label": 0, "s": 0.5}], columns={"scores": "s"})
    with pytest.raises(UsageError, match="nothing for metric 'auk'"):
        evaluate_classifier(made(n=50), columns={"scores": "s"}, replicates=0).find("auk")


# The scores are alt-profanity-check 1.9.1's on surge-ai/toxicity@ea80324 and HateCheck@d843022, by class and in file order.
@pytest.mark.parametrize(
    ("name", "auc", "precision", "recall", "f1"),
    [("surge", 0.843, 0.931, 0.481, 0.634), ("hatecheck", 0.468, 0.651, 0.389, 0.487)],
)
def test_the_profanity_classifiers_figures_on_public_sets(
    name: str, auc: float, precision: float, recall: float, f1: float
) -> None:
    scores = json.loads(FIGURES.read_text("utf-8"))[name]
    rows = [{"label": int(kind == "positive"), "s": s} for kind in ("positive", "negative") for s in scores[kind]]
    found = evaluate_classifier(rows, columns={"scores": "s"}, replicates=0)
    wanted = {"auc": auc, "precision": precision, "recall": recall, "f1": f1}
    assert {metric: round(found.find(metric).value or 0, 3) for metric in wanted} == wanted


def test_the_profanity_classifier_on_hatecheck_by_functionality_and_group() -> None:
    path = TOXICITY / "hatecheck_cases.csv"
    if not path.is_file():
        pytest.skip("HateCheck is not beside the checkout")
    data = read_labelled(path)
    scores = {kind: iter(own) for kind, own in json.loads(FIGURES.read_text("utf-8"))["hatecheck"].items()}
    stored = [next(scores["positive" if label else "negative"]) for label in data.positive]
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [dict(row, s=s) for row, s in zip(csv.DictReader(file), stored, strict=True)]
    found = evaluate_classifier(rows, columns={"scores": "s", "groups": "target_ident"}, replicates=100)
    assert len(found.functionality) == 29 and found.n == 3728 and len(found.groups) == 7
    worst = {name: round(figure.value or 0, 3) for name, (_, figure) in found.functionality.items()}
    assert worst["profanity_nh"] == 0.02 and worst["slur_reclaimed_nh"] == 0.099
    assert round(found.find("fpr", "gay people").value or 0, 2) == 0.84
    (gay,) = (row for row in found.groups if row.group == "gay people")
    assert all((test.adjusted or 0) < 0.05 for test in gay.tests if test.metric != "subgroup_auc")


def test_the_profanity_classifier_itself_on_surge() -> None:
    pytest.importorskip("profanity_check", reason="alt-profanity-check is not installed (extra: profanity)")
    path = TOXICITY / "surge_toxicity_en.csv"
    if not path.is_file():
        pytest.skip("the Surge AI set is not beside the checkout")
    found = evaluate_classifier(path, "profanity", replicates=0)
    assert found.find("auc").value == pytest.approx(0.8430, abs=5e-4) and math.isclose(found.threshold, 0.5)
