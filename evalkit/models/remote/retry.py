"""What a reply that is no answer means: this request's final failure, a reason to ask again, or the end of the run."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from evalkit import secrets
from evalkit.models.remote.base import Reply, TransportError
from evalkit.models.remote.limits import asked_wait

#: Waits grow from the first to the second number of seconds, doubling.
BACKOFF_S = (0.5, 30.0)
#: Longest excerpt of a server's words in a message.
_EXCERPT = 300

_RETRIED = frozenset({408, 409, 425, 429})
#: What is wrong with the key, the model's name or the account, unless a request of ours shows otherwise.
_REFUSED = {401: "auth", 402: "quota", 403: "auth", 404: "not-found"}
_NO_QUOTA = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_CONTEXT = re.compile(
    r"context.?(length|window|size)|maximum context|max_model_len|n_ctx"
    r"|(prompt|input|request)[^.]{0,40}too (long|large|many tokens)|too many (input )?tokens|longer than the (model|maximum)"
    r"|(exceed|larger)[^.]{0,60}(tokens|context)",
    re.IGNORECASE,
)
_FILTERED = re.compile(
    r"content.?(filter|management|polic)|responsibleai|flagged|moderation|safety (system|filter|polic)", re.IGNORECASE
)

#: A key, whole or with stars in it, as servers quote it when they refuse it.
_KEY = re.compile(r"\b(?:sk|pk|rk|gsk|hf|xai|nvapi|AIza)[-_]?[\w*-]{8,}")

#: ``final``: this request's failure. ``retry``: ask again. ``refused``: the endpoint turns us away; a check of its own tells
#: whether all requests or this one. ``stop``: nothing more will be answered.
Action = Literal["final", "retry", "refused", "stop"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do after an attempt without an answer. ``after``: seconds that the server asks to wait."""

    action: Action
    kind: str
    message: str
    status: int | None = None
    after: float | None = None

    @property
    def throttled(self) -> bool:
        """Whether the server says that it gets too many requests."""
        return self.status == 429


def verdict(reply: Reply, epoch: float) -> Verdict:
    """What a reply outside of 2xx means. ``epoch`` is the time now, for dates in headers."""
    status = reply.status
    message, code = said(reply)
    line = f"HTTP {status}: {message}" if message else f"HTTP {status}"
    if status == 429 and code in _NO_QUOTA:
        return Verdict("stop", "quota", line, status)
    if status in _RETRIED or (status >= 500 and status not in (501, 505)):
        kind = {429: "rate-limit", 408: "timeout"}.get(status, "server")
        return Verdict("retry", kind, line, status, asked_wait(reply.headers, epoch))
    if status in (400, 403, 413, 422) and (_FILTERED.search(code) or _FILTERED.search(message)):
        return Verdict("final", "content-filter", line, status)
    if status in _REFUSED:
        return Verdict("refused", _REFUSED[status], line, status)
    if code == "context_length_exceeded" or (status in (400, 413, 422) and _CONTEXT.search(message)):
        return Verdict("final", "context-length", line, status)
    if 300 <= status < 400:
        where = reply.headers.get("location", "another address").partition("?")[0]
        return Verdict("refused", "not-found", f"HTTP {status}: the server points to {where}; give that as base_url", status)
    return Verdict("final", "bad-request", line, status)


def broken(error: TransportError) -> Verdict:
    """What an attempt without a reply means."""
    return Verdict("retry", error.kind, str(error))


def inner_error(body: Mapping[str, Any], reply: Reply) -> Reply | None:
    """Gateways put errors of the servers behind them into replies with status 200: such a one as what it is."""
    error = body.get("error")
    if not error or "choices" in body or "output" in body:
        return None
    code = error.get("code") if isinstance(error, Mapping) else None
    status = int(code) if isinstance(code, int | str) and str(code).isdecimal() and 400 <= int(code) <= 599 else 502
    return Reply(status, reply.headers, reply.body, reply.seconds)


def said(reply: Reply) -> tuple[str, str]:
    """The server's message on one line, shortened, and its error code (or the empty string)."""
    text = reply.body[:65536].decode("utf-8", "replace")
    try:
        body = json.loads(text)
    except ValueError:
        kind = reply.headers.get("content-type", "")
        return ("an HTML page" if "html" in kind else _line(text)), ""
    if not isinstance(body, dict):
        return _line(text), ""
    error = body.get("error", body)
    if not isinstance(error, dict):
        return _line(str(error)), ""
    found = next((error[name] for name in ("message", "detail", "error", "msg") if error.get(name)), None)
    message = found if isinstance(found, str) else json.dumps(found if found is not None else body, ensure_ascii=False)
    return _line(message), str(error.get("code") or error.get("type") or "")


def backoff(attempt: int, after: float | None, chance: float) -> float:
    """Seconds before attempt ``attempt + 1``; ``chance`` in [0, 1) is drawn for each wait.

    Full jitter (Brooker, "Exponential Backoff and Jitter", 2015): anything between nothing and a bound that doubles. What
    the server asks for is the least, and a little chance on top keeps the calls from coming back all at once.
    """
    if after is not None:
        return after + chance * min(1.0, 0.1 + 0.1 * after)
    first, longest = BACKOFF_S
    return float(chance * min(longest, first * 2 ** min(attempt - 1, 16)))


def _line(text: str) -> str:
    line = _KEY.sub(secrets.BLANK, secrets.scrub_message(" ".join(text.split())))
    return line if len(line) <= _EXCERPT else line[: _EXCERPT - 1] + "…"
