"""Records of a stored run: samples joined with their responses and filter outputs, streamed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from evalkit.runner.store import RunStore
from evalkit.tasks.base import Filter, texts
from evalkit.types import Record, Request, Response, Sample, Score

#: Records in memory at once while scoring.
CHUNK = 1024


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
        self._journal = store.journal
        self._filter = filter_

    def __len__(self) -> int:
        return len(self._samples)

    def chunks(self, size: int = CHUNK) -> Iterator[list[Record]]:
        """All records in order, some at a time."""
        for start in range(0, len(self), size):
            yield self.at(range(start, min(start + size, len(self))))
        self._samples.rest()

    def __iter__(self) -> Iterator[Record]:
        for chunk in self.chunks():
            yield from chunk

    def at(self, positions: Sequence[int]) -> list[Record]:
        """The records at these positions."""
        get = self._journal.get
        found = [self._samples[position] for position in positions]
        return filtered(self._filter, [(*item, tuple([get(q.key) for q in item[1]])) for item in found])


#: A sample, its requests, and a response (or none yet) for each.
Answered = tuple[Sample, tuple[Request, ...], tuple[Response | None, ...]]


def filtered(filter_: Filter, found: Sequence[Answered]) -> list[Record]:
    """Records as a filter pipeline leaves them. It sees complete ones only: a failure has no text to filter."""
    whole = [all([r is not None and r.error is None for r in responses]) for _, _, responses in found]
    complete = [item for item, ok in zip(found, whole, strict=True) if ok]
    answers = iter(filter_.apply([texts(item[2]) for item in complete], [item[0].doc for item in complete]))
    return [Record(*item, filter_.name, next(answers) if ok else None) for item, ok in zip(found, whole, strict=True)]
