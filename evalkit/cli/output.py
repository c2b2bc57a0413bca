"""What commands print: results on stdout, everything said to a person on stderr."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from evalkit.secrets import scrub_message
from evalkit.types import Summary

if TYPE_CHECKING:
    from evalkit.report.base import ReportableRun

#: Characters of a table's last column (and of its first) that are worth a line.
_LEAST = 20

#: A task with more slices than this shows them only in the report and in summary.csv.
SLICES_SHOWN = 20


def say(message: str) -> None:
    """A line for the person who runs the command."""
    print(scrub_message(message), file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """One strict JSON document on stdout."""
    from evalkit.report.strict import dumps

    print(dumps(value, indent=2).decode("utf-8"))


def print_table(
    headers: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = (), spare: Sequence[int] = ()
) -> None:
    """Aligned columns; columns in ``right`` (by position) are aligned to the right, empty columns left out.

    On a terminal the header is bold, and the last column is cut where it does not fit. Where not even `_LEAST` of it fits,
    the columns in ``spare`` go, the first one first, then the first column is cut. Piped, every line is whole.
    """
    table = [list(map(str, row)) for row in rows]
    kept = [i for i in range(len(headers)) if any(row[i] for row in table) or not table]
    widths = {i: max(len(headers[i]), *(len(row[i]) for row in table)) if table else len(headers[i]) for i in kept}
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize

    def excess() -> int:
        return sum(widths[i] for i in kept[:-1]) + min(widths[kept[-1]], _LEAST) + 2 * (len(kept) - 1) - room

    gone = []
    for i in spare:
        if i in kept and excess() > 0:
            kept.remove(i)
            gone.append(headers[i])
    if excess() > 0:
        widths[kept[0]] = min(widths[kept[0]], max(_LEAST, widths[kept[0]] - excess()))

    def text(row: Sequence[str]) -> str:
        cells = [_cut(row[i], widths[i]) for i in kept]
        line = "  ".join(c.rjust(widths[i]) if i in right else c.ljust(widths[i]) for i, c in zip(kept, cells, strict=True))
        return _cut(line.rstrip(), room)

    header = text(headers)
    print(_bold(header) if sys.stdout.isatty() else header)
    print("-" * len(header))
    for row in table:
        print(text(row))
    if gone:
        say(f"(left out on this narrow terminal: {', '.join(gone)}; --json has everything)")


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


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
    print_table(RESULT_HEADERS, rows, right=(1, 5, 6, 7, 8), spare=(2, 1, 9, 6) if _one_filter(rows) else (1, 9, 6, 2))


def say_usage(run: ReportableRun) -> None:
    """What the run took, a line for each role's model."""
    from evalkit.report.usage import in_words

    for number, line in enumerate(in_words(run)):
        say(("\n" if number == 0 else "") + line)


def say_content_warnings(run: ReportableRun, tasks: Collection[str] | None = None) -> None:
    """A line for each warning of the data of ``tasks`` (of the run, where not given), before any text of it is shown."""
    from evalkit.report.base import content_warnings

    warned = {task: text for task, text in content_warnings(run).items() if tasks is None or task in tasks}
    for text in dict.fromkeys(warned.values()):
        say(content_warning([task for task, found in warned.items() if found == text], text))


def content_warning(tasks: Sequence[str], text: str) -> str:
    """What a reader is told before texts of ``tasks`` are shown."""
    return f"evalkit: content warning ({', '.join(tasks)}): {text.rstrip('.')}"


def results_json(run: ReportableRun) -> dict[str, Any]:
    """A run's outcome for ``--json``."""
    from dataclasses import asdict

    return {
        "run": None if run.path is None else str(run.path),
        "name": run.name,
        "status": run.status,
        "summaries": [asdict(s) for s in run.summary()],
        "usage": run.manifest.get("usage", []),
    }


def _one_filter(rows: Sequence[Sequence[str]]) -> bool:
    return len({row[2] for row in rows}) == 1


def _many_slices(summaries: Sequence[Summary], one: Summary) -> bool:
    same = [s for s in summaries if s.slice is not None and (s.task, s.metric) == (one.task, one.metric)]
    return len({s.slice for s in same}) > SLICES_SHOWN


def _bold(text: str) -> str:
    import os

    return text if os.environ.get("NO_COLOR") else f"\x1b[1m{text}\x1b[0m"
