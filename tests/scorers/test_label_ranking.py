"""AUC from label probabilities, and error rates by group, against scikit-learn, scipy and counts by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats as scipy_stats
from scorer_records import choice_record, estimates, rows, text_record, values
from sklearn import metrics as sk

from evalkit.errors import ScorerError
from evalkit.scorers.base import ScorerSpec, ScoringPlan
from evalkit.scorers.label_ranking import SubgroupErrorRates, label_auc, label_average_precision
from evalkit.scorers.registry import build_scorers
from evalkit.types import Record

LABELS = ("non-toxic", "toxic")


def drawn(n: int = 200, seed: int = 0) -> list[Record]:
    """Toxic or not, with log-likelihoods that lean towards toxic for group b."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        gold, group = int(rng.random() < 0.4), ["a", "b", "c", ""][i % 4]
        lean = rng.normal(1.2 * gold - 0.6 + 0.9 * (group == "b"))
        made.append(choice_record([-3.0, -3.0 + lean], gold, LABELS, doc={"who": group, "pair": i // 4}, index=i))
    return made


def columns(records: list[Record]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    lls = np.array([record.results for record in records])[:, :, 0]
    p = np.exp(lls[:, 1]) / np.exp(lls).sum(axis=1)
    gold = np.array([record.sample.target for record in records])
    return p, gold == 1, np.array([record.sample.doc["who"] for record in records])


def test_auc_and_average_precision_rank_the_positive_labels_probability() -> None:
    records = drawn()
    p, gold, _ = columns(records)
    assert values(label_auc(), records)["auc"] == pytest.approx(sk.roc_auc_score(gold, p))
    assert values(label_average_precision(), records)["average_precision"] == pytest.approx(
        sk.average_precision_score(gold, p)
    )
    found = estimates(label_auc(), records)["auc"]
    assert found.ci is not None and found.ci_method == "bootstrap" and found.n == 200
    assert found.ci[0] < found.value < found.ci[1]  # type: ignore[operator]


def test_the_other_label_can_be_the_positive_one() -> None:
    records = drawn()
    p, gold, _ = columns(records)
    other = label_average_precision(positive="non-toxic")
    assert values(other, records)["average_precision"] == pytest.approx(sk.average_precision_score(~gold, 1 - p))
    assert values(label_auc(positive="non-toxic"), records)["auc"] == pytest.approx(values(label_auc(), records)["auc"])
    assert "positive:non-toxic" in other.signature()


def test_probabilities_may_be_taken_per_character() -> None:
    records = [choice_record([-9.0, -8.0 - i], i % 2, LABELS, index=i) for i in range(6)]
    scores = [-8.0 / 5 - i / 5 + 1 for i in range(6)]
    gold = [i % 2 for i in range(6)]
    assert values(label_auc(per="character"), records)["auc"] == pytest.approx(sk.roc_auc_score(gold, scores))
    assert label_auc(per="character").score(records[:1], None)[0].value == pytest.approx(1 / (1 + math.exp(-1 + 8 / 5)))


def test_one_of_several_labels_against_the_rest() -> None:
    records = [choice_record([-1.0 - i % 3, -2.0, -1.5 * (i % 2) - 1], i % 3, ("x", "y", "z"), index=i) for i in range(12)]
    p = [math.exp(r.results[2][0]) / sum(math.exp(ll) for ll, _ in r.results) for r in records]
    assert values(label_auc(positive="z"), records)["auc"] == pytest.approx(
        sk.roc_auc_score([i % 3 == 2 for i in range(12)], p)
    )
    (score,) = label_auc().score(records[:1], None)
    assert score.stats is None and "needs 'positive'" in str(score.reason)
    (score,) = label_auc(positive="zz").score(records[:1], None)
    assert "'zz' is not among the choices (did you mean z?)" in str(score.reason)


def test_one_class_has_no_auc_and_chance_is_known() -> None:
    records = [record for record in drawn() if record.sample.target == 1]
    assert estimates(label_auc(), records)["auc"].value is None
    assert label_auc().notes(rows(label_auc(), records)) == ("all of the samples have the positive label: nothing to rank",)
    assert label_auc().notes(rows(label_auc(), drawn())) == ()
    assert label_auc().score(records[:1], None)[0].chance == 0.5
    chances = [score.chance for score in label_average_precision().score(drawn(), None)]
    assert np.mean(chances) == pytest.approx(np.mean([r.sample.target for r in drawn()]))  # type: ignore[arg-type]


def counted(records: list[Record], group: str) -> tuple[float, float]:
    p, gold, who = columns(records)
    given = p > 0.5
    own = who == group
    return float(given[own & ~gold].mean()), float((~given)[own & gold].mean())


def test_error_rates_and_gaps_are_those_of_the_counts() -> None:
    records = drawn()
    p, gold, _ = columns(records)
    found = values(SubgroupErrorRates(group="who"), records)
    assert found["fpr"] == pytest.approx((p > 0.5)[~gold].mean()) and found["fnr"] == pytest.approx((p <= 0.5)[gold].mean())
    rates = [counted(records, group) for group in "abc"]
    for column, name in enumerate(("fpr_gap", "fnr_gap")):
        own = [rate[column] for rate in rates]
        assert found[name] == pytest.approx(max(own) - min(own))
    for name, figure in estimates(SubgroupErrorRates(group="who"), records).items():
        assert figure.ci is not None and figure.n == 200, name


def test_each_group_has_its_rate_interval_n_and_a_corrected_test() -> None:
    records = drawn(600)
    p, gold, who = columns(records)
    scorer = SubgroupErrorRates(group="who")
    stats = rows(scorer, records)
    panel = scorer.detail(stats)["fpr"]
    assert isinstance(panel, dict) and panel["ideal"] == 0.0 and "Fisher" in panel["test"] and "3 groups" in panel["test"]
    assert [group["label"] for group in panel["groups"]] == ["a", "b", "c"]  # samples without a group are no group
    b = panel["groups"][1]
    assert b["value"] == pytest.approx(counted(records, "b")[0]) and b["n"] == int((~gold[who == "b"]).sum())
    assert b["ci"][0] < b["value"] < b["ci"][1]
    given, own = p > 0.5, who == "b"
    table = [[int(given[m & ~gold].sum()), int((~given)[m & ~gold].sum())] for m in (own, ~own)]
    assert b["p"] == pytest.approx(scipy_stats.fisher_exact(table).pvalue)
    assert b["p_holm"] == pytest.approx(min(1, 3 * min(group["p"] for group in panel["groups"])))
    assert "extremes of 3 groups" in scorer.notes(stats)[0]
    json.dumps(scorer.detail(stats), allow_nan=False)


def test_samples_of_one_template_are_tested_together() -> None:
    records = [record for record in drawn(400) for _ in range(3)]
    alone, together = (SubgroupErrorRates(group="who", cluster=column) for column in (None, "pair"))
    plain, clustered = (scorer.detail(rows(scorer, records))["fpr"]["groups"][1] for scorer in (alone, together))
    assert clustered["p"] > plain["p"] and clustered["value"] == plain["value"]
    assert clustered["ci"][1] - clustered["ci"][0] > 1.3 * (plain["ci"][1] - plain["ci"][0])
    assert together.columns == ("who", "pair")


def test_written_answers_count_and_what_names_no_label_is_unscored() -> None:
    texts = [("toxic", "toxic"), ("Non-toxic.", "toxic"), ("toxic", "non-toxic"), ("who knows", "toxic")]
    records = [text_record(a, t, LABELS, {"who": "ab"[i % 2]}, index=i) for i, (a, t) in enumerate(texts)]
    scorer = SubgroupErrorRates(group="who", positive="toxic")
    scores = scorer.score(records, scorer.prepare(records))
    assert [score.stats is None for score in scores] == [False, False, False, True]
    assert values(scorer, records)["fnr"] == 0.5 and values(scorer, records)["fpr"] == 1.0


def test_weights_count_samples() -> None:
    records = drawn(40)
    counts = np.random.default_rng(3).integers(0, 4, 40)
    for scorer in (label_auc(), label_average_precision(), SubgroupErrorRates(group="who")):
        stats = rows(scorer, records)
        weighted = scorer.aggregate(stats, np.stack([counts, np.ones(40)]).astype(float))
        repeated = np.repeat(stats, counts, axis=0)
        for name, value in scorer.aggregate(repeated, np.ones(len(repeated))).items():
            assert weighted[name].shape == (2,) and float(weighted[name][0]) == pytest.approx(float(value)), name


def test_a_group_with_one_class_or_none_at_all() -> None:
    records = [choice_record([-1.0, -2.0], 1, LABELS, doc={"who": "a" if i else None}, index=i) for i in range(4)]
    scorer = SubgroupErrorRates(group="who")
    stats = rows(scorer, records)
    found = scorer.aggregate(stats, np.ones(4))
    assert float(found["fnr"]) == 1 and math.isnan(float(found["fpr"])) and math.isnan(float(found["fnr_gap"]))
    assert scorer.notes(stats) == ("1 group: nothing to compare",)
    json.dumps(scorer.detail(stats), allow_nan=False)


def test_bad_parameters_name_the_nearest() -> None:
    with pytest.raises(ScorerError, match=r"'toxc' is not among the labels .did you mean toxic"):
        SubgroupErrorRates(group="who", positive="toxc").prepare(drawn(8))
    with pytest.raises(ScorerError, match="this task has 3 labels"):
        SubgroupErrorRates(group="who").prepare([choice_record([-1.0] * 3, 0, ("a", "b", "c"))])
    with pytest.raises(ScorerError, match="needs the parameter 'group'"):
        build_scorers(ScoringPlan("multiple_choice", scorers=(ScorerSpec("subgroup_error_rates"),)))


def test_a_first_sample_alone_does_not_stop_a_run() -> None:
    record = text_record("toxic", "non-toxic", None, {"who": "a"})
    scorer = SubgroupErrorRates(group="who", positive="toxic")
    (score,) = scorer.score([record], scorer.prepare([record]))
    assert score.stats is not None and score.stats[:2] == (0.0, 1.0)
    plain = SubgroupErrorRates(group="who")
    assert plain.score([record], plain.prepare([record]))[0].stats is None
    same = text_record("toxic", "toxic", None, {"who": "a"})
    assert "needs 'positive'" in str(plain.score([same], plain.prepare([same]))[0].reason)
