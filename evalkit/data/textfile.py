"""A file of texts as rows: plain text (a row a line), JSON Lines, JSON, CSV, TSV or Parquet, packed or not.

Texts come back as they stand in the file: nothing is typed, stripped or taken for missing (``NA`` is a text).
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.data.files import KINDS, find, kind_of, read_bytes
from evalkit.data.lines import read_json
from evalkit.data.tables import read_parquet
from evalkit.errors import DataError

#: The one column of a file without columns.
TEXT = "text"


@dataclass(frozen=True, slots=True)
class TextFile:
    """Rows with the same columns each. ``plain``: lines of text, or texts in memory, under the one column ``text``."""

    name: str
    """How errors call it."""
    columns: tuple[str, ...]
    rows: Sequence[Mapping[str, Any]]
    plain: bool = False

    def __len__(self) -> int:
        return len(self.rows)


def in_memory(name: str, values: Sequence[Any]) -> TextFile:
    """A value a row: texts, or lists of texts."""
    return TextFile(name, (TEXT,), [{TEXT: value} for value in values], plain=True)


def read_texts(path: str | Path) -> TextFile:
    """The rows of a file; a suffix that names no format means plain text.

    In plain text a blank line is a blank text, a line may end as on Windows, and the end of the last line is no further row.
    Raises DataError, naming the file and the line, for what cannot be read, is not UTF-8, or is empty.
    """
    (found,) = find(str(path), [Path.cwd()]) if not Path(path).is_file() else [Path(path)]
    name, kind = str(path), kind_of(found) or "text"
    if kind in ("json", "jsonl"):
        table = read_json([found], lines=kind == "jsonl")
        file = TextFile(name, table.columns, list(table), plain=table.columns == (TEXT,))
    elif kind == "parquet":
        arrow = read_parquet([found])
        file = TextFile(name, arrow.columns, list(arrow))
    elif kind in ("csv", "tsv"):
        file = _table(name, _decoded(found), "\t" if kind == "tsv" else ",")
    else:
        file = TextFile(name, (TEXT,), [{TEXT: line} for line in _lines(_decoded(found))], plain=True)
    if not file.rows:
        raise DataError(f"{name} is empty: it holds no rows")
    return file


def _decoded(path: Path) -> str:
    data = read_bytes(path)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path}: is UTF-16; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = error.start - data.rfind(b"\n", 0, error.start)
        raise DataError(f"{path}, line {line}: not UTF-8 text (byte {byte}); save the file as UTF-8") from error


def _lines(text: str) -> list[str]:
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []


def _table(name: str, text: str, separator: str) -> TextFile:
    """A CSV file as the texts in it. In a file of one column a blank line is a blank text, else it is nothing."""
    with _long_fields():
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        try:
            header = next(reader, [])
            rows = []
            for fields in reader:
                if len(fields) != len(header) and (fields or len(header) > 1):
                    if not fields:
                        continue
                    raise DataError(
                        f"{name}, line {reader.line_num}: {len(fields)} fields, but the header names {len(header)}"
                    )
                rows.append(dict(zip(header, fields or [""], strict=True)))
        except csv.Error as error:
            raise DataError(f"{name}, line {reader.line_num}: not valid CSV: {error}") from error
    if twice := next((column for column in header if header.count(column) > 1), None):
        raise DataError(f"{name}: the header names {twice!r} twice")
    return TextFile(name, tuple(header), rows)


@contextmanager
def _long_fields() -> Iterator[None]:
    """Fields of any length: documents are longer than the 128 KB that the csv module allows."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def file_or_texts(name: str, given: Any) -> TextFile:
    """A file by its path, or texts (or lists of texts), one a row, that errors call ``name``. Raises DataError."""
    if isinstance(given, str | Path):
        return read_texts(given)
    values = list(given)
    if not values:
        raise DataError(f"{name}: there are no texts")
    return in_memory(name, values)


def systems(given: Any) -> dict[str, TextFile]:
    """The systems' texts by name: from a mapping of names to files or texts, files (named by their stems), or texts.

    A list of `Path` objects is several files; any other sequence is one system's texts. Raises DataError.
    """
    if isinstance(given, Mapping):
        found = {str(name): file_or_texts(str(name), value) for name, value in given.items()}
    elif isinstance(given, str | Path):
        found = {stem(given): read_texts(given)}
    elif (values := list(given)) and all(isinstance(value, Path) for value in values):
        names = [stem(path) for path in values]
        found = {
            name if names.count(name) == 1 else str(path): read_texts(path) for name, path in zip(names, values, strict=True)
        }
        if len(found) < len(values):
            raise DataError(f"{next(str(path) for path in values if values.count(path) > 1)} is given twice")
    else:
        found = {"predictions": file_or_texts("predictions", values)}
    if not found:
        raise DataError("no predictions given")
    return found


def further(what: str, given: Any) -> list[TextFile]:
    """Files that each hold one text (or list) a row: a path, a list of `Path` objects, or texts. ``None``: none."""
    if given is None:
        return []
    if isinstance(given, str | Path):
        return [read_texts(given)]
    values = list(given)
    if values and all(isinstance(value, Path) for value in values):
        return [read_texts(path) for path in values]
    return [file_or_texts(what, values)]


def stem(path: str | Path) -> str:
    """A file's name without the suffixes that say how it is written."""
    name = Path(path).name
    for suffix in (".gz", ".bz2", ".xz", *KINDS):
        name = name.removesuffix(suffix)
    return name or str(path)
