"""Texts that people have labelled, to hold a classifier against: reading them, and who is in which group."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from evalkit.calibrate.columns import look_up, texts
from evalkit.data.files import find
from evalkit.data.load import read
from evalkit.errors import DataError, UsageError, nearest
from evalkit.stats.means import Array, Ints, cluster_codes
from evalkit.stats.ranking import Flags
from evalkit.types import Json

#: Usual names of each role's column, best first.
NAMES: Mapping[str, tuple[str, ...]] = {
    "text": ("text", "comment_text", "comment", "test_case", "prompt", "tweet", "sentence", "content", "input"),
    "label": ("label", "is_toxic", "toxic", "label_gold", "toxicity", "hate", "class", "target"),
    "functionality": ("functionality",),
}
#: Values that mean the positive class where nobody says which one does.
POSITIVE = frozenset({"true", "yes", "toxic", "hateful", "hate", "hatespeech", "abusive", "offensive", "harmful", "unsafe"})

#: A column with more values than this does not tell groups apart.
MAX_GROUPS = 200


@dataclass(frozen=True, slots=True)
class TextColumns:
    """Which columns to read. ``text``, ``label`` and ``functionality`` are recognised by `NAMES` where they are empty.

    ``label`` may name several: a text is positive where any of them says so. ``positive`` are the label's positive values;
    without it numbers of at least 0.5 are, and a few usual words. ``groups``: a column of numbers in [0, 1] marks one group
    (who is in it has at least 0.5), a column of words has a group for each (a list: the row is in all of them); an empty
    cell is in none. ``cluster`` says which texts resemble each other. ``scores`` are computed already; ``-name`` where low
    ones mean the positive class.
    """

    text: str = ""
    label: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    functionality: str = ""
    cluster: str = ""
    scores: str = ""

    @classmethod
    def of(cls, names: TextColumns | Mapping[str, str | Sequence[str]] | None) -> TextColumns:
        """Columns by role from a mapping, one name or several. Raises UsageError for an unknown role."""
        if isinstance(names, TextColumns):
            return names
        made: dict[str, Any] = {}
        for role, given in dict(names or {}).items():
            if role not in cls.__slots__:
                known = ", ".join(cls.__slots__)
                raise UsageError(f"unknown role {role!r} of a column{nearest(role, cls.__slots__) or f'; known: {known}'}")
            several = role in ("label", "positive", "groups")
            made[role] = ((given,) if isinstance(given, str) else tuple(given)) if several else given
        return cls(**made)

    def found(self, where: str, rows: Sequence[Mapping[str, Any]]) -> TextColumns:
        """With what is recognised in ``rows`` filled in. Raises DataError for a column that no row has."""
        known = list(dict.fromkeys(key for row in rows for key in row))
        named = (self.text, *self.label, *self.groups, self.functionality, self.cluster, self.scores.removeprefix("-"))
        for name in filter(None, named):
            if not any(look_up(row, name) is not None for row in rows):
                raise DataError(f"{where}: no column {name!r}{nearest(name, known) or f'; it has {chr(44).join(known)}'}")

        def first(role: str) -> str:
            return next((name for name in NAMES[role] if name in known), "")

        label = self.label or tuple(filter(None, [first("label")]))
        if not label:
            raise DataError(f"{where}: which column holds the labels? Name it with --label (columns: {', '.join(known)})")
        text = self.text or first("text")
        if not text and not self.scores:
            raise DataError(f"{where}: which column holds the texts? Name it with --text (columns: {', '.join(known)})")
        return replace(self, text=text, label=label, functionality=self.functionality or first("functionality"))

    def described(self) -> dict[str, Json]:
        """What is read from where, without the roles that no column has."""
        pairs = {name: getattr(self, name) for name in self.__slots__}
        return {role: given if isinstance(given, str) else ", ".join(given) for role, given in pairs.items() if given}


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """All labelled rows: ``texts`` (``None`` where the cell is empty), their class, groups and computed scores (NaN: none).

    ``unlabelled`` counts rows that were left out. ``positive_value`` says what the positive class is called.
    """

    where: str
    columns: TextColumns
    texts: tuple[str | None, ...]
    positive: Flags
    positive_value: str
    groups: Mapping[str, Flags]
    functionality: tuple[str, ...] | None
    clusters: Ints | None
    scores: Array | None
    unlabelled: int


def read_labelled(data: str | Path | Iterable[Mapping[str, Any]], columns: TextColumns | None = None) -> LabelledTexts:
    """Labelled texts of a file (JSON Lines, JSON, CSV, TSV, Parquet; packed or not) or of rows in memory.

    Raises DataError for a column that is not there, labels that cannot be told apart, and data of one class only.
    """
    if isinstance(data, str | Path):
        where = str(data)
        rows: list[Mapping[str, Any]] = list(read(find(where, [Path.cwd()]), None, {}))
    else:
        where, rows = "the data", list(data)
    if not rows:
        raise DataError(f"{where}: no rows")
    found = (columns or TextColumns()).found(where, rows)
    wanted, called = _positive_values(where, found, rows)
    labels = [_label(row, found.label, wanted) for row in rows]
    kept = [row for row, label in zip(rows, labels, strict=True) if label is not None]
    positive = np.array([label for label in labels if label is not None], dtype=bool)
    if not positive.any() or positive.all():
        raise DataError(
            f"{where}: {int(positive.sum())} of {len(positive)} texts are positive ({called}); a classifier can be "
            "evaluated on texts of both classes only. The positive value is named with --positive"
        )
    texts_ = [look_up(row, found.text) if found.text else None for row in kept]
    functions = [look_up(row, found.functionality) for row in kept] if found.functionality else None
    clusters = [_cluster(look_up(row, found.cluster), i) for i, row in enumerate(kept)] if found.cluster else None
    return LabelledTexts(
        where,
        found,
        tuple(None if _empty(text) else str(text) for text in texts_),
        positive,
        called,
        _all_groups(where, found.groups, kept),
        None if functions is None else tuple("(none)" if _empty(name) else str(name) for name in functions),
        None if clusters is None else cluster_codes(clusters)[0],
        _scores(where, found.scores, kept) if found.scores else None,
        len(rows) - len(kept),
    )


def _empty(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _plain(value: Any) -> str:
    """A label as people write it: ``1`` for 1.0, case and blanks aside."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().casefold()


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _positive_values(where: str, columns: TextColumns, rows: Sequence[Mapping[str, Any]]) -> tuple[frozenset[str], str]:
    """The label's values that mean the positive class (none: numbers of at least 0.5), and what to call them."""
    name = ", ".join(columns.label)
    values = [value for row in rows for column in columns.label if not _empty(value := look_up(row, column))]
    seen = {_plain(value): str(value) for value in values}
    listed = ", ".join(list(seen.values())[:8]) + (", ..." if len(seen) > 8 else "")
    if columns.positive:
        for value in columns.positive:
            if _plain(value) not in seen:
                raise DataError(
                    f"{where}: no label {value!r} in {name}{nearest(value, seen.values()) or f'; it has {listed}'}"
                )
        return frozenset(map(_plain, columns.positive)), f"{name} is {' or '.join(columns.positive)}"
    numbers = [_number(value) for value in values]
    if values and all(number is not None and 0 <= number <= 1 for number in numbers):
        return frozenset(), f"{name} >= 0.5"
    usual = [plain for plain in seen if plain in POSITIVE]
    if len(usual) != 1:
        raise DataError(f"{where}: which value of {name} is the positive class? Name it with --positive (values: {listed})")
    return frozenset(usual), f"{name} is {seen[usual[0]]}"


def _label(row: Mapping[str, Any], columns: Sequence[str], wanted: frozenset[str]) -> bool | None:
    values = [value for column in columns if not _empty(value := look_up(row, column))]
    if not values:
        return None
    return any(_plain(value) in wanted if wanted else float(value) >= 0.5 for value in values)


def _cluster(value: Any, row: int) -> str:
    """Texts with an empty cell resemble no other."""
    return f"row {row}" if _empty(value) else str(value)


def _all_groups(where: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, Flags]:
    """Who is in which group, by group; values of several columns are told apart by the column's name."""
    made: dict[str, Flags] = {}
    for column in columns:
        own = _groups(where, column, rows)
        made |= {name if len(columns) == 1 or name == column else f"{column}={name}": flags for name, flags in own.items()}
    return made


def _groups(where: str, column: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Flags]:
    """Who is in which group of a column, by group."""
    cells = [look_up(row, column) for row in rows]
    numbers = [None if _empty(cell) else _number(cell) for cell in cells]
    marks = all(_empty(cell) if number is None else 0 <= number <= 1 for number, cell in zip(numbers, cells, strict=True))
    if marks:
        return {column: np.array([number is not None and number >= 0.5 for number in numbers])}
    names = [() if _empty(cell) else texts(cell) for cell in cells]
    distinct = sorted({name for own in names for name in own})
    if len(distinct) > MAX_GROUPS:
        raise DataError(f"{where}: column {column!r} has {len(distinct)} different values, too many to be groups")
    sets = [frozenset(own) for own in names]
    return {name: np.array([name in own for own in sets]) for name in distinct}


def _scores(where: str, column: str, rows: Sequence[Mapping[str, Any]]) -> Array:
    sign = -1.0 if column.startswith("-") else 1.0
    name = column.removeprefix("-")
    found = np.full(len(rows), np.nan)
    for i, row in enumerate(rows):
        cell = look_up(row, name)
        if not _empty(cell):
            number = _number(cell)
            if number is None:
                raise DataError(
                    f"{where}, row {i + 1}: {name} must hold numbers, not {shorten(str(cell), 40, placeholder='...')!r}"
                )
            found[i] = sign * number
    return found
