"""An XLSX file's rating sheet as text. Formulas are never computed; dates and percentages stay what they are."""

from __future__ import annotations

import datetime as dt
import io
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from evalkit.errors import UsageError
from evalkit.human.base import Finding
from evalkit.human.header import Names, fold
from evalkit.human.layout import INSTRUCTIONS, META, RATINGS

#: Bytes that a workbook may unpack to: 200 sheets of this project are far smaller, a bomb is far larger.
_LARGEST = 1 << 30

#: Sheets beside the ratings that are ours.
_OURS = {fold(INSTRUCTIONS), fold(META)}


@dataclass(slots=True)
class Book:
    """What `Grid` takes from a workbook."""

    rows: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    meta: dict[str, tuple[str, ...]] = field(default_factory=dict)


def read_workbook(data: bytes, file: str, names: Names) -> Book:
    """The sheet ``Ratings``, or else the one sheet that has a header. Raises UsageError without openpyxl."""
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise UsageError("reading .xlsx files needs openpyxl: pip install 'evalkit[human]', or save as CSV") from error
    book = Book()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as parts:
            if "xl/workbook.xml" not in parts.namelist():
                return _refused(book, file, "not a workbook of Excel; save the sheet as .xlsx or CSV (UTF-8)")
            if sum(part.file_size for part in parts.infolist()) > _LARGEST:
                return _refused(book, file, "the workbook unpacks to more than 1 GB; save the sheet of ratings alone")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # openpyxl's, of styles and validations that it does not keep
            workbook = load_workbook(io.BytesIO(data), read_only=True, data_only=False)
            sheets = {sheet.title: list(_rows(sheet)) for sheet in workbook.worksheets}
            workbook.close()
    except Exception as error:  # openpyxl raises whatever a damaged file provokes: KeyError, ValueError, XML errors
        told = " ".join(str(error).split()) or type(error).__name__
        return _refused(book, file, f"the workbook is damaged ({told}); open it in the spreadsheet and save it again")
    _choose(book, file, sheets, names)
    return book


def _choose(book: Book, file: str, sheets: dict[str, list[tuple[int, tuple[str, ...]]]], names: Names) -> None:
    """Take the sheet of ratings and what the hidden one says; tell of every other sheet that holds something."""
    having = [title for title, rows in sheets.items() if any(names.count(cells) > 1 for _, cells in rows[:20])]
    named = [title for title in sheets if fold(title) == fold(RATINGS)]
    chosen = (named or having or [title for title in sheets if fold(title) not in _OURS])[:1]
    for title, rows in sheets.items():
        content = [cells for _, cells in rows if any(cell.strip() for cell in cells)]
        if title in chosen:
            book.rows = rows
        elif fold(title) == fold(META):
            for cells in content:
                book.meta[cells[0]] = tuple(cell for cell in cells[1:] if cell)
        elif content and fold(title) not in _OURS:
            what = "has the columns of a rating sheet too" if title in having else "holds something"
            message = (
                f"the sheet {title!r} {what} and is not read; {chosen[0]!r} is"
                if chosen
                else f"the sheet {title!r} is not read"
            )
            book.findings.append(Finding("warning", "other-sheet", file, message))


def _rows(sheet: Any) -> Iterator[tuple[int, tuple[str, ...]]]:
    sheet.reset_dimensions()  # some programs write a wrong size, and cells beyond it would be lost
    for number, cells in enumerate(sheet.rows, 1):
        texts = tuple(_text(cell) for cell in cells)
        if any(texts):
            yield number, texts


def _text(cell: Any) -> str:
    """A cell as text that tells what it is: ``TRUE``, ``2024-02-01``, ``4%``, ``=A1+1``."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        percent = "%" in (cell.number_format or "")
        number = value * 100 if percent else value
        text = str(int(number)) if float(number).is_integer() and abs(number) < 1e15 else repr(float(f"{number:.15g}"))
        return f"{text}%" if percent else text
    if isinstance(value, dt.datetime):
        return value.date().isoformat() if value.time() == dt.time() else value.isoformat(" ")
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return str(getattr(value, "text", value))  # of a formula over several cells


def _refused(book: Book, file: str, message: str) -> Book:
    book.findings.append(Finding("error", "file-kind", file, message))
    return book
