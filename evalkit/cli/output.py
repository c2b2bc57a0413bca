"""What commands print: results on stdout, everything said to a person on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from evalkit.types import Summary

if TYPE_CHECKING:
    from evalkit.report.base import ReportableRun

#: A task with more slices than this shows them only in the report and in summary.csv.
SLICES_SHOWN = 20


def say(message: str) -> None:
    """A line for the person who runs the command."""
    print(message, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """One strict JSON document on stdout."""
    from evalkit.report.strict import dumps

    print(dumps(value, indent=2).decode("utf-8"))


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Aligned columns; columns in ``right`` (by position) are aligned to the right, empty columns left out.

    On a terminal the header is bold and long lines are cut at its width; piped, every line is whole.
    """
    table = [list(map(str, row)) for row in rows]
    kept = [i for i in range(len(headers)) if any(row[i] for row in table) or not table]
    widths = {i: max(len(headers[i]), *(len(row[i]) for row in table)) if table else len(headers[i]) for i in kept}

    def text(row: Sequence[str]) -> str:
        return "  ".join(row[i].rjust(widths[i]) if i in right else row[i].ljust(widths[i]) for i in kept).rstrip()

    terminal = sys.stdout.isatty()
    header = text(headers)
    print(_bold(header) if terminal else header)
    print("-" * len(header))
    for row in table:
        print(text(row))


RESULT_HEADERS = ("Task", "n-shot", "Filter", "Metric", "", "Value", "Stderr", "95% CI", "n", "Notes")


def print_results(run: ReportableRun) -> None:
    """The results table, in lm-eval's shape with interval, n and warnings beside."""
    from evalkit.report.rows import table

    rows: list[Sequence[str]] = []
    for row in table(run):
        if row.kind == "slice" and _many_slices(run.summary(), row.summary):
            continue
        name = "" if row.repeated else f"{'  ' * row.depth}{'· ' if row.kind == 'slice' else ''}{row.name}"
        notes = "; ".join(row.notes)
        rows.append((name, row.shots, row.filter, row.metric, row.arrow, row.value, row.stderr, row.ci, row.n, notes))
    print_table(RESULT_HEADERS, rows, right=(1, 5, 6, 7, 8))


def results_json(run: ReportableRun) -> dict[str, Any]:
    """A run's outcome for ``--json``."""
    from dataclasses import asdict

    return {
        "run": None if run.path is None else str(run.path),
        "name": run.name,
        "status": run.status,
        "summaries": [asdict(s) for s in run.summary()],
    }


def _many_slices(summaries: Sequence[Summary], one: Summary) -> bool:
    same = [s for s in summaries if s.slice is not None and (s.task, s.metric) == (one.task, one.metric)]
    return len({s.slice for s in same}) > SLICES_SHOWN


def _bold(text: str) -> str:
    import os

    return text if os.environ.get("NO_COLOR") else f"\x1b[1m{text}\x1b[0m"
