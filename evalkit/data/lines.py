"""Tables over line-based files: the bytes and where each row starts are kept, rows are parsed when asked for.

Ten times smaller than a list of dicts, and every line was checked once when the file was opened.
"""

from __future__ import annotations

import hashlib
import json
import re
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from evalkit.data.files import read_bytes
from evalkit.errors import DataError

_BOM = b"\xef\xbb\xbf"
#: Keys that hold the rows where a JSON file is one object and no ``field`` says which.
_ROW_KEYS = ("data", "examples")


def _no_constant(_: str) -> None:
    """NaN and Infinity are not JSON: such a value is missing."""


_BLANK = re.compile(rb"\s*")
_decode = json.JSONDecoder(parse_constant=_no_constant).decode


class Columns:
    """What the rows of a table have in common: the union of their keys, and which numbers must become floats.

    ``datasets`` gives a column one type: where whole numbers and fractions are mixed (directly, or inside lists) all
    are floats, and a prompt then reads ``1.0``. The same is done here, so that a task renders the same text.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, set[type]] = {}
        self._items: dict[str, set[type]] = {}

    def learn(self, row: dict[str, Any]) -> None:
        for key, value in row.items():
            if key not in self._kinds:
                self._kinds[key] = set()
            self._kinds[key].add(type(value))
            if type(value) is list:
                self._items.setdefault(key, set()).update(map(type, value))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._kinds)

    def floats(self) -> tuple[frozenset[str], frozenset[str]]:
        """Columns whose numbers, and columns whose lists of numbers, become floats."""
        none, mixed = type(None), {int, float}
        plain = frozenset(c for c, kinds in self._kinds.items() if kinds - {none} == mixed)
        lists = frozenset(c for c, k in self._items.items() if k - {none} == mixed and self._kinds[c] - {none} == {list})
        return plain, lists


class LineTable:
    """Rows at known offsets of a byte string. Memory: the bytes and 8 bytes a row."""

    def __init__(self, data: bytes, starts: array[int], columns: tuple[str, ...]) -> None:
        self._data = data
        self._starts = starts
        self.columns = columns
        self.fingerprint = hashlib.blake2b(data, digest_size=16).hexdigest()

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> dict[str, Any]:
        start = self._starts[index]
        end = self._data.find(b"\n", start)
        return self._row(self._data[start : end if end >= 0 else len(self._data)].decode())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[i] for i in range(len(self)))

    def _row(self, line: str) -> dict[str, Any]:
        raise NotImplementedError


class JsonTable(LineTable):
    """One JSON object a line."""

    def __init__(self, data: bytes, starts: array[int], columns: Columns) -> None:
        super().__init__(data, starts, columns.names)
        self._floats, self._float_lists = columns.floats()

    def _row(self, line: str) -> dict[str, Any]:
        values = _decode(line)
        row = {column: values.get(column) for column in self.columns}
        for column in self._floats:
            if row[column] is not None:
                row[column] = float(row[column])
        for column in self._float_lists:
            if row[column] is not None:
                row[column] = [None if item is None else float(item) for item in row[column]]
        return row


class TextTable(LineTable):
    """One row a line of plain text, in column ``text``; empty lines are rows, as in ``datasets``."""

    def _row(self, line: str) -> dict[str, Any]:
        return {"text": line}


def read_text(paths: Sequence[Path]) -> TextTable:
    """Text files, one row a line."""
    parts = [_utf8(path).replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n") for path in paths]
    data = b"\n".join(parts)
    starts = array("Q", [0])
    starts.extend(at + 1 for at in _newlines(data))
    return TextTable(data, starts if data else array("Q"), ("text",))


def read_json(paths: Sequence[Path], field: str | None = None, lines: bool = False) -> JsonTable:
    """JSON or JSON Lines files as one table.

    A file may hold one object a line, a list of objects, a list of plain values (column ``text``), or one object whose
    ``field`` (or else ``data`` or ``examples``) is such a list. ``lines`` rules out all but the first. Blank lines are
    skipped; a broken line is a DataError with its number.
    """
    columns, starts, parts, offset = Columns(), array("Q"), [], 0
    for path in paths:
        data = _utf8(path)
        whole = None if lines else _whole(path, data, field)
        if whole is not None:
            data = b"\n".join(json.dumps(row).encode() for row in whole)
        _scan(path, data, offset, starts, columns)
        parts.append(data)
        offset += len(data) + 1
    return JsonTable(parts[0] if len(parts) == 1 else b"\n".join(parts), starts, columns)


def _utf8(path: Path) -> bytes:
    data = read_bytes(path)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path}: is UTF-16; save it as UTF-8")
    return data.removeprefix(_BOM)


def _newlines(data: bytes) -> Iterator[int]:
    at = data.find(b"\n")
    while at >= 0:
        yield at
        at = data.find(b"\n", at + 1)


def _scan(path: Path, data: bytes, offset: int, starts: array[int], columns: Columns) -> None:
    """Check every line once and note where the rows start."""
    start, number = 0, 0
    while start < len(data):
        end = data.find(b"\n", start)
        end = end if end >= 0 else len(data)
        number += 1
        line = data[start:end].strip()
        if line:
            columns.learn(_object(line, f"{path}, line {number}"))
            starts.append(offset + start)
        start = end + 1


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = _decode(line.decode())
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 text (byte {error.start + 1})") from error
    except (json.JSONDecodeError, RecursionError) as error:
        reason = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else "nested too deep"
        raise DataError(f"{where}: not valid JSON: {reason}") from error
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected a JSON object, got {type(row).__name__}")
    return row


def _whole(path: Path, data: bytes, field: str | None) -> list[dict[str, Any]] | None:
    """The rows of a file that is one JSON document, or ``None`` for JSON Lines."""
    start = _skip_blank(data, 0)
    if start == len(data):
        return []
    if field is None and data[start : start + 1] != b"[" and _looks_like_lines(data, start):
        return None
    try:
        document = _decode(data.decode())
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start + 1})") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: not valid JSON: {error.msg}, column {error.colno}") from error
    return _rows(path, document, field)


def _skip_blank(data: bytes, start: int) -> int:
    found = _BLANK.match(data, start)
    return found.end() if found else start


def _looks_like_lines(data: bytes, start: int) -> bool:
    """Whether one of the first two lines with anything on them is JSON by itself, and there are two (one may be broken)."""
    end = data.find(b"\n", start)
    second = _skip_blank(data, end) if end >= 0 else len(data)
    if second == len(data):
        return False
    stop = data.find(b"\n", second)
    return _is_object(data[start:end]) or _is_object(data[second : stop if stop >= 0 else len(data)])


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(_decode(line.decode()), dict)
    except ValueError:
        return False


def _rows(path: Path, document: Any, field: str | None) -> list[dict[str, Any]]:
    if field is not None:
        if not isinstance(document, dict) or field not in document:
            known = f"; it has {', '.join(document)}" if isinstance(document, dict) else ""
            raise DataError(f"{path}: no field {field!r}{known}")
        document = document[field]
    elif isinstance(document, dict):
        inner = next((document[key] for key in _ROW_KEYS if _is_rows(document.get(key))), None)
        document = [document] if inner is None else inner
    if not isinstance(document, list):
        raise DataError(f"{path}: expected a list of objects, got {type(document).__name__}")
    return [row if isinstance(row, dict) else {"text": row} for row in document]


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)
