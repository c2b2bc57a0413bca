"""One call until it is answered or given up: attempts, waits, limits."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from evalkit.errors import Incomplete, ModelError
from evalkit.models.remote.base import Call, Reply, Transport, TransportError
from evalkit.models.remote.limits import Limits, drained
from evalkit.models.remote.retry import Verdict, backoff, broken, inner_error, verdict
from evalkit.types import Failure

#: A server from which nothing has come for so long, with so many attempts in between, is down.
OUTAGE_S = 30.0
OUTAGE_ATTEMPTS = 10
#: A wait from which on (seconds) the user is told.
TOLD_S = 10.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long a call is tried (seconds)."""

    max_retries: int = 8
    attempt_timeout: float = 300.0
    timeout: float = 1200.0
    outage: float = OUTAGE_S


@dataclass(frozen=True, slots=True)
class Answered:
    """A decoded 2xx reply and how many attempts it took."""

    body: Mapping[str, Any]
    reply: Reply
    attempts: int


class Halt(Exception):
    """The run is being stopped: this call stays unanswered."""


class Caller:
    """Sends calls within limits, again where that can help. For one event loop and one server.

    Args:
        recheck: asks the server something it answered before; returns a Verdict where it does not any more. Tells a key
            that was revoked from one request that is turned away.
    """

    def __init__(
        self,
        transport: Transport,
        limits: Limits,
        patience: Patience,
        recheck: Callable[[], Awaitable[Verdict | None]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._limits = limits
        self._patience = patience
        self._recheck = recheck
        self._clock = clock
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._halted = asyncio.Event()
        self._checking = asyncio.Lock()
        self._checked: tuple[float, Verdict | None] = (-1e9, None)
        self._chance = random.Random()
        self._heard = clock()
        self._unheard = 0

    def halt(self) -> None:
        """No further attempt begins; who waits for one gets `Halt`."""
        self._halted.set()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(Halt())
        self._waiters.clear()

    async def ask(self, call: Call) -> Answered | Failure:
        """The server's answer, or why there is none.

        Raises Halt while stopping, and Incomplete for what keeps every further request from being answered.
        """
        patience = self._patience
        deadline = math.inf
        attempt = 0
        failure: Failure | None = None
        while True:
            await self._admitted(call.tokens)
            started = self._clock()
            if attempt == 0:
                deadline = started + patience.timeout  # a pace that the user asked for is no fault of the server
            elif failure is not None and started >= deadline:
                self._leave()
                return failure
            attempt += 1
            try:
                reply = await self._transport.send(call, min(patience.attempt_timeout, deadline - started))
            except TransportError as error:
                found: Answered | Verdict = broken(error)
            except ModelError as error:  # no token to be had any more
                raise Incomplete(str(error)) from error
            else:
                found = self._read(reply, call, attempt)
            finally:
                self._leave()
            if isinstance(found, Answered):
                self._limits.succeeded(self._clock())
                return found
            failure = await self._weigh(found, started, attempt)
            wait = backoff(attempt, found.after, self._chance.random())
            late = attempt > patience.max_retries or self._clock() + wait >= deadline
            if not failure.retryable or found.action != "retry" or late:
                return failure
            await self._sleep(wait)

    async def _weigh(self, found: Verdict, started: float, attempt: int) -> Failure:
        """The failure that an attempt without an answer is, if it is the last. Raises Incomplete where all will be."""
        now = self._clock()
        if found.action == "stop":
            raise Incomplete(f"the server answers no more: {found.message}")
        if found.action == "refused":
            return await self._refused(found, attempt)
        if found.throttled:
            if found.after is not None and found.after > self._patience.timeout:
                raise Incomplete(f"the server asks to wait for {found.after:.0f} s: {found.message}")
            if found.after is not None and found.after >= TOLD_S and not self._limits.paused(now):
                log.warning("waiting %.0f s, as the server asks: %s", found.after, found.message)
            self._limits.throttled(started, now, found.after)
        elif found.action == "retry":
            self._limits.troubled(now)
            self._watch(found, now)
        return Failure(found.kind, found.message, found.action == "retry", found.status, attempt)

    def _read(self, reply: Reply, call: Call, attempt: int) -> Answered | Verdict:
        self._heard, self._unheard = self._clock(), 0
        if not 200 <= reply.status < 300:
            return verdict(reply, time.time())
        try:
            body = json.loads(reply.body)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            kind = reply.headers.get("content-type", "no content type")
            return Verdict(
                "retry", "protocol", f"the reply is no JSON object ({kind}, {len(reply.body)} bytes)", reply.status
            )
        inner = inner_error(body, reply)
        if inner is not None:
            return verdict(inner, time.time())
        self._note(reply, call, body)
        return Answered(body, reply, attempt)

    def _note(self, reply: Reply, call: Call, body: Mapping[str, Any]) -> None:
        """What the reply says about limits and use."""
        usage = body.get("usage")
        if isinstance(usage, dict) and isinstance(usage.get("total_tokens"), int):
            self._limits.used(call.tokens, usage["total_tokens"])
        if "x-ratelimit-remaining-requests" in reply.headers or "x-ratelimit-remaining-tokens" in reply.headers:
            wait = drained(reply.headers, self._limits.in_flight, call.tokens, time.time())
            if wait:
                self._limits.pause(min(wait, 60.0), self._clock())

    async def _refused(self, found: Verdict, attempt: int) -> Failure:
        """401, 402, 403 or 404 in mid-run: the end of the run, or (a firewall, a gateway's rules) of this request."""
        async with self._checking:
            checked, result = self._checked
            if self._clock() - checked > 1.0:
                result = await self._recheck()
                self._checked = (self._clock(), result)
        if result is not None:
            raise Incomplete(f"the server turns requests away: {result.message}")
        return Failure(found.kind, found.message, retryable=found.kind == "quota", status=found.status, attempts=attempt)

    def _watch(self, found: Verdict, now: float) -> None:
        """Give up on a server that is not there, rather than wait out every request's retries."""
        enough = {"connection": self._patience.outage, "timeout": 2 * self._patience.attempt_timeout}.get(found.kind)
        if enough is None:
            return
        self._unheard += 1
        silent = now - self._heard
        if self._unheard == OUTAGE_ATTEMPTS:
            log.warning("the server does not answer: %s (trying for %.0f s)", found.message, enough)
        if self._unheard >= OUTAGE_ATTEMPTS and silent >= enough:
            raise Incomplete(f"the server is down: {found.message} (for {silent:.0f} s)")

    # --- slots and waits ----------------------------------------------------------------------------------------

    async def _admitted(self, tokens: int) -> None:
        """Wait for room, for the paces and for the end of a pause; the call then counts as on its way."""
        limits = self._limits
        if limits.room and not self._waiters:
            limits.in_flight += 1
        else:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter  # who lets it in counts it
        try:
            wait = limits.reserve(tokens, self._clock())
            if wait > 0:
                await self._sleep(wait)
            while pause := limits.paused(self._clock()):
                await self._sleep(pause)
            if self._halted.is_set():
                raise Halt
        except BaseException:
            self._leave()
            raise

    def _leave(self) -> None:
        """A call is no longer on its way; let in who waits."""
        limits = self._limits
        limits.in_flight -= 1
        free = int(limits.limit) - limits.in_flight
        while free > 0 and self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                limits.in_flight += 1
                free -= 1

    async def _sleep(self, seconds: float) -> None:
        """Sleep; raises Halt where the run is stopped meanwhile."""
        try:
            await asyncio.wait_for(self._halted.wait(), seconds)
        except TimeoutError:
            return
        raise Halt
