"""The lines of a batch's output and error files, read as the replies to single calls are."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from evalkit.models.remote.base import Endpoint, Reply
from evalkit.models.remote.retry import inner_error, verdict
from evalkit.types import Failure, Request, Response

#: `Response.extra` of what came through a batch (and cost half): ``{"batch": True}``.
BATCH = "batch"
#: What reading a line of an unknown shape may raise: one odd line must not cost the batch.
UNFORESEEN = (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError)


def response_of(endpoint: Endpoint, request: Request, line: Mapping[str, Any]) -> Response:
    """The answer in a line, or why it is none: a status by the classes of single calls, else the batch's own reason."""
    found = _mapping(line.get("response"))
    status: Any = found.get("status_code")
    body: Any = found.get("body")
    run = isinstance(status, int) and (300 <= status < 600 or (200 <= status < 300 and isinstance(body, Mapping)))
    if not run:  # not got to, or lost inside the provider
        error = _mapping(line.get("error"))
        kind = str(error.get("code") or "batch-missing").replace("_", "-")
        message = str(error.get("message") or f"the batch gave no answer (status {status})")
        return _failed(request, Failure(kind, message, retryable=True))
    reply = Reply(status, {}, json.dumps(body).encode(), 0.0)
    broken = inner_error(body, reply) if status < 300 else reply
    if broken is not None:
        why = verdict(broken, time.time())
        return _failed(request, Failure(why.kind, why.message, why.action in ("retry", "stop"), why.status))
    try:
        response = endpoint.response(request, body)
    except UNFORESEEN as error:
        unread = f"the line of the batch cannot be read ({type(error).__name__}: {error})"
        return _failed(request, Failure("bad-reply", unread, retryable=True))
    return replace(response, extra={**response.extra, BATCH: True})


def _failed(request: Request, failure: Failure) -> Response:
    return Response(request.key, extra={BATCH: True}, error=failure)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
