"""Agreement of several answers to one prompt: by hand, by ROUGE, by embeddings."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scorer_records import estimates, text_record

from evalkit.encoder.base import Tokens
from evalkit.errors import ScorerError
from evalkit.scorers.base import ScorerSpec, ScoringPlan
from evalkit.scorers.neural import embedding
from evalkit.scorers.ngram.rouge import rouge_scores
from evalkit.scorers.registry import build_scorers
from evalkit.scorers.self_consistency import EmbeddingAgreement, self_consistency


def of(*answers, **params):
    scorer = self_consistency(**params)
    (score,) = scorer.score([text_record(list(answers), None)], None)
    return score


def test_agreement_majority_distinct_answers_and_entropy_by_hand():
    score = of("a", "a", "a", "b", "c")
    assert score.stats[:3] == pytest.approx((3 / 10, 3 / 5, 3))
    assert score.stats[3] == pytest.approx(-(0.6 * math.log2(0.6) + 2 * 0.2 * math.log2(0.2)))
    assert score.value == score.stats[0] and score.detail["votes"]["a"] == 3


@pytest.mark.parametrize(
    ("answers", "row"), [(("a", "a"), (1, 1, 1, 0)), (("a", "b"), (0, 0.5, 2, 1)), ("abcd", (0, 0.25, 4, 2))]
)
def test_extremes(answers, row):
    assert of(*answers).stats[:4] == pytest.approx(row)


def test_answers_are_cleaned_and_extracted_as_by_majority_vote():
    assert of("Paris.", " paris", ignore_case=True, ignore_punctuation=True).value == 1.0
    score = of("It is 42", "So 42!", "No idea", "Dunno", pattern=r"\d+")
    assert score.value == pytest.approx(1 / 6)  # those without a number agree with none, each other neither
    assert score.detail["without_match"] == 2 and score.stats[2] == 3
    assert "finds nothing" in self_consistency(pattern=r"\d+").notes(np.array([score.stats]))[0]


def test_no_reference_is_read_and_repeats_of_a_default_filter_are_all_seen():
    record = replace(text_record(["x", "x", "y"], "y"), answer="x")
    (score,) = self_consistency().score([record], None)
    assert score.value == pytest.approx(1 / 3)


def test_one_answer_is_unscored_with_what_to_do():
    for by in ({"by": "exact"}, {"by": "rouge"}):
        score = of("a", **by)
        assert score.stats is None and "set repeats" in score.reason
    (score,) = self_consistency().score([text_record(3, None)], None)
    assert score.stats is None


def test_by_rouge_is_the_mean_over_pairs():
    answers = ["the cat sat on the mat", "the cat lay on the mat", "a dog ran", "the cat sat on the mat"]
    pairs = [(a, b) for i, a in enumerate(answers) for b in answers[i + 1 :]]
    expected = [rouge_scores([a], [[b]], ("rougeL",))[0]["rougeL"].fmeasure for a, b in pairs]
    score = of(*answers, by="rouge")
    assert score.value == pytest.approx(sum(expected) / 6) and score.detail["least_alike"] == 0.0
    assert of("東京", "東京", by="rouge").value == 1.0 == of("...", "...", by="rouge").value


def test_by_embedding_is_the_mean_cosine(monkeypatch):
    vectors = {"a": (1.0, 0.0), "b": (0.0, 1.0), "c": (0.6, 0.8)}

    def embed(self, texts):
        wanted = list(dict.fromkeys(texts))
        return {t: np.array(vectors[t], np.float32) for t in wanted}, {t: Tokens((1,)) for t in wanted}

    monkeypatch.setattr(embedding.EmbeddingSimilarity, "vectors", embed)
    scorer = EmbeddingAgreement("anything")
    scores = scorer.score(
        [text_record(["a", "b", "c"], None), text_record(["a"], None), text_record(["a", "a"], None)], None
    )
    assert scores[0].value == pytest.approx((0.0 + 0.6 + 0.8) / 3, abs=1e-6)
    assert scores[1].stats is None and scores[2].value == 1.0
    assert scorer.score([text_record(["a"], None)], None)[0].stats is None


def test_parameters_that_do_not_belong_together_are_refused():
    for wrong, match in (
        ({"by": "vibes"}, "must be one of exact, rouge, embedding"),
        ({"by": "embedding"}, "needs model"),
        ({"by": "rouge", "model": "x"}, "not by: rouge"),
        ({"by": "rouge", "pattern": "x"}, "are for by: exact"),
        ({"pattern": "("}, "is not a pattern"),
    ):
        with pytest.raises(ScorerError, match=match):
            self_consistency(**wrong)


def test_two_ways_in_one_task_need_labels_and_the_signature_says_which():
    exact, rouge = ScorerSpec("self_consistency"), ScorerSpec("self_consistency", {"by": "rouge"})
    with pytest.raises(ScorerError, match="label"):
        build_scorers(ScoringPlan("generate_until", scorers=(exact, rouge)))
    named = ScorerSpec("self_consistency", {"by": "rouge", "label": "wording"})
    first, second = build_scorers(ScoringPlan("generate_until", scorers=(exact, named)))
    assert "by:exact" in first.signature() and "by:rougeL" in second.signature()
    assert [metric.name for metric in second.metrics] == ["wording"]


def test_values_have_intervals_and_greedy_answers_are_told():
    records = [text_record(["a", "a" if i % 3 else "b"], None, index=i) for i in range(30)]
    found = estimates(self_consistency(), records)
    assert found["self_consistency"].value == pytest.approx(2 / 3) and found["self_consistency"].stderr > 0
    (score,) = self_consistency().score(records[:1], None)
    assert "not drawn at random" in self_consistency().notes(np.array([score.stats]))[0]


@given(st.lists(st.sampled_from("abcd"), min_size=2, max_size=12))
def test_the_numbers_keep_their_bounds(answers):
    agreement, majority, distinct, entropy, *_ = of(*answers).stats
    assert 0 <= agreement <= 1 and 1 / len(answers) <= majority <= 1
    assert distinct == len(set(answers)) and -1e-12 <= entropy <= math.log2(distinct) + 1e-9
