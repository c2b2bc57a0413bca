"""A model that was asked elsewhere: its texts are given, and nothing is computed."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from evalkit.models.base import Capabilities, Sink, Source
from evalkit.types import Failure, Json, Request, Response, content_hash

#: The parameter of a request that says which text is meant.
ROW = "row"
_WAVE = 4096


class GivenModel:
    """Answers a request with the text at its parameter ``row``; ``None`` there is a `Failure`, never a text.

    ``origin`` says where the texts come from. The fingerprint is that of the texts.
    """

    def __init__(self, name: str, texts: Sequence[str | None], *, origin: str) -> None:
        self.name = f"given/{name}"
        self.capabilities = Capabilities(kinds=frozenset({"generate"}))
        self.fingerprint = content_hash(["given", list(texts)])
        self._texts = texts
        self._origin = origin

    def run(self, source: Source, sink: Sink, stop: threading.Event) -> None:
        while not stop.is_set() and (wave := source.take(_WAVE)):
            for request in wave:
                sink(self._answer(request))

    def _answer(self, request: Request) -> Response:
        text = self._texts[request.params[ROW]]
        if text is None:
            return Response(request.key, error=Failure("missing", f"{self._origin} holds no prediction for this row"))
        return Response(request.key, text=text, tokens=0, prompt_tokens=0, finish="stop")

    def describe(self) -> Mapping[str, Json]:
        return {
            "provider": "given",
            "model": self.name,
            "origin": self._origin,
            "texts": len(self._texts),
            "blank": sum(text is not None and not text.strip() for text in self._texts),
        }
