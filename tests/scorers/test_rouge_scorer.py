"""The rouge scorer's options: what is reported, other scripts, references, backends, and what is refused."""

import sys

import numpy as np
import pytest
from scorer_records import rows, text_record, values

from evalkit.errors import ScorerError
from evalkit.scorers.base import ScorerSpec, ScoringPlan
from evalkit.scorers.ngram.rouge import rouge_scores
from evalkit.scorers.ngram.rouge_words import tokenizer
from evalkit.scorers.registry import build_scorer


def scorer(**params):
    return build_scorer(ScorerSpec("rouge", params), ScoringPlan("generate_until"))


RECORD = text_record("the cat sat", "the cat sat on the mat")


def test_precision_and_recall_are_metrics_of_their_own():
    every = scorer(types="rouge1", report="all")
    assert values(every, [RECORD]) == pytest.approx({"rouge1": 2 / 3, "rouge1_precision": 1.0, "rouge1_recall": 0.5})
    assert [metric.headline for metric in every.metrics] == [True, False, False]
    recall = scorer(types=["rouge1", "rougeL", "rouge1"], report="recall")
    assert values(recall, [RECORD]) == {"rouge1_recall": 0.5, "rougeL_recall": 0.5}
    assert all(metric.headline for metric in recall.metrics)


def test_the_signature_names_everything_but_the_backend():
    wanted = (
        "rouge|as:rouge-score 0.1.2|multi_reference:best|report:fmeasure|split_sentences:False|stemmer:False|"
        "tokenizer:default|types:rouge1,rougeL|version:1"
    )
    assert {scorer(backend=backend).signature() for backend in ("auto", "python", "rust", "rouge-score")} == {wanted}
    assert "tokenizer:unicode" in scorer(tokenizer="unicode").signature()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Café-Über 3.5, naïve_x", ["café", "über", "3", "5", "naïve", "x"]),
        ("中文ABC字、テスト", ["中", "文", "abc", "字", "テ", "ス", "ト"]),
        ("コーヒー", ["コー", "ヒー"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("שלום, עולם", ["שלום", "עולם"]),
        ("ＡＢＣ１２", ["abc12"]),
        ("ไทย", ["ไ", "ท", "ย"]),
        ("Straße İ", ["strasse", "i̇"]),
        ("", []),
        ("... 🎉", []),
    ],
)
def test_unicode_words(text, words):
    assert tokenizer("unicode", False)(text) == words


def test_stemming_leaves_other_alphabets_alone():
    assert tokenizer("unicode", True)("running naïvely") == ["run", "naïvely"]


def test_text_without_words_is_counted_and_the_mend_is_named():
    chinese = [text_record("今天天气很好", "今天天气不错", index=0), text_record("", "a"), text_record("a", "a")]
    scores = scorer().score(chinese, None)
    assert scores[0].detail == {"without_words": ["answer", "reference"]}
    assert scores[1].detail == {"without_words": ["answer"]}
    assert scores[2].detail == {}
    detail = scorer().detail(rows(scorer(), chinese))
    assert (detail["answers_without_words"], detail["references_without_words"]) == (2, 1)
    assert "tokenizer: unicode" in detail["hint"]
    unicode = scorer(tokenizer="unicode")
    assert values(unicode, chinese[:1])["rouge1"] == pytest.approx(4 / 6)
    assert "hint" not in unicode.detail(rows(unicode, chinese))
    assert scorer().detail(rows(scorer(), chinese[2:])) == {}


def test_records_answers_and_references():
    several = text_record(["the cat", "dogs"], ("the cat", "a dog"))
    (score,) = scorer(types=["rouge1"]).score([several], None)
    assert score.value == 0.5
    unscored = scorer().score([text_record(None, "a"), text_record("a", None)], None)
    assert [s.stats for s in unscored] == [None, None]
    mean = scorer(types=["rouge1"], multi_reference="mean").score([text_record("the cat", ("the cat", "dogs"))], None)
    assert mean[0].value == 0.5


def test_intervals_come_from_the_rows():
    records = [text_record("a b c"[: 1 + i % 5], "a b c", index=i) for i in range(20)]
    found = scorer(types=["rouge2"])
    stats = rows(found, records)
    assert found.aggregate(stats, np.ones((3, 20)))["rouge2"].shape == (3,)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"types": ["rouge10"]}, "rouge1 to rouge9, rougeL or rougeLsum, not 'rouge10'"),
        ({"types": 1}, "'types' must be a name or a list of names"),
        ({"report": "f1"}, "'report' must be one of fmeasure, precision, recall, all"),
        ({"report": []}, "'report' must be one of"),
        ({"tokenizer": "13a"}, "'tokenizer' must be one of default, unicode"),
        ({"multi_reference": "max"}, "'multi_reference' must be one of best, mean"),
        ({"backend": "c"}, "'backend' must be one of auto, python, rust, rouge-score"),
    ],
)
def test_wrong_options_are_refused(params, message):
    with pytest.raises(ScorerError, match=message):
        scorer(**params)


def test_rust_is_optional(monkeypatch):
    monkeypatch.setitem(sys.modules, "rouge_score_rs", None)
    assert rouge_scores(["a b"], [["a b"]])[0]["rouge1"].fmeasure == 1.0
    with pytest.raises(ScorerError, match=r"backend rust needs the package rouge-score-rs .*evalkit\[rouge\]"):
        scorer(backend="rust").prepare([])
    with pytest.raises(ScorerError, match="backend rust has no tokenizer 'unicode'"):
        scorer(backend="rust", tokenizer="unicode").prepare([])
