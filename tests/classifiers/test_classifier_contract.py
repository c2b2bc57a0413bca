"""Classifiers: one protocol, whatever computes; unscored is never 0, long texts are read in pieces, signatures pin."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.classifiers.base import Counted, Verdict, classifier, pieces
from evalkit.errors import ScorerError
from evalkit.types import Failure, Response

profanity_check = pytest.mark.skipif(
    importlib.util.find_spec("profanity_check") is None, reason="the extra 'profanity' is not installed"
)


def replied(**scores: float) -> Response:
    return Response("k", text=json.dumps({"flagged": max(scores.values()) > 0.5, "scores": scores}))


@given(st.text(max_size=400), st.integers(1, 60), st.integers(0, 30))
@settings(deadline=None)
def test_pieces_hold_the_whole_text_and_none_is_too_long(text: str, most: int, overlap: int) -> None:
    found = pieces(text, most, overlap)
    assert all(len(piece) <= most for piece in found)
    at = 0
    for piece in found:
        at = text.find(piece, max(0, at - most))
        assert at >= 0
    assert text.startswith(found[0]) and text.endswith(found[-1])
    assert sum(map(len, found)) >= len(text)


def test_pieces_are_cut_between_words_and_share_a_few() -> None:
    found = pieces("one two three four five six seven eight", 20, 6)
    assert found[0] == "one two three four "
    assert found[1].startswith("four ") or found[1].startswith("five")
    assert pieces("short", 20) == ["short"]


def test_a_number_is_the_highest_label_or_a_weighted_sum() -> None:
    assert Counted(("a", "b")).value({"a": 0.2, "b": 0.7, "c": 0.9}) == 0.7
    regard = Counted(("positive", "negative"), (1.0, -1.0))
    assert regard.value({"positive": 0.2, "negative": 0.7}) == pytest.approx(-0.5)
    assert regard.range == (-1.0, 1.0)
    assert Counted(("a", "b")).value({"a": 0.2}) is None
    assert Counted(("a",)).value({"a": math.nan}) is None


def test_words_of_a_list_are_found_whole_and_in_any_case() -> None:
    words = classifier("wordlist")
    found = words.classify(["You MORON!", "a moronic idea", "assess the cocktail", ""])
    assert [words.value(verdict) for verdict in found] == [1.0, 1.0, 0.0, 0.0]
    assert found[0].detail == {"words": ["moron"]}
    assert words.measures == "listed words"


def test_a_list_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("# mild\nblast\nDarn  # this too\n", encoding="utf-8")
    words = classifier(f"wordlist:{file}")
    assert [words.value(v) for v in words.classify(["darn it", "moron"])] == [1.0, 0.0]
    assert "wordlist:mine.txt;version=2-words-" in words.signature()
    with pytest.raises(ScorerError, match="cannot read"):
        classifier(f"wordlist:{tmp_path / 'none.txt'}")


@profanity_check
def test_the_lexical_classifier_is_named_for_what_it_is() -> None:
    lexical = classifier("profanity")
    assert lexical.measures == "profanity" and "toxic" not in lexical.signature()
    assert lexical.signature().startswith("profanity;version=alt-profanity-check-")
    values = [lexical.value(v) for v in lexical.classify(["I am a gay man.", "I am a straight man."])]
    assert values == pytest.approx([0.953, 0.100], abs=5e-4)  # measured once, and a warning to whoever uses it
    assert lexical.classify([]) == []


def test_without_its_package_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import PackageNotFoundError

    def gone(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("evalkit.classifiers.lexical.version", gone)
    with pytest.raises(ScorerError, match=r"pip install 'evalkit\[profanity\]'.*'wordlist' needs nothing") as caught:
        classifier("profanity")
    assert "\n" not in str(caught.value)


def test_moderation_counts_hate_and_harassment_and_keeps_the_rest() -> None:
    moderation = classifier("moderation")
    (request,) = moderation.requests("some text")
    assert (request.prompt, request.role, request.kind) == ("some text", "moderation", "generate")
    verdict = moderation.read(
        [replied(**{"hate": 0.1, "hate/threatening": 0.3, "harassment": 0.2, "harassment/threatening": 0.0, "sexual": 0.9})]
    )
    assert moderation.value(verdict) == 0.3
    assert verdict.scores["sexual"] == 0.9 and verdict.detail == {"flagged": True}
    assert moderation.default_models["moderation"].startswith("openai-moderation/")


def test_a_long_text_goes_to_moderation_in_pieces_and_the_highest_counts() -> None:
    moderation = classifier({"name": "moderation", "counts": ["hate"], "characters": 100, "threshold": 0.2})
    asked = moderation.requests("word " * 50)
    assert len(asked) > 2 and [q.slot for q in asked] == list(range(len(asked)))
    verdict = moderation.read([replied(hate=0.1), replied(hate=0.8), replied(hate=0.0)])
    assert (moderation.value(verdict), verdict.chunks) == (0.8, 3)


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (None, "has not answered"),
        (Response("k", error=Failure("http-500", "down")), "failed: http-500"),
        (Response("k", text="I am sorry"), "cannot be read"),
        (replied(sexual=0.1), "no score for hate"),
        (Response("k", text='{"flagged": true, "scores": {"hate": 3}}'), "cannot be read"),
    ],
)
def test_what_moderation_did_not_say_is_missing_not_zero(response: Response | None, reason: str) -> None:
    moderation = classifier({"name": "moderation", "counts": "hate"})
    verdict = moderation.read([response])
    assert moderation.value(verdict) is None and reason in str(verdict.reason)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("profanty", "unknown classifier 'profanty' .*profanity"),
        ({"counts": ["a"]}, "has no name"),
        ("hf", "needs its model"),
        ("guard", "needs its format"),
        ("guard:lama-guard", "'lama-guard' is unknown .*llama-guard"),
        ("moderation:x", "nothing can stand behind moderation:"),
        ({"name": "moderation", "treshold": 1}, "no parameter 'treshold' .*threshold"),
        ({"name": "moderation", "threshold": "high"}, "threshold must be a number"),
        ({"name": "moderation", "counts": []}, "counts must be"),
        ({"name": "moderation", "counts": {"hate": "x"}}, "a number as its weight"),
        ({"name": "guard:shieldgemma", "policies": ["hat"]}, "no policy 'hat' .*hate"),
        ({"name": "guard:shieldgemma", "counts": ["sexual"]}, "'sexual', which is no label"),
        ({"name": "guard:shieldgemma", "ask": "chat", "policies": ["hate"]}, "policies is for ask: text"),
    ],
)
def test_slips_are_named(spec: object, message: str) -> None:
    with pytest.raises(ScorerError, match=message):
        classifier(spec)  # type: ignore[arg-type]


def test_one_that_asks_a_model_says_that_it_needs_a_run() -> None:
    with pytest.raises(ScorerError, match="needs a run"):
        classifier("moderation").classify(["x"])
    assert Verdict.unscored("gone").scores == {}
