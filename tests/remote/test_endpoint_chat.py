"""The chat endpoint: what is sent for a request, and what becomes of every reply a server may give."""

from __future__ import annotations

import math
from typing import Any

import pytest

from evalkit.errors import ModelError
from evalkit.models.remote.base import REASONING, SERVED_BY, TOOL_CALLS, TOP, USAGE
from evalkit.models.remote.chat import ChatEndpoint
from evalkit.models.remote.dialect import Dialect, dialect_of
from evalkit.types import Message, Request, Response, keyed

GREEDY = {"do_sample": False, "temperature": 0.0, "max_gen_toks": 32, "until": ["\n\n"]}


def ask(prompt: Any = "Hi", repeat: int = 0, **params: Any) -> Request:
    return keyed(Request("generate", prompt, params={**GREEDY, **params}, repeat=repeat), "m")


def body(request: Request, dialect: Dialect | None = None) -> dict[str, Any]:
    return dict(ChatEndpoint("m", dialect).call(request).body)


def reply(content: Any = "Hello", finish: Any = "stop", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, **more.pop("message", {})}
    return {"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": finish, **more}]}


def read(given: dict[str, Any], request: Request | None = None, dialect: Dialect | None = None) -> Response:
    return ChatEndpoint("m", dialect).response(request or ask(), given)


# --- what is sent -----------------------------------------------------------------------------------------------------


def test_a_text_prompt_is_one_user_message_and_greedy_is_temperature_zero() -> None:
    assert body(ask("Hi")) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_completion_tokens": 32,
        "temperature": 0,
        "stop": ["\n\n"],
    }


def test_messages_keep_their_roles() -> None:
    prompt = (Message("system", "S"), Message("user", "U"), Message("assistant", "A"), Message("user", "V"))
    assert [m["role"] for m in body(ask(prompt))["messages"]] == ["system", "user", "assistant", "user"]


def test_only_four_stop_strings_are_sent_and_all_cut_the_answer() -> None:
    request = ask(until=["a1", "b2", "c3", "d4", "e5"])
    assert body(request)["stop"] == ["a1", "b2", "c3", "d4"]
    response = read(reply("word e5 rest", "length"), request)
    assert (response.text, response.finish) == ("word ", "stop")


def test_sampling_settings_go_along_only_where_there_is_sampling() -> None:
    sampled = body(ask(do_sample=True, temperature=0.7, top_p=0.9, seed=1))
    assert (sampled["temperature"], sampled["top_p"]) == (0.7, 0.9)
    assert "top_p" not in body(ask(top_p=0.9, top_k=5))


def test_each_repeat_has_a_seed_of_its_own_that_never_changes() -> None:
    seeds = [body(ask(repeat=k, do_sample=True, temperature=1.0, seed=7))["seed"] for k in (0, 1, 0)]
    assert seeds[0] == seeds[2] != seeds[1]
    assert body(ask(seed=7))["seed"] == 7


def test_repeats_share_a_call() -> None:
    requests = [ask(repeat=k, do_sample=True, temperature=1.0) for k in range(3)]
    endpoint = ChatEndpoint("m")
    call = endpoint.batch(requests)
    assert call.body["n"] == 3
    assert call.tokens > 3 * 32
    choices = [{"index": i, "message": {"content": f"a{i}"}, "finish_reason": "stop"} for i in (2, 0, 1)]
    usage = {"prompt_tokens": 10, "completion_tokens": 7}
    found = endpoint.responses(requests, {"choices": choices, "usage": usage})
    assert [r.text for r in found] == ["a0", "a1", "a2"]
    assert [r.key for r in found] == [q.key for q in requests]
    assert (sum(r.tokens or 0 for r in found), sum(r.prompt_tokens or 0 for r in found)) == (7, 10)
    with pytest.raises(ModelError, match="repeats of one prompt"):
        endpoint.batch([ask("a"), ask("b")])


def test_extensions_are_sent_only_where_the_server_takes_them() -> None:
    request = ask(do_sample=True, temperature=1.0, top_k=5)
    with pytest.raises(ModelError, match="-M extensions=true"):
        body(request)
    assert body(request, Dialect(extensions=True))["top_k"] == 5


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"temperatur": 1}, "did you mean temperature"),
        ({"n": 3}, "'repeats'"),
        ({"num_beams": 4}, "beams"),
        ({"penalty_alpha": 1}, "unknown generation setting"),
        ({"tools": "x"}, "list of functions"),
        ({"seed": "x"}, "'seed' must be a whole number"),
        ({"top_logprobs": "many"}, "'top_logprobs' must be a whole number"),
        ({"max_gen_toks": 0}, "'max_gen_toks' must be a whole number of at least 1"),
    ],
)
def test_settings_that_cannot_be_are_one_line(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        body(ask(**params))


def test_reasoning_models_get_no_temperature_and_no_stops_and_the_answer_is_still_cut() -> None:
    dialect = dialect_of("o4-mini", {}, official=True)
    sent = body(ask(reasoning_effort="low"), dialect)
    assert "temperature" not in sent and "stop" not in sent and sent["reasoning_effort"] == "low"
    assert read(reply("one\n\ntwo"), dialect=dialect).text == "one"


@pytest.mark.parametrize(
    ("name", "official", "reasons", "fixed"),
    [
        ("gpt-5", True, True, True),
        ("gpt-5-mini-2025-08-07", True, True, True),
        ("gpt-5-chat-latest", True, False, False),
        ("gpt-4.1", True, False, False),
        ("gpt-3.5-turbo", True, False, False),
        ("o3", False, False, False),
    ],
)
def test_reasoning_models_are_known_by_name_at_openai_only(name: str, official: bool, reasons: bool, fixed: bool) -> None:
    found = dialect_of(name, {}, official=official)
    assert (found.reasons, found.fixed_sampling) == (reasons, fixed)


def test_a_local_reasoning_model_keeps_its_temperature() -> None:
    sent = body(ask(), dialect_of("qwen3", {"reasoning": True}, official=False))
    assert sent["temperature"] == 0 and "stop" not in sent and "max_tokens" in sent


def test_a_begun_answer_is_continued_only_where_the_server_can() -> None:
    prompt = (Message("user", "Q"), Message("assistant", "The answer is"))
    with pytest.raises(ModelError, match="-M prefill=true"):
        body(ask(prompt))
    sent = body(ask(prompt), Dialect(prefill=True))
    assert (sent["continue_final_message"], sent["add_generation_prompt"]) == (True, False)


def test_json_schema_outputs_and_extra_body_pass_through() -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    assert body(ask(response_format=schema))["response_format"] == schema
    assert body(ask(), Dialect(body={"service_tier": "flex", "temperature": 1}))["temperature"] == 1


def test_tools_in_any_form_become_the_apis() -> None:
    bare = {
        "name": "math.area",
        "description": "Area",
        "parameters": {
            "type": "dict",
            "properties": {"r": {"type": "float"}, "xs": {"type": "tuple"}, "y": {"type": "any"}},
        },
    }
    (tool,) = body(ask(tools=[bare], tool_choice="required"))["tools"]
    assert tool["function"]["name"] == "math_area"
    assert tool["function"]["parameters"] == {
        "type": "object",
        "properties": {"r": {"type": "number"}, "xs": {"type": "array", "items": {}}, "y": {}},
    }
    assert body(ask(tools=[tool]))["tools"] == [tool]
    assert not {"tools", "tool_choice"} & body(ask(tools=[], tool_choice="auto")).keys()


def test_log_likelihoods_are_not_for_chat() -> None:
    with pytest.raises(ModelError, match="completions endpoint"):
        body(Request("loglikelihood", "a", "b"))


# --- what comes back --------------------------------------------------------------------------------------------------


def test_an_answer_with_its_usage() -> None:
    usage = {
        "prompt_tokens": 12,
        "completion_tokens": 40,
        "prompt_tokens_details": {"cached_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 30},
    }
    response = read({**reply("Hello"), "usage": usage, "model": "m-2025"})
    assert (response.text, response.finish, response.prompt_tokens, response.tokens) == ("Hello", "stop", 12, 40)
    assert response.extra == {USAGE: {"cached_tokens": 8, "reasoning_tokens": 30}, SERVED_BY: "m-2025"}


@pytest.mark.parametrize(
    ("content", "message", "finish", "text", "reasoning"),
    [
        ("A", {"reasoning_content": "think"}, "stop", "A", "think"),
        ("A", {"reasoning": "think"}, "stop", "A", "think"),
        ("<think>\nwell\n\nso</think>\n\nA", {}, "stop", "A", "well\n\nso"),
        ("well</think>A", {}, "stop", "A", "well"),
        ("<think>endless", {}, "length", "", "endless"),
        (None, {"reasoning_content": "endless"}, "length", "", "endless"),
    ],
)
def test_reasoning_is_kept_apart(content: Any, message: dict[str, Any], finish: str, text: str, reasoning: str) -> None:
    response = read(reply(content, finish, message=message))
    assert response.error is None
    assert (response.text, response.extra[REASONING], response.finish) == (text, reasoning, finish)


def test_a_length_stop_is_said() -> None:
    assert read(reply("cut off", "length")).finish == "length"
    assert read(reply("text", "eos_token")).finish == "stop"


def test_refusals_and_content_filters_are_statuses_of_their_own() -> None:
    filtered = read(reply("", "content_filter"))
    refused = read({**reply(None, message={"refusal": "I can't help."}), "usage": {"completion_tokens": 5}})
    assert filtered.error is not None and (filtered.error.kind, filtered.error.retryable) == ("content-filter", False)
    assert refused.error is not None and (refused.error.kind, refused.error.retryable) == ("refusal", False)
    assert (refused.text, refused.tokens) == (None, 5)


def test_tool_calls_stay_data() -> None:
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
        {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "not json"}},
        {"id": "c3", "type": "function", "function": {"name": "h", "arguments": ""}},
    ]
    response = read(reply(None, "tool_calls", message={"tool_calls": calls}))
    assert response.text == "" and response.finish == "stop"
    assert response.extra[TOOL_CALLS] == [
        {"name": "f", "arguments": {"a": 1}, "id": "c1"},
        {"name": "g", "arguments": "not json", "id": "c2"},
        {"name": "h", "arguments": {}, "id": "c3"},
    ]


def logprobs(*tokens: tuple[str, dict[str, float]]) -> dict[str, Any]:
    return {"content": [{"token": t, "logprob": -0.1, "top_logprobs": [{"token": k, "logprob": v} for k, v in top.items()]}
                        for t, top in tokens]}  # fmt: skip


def test_the_likeliest_first_tokens_are_those_of_the_answer() -> None:
    request = ask(logprobs=True, top_logprobs=5)
    assert body(request)["logprobs"] is True and body(request)["top_logprobs"] == 5
    given = reply("\nB", logprobs=logprobs(("\n", {"\n": -0.1}), ("B", {"B": -0.2, "A": -2.0, "C": -math.inf})))
    assert read(given, request).extra[TOP] == {"B": -0.2, "A": -2.0}
    tokens = logprobs(("hm", {"hm": -1.0}), ("</think>", {"</think>": 0.0}), ("A", {"A": -0.5}))
    assert read(reply("hm</think>A", logprobs=tokens), request).extra[TOP] == {"A": -0.5}
    error = read(reply("B"), request).error
    assert error is not None and error.kind == "no-logprobs"
    nan = read(reply("B", logprobs=logprobs(("B", {"B": math.nan}))), request).error
    assert nan is not None and nan.kind == "bad-reply"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"choices": None},
        {"choices": []},
        {"choices": ["x"]},
        {"choices": [{"index": "0"}]},
        {"choices": [{"index": 1, "message": {"content": "a"}}]},
        {"choices": [{"index": 0, "message": {"content": "a"}}, {"index": 0, "message": {"content": "b"}}]},
        {"choices": [{"index": 0, "message": None, "finish_reason": "stop"}]},
        {"error": {"message": "overloaded"}, "choices": []},
        reply(None),
        reply(17),
        reply([{"type": "text", "text": 3}]),
        reply("a", "abort"),
        reply("a", 3),
        reply(None, "tool_calls", message={"tool_calls": [{"function": {"arguments": "{}"}}]}),
        reply(None, "tool_calls", message={"tool_calls": "x"}),
    ],
)
def test_a_reply_that_lacks_what_was_asked_for_is_a_failure(given: dict[str, Any]) -> None:
    response = read(given)
    assert response.error is not None and response.text is None
    assert (response.error.kind, response.error.retryable) == ("bad-reply", True)


def test_one_broken_choice_spoils_no_other() -> None:
    requests = [ask(repeat=k, do_sample=True, temperature=1.0) for k in range(3)]
    choices = [{"index": i, "message": {"content": f"a{i}"}, "finish_reason": "stop"} for i in (0, 1, 1)]
    found = ChatEndpoint("m").responses(requests, {"choices": choices})
    assert [r.text for r in found] == ["a0", None, None]
    assert ["twice" in str(r.error) or "missing" in str(r.error) for r in found] == [False, True, True]


def test_content_in_parts_is_joined_and_a_usage_that_cannot_be_read_does_no_harm() -> None:
    given = {**reply([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), "usage": {"prompt_tokens": "x"}}
    response = read(given)
    assert (response.text, response.prompt_tokens, response.error) == ("ab", None, None)
