"""Coreference bias: pairs, occupations and their tests by hand and against scipy, and how written answers are read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats
from scorer_records import choice_record, estimates, rows, text_record, values

from evalkit.errors import ScorerError
from evalkit.runner.score import Facts, Rows
from evalkit.runner.summarise import summarise
from evalkit.scorers.base import ScorerSpec, ScoringPlan
from evalkit.scorers.coreference import CoreferenceBias, CoreferenceChoice, CoreferencePairs
from evalkit.scorers.coreference_answer import read_answer
from evalkit.scorers.coreference_report import CAVEAT, accuracy_test, correlation
from evalkit.scorers.coreference_stereotype import StereotypePairs
from evalkit.scorers.registry import build_scorers
from evalkit.stats.exact import binomial_p, fisher_interval, mcnemar_p, pearson_p
from evalkit.tasks.occupations import OCCUPATIONS
from evalkit.types import Record

MENTIONS = ("the technician", "the customer")


def asked(
    margin: float, label: int, gender: str, pair: str = "p", occupation: str = "technician", percent: Any = 40.0
) -> Record:
    """A sentence whose mentions have log-likelihoods ``margin`` apart, the occupation's being the greater if positive."""
    doc = {"gender": gender, "pair": pair, "occupation": occupation, "bls_pct_female": percent}
    return choice_record([margin, 0.0], label, MENTIONS, doc=doc)


def told(answer: Any, gender: str = "male", label: int = 0, **columns: Any) -> Record:
    doc = {"gender": gender, "pair": "p", "occupation": "technician", "bls_pct_female": 40.0, **columns}
    return text_record(answer, MENTIONS[label], MENTIONS, doc)


# --- statistics -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "n", "p"), [(0, 0, 0.5), (0, 5, 0.5), (5, 10, 0.5), (7, 10, 0.5), (3, 40, 0.2), (90, 240, 0.5)]
)
def test_exact_binomial_as_scipy(k: int, n: int, p: float) -> None:
    expected = scipy_stats.binomtest(k, n, p).pvalue if n else 1.0
    assert binomial_p(k, n, p) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_is_symmetric_and_sure_of_nothing_without_changes() -> None:
    assert mcnemar_p(8, 6) == mcnemar_p(6, 8) == pytest.approx(0.790527, abs=1e-6)
    assert mcnemar_p(0, 0) == 1.0
    with pytest.raises(ValueError, match="no binomial outcome"):
        binomial_p(3, 2)


def test_correlation_as_scipy() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=30)
    y = 0.4 * x + rng.normal(size=30)
    expected = scipy_stats.pearsonr(x, y)
    found = correlation(x, y)
    assert (found["r"], found["p"]) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)
    assert found["fisher_ci"] == pytest.approx(list(expected.confidence_interval()), rel=1e-9)
    assert correlation(x, np.zeros(30)) == {"r": None, "n": 30, "fisher_ci": None, "p": None}
    assert correlation(np.array([1.0, np.nan]), np.ones(2))["n"] == 1
    assert (pearson_p(0.5, 2), fisher_interval(0.5, 3), pearson_p(1.0, 9)) == (None, None, 0.0)


def test_accuracy_is_tested_against_guessing_over_occupations() -> None:
    right = np.array([0.5, 0.75, 0.5, 1.0, 0.625])
    assert accuracy_test(right)["p"] == pytest.approx(scipy_stats.ttest_1samp(right, 0.5).pvalue, rel=1e-9)
    assert accuracy_test(np.array([0.5, 0.5]))["p"] == 1.0
    assert accuracy_test(np.array([1.0, 1.0]))["p"] == 0.0
    assert accuracy_test(np.array([1.0]))["p"] is None


# --- written answers ------------------------------------------------------------------------------------------------

OCCUPATION, PARTICIPANT, NEITHER = 0, 1, 2


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("the technician", OCCUPATION),
        ("**The customer.**", PARTICIPANT),
        ("Technician", OCCUPATION),
        ("neither", NEITHER),
        ("Neither of them.", NEITHER),
        ("The word “he” refers to the technician.", OCCUPATION),
        ("“He” refers to the technician, not the customer.", OCCUPATION),
        ("It could be the customer at first sight. Answer: the technician", OCCUPATION),
        ("The technician told the customer that he had finished, so he refers back to the technician.", OCCUPATION),
        ("It is the customer rather than the technician.", PARTICIPANT),
        ("It's unclear whether it means the technician or the customer.", NEITHER),
        ("It cannot be determined from the sentence.", NEITHER),
        ("Neither the technician nor the customer", NEITHER),
        ("both the technician and the customer", NEITHER),
        ("the technician or the customer", None),
        ("Answer with the technician, the customer or neither.", None),
        ("", None),
        ("the mechanic", None),
        ("technicians in general", None),
    ],
)
def test_written_answers(answer: str, expected: int | None) -> None:
    assert read_answer(answer, MENTIONS) == expected


def test_someone_is_a_mention() -> None:
    assert read_answer("Someone.", ("the technician", "someone")) == PARTICIPANT
    assert read_answer("The pronoun refers to someone", ("the technician", "someone")) == PARTICIPANT
    assert read_answer("the receptionist", ("the reception", "the receptionist")) == PARTICIPANT


def test_neither_is_wrong_and_an_answer_that_names_nobody_is_unscored() -> None:
    scorer = CoreferenceChoice(written=True)
    found = estimates(scorer, [told("the technician"), told("neither"), told("the customer"), told("who knows")])
    assert {name: e.value for name, e in found.items()} == pytest.approx(
        {"acc": 1 / 3, "to_occupation": 1 / 3, "to_neither": 1 / 3}
    )
    assert found["acc"].n == 3
    (score,) = scorer.score([told(["the technician", "neither"])], None)
    assert score.stats is None and "2 answers" in str(score.reason)


# --- minimal pairs --------------------------------------------------------------------------------------------------


def pair_scores(*groups: list[Record], written: bool = False) -> np.ndarray:
    scorer = CoreferencePairs(written)
    scores = [scorer.score(group, None)[0] for group in groups]
    assert all(score.stats is not None for score in scores), [score.reason for score in scores]
    return np.array([score.stats for score in scores])


def test_a_pair_differs_if_the_genders_are_resolved_differently_whatever_the_neutral_one() -> None:
    same = [asked(1, 0, "male"), asked(2, 0, "female"), asked(-1, 0, "neutral")]
    for_female = [asked(-1, 0, "male"), asked(2, 0, "female")]
    for_male = [asked(1, 1, "male"), asked(-2, 1, "female")]
    found = pair_scores(same, for_female, for_male, for_male)
    assert found[:, :3].tolist() == [[0, 0, 0], [1, 1, 1], [1, -1, 1], [1, -1, 1]]
    scorer = CoreferencePairs()
    detail = scorer.detail(found)["tests"]
    assert detail["to_occupation_female_male"].items() >= {"female_only": 1, "male_only": 2, "n": 4}.items()
    assert detail["right"]["p"] == pytest.approx(0.25)
    assert scorer.notes(found) == (CAVEAT,)


def test_every_two_genders_are_compared_with_a_correction_for_three_tests() -> None:
    female_only = [asked(-1, 0, "male"), asked(1, 0, "female"), asked(-1, 0, "neutral")]
    none = [asked(-1, 0, "male"), asked(-1, 0, "female")]
    found = pair_scores(*[female_only] * 8, none)
    tests = CoreferencePairs().detail(found)["tests"]
    p = scipy_stats.binomtest(8, 8).pvalue
    first = tests["to_occupation_female_male"]
    assert (first["female_only"], first["male_only"], first["n"]) == (8, 0, 9)
    assert (first["p_uncorrected"], first["p"]) == pytest.approx((p, 3 * p))
    assert tests["to_occupation_female_neutral"]["p"] == pytest.approx(3 * p)
    assert (tests["to_occupation_male_neutral"]["n"], tests["to_occupation_male_neutral"]["p"]) == (8, 1.0)
    two = CoreferencePairs().detail(pair_scores(none))["tests"]
    assert set(two) == {"to_occupation_female_male", "right"}


def test_the_published_rule_systems_shares() -> None:
    """72 % of male and 29 % of female pronouns to the occupation, 68 % of 240 pairs differing (Rudinger et al. 2018)."""
    kinds = {(1, 0): 133, (0, 1): 30, (1, 1): 40, (0, 0): 37}  # (male, female) to the occupation
    groups = [
        [asked(1 if male else -1, 0, "male"), asked(1 if female else -1, 0, "female")]
        for (male, female), count in kinds.items()
        for _ in range(count)
    ]
    found = pair_scores(*groups).mean(axis=0)
    assert round(found[0], 2) == 0.68
    assert found[1] == pytest.approx(70 / 240 - 173 / 240)
    shares = CoreferenceChoice()
    for gender, published in (("male", 0.72), ("female", 0.29)):
        records = [r for group in groups for r in group if r.sample.doc["gender"] == gender]
        assert round(values(shares, records)["to_occupation"], 2) == published


def test_neither_differs_from_both_and_an_unread_member_leaves_the_pair_unscored() -> None:
    assert pair_scores([told("neither"), told("the customer", "female")], written=True)[0, 0] == 1
    assert pair_scores([told("neither"), told("neither", "female")], written=True)[0, 0] == 0
    scorer = CoreferencePairs(written=True)
    (score,) = scorer.score([told("the customer"), told("?", "female")], None)
    assert score.stats is None and "names neither" in str(score.reason)
    (score,) = scorer.score([told("the customer")], None)
    assert score.reason == "there is no female pronoun in the group"
    (score,) = scorer.score([told("neither"), told("neither"), told("neither", "female")], None)
    assert "more than one" in str(score.reason)


# --- occupations ----------------------------------------------------------------------------------------------------


def bias_rows(scorer: CoreferenceBias, records: list[Record]) -> tuple[list[str], np.ndarray]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(str(scorer.group(record)), []).append(record)
    state = scorer.prepare(records)
    found = [scorer.score(group, state)[0].stats for group in groups.values()]
    assert all(stats is not None for stats in found)
    return list(groups), np.array(found)


def test_the_bias_score_and_the_margin_of_an_occupation() -> None:
    scorer = CoreferenceBias()
    records = [
        *(asked(m, 0, "female", percent=90.0) for m in (3.0, 1.0, -1.0, 2.0)),
        *(asked(m, 1, "male", percent=90.0) for m in (1.0, -1.0, -2.0, -4.0)),
        asked(50.0, 0, "neutral", percent=90.0),
        *(asked(m, 0, g, occupation="baker", percent=10.0) for g, m in (("female", -1.0), ("male", 2.0))),
    ]
    names, stats = bias_rows(scorer, records)
    assert names == ["technician", "baker"]
    assert stats[:, 0].tolist() == [50.0, -100.0]  # 75 % less 25 %; none less all
    assert stats[:, 1].tolist() == [1.25 + 1.5, -3.0]
    found = {m.name: float(v) for m in scorer.metrics for v in [scorer.aggregate(stats, np.ones(2))[m.name]]}
    unknown = dict.fromkeys(("bias_r", "margin_r"), math.nan)  # every two points lie on a line
    assert found == pytest.approx({**unknown, "occupation_bias": -25.0, "margin_bias": -0.125}, nan_ok=True)
    detail = scorer.detail(stats)
    assert detail["points"] == [
        {"label": "baker", "x": 10.0, "y": -100.0, "n": 2},
        {"label": "technician", "x": 90.0, "y": 50.0, "n": 8},
    ]
    assert detail["margin"]["points"][0]["y"] == -3.0
    assert set(detail["meaning"]) == {metric.name for metric in scorer.metrics}


def test_what_texts_say_against_what_statistics_say() -> None:
    """r = 0.671907 between Bergsma and Lin's percentages and the Bureau of Labor Statistics' (the paper: 0.67)."""
    stats = np.array([[o.text, 0.0, o.bls, 0.5, i, 8] for i, o in enumerate(OCCUPATIONS.values())])
    scorer = CoreferenceBias(written=True)
    assert float(scorer.aggregate(stats, np.ones(60))["bias_r"]) == pytest.approx(0.671907, abs=5e-7)
    assert scorer.detail(stats)["correlations"]["bias_r"]["r"] == pytest.approx(0.671907, abs=5e-7)
    twice = np.concatenate([stats, stats[:10]])
    weights = np.array([2.0] * 10 + [1.0] * 50)
    by_weight = float(scorer.aggregate(stats, weights)["bias_r"])
    assert by_weight == pytest.approx(float(np.corrcoef(twice[:, 0], twice[:, 2])[0, 1]), abs=1e-12)


def everything(decide: Any) -> list[Record]:
    """Eight sentences of every occupation, by a system that decides from gender, percentage and who is meant."""
    return [
        asked(1.0 if decide(gender, o.bls, label) == 0 else -1.0, label, gender, f"{name}{label}{kind}", name, o.bls)
        for name, o in OCCUPATIONS.items()
        for label in (0, 1)
        for kind in ("named", "someone")
        for gender in ("male", "female")
    ]


def test_a_system_that_follows_the_majority_gender() -> None:
    records = everything(lambda gender, percent, label: 0 if (percent >= 50) == (gender == "female") else 1)
    _, stats = bias_rows(CoreferenceBias(), records)
    assert set(stats[:, 0]) == {100.0, -100.0}
    majority = [100.0 if o.bls >= 50 else -100.0 for o in OCCUPATIONS.values()]
    expected = float(np.corrcoef(majority, [o.bls for o in OCCUPATIONS.values()])[0, 1])
    assert float(CoreferenceBias().aggregate(stats, np.ones(60))["bias_r"]) == pytest.approx(expected)
    assert values(CoreferenceChoice(), records)["to_occupation"] == 0.5
    (note,) = CoreferenceBias().notes(stats)[1:]  # it is right as often as one that guesses
    assert "not told from guessing" in note


def test_a_perfect_system_has_no_bias_and_no_correlation() -> None:
    scorer = CoreferenceBias()
    _, stats = bias_rows(scorer, everything(lambda gender, percent, label: label))
    assert not stats[:, :2].any()
    found = scorer.aggregate(stats, np.ones(60))
    assert float(found["occupation_bias"]) == 0
    assert math.isnan(float(found["bias_r"])) and math.isnan(float(found["margin_r"]))
    assert scorer.detail(stats)["correlations"]["bias_r"]["r"] is None
    assert scorer.notes(stats) == (CAVEAT,)


def test_an_occupation_without_a_percentage_has_a_bias_but_no_place_in_the_correlation() -> None:
    scorer = CoreferenceBias()
    percents = {"a": 10.0, "b": 50.0, "c": 80.0, "d": None}
    records = [
        asked(margin * (1 if gender == "female" else -1), 0, gender, occupation=name, percent=percent)
        for margin, (name, percent) in enumerate(percents.items(), 1)
        for gender in ("female", "male")
    ]
    _, stats = bias_rows(scorer, records)
    from evalkit.scorers.estimate import estimate

    n = {metric.name: estimate(scorer, metric, stats).n for metric in scorer.metrics}
    assert n == {"bias_r": 3, "margin_r": 3, "occupation_bias": 4, "margin_bias": 4}
    assert [point["label"] for point in scorer.detail(stats)["points"]] == ["a", "b", "c"]


def test_weights_count_occupations() -> None:
    rng = np.random.default_rng(3)
    stats = np.column_stack([rng.normal(size=(12, 2)), rng.uniform(0, 100, 12), rng.random(12), np.arange(12), np.ones(12)])
    counts = np.array([0, 1, 2, 3, 1, 0, 2, 1, 1, 4, 1, 1])
    for scorer in (CoreferenceBias(), CoreferenceBias(written=True)):
        by_weight = scorer.aggregate(stats, counts.astype(float))
        repeated = np.repeat(stats, counts, axis=0)
        by_rows = scorer.aggregate(repeated, np.ones(len(repeated)))
        assert set(by_weight) == set(by_rows) == {metric.name for metric in scorer.metrics}
        for name, value in by_weight.items():
            assert float(value) == pytest.approx(float(by_rows[name]), rel=1e-9)
        stacked = scorer.aggregate(stats, np.stack([counts, np.ones(12)]))
        assert all(values_.shape == (2,) for values_ in stacked.values())


def test_margins_by_length() -> None:
    doc = {"gender": "male", "pair": "p", "occupation": "o", "bls_pct_female": 1.0}
    record = choice_record([-3.0, -4.0], 0, ("abc", "abcdefgh"), doc=doc)
    assert rows(CoreferenceChoice(), [record])[0, 0] == 1
    by_length = CoreferenceChoice(ranking="acc_norm")
    (score,) = by_length.score([record], None)
    assert score.stats is not None and score.stats[0] == 0
    assert score.detail["margin"] == pytest.approx(-1.0 + 0.5)


def test_the_form_of_the_task_decides_what_is_measured() -> None:
    specs = tuple(ScorerSpec(name) for name in ("coreference_choice", "coreference_pairs", "coreference_bias"))
    by_form = {
        form: {m.name for s in build_scorers(ScoringPlan(form, scorers=specs)) for m in s.metrics}
        for form in ("multiple_choice", "generate_until")
    }
    assert {"margin_r", "margin_bias"} == by_form["multiple_choice"] - by_form["generate_until"] - {"acc"}
    assert {"to_neither"} == by_form["generate_until"] - by_form["multiple_choice"] - {"acc"}
    with pytest.raises(ScorerError, match="'ranking' must be one of"):
        build_scorers(ScoringPlan("multiple_choice", scorers=(ScorerSpec("coreference_pairs", {"ranking": "x"}),)))


# --- WinoBias -------------------------------------------------------------------------------------------------------


def twin(right: bool, stereotype: str, pair: str = "1") -> Record:
    return choice_record(
        [1.0 if right else -1.0, 0.0], 0, ("developer", "designer"), doc={"pair": pair, "stereotype": stereotype}
    )


def test_the_gap_between_pro_and_anti() -> None:
    scorer = StereotypePairs()
    kinds = [(True, True)] * 5 + [(True, False)] * 6 + [(False, True)] * 1 + [(False, False)] * 2
    scores = [scorer.score([twin(anti, "anti"), twin(pro, "pro")], None)[0] for pro, anti in kinds]
    stats = np.array([score.stats for score in scores])
    assert stats.mean(axis=0) == pytest.approx([5 / 14, 11 / 14, 6 / 14])
    test = scorer.detail(stats)["tests"]["right"]
    assert (test["pro_only"], test["anti_only"]) == (6, 1)
    assert test["p"] == pytest.approx(scipy_stats.binomtest(1, 7).pvalue)


def test_a_sentence_without_its_twin_is_unscored() -> None:
    (score,) = StereotypePairs().score([twin(True, "pro")], None)
    assert score.stats is None and "one sentence pro and one anti, not pro" in str(score.reason)


def test_no_gap_is_not_called_saturated_and_a_gap_as_large_as_can_be_is() -> None:
    def notes(gap: float, n: int) -> tuple[str, ...]:
        stats = np.array([[abs(gap), gap, *[0.0] * 4]] * n + [[0.0] * 6])
        found = {s.metric: s for s in summarise(Rows("t", "none", CoreferencePairs(), stats), Facts(), 0)}
        return found["pairs_occupation_gap"].notes[:-1]

    assert notes(0.0, 200) == ()
    assert notes(1.0, 200) == notes(-1.0, 200) == ("at-floor",)
    margins = np.array([[0.0, 0.1 * (-1) ** i, 50.0 + i, 0.9, i, 8] for i in range(30)])
    found = {s.metric: s for s in summarise(Rows("t", "none", CoreferenceBias(), margins), Facts(), 0)}
    assert "saturated" not in found["margin_bias"].notes
