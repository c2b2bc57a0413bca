"""What replies without an answer mean, and how long to wait."""

from __future__ import annotations

import json
from typing import Any

import pytest

from evalkit import secrets
from evalkit.models.remote.base import Reply, TransportError
from evalkit.models.remote.retry import backoff, broken, inner_error, said, verdict


def reply(status: int, error: Any = None, **headers: str) -> Reply:
    body = error if isinstance(error, bytes) else json.dumps({} if error is None else {"error": error}).encode()
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, body, 0.0)


@pytest.mark.parametrize(
    ("status", "error", "action", "kind"),
    [
        (400, {"message": "bad temperature"}, "final", "bad-request"),
        (413, None, "final", "bad-request"),
        (422, {"message": "no such field"}, "final", "bad-request"),
        (400, {"message": "x", "code": "context_length_exceeded"}, "final", "context-length"),
        (400, "This model's maximum context length is 4096 tokens. However, you requested 5000", "final", "context-length"),
        (400, "the request exceeds the available context size, try increasing it", "final", "context-length"),
        (400, {"message": "prompt is too long: 210000 tokens > 200000 maximum"}, "final", "context-length"),
        (400, {"message": "filtered", "code": "content_filter"}, "final", "content-filter"),
        (400, {"message": "triggering Azure OpenAI's content management policy"}, "final", "content-filter"),
        (403, {"message": "Your chosen model requires moderation and your input was flagged"}, "final", "content-filter"),
        (401, {"message": "Incorrect API key"}, "refused", "auth"),
        (402, {"message": "Insufficient credits"}, "refused", "quota"),
        (403, {"message": "Country not supported"}, "refused", "auth"),
        (404, {"message": "The model `x` does not exist"}, "refused", "not-found"),
        (307, None, "refused", "not-found"),
        (408, None, "retry", "timeout"),
        (409, None, "retry", "server"),
        (429, {"message": "slow down", "code": "rate_limit_exceeded"}, "retry", "rate-limit"),
        (429, {"message": "You exceeded your current quota", "code": "insufficient_quota"}, "stop", "quota"),
        (500, None, "retry", "server"),
        (503, None, "retry", "server"),
        (529, None, "retry", "server"),
        (501, None, "final", "bad-request"),
    ],
)
def test_classes_of_errors(status: int, error: Any, action: str, kind: str) -> None:
    found = verdict(reply(status, error), 0.0)
    assert (found.action, found.kind, found.status) == (action, kind, status)
    assert str(status) in found.message


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (b'{"error": {"message": "no", "code": "c", "type": "t"}}', "no", "c"),
        (b'{"error": {"message": "no", "code": null, "type": "t"}}', "no", "t"),
        (b'{"error": "model \'x\' not found"}', "model 'x' not found", ""),
        (b'{"object": "error", "message": "too\\nbad", "code": 400}', "too bad", "400"),
        (b'{"detail": [{"loc": ["n"], "msg": "bad"}]}', '[{"loc": ["n"], "msg": "bad"}]', ""),
        (b"plain words", "plain words", ""),
        (b"", "", ""),
        (b"[1]", "[1]", ""),
    ],
)
def test_what_servers_say(body: bytes, message: str, code: str) -> None:
    assert said(reply(400, body)) == (message, code)


def test_pages_and_long_texts_stay_short() -> None:
    assert said(reply(502, b"<html>...", content_type="text/html")) == ("an HTML page", "")
    assert len(said(reply(400, {"message": "x" * 10_000}))[0]) <= 300


def test_the_wait_that_a_server_asks_for_is_kept() -> None:
    assert verdict(reply(429, None, retry_after="3"), 0.0).after == 3.0
    assert verdict(reply(503, None, retry_after_ms="20"), 0.0).after == 0.02
    assert 3.0 <= backoff(1, 3.0, 0.99) <= 3.4


def test_waits_double_up_to_a_bound_with_full_jitter() -> None:
    assert [backoff(n, None, 1.0) for n in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert backoff(5, None, 0.0) == 0.0
    assert backoff(10_000, None, 0.5) == 15.0


def test_no_reply_is_tried_again() -> None:
    found = broken(TransportError("timeout", "no reply"))
    assert (found.action, found.kind, found.throttled) == ("retry", "timeout", False)


def test_an_error_in_a_reply_with_status_200_counts_as_what_it_is() -> None:
    ok = reply(200)
    limited = inner_error({"error": {"message": "upstream", "code": 429}}, ok)
    assert limited is not None
    assert limited.status == 429
    odd = inner_error({"error": "upstream broke"}, ok)
    assert odd is not None
    assert odd.status == 502
    assert inner_error({"choices": [], "error": None}, ok) is None
    assert inner_error({"choices": []}, ok) is None


def test_keys_that_a_server_quotes_are_blanked() -> None:
    secrets.protect(["canary-0123456789"])
    text, _ = said(reply(401, {"message": "Incorrect key: sk-proj-****wxyz; you sent canary-0123456789"}))
    assert text == "Incorrect key: ***; you sent ***"
