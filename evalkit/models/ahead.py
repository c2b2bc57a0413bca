"""One piece of work ahead: done on a thread of its own while the calling thread is busy with the one before."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")

#: Asked now and then by the work: whether its result is not wanted any more.
Halted = Callable[[], bool]


class HaltedError(Exception):
    """The work was given up half-way, because nobody wants its result any more."""


class Ahead(Generic[T]):
    """Holds at most one result that was not asked for yet, so memory is bounded. A context manager.

    Leaving it, or setting ``stop``, halts the work that is under way. ``background`` False does the work when its
    result is asked for, on the calling thread.
    """

    def __init__(self, stop: threading.Event, *, background: bool = True) -> None:
        self._stop = stop
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(1, "evalkit-ahead") if background else None
        self._waiting: Callable[[], T] | None = None

    def start(self, work: Callable[[Halted], T]) -> None:
        """Begin with ``work``; the result of what was started before must have been taken."""
        assert self._waiting is None
        if self._pool is None:
            self._waiting = lambda: work(self._halted)
        else:
            future: Future[T] = self._pool.submit(work, self._halted)
            self._waiting = future.result

    def take(self) -> T | None:
        """The result, once it is there; None where nothing was started. What the work raised is raised here."""
        waiting, self._waiting = self._waiting, None
        return None if waiting is None else waiting()

    def __enter__(self) -> Ahead[T]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _halted(self) -> bool:
        return self._stop.is_set() or self._over.is_set()
