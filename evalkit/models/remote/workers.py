"""Requests from the source to the sink, as many at a time as the limits allow."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from evalkit.errors import ModelError
from evalkit.models.base import BusySink, Sink, Source
from evalkit.models.remote.attempts import Answered, Caller, Halt
from evalkit.models.remote.base import ATTEMPTS, Batching, Endpoint
from evalkit.types import Failure, Request, RequestKind, Response

#: How often (seconds) a wish to stop is looked for, and how long calls on their way may take after it.
LOOK_S = 0.05
GRACE_S = 10.0
#: Attempts at a reply that cannot be read, where the server says that all is well.
_UNREADABLE = 3
#: Seconds below which two rounds of the event loop had no reply to see to.
_QUIET_S = 0.0002
#: Seconds until it is looked again for such a moment: after a busy one, and after one in which the sink had nothing to do.
_BUSY_S, _DONE_S = 0.001, 0.005
#: What reading a reply may raise whose shape nobody thought of.
_UNFORESEEN = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)

T = TypeVar("T")


class Feed:
    """The source, one call's requests at a time: repeats of one prompt together, up to ``most``, else one by one."""

    def __init__(self, source: Source, most: int) -> None:
        self._source = source
        self._most = most
        self._ahead: deque[Request] = deque()

    def next(self) -> Sequence[Request]:
        """Empty when there are no more."""
        if self._most == 1 and not self._ahead:
            return self._source.take(1)
        if not self._ahead:
            self._ahead.extend(self._source.take(self._most))
        if not self._ahead:
            return ()
        first = self._ahead.popleft()
        group = [first]
        while len(group) < self._most and self._more() and _alike(first, self._ahead[0]):
            group.append(self._ahead.popleft())
        return group

    def single(self) -> None:
        """From now on one by one: the server does not know how to answer several."""
        self._most = 1

    def _more(self) -> bool:
        if not self._ahead:
            self._ahead.extend(self._source.take(self._most))
        return bool(self._ahead)


def _alike(a: Request, b: Request) -> bool:
    """Whether two requests are draws for the same prompt."""
    same = (a.kind, a.task, a.sample_id, a.prompt, a.params) == (b.kind, b.task, b.sample_id, b.prompt, b.params)
    return same and a.kind == "generate" and a.sampled


class Workers:
    """Answers everything in a source. The sink is called on the thread that calls `run`, and so is the source.

    A `BusySink` gets the moments in which nothing but waiting is to be done.

    Args:
        endpoints: which endpoint answers a kind of request.
        several: repeats of one prompt that share a call at most.
    """

    def __init__(self, endpoints: Mapping[RequestKind, Endpoint], why_not: Mapping[RequestKind, str], several: int) -> None:
        self._endpoints = endpoints
        self._why_not = why_not
        self._several = several

    async def run(self, caller: Caller, count: int, source: Source, sink: Sink, stop: threading.Event) -> None:
        """Returns when the source is empty, or within `GRACE_S` seconds after ``stop`` is set.

        Raises what the source, the sink or the caller raises, once.
        """
        feed = Feed(source, self._several)
        tasks = [asyncio.ensure_future(self._work(caller, feed, sink, stop)) for _ in range(count)]
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        left = count

        def ended(task: asyncio.Future[None]) -> None:
            nonlocal left
            left -= 1
            if not over.done() and (left == 0 or (not task.cancelled() and task.exception() is not None)):
                over.set_result(None)

        for task in tasks:
            task.add_done_callback(ended)
        if isinstance(sink, BusySink):
            tasks.append(asyncio.ensure_future(_meanwhile(sink.meanwhile)))
        try:
            while not over.done() and not stop.is_set():
                await asyncio.wait({over}, timeout=LOOK_S)
            if not over.done():
                caller.halt()
                await asyncio.wait({over}, timeout=GRACE_S)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result

    async def _work(self, caller: Caller, feed: Feed, sink: Sink, stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                requests = feed.next()
                if not requests:
                    return
                if len(requests) == 1:
                    sink(await self._answer(caller, requests[0]))
                else:
                    await self._answer_several(caller, feed, requests, sink)
        except Halt:
            return

    async def _answer(self, caller: Caller, request: Request) -> Response:
        endpoint = self._endpoints.get(request.kind)
        if endpoint is None:
            why = self._why_not.get(request.kind, f"this endpoint cannot answer {request.kind} requests")
            return Response(request.key, error=Failure("unsupported", why))
        try:
            call = endpoint.call(request)
        except ModelError as error:
            return Response(request.key, error=Failure("unsupported", str(error)))
        attempts = 0
        while True:
            answer = await caller.ask(call)
            if isinstance(answer, Failure):
                return Response(request.key, error=answer)
            attempts += 1
            response = _read(endpoint, request, answer)
            if response.error is None or not response.error.retryable or attempts == _UNREADABLE:
                return _timed(response, answer, answer.attempts + attempts - 1)

    async def _answer_several(self, caller: Caller, feed: Feed, requests: Sequence[Request], sink: Sink) -> None:
        """Repeats in one call; those that it did not answer (a server that does not know ``n``) alone."""
        endpoint: object = self._endpoints.get(requests[0].kind)
        alone = list(requests)
        if isinstance(endpoint, Batching):
            try:
                call = endpoint.batch(requests)
            except ModelError:
                call = None  # told for each
            answer = None if call is None else await caller.ask(call)
            if isinstance(answer, Answered):
                settled = [r for r in _read_all(endpoint, requests, answer) if r.error is None or not r.error.retryable]
                for response in settled:
                    sink(_timed(response, answer, answer.attempts))
                keys = {r.key for r in settled}
                alone = [q for q in requests if q.key not in keys]
                if alone:
                    feed.single()
            elif answer is not None and answer.retryable:
                for request in requests:
                    sink(Response(request.key, error=answer))
                return
            elif answer is not None and answer.kind == "bad-request":
                feed.single()
        for request in alone:
            sink(await self._answer(caller, request))


def _read(endpoint: Endpoint, request: Request, answer: Answered) -> Response:
    """What the endpoint makes of a reply. Servers are many: one that it does not see coming costs an answer, not the run."""
    try:
        return endpoint.response(request, answer.body)
    except _UNFORESEEN as error:
        why = f"the server's reply cannot be read ({type(error).__name__}: {error})"
        return Response(request.key, error=Failure("bad-reply", why, retryable=True))


def _read_all(endpoint: Batching, requests: Sequence[Request], answer: Answered) -> list[Response]:
    """As `_read`, of several; empty where nothing can be made of the reply."""
    try:
        return endpoint.responses(requests, answer.body)
    except _UNFORESEEN:
        return []  # each is asked alone, and tells


def _timed(response: Response, answer: Answered, attempts: int) -> Response:
    """The response with its time and, where it took several, its attempts; written out, for it is made for every request."""
    r = response
    extra = {**r.extra, ATTEMPTS: attempts} if attempts > 1 else r.extra
    return Response(
        r.key, r.text, r.logprob, r.is_greedy, r.tokens, r.prompt_tokens, r.truncated, r.finish,
        round(answer.reply.seconds, 4), r.cost_usd, extra, r.error,
    )  # fmt: skip


async def _meanwhile(work: Callable[[], bool]) -> None:
    """Call ``work`` when nothing else is to be done, until cancelled: no reply waits for longer than one call takes."""
    while True:
        begun = time.perf_counter()
        await asyncio.sleep(0)  # a reply that came meanwhile is read in this round ...
        await asyncio.sleep(0)  # ... and has then made it a long one
        if time.perf_counter() - begun > _QUIET_S:
            await asyncio.sleep(_BUSY_S)
        elif not work():
            await asyncio.sleep(_DONE_S)


def in_loop(main: Callable[[], Awaitable[T]]) -> T:
    """Run ``main()`` in an event loop of its own on this thread, also from inside a loop that runs already (notebooks)."""
    outer = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        with asyncio.Runner() as runner:
            return runner.run(_awaited(main))
    finally:
        asyncio._set_running_loop(outer)


async def _awaited(main: Callable[[], Awaitable[T]]) -> T:
    return await main()
