"""The page's few routes. A link's token says who rates; nothing else of a study can be asked for."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from evalkit.errors import UsageError
from evalkit.human.serve.desk import Desk
from evalkit.resources import builtin_dir

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    Endpoint = Callable[[Request], Awaitable[Response]]

_LARGEST = 64 * 1024
_TYPES = {"css": "text/css", "js": "text/javascript"}
#: Only our own style, script and requests; no frames, no referrer that would carry the link's token elsewhere.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def rating_app(desk: Desk, hosts: frozenset[str]) -> Starlette:
    """The application for ``desk``, answering requests for ``hosts`` (``name:port``) only.

    Other host names are refused, so that a foreign page cannot reach it by pointing a name of its own at this machine.
    """
    from starlette.applications import Starlette
    from starlette.routing import Route

    pages = _Pages(desk, hosts)
    return Starlette(
        routes=[
            Route("/r/{token}", pages.guarded(pages.page), methods=["GET"]),
            Route("/rate.{kind}", pages.guarded(pages.asset), methods=["GET"]),
            Route("/r/{token}/sheet", pages.guarded(pages.sheet), methods=["GET"]),
            Route("/r/{token}/answer", pages.guarded(pages.answer), methods=["POST"]),
        ]
    )


class _Pages:
    def __init__(self, desk: Desk, hosts: frozenset[str]) -> None:
        self._desk, self._hosts = desk, hosts

    def guarded(self, call: Endpoint) -> Endpoint:
        """``call`` for requests by our own names, with the headers that every reply has."""

        async def endpoint(request: Request) -> Response:
            if request.headers.get("host", "") in self._hosts:
                found = await call(request)
            else:
                found = _told(421, "this page is not served under that name")
            found.headers.update(_HEADERS)
            return found

        return endpoint

    async def page(self, request: Request) -> Response:
        if self._who(request) is None:
            return _told(404, "This link is not known. Ask whoever sent it to you for a new one.")
        return _file("rate.html", "text/html")

    async def asset(self, request: Request) -> Response:
        kind = request.path_params["kind"]
        return _file(f"rate.{kind}", _TYPES[kind]) if kind in _TYPES else _told(404, "not found")

    async def sheet(self, request: Request) -> Response:
        from starlette.responses import JSONResponse

        annotator = self._who(request)
        return _told(404, "unknown link") if annotator is None else JSONResponse(self._desk.sheet(annotator))

    async def answer(self, request: Request) -> Response:
        annotator = self._who(request)
        if annotator is None:
            return _told(404, "unknown link")
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return _told(415, "answers are sent as JSON")
        origin = request.headers.get("origin")
        if origin is not None and origin.partition("://")[2] not in self._hosts:
            return _told(403, "another page may not send answers")
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _LARGEST:
                return _told(413, "too large")
        return self._saved(annotator, body)

    def _saved(self, annotator: str, body: bytes) -> Response:
        try:
            self._desk.save(annotator, json.loads(body))
        except UsageError as problem:
            return _told(400, str(problem))
        except (ValueError, RecursionError):
            return _told(400, "that is no JSON")
        except OSError as problem:
            return _told(507, f"the answer could not be kept: {problem.strerror}")
        return _told(200, "saved")

    def _who(self, request: Request) -> str | None:
        return self._desk.annotator(request.path_params["token"])


def _told(status: int, text: str) -> Response:
    from starlette.responses import PlainTextResponse

    return PlainTextResponse(text, status)


def _file(name: str, kind: str) -> Response:
    from starlette.responses import Response

    return Response((builtin_dir("reports") / name).read_bytes(), media_type=kind)
