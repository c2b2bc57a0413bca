"""Chat completions: messages in, an answer (or several, ``n``) out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evalkit.errors import ModelError
from evalkit.models.callable import cut_at
from evalkit.models.remote.base import Call
from evalkit.models.remote.dialect import Dialect, about
from evalkit.models.remote.params import MAX_STOPS, max_tokens_of, sampling, seed_of, stops_of, top_asked
from evalkit.models.remote.tools import call_of, with_tools
from evalkit.models.remote.wire import (
    Answer,
    Unreadable,
    Usage,
    answered,
    bad,
    choices_of,
    finish_of,
    list_at,
    mapping_at,
    refused,
    shared,
    split_thoughts,
    tokens_of,
    top_of,
    usage_of,
)
from evalkit.types import Json, Prompt, Request, RequestKind, Response

#: Where servers put reasoning that they keep apart: DeepSeek's and older vLLM's name, then newer vLLM's and OpenRouter's.
_REASONING = ("reasoning_content", "reasoning")


class ChatEndpoint:
    """``/chat/completions`` (`Endpoint`, `Batching`). A prompt that is text is one user message."""

    name = "chat"
    kinds: frozenset[RequestKind] = frozenset({"generate"})

    def __init__(self, model: str, dialect: Dialect | None = None) -> None:
        self._model = model
        self._dialect = dialect or Dialect()

    def call(self, request: Request) -> Call:
        return self.batch([request])

    def response(self, request: Request, body: Mapping[str, Any]) -> Response:
        return self.responses([request], body)[0]

    def batch(self, requests: Sequence[Request]) -> Call:
        """One call for requests that differ in nothing but their repeat."""
        first, dialect = requests[0], self._dialect
        if first.kind != "generate":
            raise ModelError(f"the chat endpoint cannot answer {first.kind} requests; the completions endpoint may")
        if len(requests) > 1 and any((q.prompt, q.params) != (first.prompt, first.params) for q in requests):
            raise ModelError("only repeats of one prompt can share a call")
        limit = max_tokens_of(first.params)
        messages = messages_of(first.prompt)
        body: dict[str, Json] = {"model": self._model, "messages": messages, dialect.length: limit}
        body.update(sampling(first, dialect))
        body = with_tools(body)
        stops = stops_of(first.params)
        if stops and not dialect.reasons:
            body["stop"] = stops[:MAX_STOPS]
        if (seed := seed_of(first)) is not None and not dialect.fixed_sampling:
            body["seed"] = seed
        if len(requests) > 1:
            body["n"] = len(requests)
        if (top := top_asked(first.params)) is not None:
            body.update({"logprobs": True, "top_logprobs": top})
        if messages[-1]["role"] == "assistant":
            body.update(self._continued())
        body.update(dialect.body)
        size = sum(about(message["content"]) + 4 for message in messages)
        return Call("/chat/completions", body, size + limit * len(requests))

    def responses(self, requests: Sequence[Request], body: Mapping[str, Any]) -> list[Response]:
        """The answers in order of the requests; each one is an answer or a failure of its own."""
        try:
            choices = choices_of(body, len(requests))
        except Unreadable as error:
            return [Response(q.key, error=error.failure) for q in requests]
        usages = shared(usage_of(body), len(requests))
        return [self._read(q, c, u, body) for q, c, u in zip(requests, choices, usages, strict=True)]

    def _read(
        self, request: Request, choice: Mapping[str, Any] | Unreadable, usage: Usage, body: Mapping[str, Any]
    ) -> Response:
        try:
            if isinstance(choice, Unreadable):
                raise choice
            return answered(request.key, self._answer(request, choice), usage, body, self._model)
        except Unreadable as error:  # tokens that were paid for are counted, whatever came of them
            return Response(request.key, tokens=usage.completion, prompt_tokens=usage.prompt, error=error.failure)

    def _answer(self, request: Request, choice: Mapping[str, Any]) -> Answer:
        finish = finish_of(choice.get("finish_reason"))
        message = mapping_at(choice.get("message"), "message")
        refused(message.get("refusal"))
        calls = _calls(message)
        apart = next((message[name] for name in _REASONING if isinstance(message.get(name), str)), "")
        content = _content(message.get("content"))
        if content is None:
            if not calls and not (finish == "length" and (apart or self._dialect.reasons)):
                raise bad("has a message without content")
            content = ""
        thoughts, text = split_thoughts(content, finish, self._dialect.think_end)
        final = cut_at(text, stops_of(request.params))
        top = None
        if top_asked(request.params) is not None and not calls:
            top = top_of(tokens_of(choice), self._dialect.think_end if thoughts else None)
        return Answer(final, "stop" if final != text else finish, "\n".join(filter(None, (apart, thoughts))), calls, top)

    def _continued(self) -> dict[str, Json]:
        if not self._dialect.prefill:
            raise ModelError(
                "the prompt ends in the beginning of an answer (gen_prefix), which a chat server takes for a whole one; "
                "where the server can continue it (vLLM, SGLang), say so with -M prefill=true"
            )
        return {"continue_final_message": True, "add_generation_prompt": False}


def messages_of(prompt: Prompt) -> list[dict[str, str]]:
    """A prompt as the API's messages. Raises ModelError for one that holds anything but text."""
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    if not prompt:
        raise ModelError("the prompt has no messages")
    if not all(isinstance(message.content, str) for message in prompt):
        raise ModelError("the prompt holds something other than text; images and sound cannot be sent")
    return [{"role": message.role, "content": message.content} for message in prompt]


def _content(content: Any) -> str | None:
    """A message's text, also where it comes in parts; ``None`` where there is none."""
    if content is None or isinstance(content, str):
        return content
    parts = [mapping_at(part, "content[]") for part in list_at(content, "content")]
    for part in parts:
        refused(part.get("refusal"))
    texts = [part["text"] for part in parts if part.get("type") in ("text", "output_text") and "text" in part]
    if not all(isinstance(text, str) for text in texts):
        raise bad("has content that is no text")
    return "".join(texts) if texts else None


def _calls(message: Mapping[str, Any]) -> list[Json]:
    given = message.get("tool_calls")
    if not given:
        return []
    found = []
    for call in list_at(given, "tool_calls"):
        function = mapping_at(mapping_at(call, "tool_calls[]").get("function"), "tool_calls[].function")
        found.append(call_of(function.get("name"), function.get("arguments"), call.get("id")))
    return found
