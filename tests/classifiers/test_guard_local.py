"""Guard models in this process: what the engine answers is what the network says of both verdict words."""

from __future__ import annotations

import json
import runpy
import threading
from pathlib import Path
from typing import Any

import pytest

from evalkit.classifiers.base import Classifier, Verdict, classifier
from evalkit.models.registry import load_model
from evalkit.types import Request, Response, keyed

torch = pytest.importorskip("torch", reason="needs the extra 'hf'")
pytest.importorskip("transformers", reason="needs the extra 'hf'")
TINY: dict[str, Any] = runpy.run_path(str(Path(__file__).resolve().parents[1] / "tiny_llama.py"))
TEMPLATE = (
    "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}[verdict]{% endif %}"
)


@pytest.fixture(scope="module")
def network() -> tuple[Any, Any]:
    tokenizer = TINY["byte_tokenizer"]()
    tokenizer.chat_template = TEMPLATE
    return TINY["llama"](tokenizer, max_position_embeddings=2048).eval(), tokenizer


def judged(guard: Classifier, text: str, network: tuple[Any, Any]) -> Verdict:
    model = load_model(network)
    waiting = [keyed(request, model.fingerprint) for request in guard.requests(text)]
    answers: dict[str, Response] = {}

    class Source:
        def take(self, limit: int) -> list[Request]:
            taken = waiting[:limit]
            del waiting[:limit]
            return taken

    order = [request.key for request in waiting]
    model.run(Source(), lambda response: answers.__setitem__(response.key, response), threading.Event())
    return guard.read([answers[key] for key in order])


def probability(network: tuple[Any, Any], prompt: str, word: str) -> float:
    module, tokenizer = network
    ids = tokenizer(prompt)["input_ids"]
    after = tokenizer(prompt + word)["input_ids"]
    with torch.no_grad():
        logs = torch.log_softmax(module(torch.tensor([after])).logits[0].double(), dim=-1)
    return float(torch.exp(sum(logs[i - 1, after[i]] for i in range(len(ids), len(after)))))


@pytest.mark.parametrize(
    ("spec", "bad", "good"),
    [
        ({"name": "guard:llama-guard", "policies": ["S10"]}, "unsafe", "safe"),
        ({"name": "guard:granite-guardian", "policies": ["harm"]}, "Yes", "No"),
        ({"name": "guard:shieldgemma", "policies": ["hate"]}, "Yes", "No"),
    ],
)
def test_a_prompt_written_out(spec: dict[str, Any], bad: str, good: str, network: tuple[Any, Any]) -> None:
    guard = classifier(spec)
    prompt = str(guard.requests("You are all worthless.")[0].prompt)
    p, q = (probability(network, prompt, word) for word in (bad, good))
    verdict = judged(guard, "You are all worthless.", network)
    assert guard.value(verdict) == pytest.approx(p / (p + q), rel=1e-4)
    assert verdict.doubt is not None  # random weights say anything


def test_the_checkpoints_own_template(network: tuple[Any, Any]) -> None:
    guard = classifier({"name": "guard:llama-guard", "ask": "template"})
    p, q = (probability(network, "[user]You are all worthless.[verdict]", word) for word in ("unsafe", "safe"))
    verdict = judged(guard, "You are all worthless.", network)
    assert guard.value(verdict) == pytest.approx(p / (p + q), rel=1e-4)


def test_a_text_that_does_not_fit_is_unscored(network: tuple[Any, Any]) -> None:
    guard = classifier({"name": "guard:llama-guard", "ask": "template", "characters": 5000})
    verdict = judged(guard, "word " * 600, network)
    assert guard.value(verdict) is None and "did not fit" in str(verdict.reason)
    smaller = classifier({"name": "guard:llama-guard", "ask": "template", "characters": 1500})
    found = judged(smaller, "word " * 600, network)
    assert found.chunks == 3 and smaller.value(found) is not None


def test_signatures_hold_json() -> None:
    for form in ("llama-guard", "shieldgemma", "granite-guardian"):
        json.dumps(dict(classifier(f"guard:{form}").describe()), allow_nan=False)
