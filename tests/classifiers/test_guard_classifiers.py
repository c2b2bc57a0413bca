"""Guard models: the probability of the verdict word, over local models or remote ones."""

from __future__ import annotations

import math

import pytest

from evalkit.classifiers.base import classifier
from evalkit.models.remote.base import TOP
from evalkit.types import Failure, Message, Response


def answered(*probabilities: float, truncated: int = 0) -> list[Response]:
    return [Response("k", logprob=math.log(p), is_greedy=False, tokens=1, truncated=truncated) for p in probabilities]


def test_llama_guard_is_asked_for_both_verdicts_over_all_categories() -> None:
    guard = classifier("guard:llama-guard")
    bad, good = guard.requests("You are all worthless.")
    assert (bad.continuation, good.continuation) == ("unsafe", "safe")
    assert bad.prompt == good.prompt and bad.kind == "loglikelihood" and bad.role == "guard"
    assert isinstance(bad.prompt, str)
    for mark in ("<BEGIN UNSAFE CONTENT CATEGORIES>", "S10: Hate.", "<BEGIN CONVERSATION>\n\nAgent: You are all worthless."):
        assert mark in bad.prompt
    assert bad.prompt.endswith("<|start_header_id|>assistant<|end_header_id|>\n\n")
    verdict = guard.read(answered(0.3, 0.6))
    assert guard.value(verdict) == pytest.approx(1 / 3)
    assert verdict.detail["mass"] == pytest.approx(0.9)


def test_only_the_categories_that_are_named_are_asked_about() -> None:
    guard = classifier({"name": "guard:llama-guard", "policies": ["S10"], "speaker": "user"})
    prompt = str(guard.requests("x")[0].prompt)
    assert "S10: Hate." in prompt and "S1: " not in prompt and "\n\nUser: x\n" in prompt
    assert "policies=S10" in guard.signature() and "speaker=user" in guard.signature()


@pytest.mark.parametrize(
    ("form", "labels"), [("shieldgemma", ("hate", "harassment")), ("granite-guardian", ("harm", "social_bias"))]
)
def test_one_call_a_policy_and_the_highest_counts(form: str, labels: tuple[str, ...]) -> None:
    guard = classifier(f"guard:{form}")
    assert guard.labels == labels
    asked = guard.requests("text")
    assert [q.continuation for q in asked] == ["Yes", "No", "Yes", "No"]
    assert asked[0].prompt != asked[2].prompt
    verdict = guard.read(answered(0.2, 0.8, 0.9, 0.1))
    assert dict(verdict.scores) == pytest.approx(dict(zip(labels, (0.2, 0.9), strict=True)))
    assert guard.value(verdict) == pytest.approx(0.9)


def test_pieces_of_a_long_text_are_judged_each() -> None:
    guard = classifier({"name": "guard:llama-guard", "characters": 100})
    assert len(guard.requests("word " * 30)) == 4
    verdict = guard.read(answered(0.1, 0.9, 0.8, 0.2))
    assert (guard.value(verdict), verdict.chunks) == (pytest.approx(0.8), 2)


def test_a_model_that_says_neither_word_is_told_of() -> None:
    guard = classifier("guard:llama-guard")
    assert "something else" in str(guard.read(answered(0.01, 0.02)).doubt)
    assert guard.read(answered(0.3, 0.6)).doubt is None
    nothing = [Response("k", logprob=-math.inf), Response("k", logprob=-math.inf)]
    assert "likely answer" in str(guard.read(nothing).reason)


def test_what_was_cut_or_failed_is_missing() -> None:
    guard = classifier("guard:llama-guard")
    assert "did not fit" in str(guard.read(answered(0.5, 0.5, truncated=3)).reason)
    assert "failed: time-out" in str(guard.read([Response("k", error=Failure("time-out", "")), *answered(0.1)]).reason)
    assert guard.value(guard.read([None, None])) is None


def test_a_checkpoints_own_template() -> None:
    guard = classifier({"name": "guard:llama-guard", "ask": "template"})
    bad, good = guard.requests("text")
    assert bad.prompt == (Message("user", "text"),) and bad.kind == good.kind == "loglikelihood"


def test_first_token_of_a_chat_endpoint() -> None:
    guard = classifier({"name": "guard:granite-guardian", "ask": "chat"})
    (request,) = guard.requests("text")
    assert request.kind == "generate" and request.params["top_logprobs"] == 20
    top = {" Yes": math.log(0.5), "yes": math.log(0.1), "No": math.log(0.2), "Maybe": math.log(0.2)}
    verdict = guard.read([Response("k", text="Yes", extra={TOP: top})])
    assert guard.value(verdict) == pytest.approx(0.6 / 0.8)
    assert guard.value(guard.read([Response("k", text="Yes")])) is None
