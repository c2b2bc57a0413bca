"""Records of a stored run: samples joined with their responses and filter outputs, streamed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from evalkit.runner.store import RunStore
from evalkit.tasks.base import Filter, texts
from evalkit.types import Record

#: Records in memory at once while scoring.
CHUNK = 1024


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

    def __iter__(self) -> Iterator[Record]:
        for chunk in self.chunks():
            yield from chunk

    def at(self, positions: Sequence[int]) -> list[Record]:
        """The records at these positions. Filters run on complete ones only: a failure has no text to filter."""
        records = []
        for position in positions:
            sample, requests = self._samples[position]
            responses = tuple(self._journal.get(q.key) for q in requests)
            records.append(Record(sample, requests, responses, self._filter.name))
        complete = [i for i, record in enumerate(records) if record.complete]
        answers = self._filter.apply(
            [texts(records[i].responses) for i in complete], [records[i].sample.doc for i in complete]
        )
        for i, answer in zip(complete, answers, strict=True):
            records[i] = replace(records[i], answer=answer)
        return records
