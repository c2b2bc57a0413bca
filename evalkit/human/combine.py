"""Rows that came back more than once, or not at all, or with empty cells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from evalkit.human.base import Finding, Level, Row, Study
from evalkit.human.cells import Cell
from evalkit.human.validate import Entry

#: The codes that ``--allow-missing`` turns into warnings.
MISSING = ("row-missing", "rating-missing", "nothing-rated")


def combine(entries: Sequence[Entry]) -> tuple[list[Entry], list[Finding]]:
    """One entry for each annotator and row. A row that is there twice must say the same where it says something."""
    grouped: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        grouped[entry.annotator, entry.row.id].append(entry)
    findings: list[Finding] = []
    return [_one(group, findings) for group in grouped.values()], findings


def _one(group: Sequence[Entry], findings: list[Finding]) -> Entry:
    first = group[0]
    if len(group) == 1:
        return first
    cells = dict(first.cells)
    conflict = False
    for other in group[1:]:
        where = f"row {first.number}" if other.file == first.file else f"{first.file}, row {first.number}"
        unfilled = other.file != first.file and _unrated(other.cells)
        if other.file != first.file and _unrated(cells):
            cells = dict(other.cells)
        for name, cell in () if unfilled else other.cells.items():
            if (cell.state, cell.value) != (cells[name].state, cells[name].value):
                conflict = True
                message = f"{first.row.id} was rated {said(cells[name])} in {where} and {said(cell)} here; keep one of them"
                findings.append(Finding("error", "twice-different", other.file, message, other.number, name, said(cell)))
        if not conflict:
            message = f"{first.row.id} is in {where} too, and says nothing else; counted once"
            findings.append(Finding("warning", "twice-same", other.file, message, other.number))
    comments = list(dict.fromkeys(entry.comment for entry in group if entry.comment))
    seconds = [entry.seconds for entry in group if entry.seconds is not None]
    extras = {name: cell for entry in reversed(group) for name, cell in entry.extras.items()}
    return replace(first, cells=cells, comment="\n".join(comments), seconds=max(seconds, default=None), extras=extras)


def _unrated(cells: Mapping[str, Cell]) -> bool:
    """Whether nothing was filled in: a sheet as it was sent out. In one file, a copy with gaps may have lost cells."""
    return all(cell.state == "empty" for cell in cells.values())


def said(cell: Cell) -> str:
    """What a cell says, for people."""
    return {"na": "N/A", "empty": "nothing", "wrong": "something else"}.get(cell.state) or f"{cell.value:g}"


def missing(study: Study, entries: Sequence[Entry], *, allowed: bool) -> list[Finding]:
    """Rows and ratings that did not come back, of the annotators who sent something.

    Where annotators are not those of the sheets (of a crowd, of another tool) a row is there if anybody rated it.
    ``allowed``: warnings only.
    """
    level: Level = "warning" if allowed else "error"
    findings: list[Finding] = []
    files: dict[str, list[str]] = defaultdict(list)
    rated: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        owner = entry.row.annotator
        rated[owner].add(entry.row.id)
        if entry.file not in files[owner]:
            files[owner].append(entry.file)
    crowd = any(entry.of_others for entry in entries)
    expected = [row for row in study.rows if row.annotator in rated or crowd]
    everywhere = [file for owner in files for file in files[owner]]
    for row in expected:
        if row.id not in rated[row.annotator]:
            findings.append(_lost(row, ", ".join(files[row.annotator] or dict.fromkeys(everywhere)), level))
    return findings + _empty(entries, level)


def _lost(row: Row, files: str, level: Level) -> Finding:
    message = f"{row.id} (row {row.position + 1} of the sheet of {row.annotator} as it was sent out) did not come back"
    return Finding(level, "row-missing", files, message, value=row.id)


def _empty(entries: Sequence[Entry], level: Level) -> list[Finding]:
    findings: list[Finding] = []
    for file in dict.fromkeys(entry.file for entry in entries):
        mine = [entry for entry in entries if entry.file == file]
        if all(cell.state == "empty" for entry in mine for cell in entry.cells.values()):
            findings.append(
                Finding(level, "nothing-rated", file, f"none of {len(mine)} rows has a rating; is it the right file?")
            )
            continue
        for entry in mine:
            names = [name for name, cell in entry.cells.items() if cell.state == "empty"]
            if names:
                message = (
                    f"no rating of {entry.row.id}: {', '.join(names)}; fill it in, or write N/A where it cannot be rated"
                )
                column = names[0] if len(names) == 1 else None
                findings.append(Finding(level, "rating-missing", file, message, entry.number, column, ""))
    return findings
