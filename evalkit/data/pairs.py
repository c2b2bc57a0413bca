"""Outputs of systems beside references and sources: files joined to rows, every mismatch refused with both sides named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalkit.data.textfile import TEXT, TextFile
from evalkit.errors import DataError, nearest
from evalkit.types import content_hash

#: The columns that a file's texts are looked for in, best first. ``--column ROLE=NAME`` names others.
ROLES: Mapping[str, tuple[str, ...]] = {
    "prediction": ("prediction", "predictions", "output", "hypothesis"),
    "reference": ("reference", "references", "target", "targets"),
    "source": ("source", "src"),
    "id": ("id", "sample_id"),
}


@dataclass(frozen=True, slots=True)
class Outputs:
    """What systems wrote, aligned with the rows they wrote it for.

    A row has ``id``, ``reference`` (a text, or a list where any row has not exactly one), ``source`` where there is one, and
    the further columns of the references' file. ``None`` among a system's texts: it gave none there.
    """

    rows: Sequence[Mapping[str, Any]]
    systems: Mapping[str, Sequence[str | None]]
    has_references: bool
    has_sources: bool
    columns: tuple[str, ...]


def joined(
    predictions: Mapping[str, TextFile],
    references: Sequence[TextFile] = (),
    sources: TextFile | None = None,
    columns: Mapping[str, str] | None = None,
) -> Outputs:
    """Join the files of several systems, of references (each file one more reference a row) and of sources.

    By id where both sides have ids, else by position. Without a file of references (sources) they are looked for in the
    predictions' (references') own columns. ``columns`` maps roles (`ROLES`) to column names; an empty name: there is none.

    Raises DataError for an unknown column, different lengths, ids that are missing or stand twice, references that differ
    from system to system, and references that look transposed.
    """
    columns = columns or {}
    if wrong := next((role for role in columns if role not in ROLES), None):
        raise DataError(
            f"--column {wrong}={columns[wrong]}: there is no {wrong!r}{nearest(wrong, ROLES)}; one of {', '.join(ROLES)}"
        )
    first = next(iter(predictions.values()))
    spine = references[0] if references else first
    _refuse_transposed(spine, first, columns)
    joiner = _Joiner(spine, [*references, *([sources] if sources else []), *predictions.values()], columns)
    golds = joiner.golds(predictions, references)
    asked = joiner.sources(first, references, sources)
    systems = {name: joiner.texts(file) for name, file in predictions.items()}
    rows = joiner.rows([file for file in (sources, spine) if file is not None], golds, asked)
    return Outputs(rows, systems, golds is not None, asked is not None, tuple(rows[0]))


class _Joiner:
    """Files in the order of the first one's rows."""

    def __init__(self, spine: TextFile, files: Sequence[TextFile], columns: Mapping[str, str]) -> None:
        self._columns = columns
        self._spine = spine
        self._used: set[tuple[int, str]] = set()
        own = {id(file): self._own_ids(file) for file in files}
        self.ids: Sequence[str] | None = next((found for file in files if (found := own[id(file)]) is not None), None)
        if self.ids is None and columns.get("id"):
            self.needed(spine, "id")
        leading = next((file for file in files if own[id(file)] is not None), spine)
        if len(leading) != len(spine):
            raise _lengths(leading, spine)
        self._places = {id(file): self._align(file, own[id(file)], leading) for file in files}

    def column(self, file: TextFile, role: str) -> str | None:
        """The column of a file that has this role, if there is one."""
        given = self._columns.get(role)
        if given == "":
            return None
        if given is not None and given in file.columns:
            return given
        if file.plain or given is not None:
            return None
        return next((name for name in ROLES[role] if name in file.columns), None)

    def needed(self, file: TextFile, role: str) -> str:
        """As `column`, for a file that was given for this role: its only column will do. Raises DataError without one."""
        found, given = self.column(file, role), self._columns.get(role)
        if found is None and given is None:
            rest = [name for name in file.columns if name != self.column(file, "id")]
            found = rest[0] if len(rest) == 1 else TEXT if TEXT in rest else None
        if found is not None:
            self._used.add((id(file), found))
            return found
        if given is not None:
            has = "it is plain text" if file.plain else f"columns: {', '.join(file.columns)}"
            raise DataError(f"{file.name} has no column {given!r}{nearest(given, file.columns) or f'; {has}'}")
        looked = ", ".join(ROLES[role])
        raise DataError(
            f"{file.name} has no column for the {role} (looked for {looked}); it has {', '.join(file.columns)}: "
            f"name one with --column {role}=NAME"
        )

    def row(self, file: TextFile, at: int) -> Mapping[str, Any]:
        """The row of ``file`` that belongs to row ``at``."""
        return file.rows[self._places[id(file)][at]]

    def rows(
        self, files: Sequence[TextFile], golds: Sequence[list[str]] | None, asked: Sequence[str | None] | None
    ) -> list[dict[str, Any]]:
        """Every row with its id, its texts, and the columns of ``files`` that have no role."""
        taken = {*ROLES, *(name for file in files for role in ROLES if (name := self.column(file, role)))}
        further = [
            (file, [name for name in file.columns if name not in taken and (id(file), name) not in self._used])
            for file in files
            if not file.plain
        ]
        alone = golds is not None and all(len(texts) == 1 for texts in golds)
        rows = []
        for at in range(len(self._spine)):
            gold, source = golds and golds[at], asked and asked[at]
            row: dict[str, Any] = {"id": self.ids[at] if self.ids else content_hash([gold, source], 6)}
            if asked is not None:
                row["source"] = source
            if gold is not None:
                row["reference"] = gold[0] if alone else gold
            for file, names in further:
                row |= {name: self.row(file, at)[name] for name in names}
            rows.append(row)
        return rows

    def texts(self, file: TextFile) -> list[str | None]:
        """The predictions of a file."""
        column = self.needed(file, "prediction")
        places = self._places[id(file)]
        found = []
        for place in places:
            value = file.rows[place][column]
            if isinstance(value, list | tuple):
                if len(value) != 1:
                    raise DataError(
                        f"{file.name}, row {place + 1}: {len(value)} predictions; give one a row, a file a system"
                    )
                (value,) = value
            found.append(_text(value, file, place, column))
        if not any(text is not None for text in found):
            raise DataError(f"{file.name}: column {column!r} holds no prediction at all")
        return found

    def golds(self, predictions: Mapping[str, TextFile], references: Sequence[TextFile]) -> list[list[str]] | None:
        """The references of every row; ``None`` where nothing holds any."""
        if references:
            parts = [self._golds(file, self.needed(file, "reference")) for file in references]
            merged = [[text for texts in row for text in texts] for row in zip(*parts, strict=True)]
            if not any(merged):
                raise DataError(f"{references[0].name}: there is no reference at all")
            return merged
        found: tuple[TextFile, list[list[str]]] | None = None
        for file in predictions.values():
            column = self.column(file, "reference")
            if column is None:
                continue
            own = self._golds(file, column)
            if found is None:
                found = file, own
            elif (at := next((i for i, (a, b) in enumerate(zip(found[1], own, strict=True)) if a != b), None)) is not None:
                raise DataError(
                    f"{file.name} and {found[0].name} have different references in row {at + 1}: not the same data"
                )
        if found is None and self._columns.get("reference"):
            self.needed(next(iter(predictions.values())), "reference")
        return None if found is None else found[1]

    def sources(self, first: TextFile, references: Sequence[TextFile], given: TextFile | None) -> list[str | None] | None:
        """The source text of every row; ``None`` where nothing holds any."""
        if given is not None:
            return self._column(given, self.needed(given, "source"))
        for file in (*references[:1], first):
            if (column := self.column(file, "source")) is not None:
                return self._column(file, column)
        if self._columns.get("source"):
            self.needed(references[0] if references else first, "source")
        return None

    def _column(self, file: TextFile, column: str) -> list[str | None]:
        return [_text(file.rows[place][column], file, place, column) for place in self._places[id(file)]]

    def _golds(self, file: TextFile, column: str) -> list[list[str]]:
        found = []
        for place in self._places[id(file)]:
            value = file.rows[place][column]
            items = value if isinstance(value, list | tuple) else [value]
            found.append([text for item in items if (text := _text(item, file, place, column)) is not None])
        return found

    def _own_ids(self, file: TextFile) -> list[str] | None:
        column = self.column(file, "id")
        if column is None:
            return None
        ids: dict[str, int] = {}
        for place, row in enumerate(file.rows):
            value = row[column]
            name = (
                str(int(value)) if isinstance(value, float) and value.is_integer() else "" if value is None else str(value)
            )
            if not name:
                raise DataError(f"{file.name}, row {place + 1}: no {column}; --column id= joins by position instead")
            if name in ids:
                raise DataError(
                    f"{file.name}: {column} {name!r} stands in rows {ids[name] + 1} and {place + 1}; name another column "
                    "with --column id=NAME, or join by position with --column id="
                )
            ids[name] = place
        return list(ids)

    def _align(self, file: TextFile, own: Sequence[str] | None, leading: TextFile) -> Sequence[int]:
        if own is None or self.ids is None:
            if len(file) != len(self._spine):
                raise _lengths(file, self._spine)
            return range(len(file))
        places = {name: place for place, name in enumerate(own)}
        if lacking := [name for name in self.ids if name not in places]:
            raise DataError(f"{file.name} lacks {_some(lacking, len(self.ids))} of {leading.name}")
        if len(places) > len(self.ids):
            known = set(self.ids)
            raise DataError(
                f"{leading.name} lacks {_some([name for name in own if name not in known], len(own))} of {file.name}"
            )
        return [places[name] for name in self.ids]


def _text(value: Any, file: TextFile, place: int, column: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return str(value)
    raise DataError(f"{file.name}, row {place + 1}: {column} must be text, not {type(value).__name__}")


def _some(names: Sequence[str], total: int) -> str:
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} of the {total} ids ({shown})"


def _lengths(file: TextFile, other: TextFile) -> DataError:
    return DataError(
        f"{file.name} has {len(file)} rows, {other.name} has {len(other)}: rows belong together by position, so there must "
        "be as many (or give both an id column)"
    )


def _refuse_transposed(spine: TextFile, predictions: TextFile, columns: Mapping[str, str]) -> None:
    """K lists of N references, as sacrebleu takes them, where N lists of K are expected."""
    n, k = len(predictions), len(spine)
    if spine is predictions or n == k:
        return
    names = (columns.get("reference"), *ROLES["reference"], TEXT)
    column = next((name for name in names if name and name in spine.columns), None)
    if column is not None and all(isinstance(row[column], list) and len(row[column]) == n for row in spine.rows):
        raise DataError(
            f"{spine.name} holds {k} lists of {n} references for the {n} predictions of {predictions.name}: they look "
            f"transposed; write {n} rows, each with its own references"
        )
