"""Answers of other runs: the response cache as the runner sees it."""

from __future__ import annotations

from dataclasses import replace

from evalkit.cache import ResponseCache
from evalkit.runner.journal import decode, encode
from evalkit.runner.judging import accepted
from evalkit.runner.usage import CACHED
from evalkit.types import Request, Response


class Answers:
    """One model's answers by request key, which names endpoint, model, settings, prompt and repeat, and no run.

    Only answers are kept, never failures. What comes out is marked: its seconds and its cost are those of another run.
    """

    def __init__(self, cache: ResponseCache, model: str) -> None:
        self._cache = cache
        self._model = model

    def get(self, request: Request) -> Response | None:
        """The answer to ``request`` of any run so far."""
        found = self._cache.get(request.key)
        if found is None:
            return None
        try:
            response = decode(request.key, found.encode("utf-8", "surrogatepass"))
        except (ValueError, TypeError, KeyError):
            self._cache.give_up("it holds something else than answers")
            return None
        return replace(response, extra={**response.extra, CACHED: True}) if accepted(request, response) else None

    def put(self, request: Request, response: Response) -> None:
        """Keep an answer for other runs, unless the scorer that asked for it can make nothing of it."""
        if accepted(request, response):
            self._cache.put(response.key, encode(response), self._model)
