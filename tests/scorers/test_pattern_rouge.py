"""Answers against patterns in the data, and ROUGE against numbers of the rouge-score package."""

import numpy as np
import pytest

from evalkit.errors import ScorerError
from evalkit.scorers.base import ScorerSpec, ScoringPlan
from evalkit.scorers.ngram.rouge import rouge
from evalkit.scorers.pattern import matches_pattern
from evalkit.scorers.registry import build_scorers
from evalkit.types import Record, Sample


def record(answer, target="", **doc) -> Record:
    return Record(Sample("t", "s", 0, doc, target=target), answer=answer)


@pytest.mark.parametrize(
    ("answer", "pattern", "value"),
    [
        ("  PARIS\n", r"[A-Z]+", 1.0),
        ("PARIS is it", r"[A-Z]+", 0.0),
        ("a\nb", r"a.b", 1.0),
        ("red, blue", [r".*red.*", r"(?!.*green).*"], 1.0),
        ("red, green", [r".*red.*", r"(?!.*green).*"], 0.0),
        (["YES", "no"], r"[A-Z]+", 0.5),
    ],
)
def test_the_whole_answer_must_match(answer, pattern, value):
    scorer = matches_pattern()
    assert scorer.score([record(answer, pattern=pattern)], None)[0].value == value


def test_case_and_column_are_parameters():
    scorer = matches_pattern(column="check", ignore_case=True)
    assert scorer.score([record("Paris", check="PARIS")], None)[0].value == 1.0
    assert scorer.signature() == "matches_pattern|column:check|ignore_case:True|version:1"
    with pytest.raises(ScorerError, match="'column' must name a column"):
        matches_pattern(column="")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (record("x"), "column 'pattern' holds no pattern"),
        (record("x", pattern="("), "holds a broken pattern: missing"),
        (record(None, pattern="x"), "gave NoneType, not text"),
    ],
)
def test_what_cannot_be_checked_is_unscored(given, reason):
    score = matches_pattern().score([given], None)[0]
    assert score.stats is None
    assert reason in score.reason


def test_rouge_is_the_packages_fmeasure():
    scorer = rouge(types=["rouge1", "rouge2", "rougeL"])
    records = [
        record("the cat sat on the mat", target="a cat was on the mat"),
        record("dogs bark", target=("cats purr", "dogs bark loudly")),
        record("", target="something"),
    ]
    scores = scorer.score(records, scorer.prepare(records))
    assert scores[0].stats[:3] == pytest.approx((4 / 6, 2 / 5, 4 / 6))
    assert scores[1].stats[:3] == pytest.approx((0.8, 2 * (1 * 0.5) / 1.5, 0.8))
    assert scores[2].stats[:3] == (0.0, 0.0, 0.0)
    stats = np.array([score.stats for score in scores])
    values = scorer.aggregate(stats, np.ones(3))
    assert values["rouge1"] == pytest.approx((4 / 6 + 0.8) / 3)
    assert "types:rouge1,rouge2,rougeL" in scorer.signature()


def test_rouge_refuses_unknown_types():
    with pytest.raises(ScorerError, match="not 'rouge0'"):
        rouge(types=["rouge0"])
    with pytest.raises(ScorerError, match="not nothing"):
        rouge(types=[])


def test_both_are_known_by_name():
    plan = ScoringPlan("generate_until", scorers=(ScorerSpec("rouge", {"types": ["rouge2"]}), ScorerSpec("matches_pattern")))
    assert [m.name for scorer in build_scorers(plan) for m in scorer.metrics] == ["rouge2", "matches_pattern"]
