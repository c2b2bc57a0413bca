"""Completions: text in, text out; and the only endpoint that scores a given text, where the server echoes prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from evalkit.errors import ModelError
from evalkit.models.callable import cut_at
from evalkit.models.remote.base import Call
from evalkit.models.remote.dialect import Dialect, about
from evalkit.models.remote.echo import Sum, after, counted, echoed, not_scored, whole
from evalkit.models.remote.params import MAX_STOPS, max_tokens_of, sampling, seed_of, stops_of, top_asked
from evalkit.models.remote.wire import (
    Answer,
    Unreadable,
    Usage,
    answered,
    bad,
    choices_of,
    finish_of,
    shared,
    split_thoughts,
    tokens_of,
    top_of,
    usage_of,
)
from evalkit.models.tokens import Cut, Tokens
from evalkit.types import Json, Request, RequestKind, Response

#: Requests whose cut is kept between call and reply.
_KEPT = 512


class CompletionsEndpoint:
    """``/completions`` (`Endpoint`, `Batching`).

    With ``tokens`` prompts to score are sent as token ids, cut as the local adapter cuts them (truncation, beginning token
    and windows included); without, as text, where the server's own tokens must show where the continuation begins.
    """

    name = "completions"
    kinds: frozenset[RequestKind] = frozenset({"generate", "loglikelihood", "loglikelihood_rolling"})

    def __init__(self, model: str, dialect: Dialect | None = None, tokens: Tokens | None = None) -> None:
        self._model = model
        self._dialect = dialect or Dialect()
        self._tokens = tokens
        self._cuts = lru_cache(maxsize=_KEPT)(self._cut)

    def call(self, request: Request) -> Call:
        return self.batch([request]) if request.kind == "generate" else self._scoring_call(request)

    def response(self, request: Request, body: Mapping[str, Any]) -> Response:
        if request.kind == "generate":
            return self.responses([request], body)[0]
        usage = usage_of(body)
        try:
            total = self._total(request, body, usage)
        except Unreadable as error:
            return Response(request.key, tokens=usage.completion, prompt_tokens=usage.prompt, error=error.failure)
        return Response(
            request.key,
            logprob=total.logprob,
            is_greedy=total.is_greedy if request.kind == "loglikelihood" else None,
            tokens=total.tokens,
            prompt_tokens=None if usage.prompt is None else max(usage.prompt - total.tokens, 0),
            truncated=sum(cut.truncated for cut in self._cuts_of(request)),
        )

    def batch(self, requests: Sequence[Request]) -> Call:
        """One call for generations that differ in nothing but their repeat."""
        first, dialect = requests[0], self._dialect
        if len(requests) > 1 and any((q.prompt, q.params) != (first.prompt, first.params) for q in requests):
            raise ModelError("only repeats of one prompt can share a call")
        prompt, limit = text_of(first), max_tokens_of(first.params)
        allowed = frozenset({"response_format"} if dialect.extensions else ())
        body: dict[str, Json] = {"model": self._model, "prompt": prompt, "max_tokens": limit}
        body.update(sampling(first, dialect, allowed=allowed))
        if (stops := stops_of(first.params)) and not dialect.reasons:
            body["stop"] = stops[:MAX_STOPS]
        if (seed := seed_of(first)) is not None:
            body["seed"] = seed
        if len(requests) > 1:
            body["n"] = len(requests)
        if (top := top_asked(first.params)) is not None:
            body["logprobs"] = top
        body.update(dialect.body)
        return Call("/completions", body, about(prompt) + limit * len(requests))

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
        except Unreadable as error:
            return Response(request.key, tokens=usage.completion, prompt_tokens=usage.prompt, error=error.failure)

    def _answer(self, request: Request, choice: Mapping[str, Any]) -> Answer:
        finish = finish_of(choice.get("finish_reason"))
        given = choice.get("text")
        if not isinstance(given, str):
            raise bad("has a choice without text")
        thoughts, text = split_thoughts(given, finish, self._dialect.think_end)
        final = cut_at(text, stops_of(request.params))
        top = None
        if top_asked(request.params) is not None:
            top = top_of(tokens_of(choice), self._dialect.think_end if thoughts else None)
        return Answer(final, "stop" if final != text else finish, thoughts, (), top)

    # --- scoring ------------------------------------------------------------------------------------------------------

    def _scoring_call(self, request: Request) -> Call:
        """One call a request: all windows of a rolling text are prompts of it."""
        dialect, text = self._dialect, text_of(request)
        cuts = self._cuts_of(request)
        prompts = [[*cut.context, *cut.continuation] for cut in cuts]
        for cut in cuts:
            if cut.problem == "empty-continuation":
                raise ModelError("no tokens left to score: the continuation is empty, or merged into the context")
            if cut.problem:
                raise ModelError(f"the continuation alone ({len(cut.continuation)} tokens) is longer than max_length")
        prompt: Json = text + request.continuation if self._tokens is None else prompts[0] if len(prompts) == 1 else prompts
        if not prompt:
            raise ModelError("cannot be scored: the text is empty")
        asked: dict[str, Json] = {"echo": True, "logprobs": 1}
        if dialect.scoring == "prompt_logprobs":
            asked = {"prompt_logprobs": 1}
        body = {"model": self._model, "prompt": prompt, "max_tokens": dialect.scored_max_tokens, "temperature": 0, **asked}
        size = sum(map(len, prompts)) or about(text + request.continuation)
        return Call("/completions", {**body, **dialect.body}, size + dialect.scored_max_tokens * max(1, len(prompts)))

    def _total(self, request: Request, body: Mapping[str, Any], usage: Usage) -> Sum:
        if self._tokens is None:
            choice = choices_of(body, 1)[0]
            if isinstance(choice, Unreadable):
                raise choice
            given = echoed(choice)
            generated = 0 if choice.get("prompt_logprobs") is not None else self._dialect.scored_max_tokens
            count = len(given) - generated
            if usage.prompt is not None and count <= usage.prompt <= len(given):
                count = usage.prompt  # a generation that ended at once has no token of its own
            if count < 1:
                raise not_scored()
            if request.kind == "loglikelihood_rolling":
                return whole(given, count, text_of(request) + request.continuation)
            return after(given, count, *moved(text_of(request), request.continuation))
        cuts = self._cuts_of(request)
        parts = []
        for cut, choice in zip(cuts, choices_of(body, len(cuts)), strict=True):
            if isinstance(choice, Unreadable):
                raise choice
            given = echoed(choice, [*cut.context, *cut.continuation])
            parts.append(counted(given, len(cut.context), len(cut.continuation), self._dialect.scored_max_tokens))
        return Sum(sum(p.logprob for p in parts), all(p.is_greedy for p in parts), sum(p.tokens for p in parts))

    def _cuts_of(self, request: Request) -> Sequence[Cut]:
        return self._cuts(text_of(request), request.continuation, request.kind)

    def _cut(self, context: str, continuation: str, kind: RequestKind) -> Sequence[Cut]:
        if self._tokens is None:
            return ()
        if kind == "loglikelihood_rolling":
            return self._tokens.windows([context + continuation])[0]
        return self._tokens.pairs([(context, continuation)])


def text_of(request: Request) -> str:
    """A request's prompt as text. Raises ModelError for chat messages: this endpoint knows no template."""
    if not isinstance(request.prompt, str):
        raise ModelError(
            "the completions endpoint takes text and has no chat template; leave out --apply-chat-template, or use the chat "
            "endpoint"
        )
    return request.prompt


def moved(context: str, continuation: str) -> tuple[str, str]:
    """Context and continuation with the context's trailing blanks moved over, as the local adapter cuts them."""
    stripped = context.rstrip()
    return stripped, context[len(stripped) :] + continuation
