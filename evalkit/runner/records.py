"""Records of a stored run: samples joined with their responses and filter outputs, streamed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from evalkit.runner.store import RunStore
from evalkit.scorers.base import Scorer
from evalkit.tasks.base import Filter, texts
from evalkit.types import Record, Request, Response, Sample, Score

#: Records in memory at once while scoring.
CHUNK = 1024


T = TypeVar("T")

#: Work in pieces. What it gives between two of them tells whether the next one can be done yet; who goes on regardless
#: takes what is there for all that will come.
Pieces = Generator[Callable[[], bool], None, T]


class Scored(Protocol):
    """What scoring needs of a task; a built Task and one read back from a manifest both have it."""

    @property
    def name(self) -> str: ...

    @property
    def filters(self) -> tuple[Filter, ...]: ...

    @property
    def scorers(self) -> tuple[Scorer, ...]: ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How records are scored while answers still come: ``size`` records a piece, once all their answers are ``final``.

    ``final`` tells of a request key whether nothing else will come back for it.
    """

    size: int
    final: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class RecordView:
    """A record as one filter leaves it, with its scores by scorer name. ``status``: ok, error or missing."""

    task: str
    filter: str
    status: str
    record: Record
    scores: Mapping[str, Score]


#: Who is shown every record with its scores, in the order of tasks, filters and samples.
Watch = Callable[[RecordView], None]


def viewed(task: str, filter_: str, record: Record, scores: Mapping[str, Score]) -> RecordView:
    """A record's view."""
    status = "ok" if record.complete else "error" if record.failure else "missing"
    return RecordView(task, filter_, status, record, scores)


class TaskRecords:
    """The records of one task as one filter pipeline leaves them."""

    def __init__(self, store: RunStore, task: str, filter_: Filter) -> None:
        self._samples = store.samples(task)
        self._planned = int(store.manifest["tasks"][task]["samples"])
        self._journal = store.journal
        self._filter = filter_

    def __len__(self) -> int:
        return len(self._samples)

    def chunks(self, size: int = CHUNK) -> Iterator[list[Record]]:
        """All records in order, some at a time."""
        for start in range(0, len(self), size):
            yield self.at(range(start, min(start + size, len(self))))
        self.rest()

    def __iter__(self) -> Iterator[Record]:
        for chunk in self.chunks():
            yield from chunk

    def chunk(self, start: int, pace: Pace | None = None) -> Pieces[list[Record]]:
        """The chunk from position ``start`` on, empty behind the last record; at a ``pace`` each piece as it is answered."""
        if pace is None:
            return self.at(range(start, min(start + CHUNK, len(self))))
        found: list[Answered] = []
        for first in range(start, min(start + CHUNK, self._planned), pace.size):
            last = min(first + pace.size, start + CHUNK, self._planned)
            yield partial(self._stored, last)
            asked = [self._samples[position] for position in range(first, min(last, len(self)))]
            yield partial(_all_final, [q.key for _, requests in asked for q in requests], pace.final)
            found += map(self._answered, asked)
        return filtered(self._filter, found)

    def _stored(self, count: int) -> bool:
        return len(self._samples) >= count

    def rest(self) -> None:
        """All were read: let go of open files."""
        self._samples.rest()

    def at(self, positions: Sequence[int]) -> list[Record]:
        """The records at these positions."""
        found = [self._samples[position] for position in positions]
        return filtered(self._filter, list(map(self._answered, found)))

    def _answered(self, item: tuple[Sample, tuple[Request, ...]]) -> Answered:
        get = self._journal.get
        return (*item, tuple([get(q.key) for q in item[1]]))


def _all_final(keys: list[str], final: Callable[[str], bool]) -> bool:
    """Whether all answers are there; takes from ``keys`` those that are, so that none is looked up twice."""
    while keys and final(keys[-1]):
        keys.pop()
    return not keys


#: A sample, its requests, and a response (or none yet) for each.
Answered = tuple[Sample, tuple[Request, ...], tuple[Response | None, ...]]


def filtered(filter_: Filter, found: Sequence[Answered]) -> list[Record]:
    """Records as a filter pipeline leaves them. It sees complete ones only: a failure has no text to filter."""
    whole = [all([r is not None and r.error is None for r in responses]) for _, _, responses in found]
    complete = [item for item, ok in zip(found, whole, strict=True) if ok]
    answers = iter(filter_.apply([texts(item[2]) for item in complete], [item[0].doc for item in complete]))
    return [Record(*item, filter_.name, next(answers) if ok else None) for item, ok in zip(found, whole, strict=True)]
