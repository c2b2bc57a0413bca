"""CSV files that are safe to open in a spreadsheet: text from data or a model is never a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from evalkit.report import base, strict
from evalkit.report.base import ReportableRun
from evalkit.report.numbers import warnings
from evalkit.runner.files import atomic

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
#: What a text that `_FORMULA` matches begins with.
_FIRST = frozenset("'=+-@\t\r")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")


class Rows(Protocol):
    def writerow(self, row: Sequence[Any], /) -> Any: ...


def escape(cell: str) -> str:
    """``cell`` with a leading ``'`` where a spreadsheet would read a formula. Plain numbers stay as they are.

    Text that already begins with quotes and a formula sign gets one more, so that `unescape` is exact.
    """
    if cell and cell[0] in _FIRST and _FORMULA.match(cell) and not _NUMBER.fullmatch(cell):
        return "'" + cell
    return cell


def unescape(cell: str) -> str:
    """The text that `escape` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def cell(value: Any) -> Any:
    """A value as a CSV cell: numbers as numbers, None empty, structures as JSON."""
    if isinstance(value, str):
        return escape(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return value if value == value and abs(value) != float("inf") else ""
    return escape(strict.dumps(value).decode("utf-8"))


class _Escaping:
    def __init__(self, writer: Rows) -> None:
        self._writer = writer

    def writerow(self, row: Sequence[Any], /) -> None:
        self._writer.writerow([cell(value) for value in row])


@contextmanager
def csv_file(path: Path, columns: Sequence[str]) -> Iterator[Rows]:
    """A CSV file with a header, whole or not there; every cell goes through `cell`."""
    with atomic(path, derived=True) as file:
        text = io.TextIOWrapper(file, "utf-8", errors="backslashreplace", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([escape(c) for c in columns])
        yield _Escaping(writer)
        text.flush()
        text.detach()


SUMMARY_COLUMNS = (
    "task", "alias", "slice", "n_shot", "filter", "metric", "higher_is_better", "value", "stderr", "ci_low", "ci_high",
    "ci_method", "n", "unit", "errors", "unscored", "cut", "truncated", "chance", "notes", "scorer", "signature", "low",
    "high", "ideal",
)  # fmt: skip


def export_summary(run: ReportableRun) -> Path:
    """Write ``summary.csv``, a row for every Summary (tasks, groups and slices); returns its path."""
    path = base.folder(run) / "summary.csv"
    with csv_file(path, SUMMARY_COLUMNS) as rows:
        for s in run.summary():
            ci_low, ci_high = s.ci or (None, None)
            own = {"alias": base.alias(run, s.task), "ci_low": ci_low, "ci_high": ci_high, "notes": "; ".join(warnings(s))}
            rows.writerow([own[name] if name in own else getattr(s, name) for name in SUMMARY_COLUMNS])
    return path
