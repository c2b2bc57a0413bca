"""lm-eval's sample lines, found and read one at a time: a line a document and filter, filter after filter."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import evalkit.data.load as tables
from evalkit.errors import DataError
from evalkit.tasks import ids
from evalkit.types import content_hash

_NEEDED = ("doc_id", "doc", "arguments", "resps")


@dataclass(slots=True)
class Lines:
    """A samples file: where each line stands, by filter and document, and what the documents are called.

    ``first`` is the first line, as lm-eval wrote it.
    """

    path: Path
    first: Mapping[str, Any]
    digest: str = ""
    at: dict[str, dict[int, int]] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    partial: set[str] = field(default_factory=set)
    """Metrics that have other values than 0 and 1."""

    def __len__(self) -> int:
        return len(self.names)

    def read(self) -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
        """Each document's id and its lines by filter, in the order of the split."""
        with self.path.open("rb") as file:
            for doc_id, name in self.names.items():
                yield name, {filter_: _at(file, found[doc_id]) for filter_, found in self.at.items()}


def find_lines(path: Path, sample_id: str | None, task: str) -> Lines:
    """Read a samples file once, to know its documents and to find its lines again; no text is kept.

    ``sample_id``: the column or template with the documents' ids. Raises DataError, with the line, for what is no sample
    of lm-eval's or comes twice, and for a file that was cut off.
    """
    lines = Lines(path, {})
    bases = _Bases(task, sample_id)
    digest = hashlib.sha256()
    offset = 0
    try:
        with path.open("rb") as file:
            for number, text in enumerate(file, 1):
                digest.update(text)
                if text.strip():
                    _note(lines, bases, number, offset, text)
                offset += len(text)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if not lines.at:
        raise DataError(f"{path} holds no samples")
    for filter_, found in lines.at.items():
        if found.keys() != bases.found.keys():
            raise DataError(
                f"{path}: the filter {filter_!r} has {len(found)} of {len(bases.found)} documents: it is cut off"
            )
    lines.digest = digest.hexdigest()
    lines.names = bases.numbered()
    return lines


def first_document(path: Path) -> dict[str, Any]:
    """The document of a file's first line; empty where there is none (`find_lines` says what is wrong)."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.readline())["doc"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _note(lines: Lines, bases: _Bases, number: int, offset: int, text: bytes) -> None:
    where = f"{lines.path}, line {number}"
    try:
        line = json.loads(text)
    except ValueError:
        raise DataError(f"{where} is no JSON: the file is cut off or damaged") from None
    if not isinstance(line, dict) or (missing := [key for key in _NEEDED if key not in line]):
        lacks = f": it lacks {', '.join(missing)}" if isinstance(line, dict) else ""
        raise DataError(f"{where} is no sample of lm-eval{lacks}")
    doc_id, doc, filter_ = line["doc_id"], line["doc"], str(line.get("filter", "none"))
    if not isinstance(doc_id, int) or not isinstance(doc, dict):
        raise DataError(f"{where} is no sample of lm-eval: doc_id must be a number and doc a mapping")
    found = lines.at.setdefault(filter_, {})
    if doc_id in found:
        raise DataError(f"{where}: document {doc_id} comes twice under the filter {filter_!r}")
    found[doc_id] = offset
    lines.first = lines.first or line
    lines.partial.update(name for name in line.get("metrics") or () if line.get(name) not in (0, 1))
    bases.add(doc_id, doc)


class _Bases:
    """Ids in the making, as a run of evalkit gives them: a column, else ``id`` where it is distinct, else a hash."""

    def __init__(self, task: str, sample_id: str | None) -> None:
        self._task, self._sample_id = task, sample_id
        self._value: ids.Value | None = None
        self._own: set[Any] | None = set()
        self.found: dict[int, tuple[str, str]] = {}

    def add(self, doc_id: int, doc: Mapping[str, Any]) -> None:
        if doc_id in self.found:
            return
        hashed = content_hash(doc, size=6)
        if self._sample_id is not None:
            self._value = self._value or ids.column_value(self._task, "sample_id", self._sample_id, list(doc))
            value = self._value(doc)
            self.found[doc_id] = (hashed if value is None or value == "" else str(value), "")
            return
        own = doc.get("id")
        usable = isinstance(own, int | str) and not isinstance(own, bool) and own != ""
        if self._own is not None and usable and own not in self._own:
            self._own.add(own)
        else:
            self._own = None
        self.found[doc_id] = (hashed, "" if own is None else str(own))

    def numbered(self) -> dict[int, str]:
        """Id by document, in the order of the split."""
        place = 1 if self._sample_id is None and self._own is not None else 0
        order = sorted(self.found)
        table = tables.from_rows([{"id": self.found[doc_id][place]} for doc_id in order])
        named = ids.numbered(table, lambda doc: doc["id"])
        return {doc_id: name for doc_id, (_, name, _) in zip(order, named, strict=True)}


def _at(file: IO[bytes], offset: int) -> dict[str, Any]:
    file.seek(offset)
    line: dict[str, Any] = json.loads(file.readline())
    return line
