"""Whatever a server replies, a request ends in one state: an answer or a failure, never an exception and never both."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.models.remote.chat import ChatEndpoint
from evalkit.models.remote.completions import CompletionsEndpoint
from evalkit.models.remote.dialect import Dialect
from evalkit.models.remote.responses import ResponsesEndpoint
from evalkit.types import Request, Response

PARAMS = {"do_sample": False, "max_gen_toks": 8, "until": ["\n"], "top_logprobs": 3}
GENERATE = Request("generate", "Hi", params=PARAMS, key="k")
SCORE = Request("loglikelihood", "the cat", " sat", key="k")
ROLL = Request("loglikelihood_rolling", "", "the cat", key="k")

_TOP = [{"token": "B", "logprob": -0.5}, {"token": "A", "logprob": -1.0}]
_CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
_USAGE = {"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 1}}
_MESSAGE = {"role": "assistant", "content": "B", "reasoning_content": "hm", "refusal": None, "tool_calls": [_CALL]}
CHAT = {
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": _MESSAGE,
            "logprobs": {"content": [{"token": "B", "logprob": -0.5, "top_logprobs": _TOP}]},
            "finish_reason": "stop",
        }
    ],
    "usage": _USAGE,
}
_PART = {"type": "output_text", "text": "B", "logprobs": [{"token": "B", "logprob": -0.5, "top_logprobs": _TOP}]}
RESPONSES = {
    "model": "m",
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "output": [
        {"type": "reasoning", "summary": [{"text": "hm"}]},
        {"type": "message", "content": [_PART]},
        {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"},
    ],
    "usage": {"input_tokens": 3, "output_tokens": 1},
}
_LISTS = {
    "tokens": ["the", " cat", " sat", "!"],
    "token_logprobs": [None, -1.0, -2.0, -3.0],
    "top_logprobs": [None, {" cat": -1.0}, {" sat": -2.0}, {"!": -3.0}],
    "text_offset": [0, 3, 7, 11],
}
ECHO = {"choices": [{"index": 0, "text": "the cat sat!", "finish_reason": "length", "logprobs": _LISTS}], "usage": _USAGE}
PROMPT = {
    "choices": [
        {
            "index": 0,
            "text": "!",
            "prompt_logprobs": [None, {"5": {"logprob": -1.0, "decoded_token": " cat"}}, {"6": {"logprob": -2.0}}],
        }
    ]
}
CASES = {
    "chat": (ChatEndpoint("m"), GENERATE, CHAT),
    "responses": (ResponsesEndpoint("m"), GENERATE, RESPONSES),
    "completions": (CompletionsEndpoint("m"), GENERATE, ECHO),
    "echo": (CompletionsEndpoint("m"), SCORE, ECHO),
    "rolling": (CompletionsEndpoint("m"), ROLL, ECHO),
    "prompt_logprobs": (CompletionsEndpoint("m", Dialect(scoring="prompt_logprobs")), SCORE, PROMPT),
}
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 5),
    st.sampled_from([math.nan, math.inf, -math.inf, 0.5, 1e308, -9999.0]),
    st.sampled_from(["", "x", "length", "content_filter", "</think>", "\ufffd", "the cat"]),
    st.just([]),
    st.just({}),
    st.just([None]),
    st.just({"a": 1}),
)


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(path for key, item in items for path in paths(item, (*here, key)))]


def changed(body: Any, path: tuple[Any, ...], drop: bool, odd: Any) -> Any:
    found = copy.deepcopy(body)
    place = found
    for key in path[:-1]:
        place = place[key]
    if drop:
        del place[path[-1]]
    else:
        place[path[-1]] = odd
    return found


def one_state(response: Response, kind: str) -> None:
    answered = response.text if kind == "generate" else response.logprob
    assert (answered is None) == (response.error is not None)
    json.dumps(dict(response.extra), allow_nan=False)
    assert response.logprob is None or math.isfinite(response.logprob)


@pytest.mark.parametrize("name", CASES)
def test_the_whole_reply_is_an_answer(name: str) -> None:
    endpoint, request, body = CASES[name]
    response = endpoint.response(request, body)
    one_state(response, request.kind)
    assert (response.error is None) == (name not in ("rolling", "prompt_logprobs"))


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_changed_reply_ends_in_one_state(name: str, data: st.DataObject) -> None:
    endpoint, request, body = CASES[name]
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from([p for p in paths(body) if p] or [()]))
        if path:
            body = changed(body, path, data.draw(st.booleans()), data.draw(ODD))
    one_state(endpoint.response(request, body), request.kind)
