"""Scoring: records to rows of statistics, in chunks, with one score file a (task, filter, scorer hash)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from evalkit.runner.files import gzipped
from evalkit.runner.judging import hear, judged
from evalkit.runner.records import CHUNK, Pace, Pieces, Scored, T, TaskRecords, Watch, viewed
from evalkit.runner.rows import NO_SLICE, Collector, Rows, read_score
from evalkit.runner.store import RunStore, file_name
from evalkit.scorers.base import Scorer
from evalkit.types import Record, Sample, Score, content_hash

__all__ = [
    "NO_SLICE", "Facts", "Rows", "Scored", "alone", "finished", "in_pieces", "read_score", "score_path",
    "score_task", "scorer_hash",
]  # fmt: skip


@dataclass(slots=True)
class Facts:
    """What a reader must know of a task's answers beside the scores."""

    samples: int = 0
    errors: int = 0
    missing: int = 0
    generations: int = 0
    cut: int = 0
    """Generations that the length limit stopped."""
    truncated: int = 0
    """Samples whose context did not fit the model."""

    def add(self, records: Sequence[Record]) -> None:
        self.samples += len(records)
        for record in records:
            if not record.complete:
                failed = record.failure is not None
                self.errors += failed
                self.missing += not failed
            truncated = False
            for response in record.responses:
                if response is not None:
                    truncated |= response.truncated > 0
                    if response.text is not None:
                        self.generations += 1
                        self.cut += response.finish == "length"
            self.truncated += truncated


def alone(task: Scored) -> bool:
    """Whether a record's scores are known once it is read: no scorer needs a group, or learns its metrics as it goes."""
    return all(scorer.unit == "sample" and not hasattr(scorer, "recall") for scorer in task.scorers)


def score_task(
    store: RunStore, task: Scored, fingerprints: Mapping[str, str], watch: Watch | None = None
) -> tuple[list[Rows], Facts]:
    """Score every record of a task with each of its scorers on each filter's output.

    ``watch`` is shown each record with its scores as a reader of the run would see them; for tasks that are `alone`.
    """
    return finished(in_pieces(store, task, fingerprints, watch))


def in_pieces(
    store: RunStore, task: Scored, fingerprints: Mapping[str, str], watch: Watch | None = None, pace: Pace | None = None
) -> Pieces[tuple[list[Rows], Facts]]:
    """What `score_task` does, in pieces. A ``pace`` is for scorers that judge each record by itself (`runner.scoring`)."""
    hear(task, store.journal, fingerprints)
    rows = []
    facts = Facts()
    for filter_ in task.filters:
        facts = Facts()  # the same whatever the filter
        records = TaskRecords(store, task.name, filter_)
        sample_scorers = [s for s in task.scorers if s.unit == "sample"]
        rows += yield from _score_samples(
            store, task.name, records, filter_.name, sample_scorers, fingerprints, facts, watch, pace
        )
        for scorer in task.scorers:
            if scorer.unit == "group":
                rows.append(_score_groups(store, task.name, records, filter_.name, scorer, fingerprints))
    # an execution that ended early did not even come to these
    rest = max(0, int(store.manifest["tasks"][task.name]["samples"]) - len(store.samples(task.name)))
    facts.missing += rest
    for found in rows:
        found.missing += rest
    order = {id(scorer): i for i, scorer in enumerate(task.scorers)}
    names = {f.name: i for i, f in enumerate(task.filters)}
    return sorted(rows, key=lambda r: (names[r.filter], order[id(r.scorer)])), facts


def finished(work: Pieces[T]) -> T:
    """Do all that is left of ``work``, with what is there."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            found: T = end.value
            return found


def score_path(folder: Path, task: str, filter_: str, scorer: Scorer) -> Path:
    """Where the scores of a scorer stand: the name holds its signature's hash, so nothing is ever overwritten."""
    return (
        folder / "scores" / f"{file_name(task)}.{file_name(filter_)}.{file_name(scorer.name)}.{scorer_hash(scorer)}.jsonl.gz"
    )


def scorer_hash(scorer: Scorer) -> str:
    return content_hash(scorer.signature(), 4)


def _score_samples(
    store: RunStore,
    task: str,
    records: TaskRecords,
    filter_: str,
    scorers: Sequence[Scorer],
    fingerprints: Mapping[str, str],
    facts: Facts,
    watch: Watch | None,
    pace: Pace | None,
) -> Pieces[list[Rows]]:
    size = CHUNK if pace is None else pace.size
    states = [scorer.prepare(records) for scorer in scorers]
    with ExitStack() as stack:
        collectors = [Collector(task, filter_, s, _score_file(stack, store, task, filter_, s)) for s in scorers]
        start = 0
        while chunk := (yield from records.chunk(start, pace)):
            start += len(chunk)
            for first in range(0, len(chunk), size):
                yield _at_once
                piece = chunk[first : first + size]
                facts.add(piece)
                found = _score_piece(store, piece, collectors, states, fingerprints)
                if watch is not None:
                    for record, scores in zip(piece, found, strict=True):
                        watch(viewed(task, filter_, record, scores))
        records.rest()
        return [collector.finish() for collector in collectors]


def _at_once() -> bool:
    return True


def _score_piece(
    store: RunStore,
    records: Sequence[Record],
    collectors: Sequence[Collector],
    states: Sequence[Any],
    fingerprints: Mapping[str, str],
) -> list[dict[str, Score]]:
    """The scores of some records, by the scorers' names."""
    good = [record for record in records if record.complete]
    seen: list[dict[str, Score]] = [{} for _ in records]
    for collector, state in zip(collectors, states, strict=True):
        scorer = collector.rows.scorer
        found_of = [judged(scorer, record, store.journal, fingerprints) for record in good]
        scores = iter(scorer.score(found_of, state))
        for record, found in zip(records, seen, strict=True):
            unit = record.sample.id
            if record.complete:
                found[scorer.name] = collector.add(unit, record.sample, next(scores))
            else:
                found[scorer.name] = collector.fail(unit, record)
    return seen


def _score_groups(
    store: RunStore,
    task: str,
    records: TaskRecords,
    filter_: str,
    scorer: Scorer,
    fingerprints: Mapping[str, str],
) -> Rows:
    """Groups are read one by one by position, so that memory holds one group, not the task."""
    groups: dict[str, list[int]] = {}
    state = scorer.prepare(records)
    with ExitStack() as stack:
        collector = Collector(task, filter_, scorer, _score_file(stack, store, task, filter_, scorer))
        for position, record in enumerate(records):
            name = scorer.group(record)
            if name is None:
                collector.leave_out(record.sample, "belongs to no group")
            else:
                groups.setdefault(name, []).append(position)
        for name, positions in groups.items():
            members = [judged(scorer, r, store.journal, fingerprints) for r in records.at(positions)]
            broken = next((r for r in members if not r.complete), None)
            if broken is not None:
                collector.fail(name, replace(broken, sample=_shared(members)))
            else:
                (score,) = scorer.score(members, state)
                collector.add(name, _shared(members), score)
        return collector.finish()


def _shared(members: Sequence[Record]) -> Sample:
    """What stands for a group: its first sample, with the slices that all members share."""
    first = members[0].sample
    shared = {
        name: value for name, value in first.slices.items() if all(r.sample.slices.get(name) == value for r in members)
    }
    return replace(first, slices=shared)


def _score_file(stack: ExitStack, store: RunStore, task: str, filter_: str, scorer: Scorer) -> IO[bytes]:
    path = score_path(store.path, task, filter_, scorer)
    path.parent.mkdir(exist_ok=True)
    return stack.enter_context(gzipped(path))
