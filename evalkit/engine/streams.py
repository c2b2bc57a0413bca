"""Steps of a plan run on several threads at once, each with its share of the cores.

Two passes side by side on one core each are faster than one pass on two cores after the other: nothing waits at the end of
each small operation for the slowest core. The operators of torch release Python's lock, so threads are enough.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from evalkit.engine.plan import Step

Result = TypeVar("Result")

#: The keys and values of one path's beginning, layer by layer; never changed once made.
Kept = list[Any]

#: Runs a step after what is kept of its path; its result, and what is kept now (None where the step keeps nothing).
Work = Callable[[Step, Kept], tuple[Result, Kept | None]]

#: Passes side by side at most; beyond that, cores work together within a pass.
_MOST = 4

#: Steps looked ahead for the next beginning that others wait for.
_AHEAD = 16


@dataclass(slots=True, eq=False)
class _Node(Generic[Result]):
    """A step, the one that must have run before it, and what it keeps once it has."""

    step: Step
    after: _Node[Result] | None
    kept: Kept | None = None
    done: bool = False

    @property
    def ready(self) -> bool:
        return self.after is None or self.after.done


class Streams:
    """Runs steps on ``count`` threads with ``threads`` cores each; with one, in the calling thread.

    ``behind``: a result is handed over when the next step has been started. On a GPU, where starting a step does not wait
    for it, the host then prepares the next one meanwhile.
    """

    def __init__(self, count: int, threads: int, *, behind: bool = False) -> None:
        self.count, self.threads, self.behind = count, threads, behind

    def run(self, steps: Iterator[Step], work: Work[Result], got: Callable[[Result], None], stop: threading.Event) -> None:
        """Hand each step's result to ``got``, on the calling thread and as it is there. No step begins once ``stop`` is set.

        An error of ``work`` is raised after the steps in flight have ended; what they gave was handed over.
        """
        nodes = _linked(steps)
        if self.count == 1:
            self._one_by_one(nodes, work, got, stop)
            return
        with _threads(self.threads), ThreadPoolExecutor(self.count, "evalkit-pass", _set_threads, (self.threads,)) as pool:
            self._schedule(nodes, work, got, stop, pool)

    def _one_by_one(
        self, nodes: Iterator[_Node[Result]], work: Work[Result], got: Callable[[Result], None], stop: threading.Event
    ) -> None:
        started: deque[Result] = deque()
        try:
            for node in nodes:
                if stop.is_set():
                    break
                started.append(_run(node, work))
                while len(started) > self.behind:
                    got(started.popleft())
        finally:
            while started:
                got(started.popleft())

    def _schedule(
        self,
        nodes: Iterator[_Node[Result]],
        work: Work[Result],
        got: Callable[[Result], None],
        stop: threading.Event,
        pool: ThreadPoolExecutor,
    ) -> None:
        waiting: deque[_Node[Result]] = deque()
        running: dict[Future[Result], _Node[Result]] = {}
        failed: BaseException | None = None
        while True:
            while len(waiting) < _AHEAD and (node := next(nodes, None)) is not None:
                waiting.append(node)
            # One more than there are threads, so that none waits while results are handed over.
            while len(running) <= self.count and failed is None and not stop.is_set():
                chosen = _next(waiting)
                if chosen is None:
                    break
                if not running and not any(node.ready for node in waiting):
                    got(self._together(chosen, work))  # the others would only wait for it
                    continue
                running[pool.submit(_run, chosen, work)] = chosen
            if not running:
                break
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                running.pop(future)
                error = future.exception()
                if error is None:
                    got(future.result())
                failed = failed or error
        if failed is not None:
            raise failed

    def _together(self, node: _Node[Result], work: Work[Result]) -> Result:
        _set_threads(self.count * self.threads)
        try:
            return _run(node, work)
        finally:
            _set_threads(self.threads)


def streams_for(device: Any, *, parallel: bool) -> Streams:
    """As many as the cores that torch may use allow; one where the model or the device takes one pass at a time."""
    import torch

    threads = torch.get_num_threads()
    if not parallel or device.type != "cpu" or threads < 2:
        return Streams(1, threads, behind=device.type == "cuda")
    count = min(threads, _MOST)
    return Streams(count, threads // count)


def _linked(steps: Iterator[Step]) -> Iterator[_Node[Any]]:
    """Each step with the last one that kept something of the path it continues."""
    path: list[_Node[Any]] = []
    for step in steps:
        while path and path[-1].step.start >= step.start:
            path.pop()
        node: _Node[Any] = _Node(step, path[-1] if path else None)
        if step.keep:
            path.append(node)
        yield node


def _next(waiting: deque[_Node[Any]]) -> _Node[Any] | None:
    """The first step that can run, those first that others wait for."""
    chosen = next((node for node in waiting if node.ready and node.step.keep), None)
    if chosen is None:
        chosen = next((node for node in waiting if node.ready), None)
    if chosen is not None:
        waiting.remove(chosen)
    return chosen


def _run(node: _Node[Result], work: Work[Result]) -> Result:
    import torch

    kept: Kept = node.after.kept or [] if node.after is not None else []
    node.after = None  # so that a beginning is given back with the last step that needs it
    with torch.no_grad():
        result, node.kept = work(node.step, kept)
    node.done = True
    return result


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    """The number is each thread's own, but the matrix library keeps one for all: it is set back at the end."""
    import torch

    before = torch.get_num_threads()
    _set_threads(threads)
    try:
        yield
    finally:
        _set_threads(before)
