"""The columns of a sheet, and what stands in a row's text cells: one place for who writes sheets and who reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from evalkit.errors import RubricError
from evalkit.human.base import Output, Row, Study
from evalkit.human.digests import cleaned, text_digest
from evalkit.rubric.schema import Part, Rubric

Role = Literal["id", "study", "text", "rating", "comment"]
Side = Literal["A", "B"]

ITEM_ID, STUDY_ID, COMMENT = "item_id", "study_id", "comment"

#: What the parts of an item are called in a sheet.
PART_NAMES: dict[Part, str] = {"input": "input", "source": "context", "reference": "reference", "output": "output"}

#: UTF-16 units in a cell at most. Excel takes 32,767, and a guard may come before.
CELL_LIMIT = 32_766

#: The sheets of a workbook; the last one is hidden.
INSTRUCTIONS, RATINGS, META = "Instructions", "Ratings", "_meta"

#: What stands for an output without any text.
EMPTY = "(the text is empty)"

#: What an annotator writes where a criterion cannot be rated; an empty cell was forgotten.
NOT_APPLICABLE = "N/A"


@dataclass(frozen=True, slots=True)
class Column:
    """One column. ``criterion`` is set for ratings, ``part`` for texts, ``side`` for the two outputs of a pair."""

    name: str
    role: Role
    criterion: str | None = None
    part: Part | None = None
    side: Side | None = None


def columns(study: Study) -> list[Column]:
    """The columns of all sheets of a study, from left to right."""
    return rubric_columns(study.rubric)


def rubric_columns(rubric: Rubric) -> list[Column]:
    """The columns of a sheet for this rubric. Raises RubricError for a criterion called as a column of another kind."""
    found = [Column(ITEM_ID, "id"), Column(STUDY_ID, "study"), *_texts(rubric)]
    taken = {*(column.name.casefold() for column in found), COMMENT}
    for criterion in rubric.criteria:
        if criterion.name in taken:
            raise RubricError(f"a sheet has a column {criterion.name!r} of its own; give the criterion another name")
    found += [Column(name, "rating", criterion=name) for name in rubric.names]
    return [*found, Column(COMMENT, "comment")]


def parts(rubric: Rubric) -> tuple[Part, ...]:
    """What a rater sees of an item: what any of the criteria needs."""
    shown = {part for criterion in rubric.criteria for part in rubric.shows(criterion)}
    return tuple(part for part in PART_NAMES if part in shown)


def _texts(rubric: Rubric) -> list[Column]:
    sides: tuple[Side, ...] = ("A", "B")
    found: list[Column] = []
    for part in parts(rubric):
        if part == "output" and rubric.form == "pairwise":
            found += [Column(f"{PART_NAMES[part]}_{side}", "text", part=part, side=side) for side in sides]
        else:
            found.append(Column(PART_NAMES[part], "text", part=part))
    return found


def whole_texts(study: Study, row: Row) -> dict[str, str]:
    """The texts of a row by column, uncut; what is missing is empty."""
    return {column.name: _part(row, column) for column in columns(study) if column.role == "text"}


def text_cells(study: Study, row: Row) -> dict[str, str]:
    """The texts of a row by column as the cells hold them: cut, with a sign, where a spreadsheet would cut (or refuse)."""
    return {name: cut(text, row) for name, text in whole_texts(study, row).items()}


def row_digest(study: Study, row: Row) -> str:
    """The hash of a row's text cells, from left to right: what `Row.digest` holds."""
    return text_digest(*text_cells(study, row).values())


def texts_file(annotator: str) -> str:
    """The page beside an annotator's sheet that holds whole what no cell can hold or show."""
    return f"{annotator}_texts.html"


def meta(study: Study, annotator: str) -> dict[str, list[str]]:
    """What a workbook's hidden sheet says of itself: a name and its values a row."""
    rows = [row for row in study.rows if row.annotator == annotator]
    return {
        "study_id": [study.id],
        "rubric": [study.rubric.rubric, str(study.rubric.version), study.rubric.hash],
        "rows": [str(len(rows))],
        "digest": [text_digest(*(row.id + row.digest for row in rows))],
        "columns": [column.name for column in columns(study)],
    }


def _part(row: Row, column: Column) -> str:
    output: Output | None = row.second if column.side == "B" else row.first
    if output is None:
        raise ValueError(f"row {row.id} has no second output")
    if column.part == "output":
        return found if (found := cleaned(output.text)).strip() else EMPTY
    texts = {"input": output.input, "source": output.source, "reference": output.reference}
    return cleaned(texts[column.part or "input"] or "")


def cut(text: str, row: Row) -> str:
    """``text``, or what of it a cell can hold with a sign that it goes on in `texts_file` under the row's id."""
    if units(text) <= CELL_LIMIT:
        return text
    sign = f"\n[... cut: the whole text is in {texts_file(row.annotator)} under {row.id}]"
    room = CELL_LIMIT - len(sign)
    kept = text.encode("utf-16-le")[: 2 * room].decode("utf-16-le", errors="ignore")
    return kept + sign


def units(text: str) -> int:
    """The length of a text as spreadsheets count it, in UTF-16 units: an emoji is two."""
    return len(text) + sum(ord(letter) > 0xFFFF for letter in text)
