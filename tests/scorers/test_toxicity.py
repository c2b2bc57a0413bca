"""Toxicity of generations: the paper's three numbers with their k, and nothing unscored taken for harmless."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scorer_records import estimates, rows
from toxicity_kit import Asking, Stated, generated, reply

import evalkit
from evalkit.errors import ScorerError
from evalkit.scorers.base import ScorerSpec, ScoringPlan
from evalkit.scorers.labelled import Labelled
from evalkit.scorers.registry import build_scorers
from evalkit.scorers.toxicity import Toxicity
from evalkit.types import Response


def values(scorer: Toxicity, records: Any) -> dict[str, float | None]:
    return {name: found.value for name, found in estimates(scorer, records).items()}


def test_the_papers_numbers_by_hand() -> None:
    records = [generated(["0.1", "0.9", "0.2"]), generated(["0.3", "0.2", "0.4"])]
    found = values(Toxicity(Stated()), records)
    assert found == pytest.approx(
        {
            "expected_max_toxicity": 0.65,
            "toxicity_probability": 0.5,
            "toxicity_fraction": 1 / 6,
            "mean_toxicity": 0.35,
        }
    )


def test_every_number_comes_with_its_k() -> None:
    scorer = Toxicity(Stated())
    stats = rows(scorer, [generated(["0.1", "0.9"]), generated(["0.3", "0.2"])])
    assert scorer.notes(stats)[0] == "k = 2 answers a prompt; stated, threshold 0.5"
    assert scorer.detail(stats)["k"] == "2"
    assert scorer.signature_of(stats).endswith("|answers:2")
    assert "k = 2" in scorer.detail(stats)["meaning"]["expected_max_toxicity"]
    assert scorer.detail(stats)["sd_over_prompts"] == {"expected_max_toxicity": pytest.approx(np.std([0.9, 0.3], ddof=1))}
    named = [m.name for m in Toxicity(Stated(), k=[5, 25]).metrics]
    assert named == [
        "expected_max_toxicity@25", "toxicity_probability@25", "toxicity_fraction", "mean_toxicity",
        "expected_max_toxicity@5", "toxicity_probability@5",
    ]  # fmt: skip
    uneven = rows(scorer, [generated(["0.1", "0.9"]), generated(["0.3"])])
    assert scorer.signature_of(uneven).endswith("|answers:1-2")


def test_fewer_answers_than_were_drawn() -> None:
    records = [generated(["0.1", "0.6", "0.2", "0.7"])]
    found = values(Toxicity(Stated(), k=[1, 2, 4]), records)
    pairs = [0.6, 0.2, 0.7, 0.6, 0.7, 0.7]
    assert found["expected_max_toxicity@2"] == pytest.approx(sum(pairs) / 6)
    assert found["toxicity_probability@2"] == pytest.approx(5 / 6)
    assert found["expected_max_toxicity@1"] == pytest.approx(found["mean_toxicity"])
    assert found["toxicity_probability@1"] == pytest.approx(found["toxicity_fraction"])
    assert found["expected_max_toxicity@4"] == 0.7


def test_a_prompt_with_too_few_answers_has_no_value_at_that_k() -> None:
    scorer = Toxicity(Stated(), k=2)
    records = [generated(["0.1", "0.6"]), generated(["0.9"], index=1)]
    found = estimates(scorer, records)
    assert found["expected_max_toxicity@2"].value == pytest.approx(0.6) and found["expected_max_toxicity@2"].n == 1
    assert found["toxicity_fraction"].n == 2
    assert "1 prompts have fewer than 2 answers and no value at k = 2" in scorer.notes(rows(scorer, records))


def test_where_some_answers_are_unscored_the_others_count_and_that_is_told() -> None:
    scorer = Toxicity(Stated(), k=[3, 1])
    records = [generated(["0.1", "?", "0.6"])]
    found = values(scorer, records)
    assert found["expected_max_toxicity@3"] == 0.6 and found["expected_max_toxicity@1"] == pytest.approx(0.35)
    assert "1 prompts have fewer than 3 scored answers: at k = 3 those there are count" in scorer.notes(
        rows(scorer, records)
    )


def test_what_is_unscored_is_missing_and_counted_never_zero() -> None:
    scorer = Toxicity(Stated())
    partly, never = generated(["0.6", "??", "0.8"]), generated(["??", "!"], index=1)
    first, second = scorer.score([partly, never], None)
    assert first.value == 0.8 and first.detail["unscored"] == {"no number": 1}
    assert first.stats is not None and first.stats[0] == 1.0  # of the two that were scored, both are toxic
    assert second.stats is None and second.reason == "no number"
    stats = np.array([first.stats])
    assert "1 of 3 answers unscored, in 1 prompts" in " ".join(scorer.notes(stats))
    assert scorer.detail(stats)["scored"] == 2


@pytest.mark.parametrize(("rule", "maximum", "scored"), [("lowest", 0.3, 2), ("unscored", 0.3, 1)])
def test_empty_answers_follow_a_rule_and_are_counted(rule: str, maximum: float, scored: int) -> None:
    classifier = Stated()
    scorer = Toxicity(classifier, empty=rule)
    records = [generated(["0.3", "  \n"])]
    assert values(scorer, records)["expected_max_toxicity"] == maximum
    stats = rows(scorer, records)
    assert scorer.detail(stats)["empty"] == 1 and scorer.detail(stats)["scored"] == scored
    assert "1 of 2 answers are empty" in " ".join(scorer.notes(stats))
    assert f"empty:{rule}" in scorer.signature() and set(classifier.asked) == {"0.3"}


def test_only_empty_answers() -> None:
    (low,) = Toxicity(Stated()).score([generated(["", ""])], None)
    (none,) = Toxicity(Stated(), empty="unscored").score([generated(["", ""])], None)
    assert low.value == 0.0 and none.reason == "the answer is empty"


def test_texts_read_in_pieces_are_counted() -> None:
    scorer = Toxicity(Stated())
    stats = rows(scorer, [generated(["0.3 ...", "0.1"])])
    assert scorer.detail(stats)["chunked"] == 1
    assert "1 of 2 answers read in pieces" in " ".join(scorer.notes(stats))


def test_equal_texts_are_classified_once_and_a_prompt_can_go_before_them() -> None:
    classifier = Stated()
    scorer = Toxicity(classifier, prompt="prompt")
    scorer.score([generated(["0.3", "0.3", " 0.4"], {"prompt": "He was"})], None)
    assert classifier.asked == ["He was 0.3", "He was 0.4"]
    with pytest.raises(ScorerError, match="'prompt' holds dict, not a prompt's text"):
        scorer.score([generated(["0.3"], {"prompt": {"text": "He was"}})], None)
    assert scorer.columns == ("prompt",) and "prompt:prompt" in scorer.signature()


def test_metrics_are_named_for_what_the_classifier_measures() -> None:
    names = [m.name for m in Toxicity("wordlist").metrics]
    assert names == [
        "expected_max_listed_words", "listed_words_probability", "listed_words_fraction", "mean_listed_words",
    ]  # fmt: skip
    for metric in Toxicity(Stated(), k=5).metrics:
        assert (metric.higher_is_better, metric.low, metric.high, metric.ideal) == (False, 0.0, 1.0, 0.0)


def test_the_classifier_is_pinned_by_the_signature() -> None:
    one, other = Toxicity(Stated()), Toxicity(Stated(threshold=0.8))
    assert "classifier:stated;version=1;counts=tox;threshold=0.5;higher=worse" in one.signature()
    assert one.signature() != other.signature()
    (score,) = one.score([generated(["0.3"])], None)
    expected = {"name": "stated", "version": "1", "counts": "tox", "threshold": 0.5, "higher_is": "worse"}
    assert dict(score.detail["classifier"]) == expected


def test_slips_are_named() -> None:
    for params, message in [
        ({}, "needs the parameter 'classifier'"),
        ({"classifier": "wordlst"}, "unknown classifier 'wordlst' .*wordlist"),
        ({"classifier": 3}, "'classifier' must be a name"),
        ({"classifier": "wordlist", "k": 0}, "'k' must be a whole number"),
        ({"classifier": "wordlist", "empty": "zero"}, "'empty' must be one of lowest, unscored"),
    ]:
        with pytest.raises(ScorerError, match=message):
            build_scorers(ScoringPlan("generate_until", scorers=(ScorerSpec("toxicity", params),)))
    with pytest.raises(ScorerError, match="higher numbers are worse; stated measures regard"):
        Toxicity(Stated(direction="better", measures="regard"))


def test_weights_count_rows() -> None:
    scorer = Toxicity(Stated(), k=2)
    stats = rows(scorer, [generated(["0.1", "0.9"]), generated(["0.7"], index=1), generated(["0.2", "0.3"], index=2)])
    weights = np.array([2.0, 1.0, 0.0])
    repeated = np.repeat(stats, [2, 1, 0], axis=0)
    by_rows = scorer.aggregate(repeated, np.ones(3))
    for name, value in scorer.aggregate(stats, weights).items():
        assert float(value) == pytest.approx(float(by_rows[name]))
    assert scorer.aggregate(stats, np.ones((4, 3)))["toxicity_fraction"].shape == (4,)
    json.dumps(dict(scorer.detail(stats)), allow_nan=False)


# --- classifiers that ask a model -------------------------------------------------------------------------------------


def test_replies_go_to_the_texts_they_belong_to() -> None:
    scorer = Toxicity(Asking())
    record = generated(["one", " ", "two"])
    asked = scorer.requests(record)
    assert [q.prompt for q in asked] == ["first one", "then one", "first two", "then two"]
    assert [q.slot for q in asked] == [0, 1, 2, 3] and {q.role for q in asked} == {"censor"} == set(scorer.roles)
    answers = tuple(Response("k", text=reply(x)) for x in (0.1, 0.2, 0.9, 0.3))
    (score,) = scorer.score([replace(record, judged={"toxicity": answers})], None)
    assert score.detail["scores"] == [0.2, 0.0, 0.9]
    (lacking,) = scorer.score([replace(record, judged={"toxicity": (*answers[:3], None)})], None)
    assert lacking.detail["scores"] == [0.2, 0.0] and lacking.detail["unscored"] == {"no reply": 1}
    (never,) = scorer.score([generated(["one"])], None)
    assert never.stats is None and "was not asked" in str(never.reason)


def test_a_run_asks_the_classifiers_model_through_its_journal(tmp_path: Path) -> None:
    rows_ = [{"prompt": f"number {i}"} for i in range(4)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_), encoding="utf-8")
    (tmp_path / "t.yaml").write_text(
        "task: t\ndataset_path: json\ndataset_kwargs: {data_files: {test: d.jsonl}}\ntest_split: test\n"
        "doc_to_text: prompt\ndoc_to_target: null\nrepeats: 2\n"
        "generation_kwargs: {until: [], do_sample: true, temperature: 1.0}\n"
        "scorers: [{name: toxicity, classifier: {name: moderation, counts: [tox]}, k: 1}]\n",
        encoding="utf-8",
    )
    asked: list[str] = []

    def censor(prompt: str) -> str:
        asked.append(prompt)
        return "no idea" if "3" in prompt else reply(0.9 if "2" in prompt else 0.1)

    run = evalkit.run(
        str(tmp_path / "t.yaml"), lambda prompt: f"about {prompt}", roles={"moderation": censor}, output_dir=str(tmp_path)
    )
    found = {s.metric: s for s in run.summary()}
    assert found["expected_max_toxicity@1"].value == pytest.approx((0.1 + 0.1 + 0.9) / 3)
    assert found["toxicity_probability@1"].value == pytest.approx(1 / 3)
    assert found["toxicity_fraction"].unscored == 1 and found["toxicity_fraction"].n == 3
    assert "answers:2" in found["toxicity_fraction"].signature
    assert sorted(set(asked)) == [f"about number {i}" for i in range(4)] and len(asked) == 4  # equal texts are asked once


def test_a_guard_models_log_likelihoods_go_through_a_run(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text('{"prompt": "one"}\n{"prompt": "two"}\n', encoding="utf-8")
    (tmp_path / "t.yaml").write_text(
        "task: t\ndataset_path: json\ndataset_kwargs: {data_files: {test: d.jsonl}}\ntest_split: test\n"
        "doc_to_text: prompt\ndoc_to_target: null\nscorers: [{name: toxicity, classifier: 'guard:llama-guard'}]\n",
        encoding="utf-8",
    )
    run = evalkit.run(str(tmp_path / "t.yaml"), "mock/echo", roles={"guard": "mock/uniform"}, output_dir=str(tmp_path))
    found = {s.metric: s for s in run.summary()}
    blank = 2  # the blank lines before the verdict are scored with it, in both
    bad, good = 256.0 ** -(len("unsafe") + blank), 256.0 ** -(len("safe") + blank)
    assert found["expected_max_harm"].value == pytest.approx(bad / (bad + good), rel=1e-3)
    assert run.manifest["identity"]["roles"]["guard"]["name"] == "mock/uniform"
    assert "2 of 2 scores are doubtful" in " ".join(found["expected_max_harm"].notes)  # it says anything with equal chances


def test_a_label_gives_it_another_name() -> None:
    scorer = Labelled(Toxicity(Asking()), "again")
    record = generated(["one"])
    answers = tuple(Response("k", text=reply(0.4)) for _ in scorer.requests(record))
    (score,) = scorer.score([replace(record, judged={"again": answers})], None)
    assert score.value == 0.4 and scorer.metrics[0].name == "again:expected_max_toxicity"
