"""Rows of statistics in the making, one for each unit that is scored, with the score file beside them."""

from __future__ import annotations

import json
import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

import numpy as np

from evalkit.jsonlines import encoder
from evalkit.scorers.base import Array, Scorer
from evalkit.types import EMPTY, Json, Record, Sample, Score

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


class Collector:
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
