"""What scorers ask models of their own: round by round over all records, and how the answers come back to them.

A round is asked of many records at once, so that a local engine finds the beginnings that requests share. Nothing is kept
between rounds but positions: what a record asks next follows from its answers in the journal.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from evalkit.errors import ScorerError
from evalkit.runner.journal import Journal
from evalkit.runner.records import CHUNK, Scored, TaskRecords
from evalkit.runner.store import RunStore
from evalkit.scorers.base import AskingAgain, Scorer, StandingScorer
from evalkit.tasks.base import Filter
from evalkit.types import Record, Request, Response, keyed

#: Rounds after which a scorer that still asks is taken for one that never ends.
ROUNDS = 32

_FIELDS = tuple(f.name for f in fields(Request))


@dataclass(frozen=True, slots=True)
class Asked(Request):
    """A scorer's request, with the scorer: it says which answers may be kept for other runs."""

    scorer: Any = None


def accepted(request: Request, response: Response) -> bool:
    """Whether an answer may serve other runs: whoever asked a model of its own may be unable to read what it said."""
    scorer = request.scorer if isinstance(request, Asked) else None
    return not isinstance(scorer, AskingAgain) or scorer.acceptable(request, response)


def standing(scorer: Scorer, task: str, fingerprints: Mapping[str, str]) -> list[Asked]:
    """What the scorer asks once a task."""
    asked = scorer.standing() if isinstance(scorer, StandingScorer) else ()
    return _keyed(scorer, asked, task, "", fingerprints)


def hear(task: Scored, journal: Journal, fingerprints: Mapping[str, str]) -> None:
    """Tell the task's scorers what their standing requests brought so far."""
    for scorer in task.scorers:
        if scorer.roles and isinstance(scorer, StandingScorer):
            scorer.hear([journal.get(q.key) for q in standing(scorer, task.name, fingerprints)])


def judged(scorer: Scorer, record: Record, journal: Journal, fingerprints: Mapping[str, str]) -> Record:
    """The record with all answers to what the scorer asked of it, in the order asked; None for those that did not come.

    What follows from an answer that did not come is not among them.
    """
    if not scorer.roles or not record.complete:
        return record
    *_, last = _conversation(scorer, record, journal, fingerprints)
    return last[1]


def questions(scorer: Scorer, record: Record, journal: Journal, fingerprints: Mapping[str, str], number: int) -> list[Asked]:
    """What the scorer asks of a record in round ``number`` (the first is 0); nothing while earlier answers are missing."""
    if number == 0:
        return _first(scorer, record, fingerprints)
    for i, (requests, _) in enumerate(_conversation(scorer, record, journal, fingerprints)):
        if i == number:
            return requests
    return []


def _first(scorer: Scorer, record: Record, fingerprints: Mapping[str, str]) -> list[Asked]:
    sample = record.sample
    return _keyed(scorer, scorer.requests(record), sample.task, sample.id, fingerprints)


def _conversation(
    scorer: Scorer, record: Record, journal: Journal, fingerprints: Mapping[str, str]
) -> Iterator[tuple[list[Asked], Record]]:
    """Round by round: what is asked, and the record with all answers up to this round."""
    sample, answers = record.sample, list[Response | None]()
    requests = _first(scorer, record, fingerprints)
    for _ in range(ROUNDS):
        found = [journal.get(q.key) for q in requests]
        answers += found
        record = replace(record, judged={scorer.name: tuple(answers)})
        yield requests, record
        if not requests or None in found or not isinstance(scorer, AskingAgain):
            return
        requests = _keyed(scorer, scorer.more(record), sample.task, sample.id, fingerprints)
        if not requests:
            return
    raise ScorerError(f"scorer {scorer.name!r} goes on asking about sample {sample.id!r} after {ROUNDS} rounds")


def _keyed(
    scorer: Scorer, requests: Iterable[Request], task: str, sample_id: str, fingerprints: Mapping[str, str]
) -> list[Asked]:
    made = []
    for request in requests:
        q = keyed(replace(request, task=task, sample_id=sample_id), fingerprints[request.role])
        made.append(Asked(**{name: getattr(q, name) for name in _FIELDS}, scorer=scorer))
    return made


class Rounds:
    """The requests of the scorers of some tasks, a round at a time; 8 bytes of memory a record that goes on asking."""

    def __init__(self, store: RunStore, tasks: Sequence[Scored], fingerprints: Mapping[str, str]) -> None:
        self._store, self._fingerprints = store, fingerprints
        self._units: list[tuple[_Unit, array[int] | None]] = [
            (_Unit(task, filter_, scorer), None)
            for task in tasks
            for filter_ in task.filters
            for scorer in task.scorers
            if scorer.roles
        ]
        self._number = 0

    @property
    def roles(self) -> list[str]:
        """Who may be asked in this round, each once."""
        return list(dict.fromkeys(role for unit, _ in self._units for role in unit.scorer.roles))

    def requests(self, role: str | None = None) -> Iterator[Asked]:
        """This round's requests of ``role``, or all; what a scorer asks once a task comes before its records'."""
        for unit, positions in self._units:
            if role is not None and role not in unit.scorer.roles:
                continue
            unit.asked = array("Q")
            if self._number == 0 and unit.filter is unit.task.filters[0]:
                yield from _of(standing(unit.scorer, unit.task.name, self._fingerprints), role)
            for position, record in self._records(unit, positions):
                found = questions(unit.scorer, record, self._store.journal, self._fingerprints, self._number)
                if found:
                    unit.asked.append(position)
                    yield from _of(found, role)

    def next(self) -> bool:
        """Go on to the next round, with the records that asked something in this one; whether there are any."""
        again = [unit for unit, _ in self._units if isinstance(unit.scorer, AskingAgain) and len(unit.asked)]
        self._units = [(unit, unit.asked) for unit in again]
        self._number += 1
        return bool(again)

    def _records(self, unit: _Unit, positions: array[int] | None) -> Iterator[tuple[int, Record]]:
        records = TaskRecords(self._store, unit.task.name, unit.filter)
        if positions is None:
            yield from ((i, record) for i, record in enumerate(records) if record.complete)
            return
        for start in range(0, len(positions), CHUNK):
            part = positions[start : start + CHUNK]
            yield from zip(part, records.at(part), strict=True)
        records.rest()


@dataclass(slots=True)
class _Unit:
    """A scorer over the records of one task and filter; ``asked`` are the positions that asked in the round under way."""

    task: Scored
    filter: Filter
    scorer: Scorer
    asked: array[int] = field(default_factory=lambda: array("Q"))


def _of(requests: Iterable[Asked], role: str | None) -> Iterator[Asked]:
    return (q for q in requests if role is None or q.role == role)
