"""Answers given in the browser, as a table like that of a returned sheet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalkit.errors import DataError
from evalkit.human.base import Finding, RawRow, Study
from evalkit.human.header import SECONDS, Table
from evalkit.human.layout import COMMENT, ITEM_ID

#: Where in a study's folder they are: one file an annotator.
ANSWERS = "answers"


def answer_files(folder: Path) -> list[Path]:
    """Every annotator's file of answers. Raises DataError where there is none."""
    found = sorted((folder / ANSWERS).glob("*.jsonl"))
    if not found:
        raise DataError(f"{folder} has no answers from the browser; name the sheets: evalkit human import {folder} FILE...")
    return found


def read_answers(path: Path, file: str, study: Study) -> Table:
    """A table with one row for each row that was answered, at the line of its last answer.

    A line is ``{"row", "criterion", "value", "comment", "seconds"}``; without a criterion it is the row's comment. The last
    line of a cell counts, and an empty value takes an answer back.
    """
    headings = [ITEM_ID, *study.rubric.names, COMMENT, SECONDS]
    table = Table(file, headings={name: name for name in headings})
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    rows: dict[str, RawRow] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            _take(json.loads(line.decode("utf-8")), file, number, rows, headings)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            torn = number == len(lines)  # without its line end: the page was killed while it wrote, and told nobody "saved"
            message = "the last line is torn and was left out" if torn else f"not an answer: {type(error).__name__}: {error}"
            table.findings.append(Finding("warning" if torn else "error", "answer", file, message, row=number))
    table.rows = list(rows.values())
    return table


def _take(line: Mapping[str, Any], file: str, number: int, rows: dict[str, RawRow], headings: list[str]) -> None:
    """Put one answer into its row's cells. Raises ValueError, KeyError, TypeError, AttributeError for what is none."""
    row, criterion = line["row"], line["criterion"]
    if criterion is not None and criterion not in headings[1:-2]:
        raise ValueError(f"there is no criterion {criterion!r}")
    before = rows.get(row)
    cells = dict(before.cells) if before else dict.fromkeys(headings, "") | {ITEM_ID: str(row)}
    if criterion is None:
        cells[COMMENT] = str(line["comment"])
    else:
        cells[criterion] = str(line["value"])
        cells[COMMENT] = str(line.get("comment") or "") or cells[COMMENT]
    if (seconds := line.get("seconds")) is not None:
        cells[SECONDS] = f"{max(float(seconds), float(cells[SECONDS] or 0)):.1f}"
    rows[row] = RawRow(file, number, cells)
