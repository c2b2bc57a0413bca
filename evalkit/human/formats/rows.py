"""What other tools are given of a study: the texts of each row, the points of each scale, and the words of the rubric."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from evalkit.human.base import Study
from evalkit.human.layout import ITEM_ID, NOT_APPLICABLE, STUDY_ID, columns, whole_texts
from evalkit.rubric.schema import Criterion
from evalkit.runner.files import atomic


def records(study: Study, annotator: str) -> Iterator[dict[str, str]]:
    """An annotator's rows in their order: both ids, and the texts by column, uncut."""
    for row in study.rows:
        if row.annotator == annotator:
            yield {ITEM_ID: row.id, STUDY_ID: study.id, **whole_texts(study, row)}


def text_columns(study: Study) -> list[str]:
    """The names of the texts, from left to right."""
    return [column.name for column in columns(study) if column.role == "text"]


def rated_column(study: Study) -> str:
    """The text that a rating belongs to; the first one of a pair."""
    return next(column.name for column in columns(study) if column.role == "text" and column.part == "output")


def points(criterion: Criterion) -> list[str]:
    """What can be chosen, worst first, and that the criterion cannot be rated."""
    return [*criterion.scale.points, NOT_APPLICABLE]


def words(study: Study) -> str:
    """What a rater is told before all: what may hurt, the task, the guidelines."""
    rubric = study.rubric
    warning = [f"Content warning: {text}" for text in study.warnings]
    return "\n\n".join(part for part in (*warning, rubric.task, rubric.guidelines) if part)


def asked(criterion: Criterion) -> str:
    """A criterion as raters read it: name, definition, the anchors of its scale."""
    anchors = [f"{level}: {text}" for level, text in criterion.levels.items()]
    return "\n".join([f"{criterion.shown}. {criterion.definition}", *anchors])


def put(path: Path, text: str) -> str:
    """Write a file, whole or not at all; gives its name."""
    with atomic(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))
    return path.name


#: For tools whose output has no fixed columns.
OWN_CSV = (
    "write its answers to a CSV with the columns item_id, annotator (who rated) and one a criterion, then\n\n"
    "  evalkit human import STUDY FILE --map annotator=annotator"
)


def imported_with(study: Study, tool: str, command: str) -> str:
    """The note beside a tool's files."""
    return (
        f"Study {study.id} for {tool}.\n\n"
        "One file an annotator: give each to one person only. None of these files says which system wrote what; that is in\n"
        f"key.json alone, which stays with you.\n\nBack again:\n\n  {command}\n"
    )
