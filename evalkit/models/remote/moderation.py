"""``openai-moderation/NAME``: the moderation endpoint as a model that answers each prompt with what it thinks of it.

The answer is JSON, ``{"flagged":true,"categories":["hate"],"scores":{"hate":0.93,...}}``: scores in [0, 1] by category,
``categories`` those that are flagged. Texts go out in arrays; where the server refuses an array, one by one.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from evalkit.errors import ModelError
from evalkit.models.base import Capabilities, ModelOptions, Sink, Source
from evalkit.models.provider import Arg, Provider, positive
from evalkit.models.remote.adapter import Rates, RemoteModel
from evalkit.models.remote.attempts import Patience
from evalkit.models.remote.base import Call
from evalkit.models.remote.connection import connection_of
from evalkit.models.remote.dialect import about
from evalkit.models.remote.provider import MAX_CONNECTIONS, OPENAI
from evalkit.models.remote.wire import Unreadable, bad, list_at, mapping_at, no_error
from evalkit.types import EMPTY, Json, Message, Prompt, Request, RequestKind, Response, content_hash

#: Characters that go out in one call at most (a longer text goes alone).
MAX_CHARACTERS = 100_000
#: `Response.extra` of a call for several texts: one verdict a text.
_VERDICTS = "verdicts"


class ModerationEndpoint:
    """``/moderations`` (`Endpoint`). A prompt of several messages is so many texts, each with a verdict of its own."""

    name = "moderations"
    kinds: frozenset[RequestKind] = frozenset({"generate"})

    def __init__(self, model: str) -> None:
        self._model = model

    def call(self, request: Request) -> Call:
        if request.kind != "generate":
            raise ModelError(f"a moderation model cannot answer {request.kind} requests; it classifies the prompt's text")
        texts = _texts(request.prompt)
        body: dict[str, Json] = {"model": self._model, "input": texts[0] if len(texts) == 1 else texts}
        return Call("/moderations", body, sum(map(about, texts)))

    def response(self, request: Request, body: Mapping[str, Any]) -> Response:
        texts = _texts(request.prompt)
        try:
            no_error(body)
            results = list_at(body.get("results"), "results")
            if len(results) != len(texts):
                raise bad(f"has {len(results)} results for {len(texts)} texts")
            verdicts = [verdict_of(mapping_at(result, "results[]")) for result in results]
        except Unreadable as error:
            return Response(request.key, error=error.failure)
        text, extra = (verdicts[0], EMPTY) if len(texts) == 1 else ("", {_VERDICTS: verdicts})
        return Response(request.key, text=text, finish="stop", extra=extra, tokens=0, prompt_tokens=0)  # the API counts none


def verdict_of(result: Mapping[str, Any]) -> str:
    """One result as JSON text; raises Unreadable for one that lacks what the API says it has."""
    scores = {
        str(name): value
        for name, value in mapping_at(result.get("category_scores"), "category_scores").items()
        if value is not None
    }
    if not scores or any(isinstance(x, bool) or not isinstance(x, int | float) or not 0 <= x <= 1 for x in scores.values()):
        raise bad("has category_scores that are no numbers from 0 to 1")
    raised = [str(name) for name, value in mapping_at(result.get("categories"), "categories").items() if value]
    flagged = result.get("flagged", bool(raised))  # servers that copy the API leave it out
    if not isinstance(flagged, bool):
        raise bad(f"has flagged: {flagged!r}")
    return json.dumps({"flagged": flagged, "categories": raised, "scores": scores}, separators=(",", ":"))


def _texts(prompt: Prompt) -> list[str]:
    return [prompt] if isinstance(prompt, str) else [message.content for message in prompt]


class ModerationModel:
    """A `RemoteModel` of the moderation endpoint that is asked about several texts at once."""

    def __init__(self, remote: RemoteModel, texts: int) -> None:
        self._remote = remote
        self._texts = texts
        self.name = remote.name

    @property
    def capabilities(self) -> Capabilities:
        return self._remote.capabilities

    @property
    def fingerprint(self) -> str:
        return self._remote.fingerprint

    def describe(self) -> Mapping[str, Json]:
        return self._remote.describe()

    def connect(self) -> None:
        self._remote.connect()

    def run(self, source: Source, sink: Sink, stop: threading.Event) -> None:
        calls = _Calls(source, sink, self._texts)
        self._remote.run(calls, calls.sink, stop)


class _Calls:
    """Requests of several texts made from those of a source; their answers taken apart for its sink."""

    def __init__(self, source: Source, sink: Sink, most: int) -> None:
        self._source, self._sink, self._most = source, sink, most
        self._ahead: Request | None = None
        self._alone: deque[Request] = deque()
        self._sent: dict[str, tuple[Request, ...]] = {}

    def take(self, limit: int) -> Sequence[Request]:
        taken: list[Request] = []
        while len(taken) < limit:
            group = (self._alone.popleft(),) if self._alone else self._group()
            if not group:
                break
            taken.append(self._call(group))
        return taken

    def sink(self, response: Response) -> None:
        """Hand over what came back. Where an array failed for good, one of its texts may have spoilt it for all."""
        group = self._sent.pop(response.key)
        error = response.error
        if error is not None and len(group) > 1 and (not error.retryable or error.kind == "bad-reply"):
            self._alone.extend(group)
            return
        texts = response.extra.get(_VERDICTS) or [response.text] * len(group)
        rest = {name: value for name, value in response.extra.items() if name != _VERDICTS}
        for request, text in zip(group, texts, strict=True):
            self._sink(replace(response, key=request.key, text=None if error else text, extra=rest))

    def _group(self) -> tuple[Request, ...]:
        group: list[Request] = []
        size = 0
        while len(group) < self._most:
            request, self._ahead = self._ahead or next(iter(self._source.take(1)), None), None
            if request is None:
                break
            size += len(_plain(request))
            if group and (size > MAX_CHARACTERS or request.kind != "generate"):
                self._ahead = request
                break
            group.append(request)
            if request.kind != "generate":
                break
        return tuple(group)

    def _call(self, group: tuple[Request, ...]) -> Request:
        key = group[0].key if len(group) == 1 else content_hash([request.key for request in group])
        self._sent[key] = group
        prompt = _plain(group[0]) if len(group) == 1 else tuple(Message("user", _plain(request)) for request in group)
        return replace(group[0], prompt=prompt, key=key)


def _plain(request: Request) -> str:
    """The text to classify: the prompt, or all that is said in a chat."""
    return "\n".join(_texts(request.prompt))


_TAKEN = (
    "base_url", "api_key", "api_key_env", "organization", "project", "client", "extra_headers", "extra_query",
    "max_connections", "rpm", "tpm", "max_retries", "attempt_timeout", "timeout", "outage", "probe",
)  # fmt: skip


def _build(name: str, args: Mapping[str, Any], options: ModelOptions) -> ModerationModel:
    full = f"openai-moderation/{name}"
    remote = RemoteModel(
        full,
        name,
        connection_of(args, full),
        {"generate": ModerationEndpoint(name)},
        rates=Rates(args["max_connections"] or MAX_CONNECTIONS, args["rpm"], args["tpm"]),
        patience=Patience(args["max_retries"], args["attempt_timeout"], args["timeout"], args["outage"]),
        probed=args["probe"],
    )
    return ModerationModel(remote, args["texts"])


PROVIDER = Provider(
    "openai-moderation",
    "the moderation endpoint of OpenAI or a compatible server: JSON with scores by category, for the scorer moderation",
    _build,
    (
        *(arg for arg in OPENAI.args if arg.name in _TAKEN),
        Arg("texts", "texts in one call at most", positive, 32),
    ),
)
