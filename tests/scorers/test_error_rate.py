"""Word and character error rates against jiwer, several references, and what has no rate."""

import random

import numpy as np
import pytest
from scorer_records import estimates, rows, text_record, values

from evalkit.errors import ScorerError
from evalkit.scorers.base import ScorerSpec, ScoringPlan
from evalkit.scorers.ngram import error_rate
from evalkit.scorers.ngram.error_rate import error_rates
from evalkit.scorers.registry import build_scorer

jiwer = pytest.importorskip("jiwer")


def scorer(name, **params):
    return build_scorer(ScorerSpec(name, params), ScoringPlan("generate_until"))


def corpus(n=50):
    rng = random.Random(4)

    def text(least):
        return " ".join(rng.choice(["the", "cat", "Sat", "on.", "mat"]) for _ in range(rng.randint(least, 8)))

    return [text(0) for _ in range(n)], [text(1) for _ in range(n)]


def test_corpus_and_sentence_rates_are_jiwers():
    answers, references = corpus()
    for unit, package in (("word", jiwer.wer), ("character", jiwer.cer)):
        total, each = error_rates(answers, references, unit)
        assert total == pytest.approx(package(references, answers), abs=1e-12)
        assert each == pytest.approx([package(r, a) for a, r in zip(answers, references, strict=True)], abs=1e-12)


def test_records_have_statistics_for_intervals_and_totals_for_the_report():
    answers, references = corpus()
    records = [text_record(a, r, index=i) for i, (a, r) in enumerate(zip(answers, references, strict=True))]
    for name, unit in (("wer", "word"), ("cer", "character")):
        found = scorer(name)
        assert values(found, records)[name] == pytest.approx(error_rates(answers, references, unit)[0])
        estimate = estimates(found, records)[name]
        assert estimate.ci is not None
        assert estimate.ci[0] < estimate.value < estimate.ci[1]
        assert found.metrics[0].higher_is_better is False
    detail = scorer("wer").detail(rows(scorer("wer"), records))
    wanted = jiwer.process_words(references, answers)
    assert detail == {
        "substitutions": wanted.substitutions,
        "deletions": wanted.deletions,
        "insertions": wanted.insertions,
        "length": sum(map(len, wanted.references)),
    }


def test_the_nearest_reference_counts_and_blank_ones_are_left_out():
    (score,) = scorer("wer").score([text_record("a b c", ("x y z w", " ", "a b d"))], None)
    assert score.stats == (1.0, 0.0, 0.0, 3.0)
    assert score.value == pytest.approx(1 / 3)
    (blank,) = scorer("wer").score([text_record("a b c", ("", " \n"))], None)
    assert blank.stats is None
    assert "blank" in blank.reason
    assert error_rates(["a", "b"], ["", ["b"]]) == (0.0, [None, 0.0])
    assert np.isnan(error_rates(["a"], [""])[0])


def test_an_answer_may_be_blank_or_longer_than_its_reference():
    assert error_rates(["", "a b c d"], ["a b", "a"]) == (5 / 3, [1.0, 3.0])


def test_several_answers_count_with_their_mean():
    (score,) = scorer("wer").score([text_record(["a b", "a c"], "a b")], None)
    assert score.stats == (0.5, 0.0, 0.0, 2.0)
    assert score.value == 0.25


def test_options_say_what_does_not_count_and_line_breaks_end_words():
    assert error_rates(["the cat\nSAT, ok"], ["The cat sat ok!"], lowercase=True, remove_punctuation=True)[0] == 0.0
    assert error_rates(["the cat\nSAT, ok"], ["The cat sat ok!"])[0] == 0.75
    signature = scorer("cer", lowercase=True).signature()
    assert "lowercase:True" in signature
    assert "jiwer:" in signature


def test_a_missing_package_and_wrong_shapes_are_named(monkeypatch):
    with pytest.raises(ScorerError, match="2 predictions but 1 references"):
        error_rates(["a", "b"], ["a"])
    with pytest.raises(ScorerError, match="'unit' must be one of word, character"):
        error_rates(["a"], ["a"], "letter")
    monkeypatch.setattr(error_rate, "find_spec", lambda name: None)
    with pytest.raises(ScorerError, match=r"scorer 'wer' needs the package jiwer: pip install 'evalkit\[metrics\]'"):
        scorer("wer")
