"""The responses API: input items in, output items (messages, reasoning, calls) out. One answer a call; no stop strings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evalkit.errors import ModelError
from evalkit.models.callable import cut_at
from evalkit.models.remote.base import Call
from evalkit.models.remote.chat import messages_of
from evalkit.models.remote.dialect import Dialect, about
from evalkit.models.remote.params import max_tokens_of, sampling, stops_of, top_asked
from evalkit.models.remote.tools import call_of, flat, with_tools
from evalkit.models.remote.wire import (
    Answer,
    Unreadable,
    answered,
    bad,
    finish_of,
    list_at,
    mapping_at,
    no_error,
    quoted,
    refused,
    split_thoughts,
    tokens_of,
    top_of,
    usage_of,
)
from evalkit.types import Finish, Json, Request, RequestKind, Response

#: The API takes no lower limit.
_LEAST_TOKENS = 16
_NOT_TAKEN = ("frequency_penalty", "presence_penalty", "logit_bias")


class ResponsesEndpoint:
    """``/responses`` (`Endpoint`). Nothing is stored at the provider (``store: false``), and seeds are not part of the API.

    Leading system messages are the ``instructions``. Reasoning items (summaries, or the text that open servers give) are
    kept apart from the answer.
    """

    name = "responses"
    kinds: frozenset[RequestKind] = frozenset({"generate"})

    def __init__(self, model: str, dialect: Dialect | None = None) -> None:
        self._model = model
        self._dialect = dialect or Dialect()

    def call(self, request: Request) -> Call:
        if request.kind != "generate":
            raise ModelError(f"the responses endpoint cannot answer {request.kind} requests; the completions endpoint may")
        messages = messages_of(request.prompt)
        system, items = _parted(messages)
        if items[-1]["role"] == "assistant":
            raise ModelError(
                "the prompt ends in the beginning of an answer (gen_prefix), which the responses API cannot continue"
            )
        limit = max(max_tokens_of(request.params), _LEAST_TOKENS)
        body: dict[str, Json] = {"model": self._model, "input": items, "max_output_tokens": limit, "store": False}
        if system:
            body["instructions"] = system
        body.update(self._settings(request))
        if (top := top_asked(request.params)) is not None:
            body.update({"top_logprobs": top, "include": ["message.output_text.logprobs"]})
        extra = dict(self._dialect.body)
        if "reasoning_effort" in extra:
            extra["reasoning"] = {"effort": extra.pop("reasoning_effort")}
        body.update(extra)
        return Call("/responses", body, sum(about(message["content"]) + 4 for message in messages) + limit)

    def response(self, request: Request, body: Mapping[str, Any]) -> Response:
        usage = usage_of(body)
        try:
            return answered(request.key, self._answer(request, body), usage, body, self._model)
        except Unreadable as error:
            return Response(request.key, tokens=usage.completion, prompt_tokens=usage.prompt, error=error.failure)

    def _settings(self, request: Request) -> dict[str, Json]:
        body = with_tools(sampling(request, self._dialect))
        for name in _NOT_TAKEN:
            if name in body:
                raise ModelError(
                    f"generation setting {name!r} is not taken by the responses endpoint; the chat endpoint takes it"
                )
        if "tools" in body:
            body["tools"] = flat(body["tools"])
        if isinstance(body.get("tool_choice"), Mapping) and "function" in body["tool_choice"]:
            body["tool_choice"] = {"type": "function", "name": body["tool_choice"]["function"].get("name")}
        if "reasoning_effort" in body:
            body["reasoning"] = {"effort": body.pop("reasoning_effort")}
        text: dict[str, Json] = {}
        if "response_format" in body:
            text["format"] = _format(body.pop("response_format"))
        if "verbosity" in body:
            text["verbosity"] = body.pop("verbosity")
        return {**body, "text": text} if text else body

    def _answer(self, request: Request, body: Mapping[str, Any]) -> Answer:
        finish = _finish(body)
        texts: list[str] = []
        thoughts: list[str] = []
        calls: list[Json] = []
        parts: list[Mapping[str, Any]] = []
        for item in list_at(body.get("output"), "output"):
            kind = mapping_at(item, "output[]").get("type")
            if kind == "message":
                found = _parts(item, "content")
                parts += found
                texts += [_text(part) for part in found if part.get("type") == "output_text"]
                for part in found:
                    refused(part.get("refusal"))
            elif kind == "reasoning":
                thoughts += [_text(part) for part in (*_parts(item, "summary"), *_parts(item, "content"))]
            elif kind == "function_call":
                calls.append(call_of(item.get("name"), item.get("arguments"), item.get("call_id")))
        if not texts and not calls and finish != "length":
            raise bad("has no answer among its output")
        said, text = split_thoughts("".join(texts), finish, self._dialect.think_end)
        final = cut_at(text, stops_of(request.params))
        top = None
        if top_asked(request.params) is not None and not calls:
            top = top_of(_tokens(parts), self._dialect.think_end if said else None)
        reasoning = "\n".join(filter(None, (*thoughts, said)))
        return Answer(final, "stop" if final != text else finish, reasoning, calls, top)


def _parted(messages: Sequence[Mapping[str, str]]) -> tuple[str, list[dict[str, str]]]:
    """The leading system messages as one text, and the other messages."""
    count = 0
    while count < len(messages) - 1 and messages[count]["role"] == "system":
        count += 1
    return "\n\n".join(m["content"] for m in messages[:count]), [dict(m) for m in messages[count:]]


def _format(given: Any) -> Json:
    """A chat ``response_format`` as the responses API writes it: the schema's members stand beside the type."""
    if isinstance(given, Mapping) and isinstance(given.get("json_schema"), Mapping):
        return {"type": "json_schema", **given["json_schema"]}
    return given


def _finish(body: Mapping[str, Any]) -> Finish | None:
    no_error(body)
    status = body.get("status")
    if status == "incomplete":
        details = body.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, Mapping) else None
        return finish_of(reason or "failed")
    if status not in ("completed", None):
        raise bad(f"has the status {quoted(status)}")
    return "stop"


def _parts(item: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [mapping_at(part, f"{name}[]") for part in list_at(item.get(name) or [], name)]


def _text(part: Mapping[str, Any]) -> str:
    text = part.get("text")
    if not isinstance(text, str):
        raise bad("has output that is no text")
    return text


def _tokens(parts: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    found = [token for part in parts for token in tokens_of({"logprobs": {"content": part.get("logprobs")}})]
    return found
