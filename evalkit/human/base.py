"""A study as its parts pass it on: what is rated, who rates it in which order, and what only the key knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from evalkit.rubric.schema import Rubric

Form = Literal["pointwise", "pairwise"]

#: Why a row is in a sheet: it is rated for its own sake, repeats another row of the same annotator, or checks attention.
RowKind = Literal["item", "repeat", "check"]


@dataclass(frozen=True, slots=True)
class Output:
    """One system's text for one source item. ``stratum`` is what the sample was drawn by (task, length, score)."""

    item: str
    system: str
    text: str
    input: str | None = None
    source: str | None = None
    reference: str | None = None
    task: str = ""
    stratum: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of one annotator's sheet, with what the sheet must not tell.

    ``id`` is letters only, with a check letter. ``first`` and ``second`` are what is shown (``second`` in a pair only), in
    the order in which they are shown. ``of`` is the row that a repeat repeats. ``expected`` maps the criteria of an
    attention check to the highest value that an attentive rater gives (or, in a pair, the side); the ruined text of a check
    is of no system (``system`` is empty). ``digest`` is the SHA-256
    of the shown texts as `text_digest` writes them.
    """

    id: str
    annotator: str
    position: int
    kind: RowKind
    first: Output
    second: Output | None = None
    of: str | None = None
    expected: dict[str, str | float] | None = None
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Study:
    """Everything of a study but the ratings: `human.key` writes it to ``key.json`` and reads it back."""

    id: str
    form: Form
    rubric: Rubric
    seed: int
    created: str
    evalkit: str
    runs: tuple[str, ...]
    systems: tuple[str, ...]
    annotators: tuple[str, ...]
    rows: tuple[Row, ...]
    """Of all annotators, each annotator's in the order of the sheet."""
    warnings: tuple[str, ...] = ()
    """What the tasks say of texts that may hurt (``content_warning``), for raters to know before they read any."""


Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What an import has to say about a cell, a row or a file. ``row`` and ``column`` are as the spreadsheet shows them."""

    level: Level
    code: str
    file: str
    message: str
    row: int | None = None
    column: str | None = None
    value: str | None = None

    def line(self) -> str:
        """``file, row 12, column fluency: 'x' is not on the scale 1 to 5``."""
        where = [self.file]
        where += [f"row {self.row}"] if self.row is not None else []
        where += [f"column {self.column}"] if self.column else []
        return f"{', '.join(where)}: {self.message}"


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row of a returned file as text, whatever the file was: cells by column name as the sheet has it, edited or not."""

    file: str
    number: int
    cells: dict[str, str]


@dataclass(frozen=True, slots=True)
class Given:
    """One validated answer: a value on one criterion of one row. ``value`` is ``None`` for ``N/A`` (said, not forgotten)."""

    row: str
    annotator: str
    criterion: str
    value: float | None
    comment: str = ""
    seconds: float | None = None
