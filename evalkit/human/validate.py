"""Every row of a returned table against the key: is the id known, are the texts its own, are the ratings on the scale?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from evalkit.human import ids
from evalkit.human.base import Finding, Level, RawRow, Row, Study
from evalkit.human.cells import Cell, plain, read_cell
from evalkit.human.header import ANNOTATOR, BEYOND, EXTRA, SECONDS, Table, shortened
from evalkit.human.layout import COMMENT, ITEM_ID, STUDY_ID, columns
from evalkit.human.texts import Texts


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of a file whose id is known: what one annotator said of one row. ``cells`` are by criterion."""

    file: str
    number: int
    row: Row
    annotator: str
    cells: Mapping[str, Cell]
    comment: str = ""
    seconds: float | None = None
    extras: Mapping[str, str] = field(default_factory=dict)

    @property
    def of_others(self) -> bool:
        """Whether another than the annotator of the sheet rated it: one of a crowd, or a user of another tool."""
        return self.annotator != self.row.annotator

    @property
    def values(self) -> dict[str, float]:
        """The ratings by criterion, without what is empty or ``N/A``."""
        return {name: cell.value for name, cell in self.cells.items() if cell.value is not None}


class Checker:
    """Reads the tables of one study."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.rows = {row.id: row for row in study.rows}
        self.texts = Texts(study)
        self.text_columns = [column.name for column in columns(study) if column.role == "text"]
        self.sizes = Counter(row.annotator for row in study.rows)

    def check(self, table: Table, meta: Mapping[str, Sequence[str]]) -> tuple[list[Entry], list[Finding]]:
        """The rows of a file that belong to the study, and what is to be said of all of its rows."""
        reader = _Reader(self, table)
        reader.hidden_sheet(meta)
        entries = [entry for raw in table.rows if (entry := reader.entry(raw))]
        if entries and ANNOTATOR not in table.headings:
            entries = reader.owned(entries)
        return entries, reader.findings


class _Reader:
    """One file's rows."""

    def __init__(self, checker: Checker, table: Table) -> None:
        self._all = checker
        self._table = table
        self._strangers: Counter[str] = Counter()
        self.findings: list[Finding] = []

    def _tell(
        self,
        level: Level,
        code: str,
        message: str,
        row: int | None = None,
        column: str | None = None,
        value: str | None = None,
    ) -> None:
        heading = self._table.headings.get(column, column) if column else None
        self.findings.append(Finding(level, code, self._table.file, message, row, heading, value))

    def hidden_sheet(self, meta: Mapping[str, Sequence[str]]) -> None:
        """What a workbook says of the study that it was made for."""
        study = self._all.study
        made_for = next(iter(meta.get("study_id", ())), study.id)
        rubric = [*meta.get("rubric", ())][2:] or [study.rubric.hash]
        if made_for != study.id:
            self._tell("error", "other-study", f"the workbook was made for the study {made_for!r}, this is {study.id}")
        elif rubric[0] != study.rubric.hash:
            message = (
                f"the workbook was made for another version of the rubric ({rubric[0]}, this study has {study.rubric.hash})"
            )
            self._tell("error", "other-rubric", message)

    def entry(self, raw: RawRow) -> Entry | None:
        """What a row says, or ``None`` for one that is no row of the study, after telling so."""
        name = ids.folded(plain(raw.cells[ITEM_ID]))
        row = self._all.rows.get(name)
        if row is None:
            self._stranger(raw, name)
            return None
        self._study_id(raw)
        given = {column: raw.cells[column] for column in self._all.text_columns if column in raw.cells}
        for problem in self._all.texts.problems(row, given) if given else ():
            text = raw.cells[problem.column]
            self._tell(problem.level, problem.kind, problem.message, raw.number, problem.column, text)
        cells = self._cells(raw)
        self._beyond(raw, cells)
        annotator = plain(raw.cells[ANNOTATOR]) if ANNOTATOR in self._table.headings else row.annotator
        if not annotator:
            self._tell("error", "annotator-missing", f"nobody is named who rated {row.id}", raw.number, ANNOTATOR)
        return Entry(
            file=raw.file,
            number=raw.number,
            row=row,
            annotator=annotator,
            cells=cells,
            comment=raw.cells.get(COMMENT, "").strip(),
            seconds=self._seconds(raw),
            extras={column: cell for column, cell in raw.cells.items() if column.startswith(EXTRA) and cell.strip()},
        )

    def _cells(self, raw: RawRow) -> dict[str, Cell]:
        cells = {}
        for criterion in self._all.study.rubric.criteria:
            text = raw.cells.get(criterion.name, "")
            cells[criterion.name] = cell = read_cell(text, criterion.scale)
            if cell.state == "wrong":
                self._tell("error", "rating", cell.problem, raw.number, criterion.name, text)
        comment = raw.cells.get(COMMENT, "")
        last = self._all.study.rubric.criteria[-1]
        a_gap = any(cell.state == "empty" for cell in cells.values())
        if a_gap and read_cell(comment, last.scale).state in ("value", "na"):
            message = f"the comment {shortened(comment)} looks like a rating, and a rating is missing: was the row moved?"
            self._tell("error", "row-shifted", message, raw.number, COMMENT, comment)
        return cells

    def _beyond(self, raw: RawRow, cells: Mapping[str, Cell]) -> None:
        """Cells right of the header: somebody's notes, unless something is missing in the row."""
        text = raw.cells.get(BEYOND, "")
        if not text:
            return
        if all(cell.state in ("value", "na") for cell in cells.values()):
            message = f"the row goes on beyond the last column: {shortened(text)}; kept as {BEYOND}"
            self._tell("warning", "row-too-long", message, raw.number, value=text)
        else:
            message = f"the row goes on beyond the last column: {shortened(text)}; was it moved sideways?"
            self._tell("error", "row-too-long", message, raw.number, value=text)

    def _seconds(self, raw: RawRow) -> float | None:
        text = plain(raw.cells.get(SECONDS, ""))
        if not text:
            return None
        if not re.fullmatch(r"\d{1,9}(?:[.,]\d+)?", text):
            self._tell("warning", "seconds", f"{text!r} is no number of seconds; left out", raw.number, SECONDS, text)
            return None
        return float(text.replace(",", "."))

    def _study_id(self, raw: RawRow) -> None:
        study = self._all.study
        if STUDY_ID not in self._table.headings:
            return
        name = ids.folded(plain(raw.cells[STUDY_ID]))
        if name == study.id:
            return
        self._strangers[name] += 1
        if self._strangers[name] > 1:
            return  # one finding a study, for a whole sheet of another one
        if name:
            message = f"the row is of the study {name!r}, this is {study.id}"
            self._tell("error", "other-study", message, raw.number, STUDY_ID, raw.cells[STUDY_ID])
        else:
            self._tell("warning", "study-missing", "the id of the study is gone", raw.number, STUDY_ID)

    def _stranger(self, raw: RawRow, name: str) -> None:
        """A row with no id of this study: another program's total, or ratings whose id was lost."""
        known = self._all.rows
        texts = {column: raw.cells[column] for column in self._all.text_columns if column in raw.cells}
        whose = self._all.texts.of(texts) if any(text.strip() for text in texts.values()) else []
        theirs = f"; its texts are those of {' or '.join(whose[:3])}" if whose else ""
        moved = next((c for c, cell in raw.cells.items() if c != ITEM_ID and ids.folded(plain(cell)) in known), None)
        if moved:
            message = (
                f"the id {plain(raw.cells[moved])} stands in the column {moved}: the row was moved sideways; move it back"
            )
            self._tell("error", "row-shifted", message, raw.number, ITEM_ID, raw.cells[ITEM_ID])
        elif name == ITEM_ID:
            self._tell("warning", "header-again", "the header once more; not read", raw.number)
        elif not name and not whose and self._rated(raw):
            message = "a rating stands in a row without an id: was the column moved by a cell? Move it back"
            self._tell("error", "row-shifted", message, raw.number, self._rated(raw))
        elif not name and not whose:
            text = next(cell for cell in raw.cells.values() if cell.strip())
            message = f"a row without an id, not read: {shortened(text)}"
            self._tell("warning", "no-id", message, raw.number, ITEM_ID, text)
        elif not name:
            self._tell("error", "id-missing", f"the id is gone{theirs}; put it back", raw.number, ITEM_ID)
        elif (
            not ids.valid(name) and not ids.nearest(name, known) and not whose and not any(t.strip() for t in texts.values())
        ):
            message = f"{shortened(name)} is no id and the row has no texts: a total? It is not read"
            self._tell("warning", "no-id", message, raw.number, ITEM_ID, raw.cells[ITEM_ID])
        else:
            self._unknown(raw, name, theirs)

    def _rated(self, raw: RawRow) -> str | None:
        """The first criterion with a rating in a row that has no label of its own."""
        criteria = self._all.study.rubric.criteria
        if any(cell.strip() for column, cell in raw.cells.items() if column not in self._all.study.rubric.names):
            return None
        return next((c.name for c in criteria if read_cell(raw.cells.get(c.name, ""), c.scale).state == "value"), None)

    def _unknown(self, raw: RawRow, name: str, theirs: str) -> None:
        close = ids.nearest(name, self._all.rows)
        meant = f" (did you mean {close}?)" if close and not theirs else ""
        if ids.valid(name):
            message = f"{name} is no row of this study{meant}{theirs}; is the file of another study?"
        else:
            message = (
                f"{shortened(name)} is no id: its check letter is wrong{meant}{theirs}; copy it from the sheet sent out"
            )
        self._tell("error", "id-unknown", message, raw.number, ITEM_ID, raw.cells[ITEM_ID])

    def owned(self, entries: Sequence[Entry]) -> list[Entry]:
        """The rows of the annotator whose sheet the file is (of several, where it holds most of each sheet)."""
        file, study = self._table.file, self._all.study
        counts = Counter(entry.row.annotator for entry in entries)
        most = max(counts.values())
        owners = [name for name, n in counts.items() if n == most or 2 * n > self._all.sizes[name]]
        for entry in entries:
            if entry.row.annotator not in owners:
                message = f"{entry.row.id} is of the sheet of {entry.row.annotator}, this file is that of {owners[0]}"
                self._tell("error", "wrong-annotator", message, entry.number, ITEM_ID, entry.row.id)
        stem = PurePath(file).stem.casefold()
        named = [
            name for name in study.annotators if re.search(rf"(?<![a-z0-9]){re.escape(name.casefold())}(?![0-9])", stem)
        ]
        if named and not set(named) & set(owners):
            message = f"the file is called after {named[0]} but holds the sheet of {owners[0]}; find out who rated"
            self._tell("error", "wrong-annotator", message)
        elif len(owners) > 1:
            self._tell("warning", "several-sheets", f"the file holds the sheets of {', '.join(owners)}")
        return [entry for entry in entries if entry.row.annotator in owners]
