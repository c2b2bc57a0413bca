"""The responses endpoint: what is sent for a request, and what becomes of every reply a server may give."""

from __future__ import annotations

from typing import Any

import pytest

from evalkit.errors import ModelError
from evalkit.models.remote.base import REASONING, TOOL_CALLS, TOP, USAGE
from evalkit.models.remote.dialect import Dialect
from evalkit.models.remote.responses import ResponsesEndpoint
from evalkit.types import Message, Request, Response

GREEDY = {"do_sample": False, "temperature": 0.0, "max_gen_toks": 32, "until": ["\n\n"]}


def ask(prompt: Any = "Hi", **params: Any) -> Request:
    return Request("generate", prompt, params={**GREEDY, **params}, key="k")


def body(request: Request, dialect: Dialect | None = None) -> dict[str, Any]:
    return dict(ResponsesEndpoint("m", dialect).call(request).body)


def message(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": list(parts)}


def said(text: str, **more: Any) -> dict[str, Any]:
    return message({"type": "output_text", "text": text, **more})


def read(*output: dict[str, Any], request: Request | None = None, **more: Any) -> Response:
    return ResponsesEndpoint("m").response(request or ask(), {"status": "completed", "output": list(output), **more})


def test_system_messages_are_instructions_and_nothing_is_stored() -> None:
    prompt = (Message("system", "S"), Message("user", "U"), Message("assistant", "A"), Message("user", "V"))
    assert body(ask(prompt)) == {
        "model": "m",
        "instructions": "S",
        "input": [{"role": "user", "content": "U"}, {"role": "assistant", "content": "A"}, {"role": "user", "content": "V"}],
        "max_output_tokens": 32,
        "store": False,
        "temperature": 0,
    }
    assert body(ask(max_gen_toks=4))["max_output_tokens"] == 16


def test_settings_take_this_apis_form() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {}, "strict": True}}
    choice = {"type": "function", "function": {"name": "f"}}
    sent = body(ask(tools=[tool], tool_choice=choice, response_format=schema, reasoning_effort="low", top_logprobs=5))
    assert sent["tools"] == [{"type": "function", **tool["function"]}]
    assert sent["tool_choice"] == {"type": "function", "name": "f"}
    assert sent["text"] == {"format": {"type": "json_schema", "name": "a", "schema": {}, "strict": True}}
    assert sent["reasoning"] == {"effort": "low"}
    assert (sent["top_logprobs"], sent["include"]) == (5, ["message.output_text.logprobs"])
    assert body(ask(), Dialect(body={"reasoning_effort": "high"}))["reasoning"] == {"effort": "high"}


def test_what_the_api_has_not_is_refused() -> None:
    with pytest.raises(ModelError, match="frequency_penalty"):
        body(ask(frequency_penalty=1.0))
    with pytest.raises(ModelError, match="gen_prefix"):
        body(ask((Message("user", "Q"), Message("assistant", "The"))))
    with pytest.raises(ModelError, match="completions endpoint"):
        body(Request("loglikelihood", "a", "b"))


def test_reasoning_items_are_kept_apart_and_usage_counted() -> None:
    usage = {
        "input_tokens": 9,
        "output_tokens": 30,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens_details": {"reasoning_tokens": 20},
    }
    reasoning = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "so"}]}
    response = read(reasoning, said("one\n\ntwo"), usage=usage)
    assert (response.text, response.finish, response.prompt_tokens, response.tokens) == ("one", "stop", 9, 30)
    assert response.extra == {REASONING: "so", USAGE: {"cached_tokens": 4, "reasoning_tokens": 20}}
    plain = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
    assert read(plain, said("A")).extra[REASONING] == "hm"


def test_calls_stay_data() -> None:
    response = read({"type": "function_call", "name": "f", "arguments": '{"a": 1}', "call_id": "c"})
    assert response.text == "" and response.extra[TOOL_CALLS] == [{"name": "f", "arguments": {"a": 1}, "id": "c"}]


def test_top_logprobs() -> None:
    tokens = [
        {"token": "B", "logprob": -0.1, "top_logprobs": [{"token": "B", "logprob": -0.1}, {"token": "A", "logprob": -3.0}]}
    ]
    response = read(said("B", logprobs=tokens), request=ask(top_logprobs=2))
    assert response.extra[TOP] == {"B": -0.1, "A": -3.0}


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content-filter"),
        ({"status": "incomplete", "incomplete_details": None}, "bad-reply"),
        ({"status": "failed", "error": {"message": "server_error"}}, "bad-reply"),
        ({"status": "queued"}, "bad-reply"),
        ({"output": None}, "bad-reply"),
        ({"output": []}, "bad-reply"),
        ({"output": ["x"]}, "bad-reply"),
        ({"output": [said(None)]}, "bad-reply"),  # type: ignore[arg-type]
        ({"output": [message({"type": "refusal", "refusal": "no"})]}, "refusal"),
    ],
)
def test_no_answer_is_a_failure(more: dict[str, Any], kind: str) -> None:
    response = read(said("x"), **more)
    assert response.error is not None and response.text is None
    assert response.error.kind == kind


def test_an_answer_cut_off_by_the_limit_says_so() -> None:
    incomplete = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    assert (read(said("cut"), **incomplete).text, read(said("cut"), **incomplete).finish) == ("cut", "length")
    only_thoughts = read({"type": "reasoning", "summary": []}, **incomplete)
    assert (only_thoughts.text, only_thoughts.finish, only_thoughts.error) == ("", "length", None)
