"""Returned files as grids of text, whatever program saved them: CSV and TSV in several encodings, and XLSX."""

from __future__ import annotations

import codecs
import csv
import io
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from evalkit.errors import DataError
from evalkit.human.base import Finding
from evalkit.human.header import Names
from evalkit.human.workbook import read_workbook

#: Byte order marks and what they say; the mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DELIMITERS = (",", ";", "\t", "|")

#: Rows at the top among which the header is looked for.
TOP = 20


@dataclass(frozen=True, slots=True)
class Grid:
    """The cells of one file. ``rows``: number as the spreadsheet shows it (from 1), and the cells as text.

    ``meta`` is what a workbook's hidden sheet says of itself (`layout.meta`), where the file still holds it.
    """

    file: str
    rows: tuple[tuple[int, tuple[str, ...]], ...] = ()
    findings: tuple[Finding, ...] = ()
    meta: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_grid(path: Path, file: str, names: Names, encoding: str | None = None) -> Grid:
    """The cells of a file, called ``file`` in findings. ``names`` knows a header when it sees one.

    ``encoding`` is for files that are neither UTF-8, UTF-16 nor Windows-1252. A file that is no table
    gives an error finding. Raises DataError for a file that is not there.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if not data.strip():
        return _refused(file, "empty-file", "the file is empty")
    if data.startswith(b"PK"):
        book = read_workbook(data, file, names)
        return Grid(file, tuple(book.rows), tuple(book.findings), book.meta)
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        return _refused(file, "file-kind", "an old Excel file, or one with a password; save it as .xlsx or CSV (UTF-8)")
    if data.startswith((b"%PDF", b"{\\rtf", b"\x89PNG", b"\xff\xd8")) or data.lstrip()[:20].lower().startswith(
        (b"<!doctype", b"<html", b"<?xml")
    ):
        return _refused(file, "file-kind", "not a table; save the sheet as .xlsx or CSV (UTF-8)")
    return _text_grid(data, file, names, encoding)


def _text_grid(data: bytes, file: str, names: Names, encoding: str | None) -> Grid:
    try:
        text, findings = _decoded(data, file, encoding)
    except (UnicodeError, LookupError) as error:
        told = f"the encoding {encoding!r} does not fit" if encoding else "neither UTF-8, UTF-16 nor Windows-1252"
        return _refused(
            file, "encoding", f"{told} ({error}); save as CSV UTF-8 or .xlsx, or name the encoding with --encoding"
        )
    delimiter, rest, skipped = _delimiter(text, names)
    rows: list[tuple[int, tuple[str, ...]]] = []
    with _long_fields():
        reader = csv.reader(io.StringIO(rest, newline=""), delimiter=delimiter, strict=True)
        try:
            for number, cells in enumerate(reader, 1 + skipped):
                rows.append((number, tuple(cells)))
        except csv.Error as error:
            message = f"not valid CSV: {error} (line {reader.line_num} of the file); a quotation mark is missing or too many"
            findings.append(Finding("error", "csv", file, message, row=len(rows) + 1 + skipped))
    return Grid(file, tuple(rows), findings=tuple(findings))


def _decoded(data: bytes, file: str, encoding: str | None) -> tuple[str, list[Finding]]:
    """The text, and a warning where its encoding had to be guessed. Raises UnicodeError, LookupError."""
    if encoding:
        return data.decode(encoding).removeprefix("\ufeff"), []
    marked = next((name for mark, name in _MARKS if data.startswith(mark)), None) or _unmarked(data)
    if marked:
        return data.decode(marked).lstrip("\ufeff"), []
    try:
        return data.decode("utf-8"), []
    except UnicodeDecodeError:
        text = data.decode("cp1252")
    message = "not UTF-8: read as Windows-1252; every text is held against the key (--encoding names another)"
    return text, [Finding("warning", "encoding", file, message)]


def _unmarked(data: bytes) -> str | None:
    """UTF-16 without its mark: every other byte of a header in Latin letters is zero."""
    head = data[:400]
    if head[1::2].count(0) > len(head) // 3:
        return "utf-16-le"
    return "utf-16-be" if head[::2].count(0) > len(head) // 3 else None


def _delimiter(text: str, names: Names) -> tuple[str, str, int]:
    """What separates the cells, the text without a line ``sep=;`` before the header, and how many lines that took."""
    first, _, rest = text.partition("\n")
    told = first.strip().strip('"').casefold()
    if told.startswith("sep=") and len(told) <= len("sep=") + 1:
        return told[len("sep=") :] or "\t", rest, 1
    scores = {delimiter: _known(text, delimiter, names) for delimiter in _DELIMITERS}
    return max(_DELIMITERS, key=lambda delimiter: scores[delimiter]), text, 0


def _known(text: str, delimiter: str, names: Names) -> tuple[int, int]:
    """How many known names stand in the row at the top that has most of them, and how many cells that row has."""
    best = (0, 0)
    with _long_fields():
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        try:
            for cells in islice(reader, TOP):
                best = max(best, (names.count(cells), len(cells)))
        except csv.Error:
            pass  # what was read until here counts; reading for good tells the error
    return best


def _refused(file: str, code: str, message: str) -> Grid:
    return Grid(file, findings=(Finding("error", code, file, message),))


@contextmanager
def _long_fields() -> Iterator[None]:
    """Fields of any length: documents are longer than the 128 KB that the csv module allows."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)
