"""Scoring: records to rows of statistics, in chunks, with one score file a (task, filter, scorer hash)."""

from __future__ import annotations

import json
import math
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from evalkit.jsonlines import encoder
from evalkit.runner.files import gzipped
from evalkit.runner.journal import Journal
from evalkit.runner.records import CHUNK, Pace, Pieces, T, TaskRecords, Watch, viewed
from evalkit.runner.store import RunStore, file_name
from evalkit.scorers.base import Array, Scorer
from evalkit.tasks.base import Filter
from evalkit.types import EMPTY, Json, Record, Request, Sample, Score, content_hash, keyed


class Scored(Protocol):
    """What scoring needs of a task; a built Task and one read back from a manifest both have it."""

    @property
    def name(self) -> str: ...

    @property
    def filters(self) -> tuple[Filter, ...]: ...

    @property
    def scorers(self) -> tuple[Scorer, ...]: ...


_encode = encoder(allow_nan=False)

#: Label of the units that have no value for a slice of their task.
NO_SLICE = "(none)"

#: Units left out of a slice, by the slice's name and label.
SliceCounts = Counter[tuple[str, str]]


@dataclass(slots=True)
class Rows:
    """One scorer's statistics over one task and filter: what every summary is computed from.

    ``stats`` is (n, width) over the scored units; ``clusters``, ``chances`` and each of ``slices`` hold one number a unit
    (a slice: its code, an index into the slice's labels). A chance level that is not known is NaN.
    """

    task: str
    filter: str
    scorer: Scorer
    stats: Array
    clusters: np.ndarray | None = None
    slices: dict[str, tuple[np.ndarray, list[str]]] = field(default_factory=dict)
    chances: Array = field(default_factory=lambda: np.zeros(0))
    errors: int = 0
    missing: int = 0
    """Units that are not answered yet (an unfinished run)."""
    unscored: Counter[str] = field(default_factory=Counter)
    error_slices: SliceCounts = field(default_factory=Counter)
    unscored_slices: SliceCounts = field(default_factory=Counter)


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


def scorer_requests(store: RunStore, tasks: Sequence[Scored], fingerprints: Mapping[str, str]) -> Iterator[Request]:
    """Every request that the scorers of these tasks make, keyed with the fingerprint of the model that must answer."""
    for task in tasks:
        asking = [scorer for scorer in task.scorers if scorer.roles]
        if not asking:
            continue
        for filter_ in task.filters:
            for record in TaskRecords(store, task.name, filter_):
                if record.complete:
                    for scorer in asking:
                        yield from keyed_requests(scorer, record, fingerprints)


def keyed_requests(scorer: Scorer, record: Record, fingerprints: Mapping[str, str]) -> tuple[Request, ...]:
    """The scorer's requests for a record, with keys."""
    sample = record.sample
    return tuple(
        keyed(replace(q, task=sample.task, sample_id=sample.id), fingerprints[q.role]) for q in scorer.requests(record)
    )


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


class _Collector:
    """Rows in the making: compact columns, and the score file."""

    def __init__(self, task: str, filter_: str, scorer: Scorer, file: IO[bytes]) -> None:
        self.rows = Rows(task, filter_, scorer, np.zeros((0, 1)))
        self._file = file
        self._stats = array("d")
        self._width = 0
        self._chance = array("d")
        self._clusters = _Codes()
        self._slices: dict[str, _Codes] = {}

    def add(self, unit: str, sample: Sample, score: Score) -> Score:
        """One unit's score, and what a reader will see of it; ``sample`` gives its slices and cluster."""
        if score.stats is None:
            self.leave_out(sample, score.reason or "no reason given")
        else:
            self._width = len(score.stats)
            self._stats.extend(score.stats)
            for name in sample.slices:
                if name not in self._slices:  # its first value: all units so far had none
                    self._slices[name] = _Codes([NO_SLICE] * len(self._chance))
            for name, codes in self._slices.items():
                codes.append(sample.slices.get(name, NO_SLICE))
            self._chance.append(np.nan if score.chance is None else score.chance)
            self._clusters.append(sample.cluster)
        return self._write(unit, "ok" if score.stats is not None else "unscored", score)

    def leave_out(self, sample: Sample, reason: str) -> None:
        """Count a unit that has no score."""
        self.rows.unscored[reason] += 1
        self.rows.unscored_slices.update(sample.slices.items())

    def fail(self, unit: str, record: Record) -> Score:
        """A unit without a score because a request failed, or is not answered yet."""
        failure = record.failure
        if failure is None:
            self.rows.missing += 1
            return self._write(unit, "missing", Score.unscored("not answered yet"))
        self.rows.errors += 1
        self.rows.error_slices.update(record.sample.slices.items())
        return self._write(unit, "error", Score.unscored(f"{failure.kind}: {failure.message}"))

    def finish(self) -> Rows:
        rows = self.rows
        rows.stats = np.frombuffer(self._stats, dtype=np.float64).reshape(-1, self._width or 1)
        rows.clusters = self._clusters.array() if self._clusters.known else None
        rows.chances = np.frombuffer(self._chance, dtype=np.float64)
        rows.slices = {name: (codes.array(), codes.labels()) for name, codes in self._slices.items()}
        for name, _ in {**rows.error_slices, **rows.unscored_slices}:  # slices of which nothing was scored at all
            rows.slices.setdefault(name, (np.zeros(len(rows.stats), dtype=np.int64), [NO_SLICE] if len(rows.stats) else []))
        for name in rows.slices:
            _count_the_rest(rows.error_slices, name, rows.errors)
            _count_the_rest(rows.unscored_slices, name, sum(rows.unscored.values()))
        return rows

    def _write(self, unit: str, status: str, score: Score) -> Score:
        stats = None if score.stats is None else [None if math.isnan(x) else x for x in score.stats]
        line: dict[str, Json] = {"unit": unit, "status": status, "value": score.value, "stats": stats}
        if score.reason:
            line["reason"] = score.reason
        if score.chance is not None:
            line["chance"] = score.chance
        if score.detail:
            line["detail"] = dict(score.detail)
        text = _encode(line)
        self._file.write(text.encode("utf-8", "surrogatepass") + b"\n")
        return read_score(json.loads(text) if score.detail else line, self.rows.scorer)


def read_score(line: Mapping[str, Json], scorer: Scorer) -> Score:
    """A score from its line; the values of the scorer's further metrics, which the statistics hold, join its detail."""
    stats, detail = line["stats"], line.get("detail", EMPTY)
    if stats is not None and len(scorer.metrics) > 1:
        further = {m.name: stats[m.column] for m in scorer.metrics[1:] if m.mean and m.column < len(stats)}
        detail = {**{name: value for name, value in further.items() if value is not None}, **detail}
    numbers = None if stats is None else tuple([math.nan if x is None else x for x in stats])
    return Score(numbers, line["value"], line.get("reason"), line.get("chance"), detail)


def _count_the_rest(counts: SliceCounts, name: str, total: int) -> None:
    """Units left out that had no value for the slice ``name``."""
    rest = total - sum(count for (slice_, _), count in counts.items() if slice_ == name)
    if rest:
        counts[(name, NO_SLICE)] += rest


class _Codes:
    """Labels as integers in order of first sight."""

    def __init__(self, labels: Sequence[str] = ()) -> None:
        self._codes = array("q")
        self._known: dict[str, int] = {}
        self.known = False
        for label in labels:
            self.append(label)

    def append(self, label: str | None) -> None:
        if label is None:
            self._codes.append(-1 - len(self._codes))  # on its own: independent of everything
        else:
            self.known = True
            self._codes.append(self._known.setdefault(label, len(self._known)))

    def array(self) -> np.ndarray:
        return np.frombuffer(self._codes, dtype=np.int64)

    def labels(self) -> list[str]:
        return list(self._known)


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
        collectors = [_Collector(task, filter_, s, _score_file(stack, store, task, filter_, s)) for s in scorers]
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
    collectors: Sequence[_Collector],
    states: Sequence[Any],
    fingerprints: Mapping[str, str],
) -> list[dict[str, Score]]:
    """The scores of some records, by the scorers' names."""
    good = [record for record in records if record.complete]
    seen: list[dict[str, Score]] = [{} for _ in records]
    for collector, state in zip(collectors, states, strict=True):
        scorer = collector.rows.scorer
        judged = [_judged(scorer, record, store.journal, fingerprints) for record in good]
        scores = iter(scorer.score(judged, state))
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
        collector = _Collector(task, filter_, scorer, _score_file(stack, store, task, filter_, scorer))
        for position, record in enumerate(records):
            name = scorer.group(record)
            if name is None:
                collector.leave_out(record.sample, "belongs to no group")
            else:
                groups.setdefault(name, []).append(position)
        for name, positions in groups.items():
            members = [_judged(scorer, r, store.journal, fingerprints) for r in records.at(positions)]
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


def _judged(scorer: Scorer, record: Record, journal: Journal, fingerprints: Mapping[str, str]) -> Record:
    if not scorer.roles or not record.complete:
        return record
    answers = tuple(journal.get(q.key) for q in keyed_requests(scorer, record, fingerprints))
    return replace(record, judged={scorer.name: answers})


def _score_file(stack: ExitStack, store: RunStore, task: str, filter_: str, scorer: Scorer) -> IO[bytes]:
    path = score_path(store.path, task, filter_, scorer)
    path.parent.mkdir(exist_ok=True)
    return stack.enter_context(gzipped(path))
