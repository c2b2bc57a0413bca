"""Any Python callable as a model that generates."""

from __future__ import annotations

import hashlib
import inspect
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evalkit.models.base import Capabilities, Sink, Source
from evalkit.types import Failure, Json, Prompt, Request, Response, content_hash


class CallableModel:
    """A function from a prompt to a text, or (``batched=True``) from a list of prompts to a list of texts.

    The prompt is a str, or for chat requests a list of ``{"role": ..., "content": ...}``. An exception, or an answer that
    is not text, is a `Failure` of that request; it never stops the run. Stop strings (``until``) are cut off the answer.
    ``version`` says when answers may change: the fingerprint pins it and the function's name and code.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        batched: bool = False,
        batch_size: int = 32,
        chat: bool = True,
        version: str = "",
    ) -> None:
        self._function = function
        self.name = name or f"python/{getattr(function, '__name__', type(function).__name__)}"
        self.capabilities = Capabilities(kinds=frozenset({"generate"}), chat=chat)
        self.fingerprint = content_hash(["callable", self.name, version, _code(function)])
        self._size = batch_size if batched else 1
        self._batched = batched

    def run(self, source: Source, sink: Sink, stop: threading.Event) -> None:
        while not stop.is_set():
            wave = source.take(self._size)
            if not wave:
                return
            asked = [q for q in wave if q.kind == "generate"]
            for response in self._ask(asked) if asked else ():
                sink(response)
            for request in wave:
                if request.kind != "generate":
                    why = Failure("unsupported", f"a callable cannot answer {request.kind} requests")
                    sink(Response(request.key, error=why))

    def describe(self) -> Mapping[str, Json]:
        return {"provider": "python", "model": self.name, "batched": self._batched}

    def _ask(self, wave: Sequence[Request]) -> list[Response]:
        started = time.perf_counter()
        prompts = [_plain(q.prompt) for q in wave]
        try:
            answers = list(self._function(prompts)) if self._batched else [self._function(prompts[0])]
        except Exception as error:  # the user's own code may raise anything, and one bad request never ends a run
            why = Failure("callable", f"{type(error).__name__}: {error}")
            return [Response(q.key, error=why) for q in wave]
        if len(answers) != len(wave):
            why = Failure("callable", f"{self.name} gave {len(answers)} answers to {len(wave)} prompts")
            return [Response(q.key, error=why) for q in wave]
        took = time.perf_counter() - started
        return [_response(q, answer, took) for q, answer in zip(wave, answers, strict=True)]


def _plain(prompt: Prompt) -> str | list[dict[str, str]]:
    return prompt if isinstance(prompt, str) else [{"role": m.role, "content": m.content} for m in prompt]


def _response(request: Request, answer: Any, took: float) -> Response:
    if not isinstance(answer, str):
        return Response(request.key, error=Failure("callable", f"expected text, got {type(answer).__name__}"))
    return Response(request.key, text=cut_at(answer, request.params.get("until")), latency_s=took)


def cut_at(text: str, until: str | Sequence[str] | None) -> str:
    """``text`` up to the first hit of each stop string in turn; empty stop strings are ignored."""
    for stop in [until] if isinstance(until, str) else until or ():
        if stop:
            text = text.partition(stop)[0]
    return text


def _code(function: Callable[..., Any]) -> str:
    """A hash of the function's source where there is one, so that an edited function is another model."""
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):
        source = repr(type(function))
    return hashlib.blake2b(source.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
