"""Which columns of a table of rated outputs mean what, and reading text and numbers out of them.

A column may be named by a path (``scores.coherence``) where a row nests. What is not named is recognised by usual names.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evalkit.errors import DataError, UsageError, nearest
from evalkit.types import Json

#: Usual names of each role's column, best first.
NAMES: Mapping[str, tuple[str, ...]] = {
    "item": ("item", "item_id", "id", "doc_id", "doc", "sample_id", "segment_id", "seg_id"),
    "system": ("system", "system_id", "sys", "model", "model_id"),
    "output": ("output", "prediction", "hypothesis", "hyp", "mt", "summary", "sys_summ", "decoded", "response", "answer"),
    "references": ("references", "refs", "ref_summs", "reference", "ref", "ref_summ", "target", "gold"),
    "source": ("source", "src", "document", "article", "input", "text"),
    "human": ("human", "ratings", "scores", "human_scores", "rating", "score", "human_score", "expert_annotations", "da"),
    "systems": ("systems", "outputs", "sys_summs"),
}


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns to read. Empty means: recognise it by `NAMES`.

    ``item`` says which rows are outputs for the same input, ``system`` who made an output. ``references`` and ``human`` may
    name several columns. ``systems`` names a column that maps each system to its output, or to columns of its own
    (``{"M11": {"summary": ..., "scores": {...}}}``): one line an item then, instead of one an output. ``computed`` are
    numbers that metrics gave already, ``-name`` where lower is better; they are never guessed.
    """

    item: str = ""
    system: str = ""
    output: str = ""
    references: tuple[str, ...] = ()
    source: str = ""
    human: tuple[str, ...] = ()
    systems: str = ""
    computed: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: Columns | Mapping[str, str | Sequence[str]] | None) -> Columns:
        """Columns by role from a mapping, one name or several. Raises UsageError for an unknown role."""
        if isinstance(names, Columns):
            return names
        made: dict[str, Any] = {}
        for role, given in dict(names or {}).items():
            if role not in cls.__slots__:
                raise UsageError(
                    f"unknown role {role!r} of a column{nearest(role, cls.__slots__)}; known: {', '.join(cls.__slots__)}"
                )
            one = role not in ("references", "human", "computed")
            made[role] = given if one else (given,) if isinstance(given, str) else tuple(given)
        return cls(**made)

    def found(self, where: str, rows: Sequence[Mapping[str, Any]]) -> Columns:
        """With what is recognised in ``rows`` filled in. Raises DataError for a column that no row has."""
        known = list(dict.fromkeys(key for row in rows for key in row))
        for name in (self.item, self.system, self.output, self.source, *self.references, *self.human, *self.computed):
            if name and not any(look_up(row, name.removeprefix("-")) is not None for row in rows):
                raise DataError(f"{where}: no column {name.removeprefix('-')!r}{_hint(name, known)}")

        def first(role: str) -> str:
            free = [name for name in NAMES[role] if name in known and name not in self.human]
            return free[0] if free else ""

        human = self.human or tuple(filter(None, [first("human")]))
        if not human:
            numeric = [key for key in known if any(numbers(row.get(key)) for row in rows)]
            listed = f" (columns with numbers: {', '.join(numeric)})" if numeric else ""
            raise DataError(f"{where}: which column holds the human ratings? Name it with --human{listed}")
        references = self.references or tuple(filter(None, [first("references")]))
        return replace(
            self,
            item=self.item or first("item"),
            system=self.system or first("system"),
            output=self.output or first("output"),
            source=self.source or first("source"),
            references=references,
            human=human,
        )

    def described(self) -> dict[str, Json]:
        """What is read from where, without the roles that no column has."""
        pairs = {
            "item": self.item,
            "system": self.system,
            "output": self.output,
            "references": ", ".join(self.references),
            "source": self.source,
            "human": ", ".join(self.human),
            "systems": self.systems,
            "computed": ", ".join(self.computed),
        }
        return {role: name for role, name in pairs.items() if name}


def _hint(name: str, known: Sequence[str]) -> str:
    return nearest(name.removeprefix("-"), known) or f"; it has {', '.join(known)}"


def spread(where: str, rows: Iterable[Mapping[str, Any]], systems: str) -> tuple[list[dict[str, Any]], str]:
    """One row an output from rows that hold those of several systems, and the column that held them ("" if none).

    ``systems`` names that column; without it the first of the usual names that holds a mapping of mappings is taken.
    """
    table = [dict(row) for row in rows]
    if not table:
        raise DataError(f"{where}: no rows")
    if systems and systems not in table[0]:
        raise DataError(f"{where}: no column {systems!r}{_hint(systems, list(table[0]))}")
    column = systems or next((name for name in NAMES["systems"] if _nests(table[0].get(name))), "")
    if not column:
        return table, ""
    flat = []
    for number, row in enumerate(table, 1):
        entries = row.pop(column)
        if not isinstance(entries, Mapping):
            raise DataError(f"{where}, row {number}: {column} must map systems to outputs, not be {type(entries).__name__}")
        for system, entry in entries.items():
            more = dict(entry) if isinstance(entry, Mapping) else {"output": entry}
            flat.append({**row, "system": str(system), **more})
    if not flat:
        raise DataError(f"{where}: {column} holds no output")
    return flat, column


def _nests(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(entry, Mapping) for entry in value.values())


def look_up(row: Mapping[str, Any], path: str) -> Any:
    """The value at a column name or a path of names joined by dots; ``None`` where there is none."""
    if path in row:
        return row[path]
    head, _, rest = path.partition(".")
    inner = row.get(head)
    return look_up(inner, rest) if rest and isinstance(inner, Mapping) else None


def numbers(value: Any) -> dict[str, float]:
    """The numbers in a cell by path ("" for the cell itself); a list (several raters) counts with its mean.

    A list of mappings is averaged by key. Text that is a number counts; true and false are 1 and 0; NaN is missing.
    """
    if isinstance(value, Mapping):
        found: dict[str, float] = {}
        for key, inner in value.items():
            found |= {f"{key}.{path}" if path else str(key): number for path, number in numbers(inner).items()}
        return found
    if isinstance(value, list | tuple):
        columns: dict[str, list[float]] = {}
        for part in map(numbers, value):
            for path, number in part.items():
                columns.setdefault(path, []).append(number)
        return {path: math.fsum(column) / len(column) for path, column in columns.items()}
    try:
        number = float(value)
    except (TypeError, ValueError):
        return {}
    return {"": number} if math.isfinite(number) else {}


def texts(value: Any) -> tuple[str, ...]:
    """The texts of a cell: one, a list of them, or a list written as JSON (in a CSV file)."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            return (value,)
    if value is None:
        return ()
    items = value if isinstance(value, list | tuple) else (value,)
    return tuple(str(item) for item in items if item is not None)
