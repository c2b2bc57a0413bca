"""Columns of a run in the making: compact while they grow, arrays once they are whole."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evalkit.comparison.base import ERROR, MISSING, OK, UNSCORED, Codes, Labels
from evalkit.scorers.base import Array

_STATUS = {"ok": OK, "unscored": UNSCORED, "error": ERROR, "missing": MISSING}

NAN = float("nan")


class ScoreColumns:
    """Lines of a score file as arrays: 8 bytes a number."""

    def __init__(self) -> None:
        self.units: list[str] = []
        self._status = bytearray()
        self._values = array("d")
        self._stats = array("d")
        self._widths = array("l")

    def add(self, line: Mapping[str, Any]) -> None:
        """One line of a score file; raises ValueError (KeyError, TypeError) for one that is none."""
        stats: Sequence[float | None] = line["stats"] or ()
        self.units.append(line["unit"])
        self._status.append(_STATUS[line["status"]])
        self._values.append(NAN if line["value"] is None else line["value"])
        self._stats.extend([NAN if x is None else x for x in stats])
        self._widths.append(len(stats))

    def stats(self) -> Array:
        """(n, width), rows of NaN where there is no score; a row that is shorter has no values for the further columns."""
        widths = np.frombuffer(self._widths, dtype=np.int64) if self._widths else np.zeros(0, dtype=np.int64)
        width = max(int(widths.max(initial=0)), 1)
        table = np.full((len(widths), width), NAN)
        table[np.arange(width) < widths[:, None]] = np.frombuffer(self._stats, dtype=np.float64) if self._stats else ()
        return table

    def values(self) -> Array:
        return np.array(self._values, dtype=np.float64)

    def status(self) -> Codes:
        return np.frombuffer(bytes(self._status), dtype=np.uint8)


class LabelColumn:
    """One label a sample, kept as codes: most columns have few different ones."""

    def __init__(self, missing: int = 0) -> None:
        self._codes = array("q", bytes(8 * missing))
        self._known: dict[str, int] = {"": 0}

    def add(self, label: str | None) -> None:
        self._codes.append(self._known.setdefault(label or "", len(self._known)))

    def labels(self) -> Labels:
        return np.array(list(self._known), dtype=np.str_)[np.array(self._codes, dtype=np.int64)]


class LabelColumns:
    """Labels by name; a name that a sample lacks is blank there."""

    def __init__(self) -> None:
        self._count = 0
        self._columns: dict[str, LabelColumn] = {}

    def add(self, labels: Mapping[str, str]) -> None:
        for name in labels:
            if name not in self._columns:
                self._columns[name] = LabelColumn(self._count)
        for name, column in self._columns.items():
            column.add(labels.get(name))
        self._count += 1

    def labels(self) -> dict[str, Labels]:
        return {name: column.labels() for name, column in self._columns.items()}


def total(numbers: Sequence[float | None]) -> float:
    """Their sum; NaN where one is unknown."""
    return NAN if not numbers or None in numbers else math.fsum(x for x in numbers if x is not None)
