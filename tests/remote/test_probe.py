"""The check before a run: what an endpoint can do, and one line where it can do nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from asking import asked, question, remote
from mock_handle import MockServer

import evalkit
from evalkit.errors import ModelError
from evalkit.models.remote import adapter, probe
from evalkit.models.remote.base import Call, Reply


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "_PROBED", {})
    monkeypatch.setattr(probe, "PAUSE_S", 0.05)


def test_it_finds_what_the_server_can_do_and_asks_once(mock: MockServer) -> None:
    model = remote()
    model.connect()
    assert model.capabilities.kinds == {"generate", "loglikelihood", "loglikelihood_rolling"}
    assert model.capabilities.chat
    before = mock.stats()["requests"]
    remote().connect()
    assert mock.stats()["requests"] == before
    assert before <= 3


def test_without_a_probe_nothing_is_asked(mock: MockServer) -> None:
    model = remote(probe="false")
    model.connect()
    assert mock.stats()["requests"] == 0
    assert len(asked(model, [question(0)])) == 1
    assert mock.stats()["requests"] == 1


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"status": 401, "message": "bad key"}, r"refuses the key \(HTTP 401: bad key\)"),
        ({"status": 403, "message": "not for you"}, r"refuses the key \(HTTP 403"),
        ({"status": 404, "message": "no model"}, r"has no model 'gpt' ?; it has mock, mock-2 \(HTTP 404"),
        ({"status": 429, "code": "insufficient_quota", "message": "pay"}, "want of quota"),
        ({"status": 307, "headers": {"location": "https://other/v1"}}, "knows neither|has no model"),
    ],
)
def test_what_would_fail_every_request_is_one_line(mock: MockServer, rule: dict[str, object], why: str) -> None:
    mock.configure(rules=[{"fault": "status", "path": "/chat/completions", **rule}])
    with pytest.raises(ModelError, match=why) as caught:
        remote("openai/gpt").connect()
    assert "\n" not in str(caught.value)
    assert "sk-mock" not in str(caught.value)


def test_a_near_miss_of_a_name_is_told(mock: MockServer) -> None:
    mock.configure(rules=[{"fault": "status", "status": 404, "path": "/chat/completions"}])
    with pytest.raises(ModelError, match=r"has no model 'mock-3' \(did you mean mock-2"):
        remote("openai/mock-3").connect()


def test_nobody_there_is_told() -> None:
    with pytest.raises(ModelError, match=r"http://127\.0\.0\.1:9/v1 does not answer: .*Connection refused"):
        remote(base_url="http://127.0.0.1:9/v1").connect()


def test_an_error_of_another_kind_is_no_reason_to_give_up(mock: MockServer) -> None:
    mock.configure(rules=[{"fault": "status", "status": 400, "message": "too short", "path": "/chat/completions"}])
    remote().connect()


def test_a_server_that_is_loading_its_model_is_waited_for(mock: MockServer) -> None:
    mock.configure(rules=[{"fault": "status", "status": 503, "message": "Loading model", "path": "/chat", "times": 3}])
    remote().connect()
    assert mock.stats()["outcomes"]["503"] == 3


class Canned:
    """A server by its replies: completions as given, anything else is a chat's."""

    def __init__(self, choice: dict[str, Any]) -> None:
        self.choice = choice

    async def send(self, call: Call, timeout: float) -> Reply:
        choice = self.choice if call.path == "/completions" else {"index": 0, "message": {"content": "OK"}}
        return Reply(200, {}, json.dumps({"choices": [choice]}).encode(), 0.0)

    async def get(self, path: str, timeout: float) -> Reply:
        models = [{"id": "m", "max_model_len": 4096}, {"id": "n"}]
        return Reply(200, {}, json.dumps({"data": models}).encode(), 0.0)


LIKE_LLAMACPP = {
    "index": 0,
    "text": " Paris",
    "finish_reason": "length",
    "logprobs": {"tokens": [" Paris"], "token_logprobs": [-0.1], "top_logprobs": [{" Paris": -0.1}], "text_offset": [0]},
}
PROMPT = ["The capital of France", " is the city of", " Paris"]


@pytest.mark.parametrize(
    ("choice", "why"),
    [
        (LIKE_LLAMACPP, "ignores echo"),
        ({"index": 0, "text": "".join(PROMPT) + ".", "logprobs": None}, "no log-probabilities"),
        ({"index": 0}, "a form of its own"),
    ],
)
def test_a_server_that_ignores_echo_cannot_score(choice: dict[str, Any], why: str) -> None:
    found = asyncio.run(probe.probe(Canned(choice), remote(base_url="http://h/v1").endpoints, "m", "http://h/v1"))
    assert found.kinds == {"generate"}
    assert why in found.why_not["loglikelihood"]
    assert found.max_length == 4096


def test_a_server_that_echoes_can_score() -> None:
    tokens = [*PROMPT, "."]
    top = [None, *({token: -0.5} for token in tokens[1:])]
    logprobs = {"tokens": tokens, "token_logprobs": [None, -0.5, -0.5, -0.5], "top_logprobs": top}
    choice = {"index": 0, "text": "".join(tokens), "finish_reason": "length", "logprobs": logprobs}
    found = asyncio.run(probe.probe(Canned(choice), remote(base_url="http://h/v1").endpoints, "m", "http://h/v1"))
    assert found.kinds == {"generate", "loglikelihood", "loglikelihood_rolling"}


def test_a_task_that_cannot_be_had_is_told_with_the_reason(mock: MockServer) -> None:
    mock.configure(rules=[{"fault": "status", "status": 404, "path": "/v1/completions", "message": "chat only"}])
    with pytest.raises(ModelError, match=r"needs loglikelihood requests and openai/mock can only do generate .*chat only"):
        evalkit.run("knowledge", "openai/mock", limit=2, form="loglikelihood", store=False)


def test_a_server_without_completions_cannot_score(mock: MockServer) -> None:
    mock.configure(rules=[{"fault": "status", "status": 404, "path": "/v1/completions", "message": "not a chat model"}])
    model = remote()
    model.connect()
    assert model.capabilities.kinds == {"generate"}
    assert "does not score prompts (HTTP 404: not a chat model)" in model.capabilities.why_not["loglikelihood"]
