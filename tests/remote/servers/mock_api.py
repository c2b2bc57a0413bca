"""An OpenAI-compatible API that thinks nothing: fixed answers after a fixed latency, counters, and faults on demand.

    python mock_api.py [--port 0] [--latency 0.05] [--log FILE]

Prints its port, then serves until it is killed. ``POST /control`` takes the settings (see `Settings`), ``GET /stats`` gives
counters, ``GET /headers`` the headers of the last request. Standard library only and its own HTTP, so that a request costs
it about 0.1 ms of CPU and it can be the other side of a benchmark.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import hashlib
import json
import os
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import mock_answers
from mock_faults import Limit, Rules

REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 429: "Too Many Requests"}
_RESET = struct.pack("ii", 1, 0)
Rule = Mapping[str, Any]
EMPTY: Rule = {}


class Settings:
    """What ``POST /control`` sets, all at once: what is not named goes back to its default.

    ``latency`` (s), ``jitter`` (s, added by content, up to), ``rules`` (see `mock_faults.Rules`), ``limit`` (see
    `mock_faults.Limit`), ``reply`` (as the ``reply`` fault, for every answer), ``key`` (the API key asked for), ``models``,
    ``marker`` (calls with this text in their body are counted as ``marked``, and timed: ``span_s``).
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.latency = float(given.get("latency", 0.0))
        self.jitter = float(given.get("jitter", 0.0))
        self.rules = Rules(given.get("rules", ()))
        self.ruled = bool(given.get("rules"))
        self.limit = Limit(given["limit"]) if given.get("limit") else None
        self.reply = given.get("reply", {})
        self.key = given.get("key")
        self.models = given.get("models", ["mock", "mock-2"])
        self.marker = str(given.get("marker", "")).encode()
        unknown = set(given) - {"latency", "jitter", "rules", "limit", "reply", "key", "models", "marker"}
        if unknown:
            raise ValueError(f"unknown settings {sorted(unknown)}")


class Counters:
    """Of requests to the API; ``outcomes`` counts statuses and faults as they were carried out."""

    def __init__(self) -> None:
        self.requests = 0
        self.in_flight = 0
        self.max_in_flight = 0
        self.connections = 0
        self.marked = 0
        self.begun = self.ended = 0.0
        self.attempts: Counter[str] = Counter()
        self.paths: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()

    def as_json(self, limit: Limit | None) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "distinct": len(self.attempts),
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "connections": self.connections,
            "marked": self.marked,
            "span_s": self.ended - self.begun,
            "paths": dict(self.paths),
            "outcomes": dict(self.outcomes),
            "refused": limit.refused if limit else 0,
            "cpu_s": time.process_time(),
        }


class State:
    """What all connections share."""

    def __init__(self, settings: Settings, log: int | None) -> None:
        self.settings, self.log = settings, log
        self.counters = Counters()
        self.headers = b""

    def note(self, outcome: str, path: str, digest: str, text: str) -> None:
        """Count what became of a request; with a log, one line of JSON that survives this process."""
        self.counters.outcomes[outcome] += 1
        if self.log is not None:
            line = {"outcome": outcome, "path": path, "digest": digest, "text": text, "t": time.time()}
            os.write(self.log, json.dumps(line).encode() + b"\n")


class Connection(asyncio.Protocol):
    """One connection, one request at a time, kept open."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.loop = asyncio.get_running_loop()
        self.buffer = b""
        self.busy = self.gone = self.hanging = self.asked = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, error: Exception | None) -> None:
        self.gone = True
        self.state.counters.in_flight -= self.hanging

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.busy:
            self.next()

    def next(self) -> None:
        """Serve the request in the buffer, if there is a whole one."""
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lower = head.lower()
        at = lower.find(b"\r\ncontent-length:")
        length = int(lower[at + 17 : (lower + b"\r\n").find(b"\r\n", at + 2)]) if at >= 0 else 0
        if len(rest) < length:
            return
        body, self.buffer = rest[:length], rest[length:]
        self.busy = True
        method, target, _ = head.partition(b"\r\n")[0].decode().split(" ")
        path = target.partition("?")[0]
        if method == "POST" and path != "/control":
            self.state.headers = head
            self.ask(path, head, body)
        else:
            self.housekeeping(method, path, body)

    def housekeeping(self, method: str, path: str, body: bytes) -> None:
        state = self.state
        if path == "/control":
            state.settings = Settings(json.loads(body))
            self.send(200, {})
        elif path == "/reset":
            state.counters = Counters()
            self.send(200, {})
        elif path == "/stats":
            self.send(200, state.counters.as_json(state.settings.limit))
        elif path == "/headers":
            lines = [line.partition(":") for line in state.headers.decode("latin-1").split("\r\n")[1:]]
            target = state.headers.decode("latin-1").split(" ")[1] if state.headers else ""
            self.send(200, {":target": target, **{name.lower(): value.strip() for name, _, value in lines}})
        elif method == "GET" and path.endswith("/models"):
            self.send(200, mock_answers.models(state.settings.models))
        elif method == "GET" and "/models/" in path and path.rpartition("/")[2] in state.settings.models:
            self.send(200, mock_answers.models([path.rpartition("/")[2]])["data"][0])
        else:
            self.send(404, error(f"no such path {path}", "invalid_request_error", "not_found"))

    def ask(self, path: str, head: bytes, body: bytes) -> None:
        """A call of the API: count it, find what is to happen to it, and answer after the latency."""
        state, counters = self.state, self.state.counters
        digest = hashlib.blake2b(path.encode() + body, digest_size=8).hexdigest()
        number, attempt = counters.requests, counters.attempts[digest]
        counters.requests += 1
        counters.connections += not self.asked
        self.asked = True
        counters.attempts[digest] += 1
        counters.paths[path] += 1
        counters.in_flight += 1
        counters.max_in_flight = max(counters.max_in_flight, counters.in_flight)
        settings = state.settings
        if settings.marker and settings.marker in body:
            counters.begun = counters.begun or time.monotonic()
            counters.marked += 1
        rule = settings.rules.pick(number, attempt, path, body, digest) if settings.ruled else None
        call = Call(path, head, body, digest, rule or {})
        delay = settings.latency + call.rule.get("seconds", 0.0)
        if settings.jitter:
            delay += settings.jitter * int(digest[:4], 16) / 65536
        if delay:
            self.loop.call_later(delay, self.answer, call)
        else:
            self.answer(call)

    def answer(self, call: Call) -> None:
        state, fault = self.state, call.rule.get("fault")
        self.hanging = fault == "hang" and not self.gone
        state.counters.in_flight -= not self.hanging
        state.counters.ended = time.monotonic()
        if self.gone:
            state.note("gone", call.path, call.digest, call.text)
        elif fault in ("reset", "hang", "die"):
            state.note(fault, call.path, call.digest, call.text)
            if fault == "die":
                os._exit(1)
            if fault == "reset":
                self.reset()
        else:
            self.reply(call)

    def reply(self, call: Call) -> None:
        settings, rule = self.state.settings, call.rule
        status, found, headers = 200, {}, {}
        if settings.limit is not None:
            refused = settings.limit.refuse(call.tokens, self.state.counters.in_flight + 1)
            headers = settings.limit.headers() if refused is None else refused
            if refused is not None:
                status, found = 429, error("Rate limit reached", "requests", "rate_limit_exceeded")
        if settings.key is not None and call.key != settings.key:
            status, found = 401, error(f"Incorrect API key provided: {call.key}", "invalid_request_error", "invalid_api_key")
        elif status == 200 and rule.get("fault") == "status":
            status, found = rule["status"], fault_body(rule, call)
            headers = {**headers, **rule.get("headers", {})}
            if "retry_after" in rule:
                headers["retry-after"] = str(rule["retry_after"])
        elif status == 200:
            status, found = content(call, settings.reply)
        self.state.note(
            str(status) if rule.get("fault", "reply") in GOOD else rule["fault"], call.path, call.digest, call.text
        )
        self.send(status, found, headers, rule)

    def send(self, status: int, found: Any, headers: Mapping[str, str] | None = None, rule: Rule = EMPTY) -> None:
        fault = rule.get("fault")
        kind, body = "application/json", json.dumps(found).encode()
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items()) if headers else ""
        if fault == "html":
            kind, body = "text/html", b"<html><body><h1>502 Bad Gateway</h1></body></html>"
        elif fault == "not-json":
            body = b"upstream connect error or disconnect before headers"
        elif fault == "truncated-json":
            body = body[: len(body) // 2]
        elif fault == "gzip":
            body, more = gzip.compress(body), more + "content-encoding: gzip\r\n"
        start = f"HTTP/1.1 {status} {REASONS.get(status, 'Error')}\r\ncontent-type: {kind}\r\n{more}"
        head = f"{start}content-length: {len(body)}\r\n\r\n".encode()
        if fault in ("cut", "reset-body"):
            self.transport.write(head + body[: len(body) // 2])
            # What was written must have left before the reset, which throws away what is still queued.
            self.loop.call_later(0.02, self.transport.close if fault == "cut" else self.reset)
        elif fault == "trickle":
            self.trickle(head + body, 0, rule.get("interval", 0.05))
        else:
            self.transport.write(head + body)
            self.done()

    def trickle(self, data: bytes, at: int, interval: float) -> None:
        if self.gone:
            return
        self.transport.write(data[at : at + 1])
        if at + 1 < len(data):
            self.loop.call_later(interval, self.trickle, data, at + 1, interval)
        else:
            self.done()

    def done(self) -> None:
        self.busy = False
        if self.buffer:
            self.next()

    def reset(self) -> None:
        if not self.gone:
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()


class Call:
    """A request to the API, decoded as far as it is needed."""

    __slots__ = ("body", "digest", "head", "path", "raw", "rule", "text")

    def __init__(self, path: str, head: bytes, raw: bytes, digest: str, rule: Rule) -> None:
        self.path, self.head, self.raw, self.digest, self.rule = path, head, raw, digest, rule
        try:
            self.body = json.loads(raw) if raw else {}
        except ValueError:
            self.body = {}
        self.text = mock_answers.last_text(self.body)[:200]

    @property
    def key(self) -> str:
        for line in self.head.decode("latin-1").split("\r\n"):
            name, _, value = line.partition(":")
            if name.lower() in ("authorization", "api-key"):
                return value.strip().removeprefix("Bearer ")
        return ""

    @property
    def tokens(self) -> int:
        longest = self.body.get("max_completion_tokens") or self.body.get("max_tokens") or 16
        return len(self.raw) // 4 + int(longest)


#: Faults after which the client has a good answer.
GOOD = frozenset({"reply", "gzip", "slow", "same-id", "status"})


def error(message: str, kind: str, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def fault_body(rule: Rule, call: Call) -> dict[str, Any]:
    message = rule.get("message", f"mock error {rule['status']}")
    if rule.get("echo_key"):
        message += f" (you sent {call.key})"
    return error(message, rule.get("type", "mock_error"), rule.get("code"))


def content(call: Call, reply: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """The answer of the endpoint, with what the rule does to it."""
    endpoint = next((e for end, e in mock_answers.ENDPOINTS.items() if call.path.endswith(end)), None)
    if endpoint is None:
        return 404, error(f"no such path {call.path}", "invalid_request_error", "not_found")
    rule, extra = call.rule, dict(reply)
    fault = rule.get("fault")
    identity = "mock-same" if fault == "same-id" else f"mock-{call.digest}"
    if fault == "reply":
        extra.update(rule)
    elif fault == "wrong-n":
        extra["n"] = (call.body.get("n") or 1) + 1
    elif fault == "content-filter":
        extra.update(finish="content_filter", message={"content": ""}, text="")
        extra["response"] = {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}
    elif fault == "refusal":
        said = "I cannot help with that."
        parts = [{"type": "refusal", "refusal": said}]
        chat = endpoint is mock_answers.chat
        extra["message"] = {"content": None, "refusal": said} if chat else {"content": parts}
    found = endpoint(call.body, identity, extra)
    if fault == "empty-choices":
        found["output" if "output" in found else "choices"] = []
    return 200, found


async def serve(port: int, state: State) -> None:
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(state), "127.0.0.1", port, reuse_address=True, backlog=1024
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--log", help="append a line of JSON a request")
    given = parser.parse_args()
    log = os.open(given.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) if given.log else None
    asyncio.run(serve(given.port, State(Settings({"latency": given.latency}), log)))


if __name__ == "__main__":
    main()
