"""The seams of the remote adapter: an endpoint turns requests into calls, a transport sends them, the adapter schedules.

``Request -> Endpoint.call -> Transport.send -> Endpoint.response -> Response``. The adapter around them decides when a call
is sent and whether it is sent again; neither of the two knows about the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from evalkit.types import Json, Request, RequestKind, Response


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP POST: ``path`` below the base URL (``/chat/completions``) and the JSON ``body``.

    ``tokens`` estimates what the call will be counted as by a tokens-per-minute limit: prompt and longest answer.
    """

    path: str
    body: Mapping[str, Json]
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered, whatever its status. ``headers`` by lower-case name; ``seconds`` from send to last byte."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


class TransportError(Exception):
    """No reply: ``kind`` is ``connection``, ``timeout`` (of the attempt) or ``protocol`` (a body cut off, not HTTP).

    The message never holds a key or a header.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Transport(Protocol):
    """Sends calls over connections that it keeps open. Used from one event loop."""

    async def send(self, call: Call, timeout: float) -> Reply:
        """Raises TransportError where there is no whole reply within ``timeout`` seconds."""
        ...

    async def close(self) -> None: ...


class Endpoint(Protocol):
    """One of the API's ways of asking: chat completions, completions, responses. Stateless and quick.

    ``call`` raises ModelError for what this endpoint cannot be asked (one line; it becomes the request's own failure).
    ``response`` reads the decoded body of a 2xx reply; a body that lacks what was asked for, a refusal or a content filter
    is a `Failure` in the Response (kinds ``bad-reply``, ``refusal``, ``content-filter``), never an empty answer.
    """

    name: str
    kinds: frozenset[RequestKind]

    def call(self, request: Request) -> Call: ...

    def response(self, request: Request, body: Mapping[str, Any]) -> Response: ...


@runtime_checkable
class Batching(Protocol):
    """An endpoint that can ask for several samples of one prompt in one call (``n``)."""

    def batch(self, requests: Sequence[Request]) -> Call: ...

    def responses(self, requests: Sequence[Request], body: Mapping[str, Any]) -> list[Response]: ...


#: Names under which an answer's `Response.extra` keeps what is not text.
REASONING = "reasoning"  # str: reasoning text, kept apart from the answer
TOOL_CALLS = "tool_calls"  # list of {"name": str, "arguments": object (or str where it is not JSON), "id": str}
USAGE = "usage"  # {"cached_tokens": int, "reasoning_tokens": int}: beside Response.prompt_tokens and .tokens
ATTEMPTS = "attempts"  # int, where more than one was needed
CACHED = "cached"  # True: from the response cache; latency and cost are those of another run and not counted
SERVED_BY = "served_by"  # the model name that the server says it used, where it differs from the one asked for
TOP = "top_logprobs"  # {token text: natural log-probability} of the first answer token, where asked for
