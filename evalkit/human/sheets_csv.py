"""Sheets as CSV that Excel, LibreOffice, Numbers and Sheets open as they are meant."""

from __future__ import annotations

import csv
import io
import locale
import re
from collections.abc import Sequence

from evalkit.errors import UsageError
from evalkit.human.base import Row, Study
from evalkit.human.digests import GUARD
from evalkit.human.layout import Column, columns, text_cells

DELIMITERS = {",": ",", ";": ";", "tab": "\t", "\t": "\t"}

#: What makes a formula of a text, also where a program widens or narrows letters (the rule of defusedcsv and of OWASP).
_FORMULA = re.compile(r"\s*[=+\-@|%\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
#: What a program may take for a number, an amount, a date or a time, and give back as another text.
_NUMBER = re.compile(r"\s*[\d.,(#$\u00a3\u20ac\u00a5][^\n]{0,40}\s*|\s*[^\W\d_]{3,12}\.?[\s./-]*\d{1,4}\s*")
_WORDS = {
    "true", "false", "wahr", "falsch", "vrai", "faux", "verdadero", "falso", "vero", "waar", "onwaar", "verdadeiro",
    "prawda",
}  # fmt: skip


def csv_bytes(study: Study, rows: Sequence[Row], delimiter: str = "auto") -> bytes:
    """One annotator's sheet: UTF-8 with a byte order mark, CRLF, every cell quoted, ratings empty."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator(delimiter), quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    layout = columns(study)
    writer.writerow([column.name for column in layout])
    for row in rows:
        texts = text_cells(study, row)
        writer.writerow([_cell(study, row, column, texts) for column in layout])
    return b"\xef\xbb\xbf" + text.getvalue().encode("utf-8")


def separator(name: str) -> str:
    """The character for ``auto``, ``,``, ``;`` or ``tab``. Raises UsageError for anything else.

    ``auto`` is what a spreadsheet of this computer's language expects: ``;`` where numbers have a decimal comma.
    """
    if name == "auto":
        return ";" if _decimal_comma() else ","
    if name not in DELIMITERS:
        raise UsageError(f"--delimiter {name!r}: it is auto, a comma, a semicolon or tab")
    return DELIMITERS[name]


def guarded(text: str) -> str:
    """``text`` behind a ``'`` where a spreadsheet would take it for a formula, a number, a date or a truth value."""
    risky = _FORMULA.match(text) or _NUMBER.fullmatch(text) or text.strip().casefold() in _WORDS
    return GUARD + text if risky else text


def _cell(study: Study, row: Row, column: Column, texts: dict[str, str]) -> str:
    if column.role == "text":
        return guarded(texts[column.name])
    return {"id": row.id, "study": study.id}.get(column.role, "")


def _decimal_comma() -> bool:
    before = locale.setlocale(locale.LC_NUMERIC)
    try:
        locale.setlocale(locale.LC_NUMERIC, "")
        return locale.localeconv()["decimal_point"] == ","
    except locale.Error:  # the environment names a language that is not installed
        return False
    finally:
        locale.setlocale(locale.LC_NUMERIC, before)
