"""Ask a model every request that has no answer yet, and journal what comes back."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

from evalkit.errors import Incomplete
from evalkit.models.base import Model
from evalkit.runner.journal import Journal
from evalkit.types import Request, Response

#: So many failures in a row, with no answer between them, are the endpoint's or the device's fault, not the samples'.
SYSTEMIC_FAILURES = 100


class Observer(Protocol):
    """Who wants to know how a run proceeds (`evalkit.api.Progress` is one)."""

    def answered(self, task: str, response: Response) -> None: ...


@dataclass(slots=True)
class Execution:
    """How one pass over the requests went. ``resumed`` counts requests whose answer was there before, equal ones each."""

    asked: int = 0
    answered: int = 0
    failed: int = 0
    resumed: int = 0
    retryable: int = 0
    """Failures that asking again could mend."""
    unanswered: int = 0
    stopped: bool = False
    systemic: str | None = None
    seconds: float = 0.0

    def __iadd__(self, other: Execution) -> Execution:
        for name in ("asked", "answered", "failed", "resumed", "retryable", "unanswered", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.stopped |= other.stopped
        self.systemic = self.systemic or other.systemic
        return self


class Pending:
    """The source of an adapter: requests without an answer, each distinct one once."""

    def __init__(self, requests: Iterable[Request], journal: Journal, *, retry_errors: bool, counts: Execution) -> None:
        self._requests = iter(requests)
        self._journal = journal
        self._retry = retry_errors
        self._counts = counts
        self._begin = journal.position()
        self.in_flight: dict[str, Request] = {}

    def take(self, limit: int) -> Sequence[Request]:
        taken: list[Request] = []
        for request in self._requests:
            key = request.key
            if key in self.in_flight:
                continue
            if self._journal.known(key):
                if self._journal.written(key, since=self._begin):
                    continue  # equal to one that this pass asked already
                if self._settled(key):
                    self._counts.resumed += 1
                    continue
            self.in_flight[key] = request
            taken.append(request)
            if len(taken) >= limit:
                break
        self._counts.asked += len(taken)
        return taken

    def _settled(self, key: str) -> bool:
        if key in self._journal:
            return True
        failed = self._journal.failed(key)
        return failed is not None and failed.error is not None and not failed.error.retryable and not self._retry


def execute(
    model: Model,
    requests: Iterable[Request],
    journal: Journal,
    *,
    stop: threading.Event,
    observer: Observer | None = None,
    retry_errors: bool = False,
) -> Execution:
    """Run ``model`` over the requests that have no answer. Each response is journalled before anyone sees it.

    Raises:
        StoreError: the journal cannot be written (a full disk); what was answered before stays.
    """
    counts = Execution()
    source = Pending(requests, journal, retry_errors=retry_errors, counts=counts)
    in_a_row = 0

    def sink(response: Response) -> None:
        nonlocal in_a_row
        request = source.in_flight.pop(response.key, None)
        if request is None:
            return  # an adapter that answers twice, or what nobody asked: the first answer stands
        response = journal.append(response)
        if response.error is None:
            counts.answered += 1
            in_a_row = 0
        else:
            counts.failed += 1
            counts.retryable += response.error.retryable
            in_a_row += 1
            if in_a_row >= SYSTEMIC_FAILURES and response.error.retryable:
                counts.systemic = response.error.message
                stop.set()
        if observer is not None:
            observer.answered(request.task, response)

    begun = time.monotonic()
    try:
        model.run(source, sink, stop)
    except Incomplete as error:  # a server that is gone, a key that was revoked: what was answered is kept and scored
        counts.systemic = str(error)
    finally:
        journal.commit()
    counts.unanswered = len(source.in_flight)
    counts.stopped = stop.is_set()
    counts.seconds = time.monotonic() - begun
    return counts


@contextmanager
def stop_on_signals(stop: threading.Event) -> Iterator[None]:
    """First Ctrl-C (or SIGTERM): finish what is in flight and stop. Second: stop now. Main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
