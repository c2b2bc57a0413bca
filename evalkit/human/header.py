"""Which column of a returned file is which, however its heading was edited."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from evalkit.errors import DataError, nearest
from evalkit.human.base import Finding, RawRow
from evalkit.human.layout import Column

if TYPE_CHECKING:
    from evalkit.human.readers import Grid

#: What only a mapped file has: who rated, and how long it took.
ANNOTATOR, SECONDS = "annotator", "seconds"

#: How columns that are not ours are called, and cells right of the header.
EXTRA = "extra_"
BEYOND = "extra_beyond"

_MARKS = re.compile("[\u200b-\u200f\u2060\ufeff\"'`\u2018\u2019\u201c\u201d]")


def fold(name: str) -> str:
    """A heading without what editing changes but nobody means: case, blanks, width, quotes, a byte order mark."""
    word = _MARKS.sub("", unicodedata.normalize("NFKC", name)).strip().casefold()
    return re.sub(r"[\s_\-.]+", "_", word).strip("_")


class Names:
    """The headings that a study's sheets have, and those of a file that is not ours (``mapping``: ours -> theirs).

    Raises DataError for a mapping of a column that no sheet has.
    """

    def __init__(
        self, columns: Sequence[Column], titles: Mapping[str, str], mapping: Mapping[str, str] | None = None
    ) -> None:
        self.columns = {column.name: column for column in columns}
        self.mapping = dict(mapping or {})
        known = {*self.columns, ANNOTATOR, SECONDS}
        for ours in self.mapping:
            if ours not in known:
                hint = nearest(ours, known) or f"; there are {', '.join(self.columns)}, {ANNOTATOR}, {SECONDS}"
                raise DataError(f"--map {ours}=...: a sheet of this study has no column {ours!r}{hint}")
        self._by_fold = {fold(title): name for name, title in titles.items() if name in self.columns}
        self._by_fold |= {fold(name): name for name in self.columns}
        for ours in self.mapping:
            self._by_fold = {folded: name for folded, name in self._by_fold.items() if name != ours}
        self._by_fold |= {fold(theirs): ours for ours, theirs in self.mapping.items()}

    def find(self, heading: str) -> str | None:
        """Our name of the column, ``None`` for one that is not ours."""
        return self._by_fold.get(fold(heading))

    def count(self, cells: Sequence[str]) -> int:
        """How many different columns these cells would be the headings of."""
        return len({name for cell in cells if (name := self.find(cell))})


@dataclass(slots=True)
class Table:
    """A file's rows by our column names. ``headings`` are the columns that it has, as the file names them.

    Columns that are not ours are ``extra_...``; what stands right of the header is ``extra_beyond``.
    """

    file: str
    headings: dict[str, str] = field(default_factory=dict)
    rows: list[RawRow] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def read_table(grid: Grid, names: Names) -> Table:
    """Find the header, match its columns, and take the rows below; wholly blank rows are left out.

    What cannot be matched is an error finding that lists what was expected and found.
    """
    table = Table(grid.file, findings=list(grid.findings))
    filled = [(number, cells) for number, cells in grid.rows if any(cell.strip() for cell in cells)]
    if not filled:
        if not any(finding.level == "error" for finding in table.findings):
            table.findings.append(Finding("error", "empty-file", grid.file, "the file has no rows"))
        return table
    at = max(range(min(len(filled), 20)), key=lambda i: (names.count(filled[i][1]), -i))
    for number, cells in filled[:at]:
        text = next(cell.strip() for cell in cells if cell.strip())
        message = f"above the header, not read: {shortened(text)}"
        table.findings.append(Finding("warning", "above-header", grid.file, message, row=number, value=text))
    number, header = filled[at]
    matched = _matched(grid, number, header, names, table)
    if matched is None:
        return table
    extras = _extras(header, matched, filled[at + 1 :])
    table.headings = {name: header[i].strip() for i, name in matched.items()}
    for number, cells in filled[at + 1 :]:
        row = {name: cells[i] if i < len(cells) else "" for i, name in {**matched, **extras}.items()}
        beyond = " ".join(cell.strip() for cell in cells[len(header) :] if cell.strip())
        table.rows.append(RawRow(grid.file, number, {**row, BEYOND: beyond} if beyond else row))
    return table


def _matched(grid: Grid, number: int, header: Sequence[str], names: Names, table: Table) -> dict[int, str] | None:
    """Position -> our name, or ``None`` after telling why the file cannot be read."""
    matched: dict[int, str] = {}
    for i, heading in enumerate(header):
        name = names.find(heading)
        if name is None:
            continue
        if name in matched.values():
            message = f"two columns are called {name!r}; delete the one that was not filled in, or give it another heading"
            table.findings.append(Finding("error", "header-twice", grid.file, message, row=number, column=heading.strip()))
            return None
        matched[i] = name
    _by_position(grid, number, header, matched, table)
    return matched if _complete(number, header, matched, names, table) else None


def _by_position(grid: Grid, number: int, header: Sequence[str], matched: dict[int, str], table: Table) -> None:
    """Columns whose heading was edited, where the workbook remembers the order and no column left its place."""
    written = grid.meta.get("columns", ())
    if any(i >= len(written) or written[i] != name for i, name in matched.items()):
        return
    for i, name in enumerate(written[: len(header)]):
        if i not in matched:
            matched[i] = name
            message = f"the heading {header[i].strip()!r} is none of ours; read as {name!r}, which stood in its place"
            table.findings.append(
                Finding("warning", "header-renamed", grid.file, message, row=number, column=header[i].strip() or None)
            )


def _complete(number: int, header: Sequence[str], matched: dict[int, str], names: Names, table: Table) -> bool:
    missing = [column for name, column in names.columns.items() if name not in matched.values()]
    unmapped = [theirs for ours, theirs in names.mapping.items() if ours not in matched.values()]
    found = ", ".join(heading.strip() for heading in header if heading.strip())
    if unmapped:
        message = f"no column {unmapped[0]!r} (named with --map){nearest(unmapped[0], header)}; found {found}"
        table.findings.append(Finding("error", "header", table.file, message, row=number))
        return False
    # Whoever maps the columns of another tool's file need not have the texts in it.
    needed = [
        column for column in missing if column.role in ("id", "rating") or (column.part == "output" and not names.mapping)
    ]
    if needed:
        lost = ", ".join(column.name for column in needed)
        message = f"no column {lost}; expected {', '.join(names.columns)}; found {found}. Mend the headings, or use --map"
        table.findings.append(Finding("error", "header", table.file, message, row=number))
        return False
    for column in missing:
        if column.role == "text" or (column.role != "comment" and not names.mapping):
            why = (
                "rows torn apart by sorting are found by the texts that are left" if column.role == "text" else "not checked"
            )
            message = f"the column {column.name} is gone: {why}"
            table.findings.append(Finding("warning", "column-gone", table.file, message, row=number, column=column.name))
    return True


def _extras(header: Sequence[str], matched: dict[int, str], rows: Sequence[tuple[int, Sequence[str]]]) -> dict[int, str]:
    """Names for the columns that are not ours and hold something."""
    extras: dict[int, str] = {}
    for i, heading in enumerate(header):
        if i in matched or not any(i < len(cells) and cells[i].strip() for _, cells in rows):
            continue
        name = f"{EXTRA}{fold(heading) or f'column_{i + 1}'}"
        extras[i] = name if name not in extras.values() else f"{name}_{i + 1}"
    return extras


def shortened(text: str, length: int = 60) -> str:
    """A text in quotes, cut to ``length`` letters."""
    plain = " ".join(text.split())
    return repr(plain if len(plain) <= length else plain[: length - 3] + "...")
