"""Rated outputs from a file or from rows in memory: who wrote what for which item, and what people said of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalkit.calibrate.columns import Columns, look_up, numbers, spread, texts
from evalkit.data.files import find
from evalkit.data.load import read
from evalkit.errors import DataError, UsageError
from evalkit.ratings.base import COLUMNS as RATING_COLUMNS
from evalkit.ratings.base import is_ratings
from evalkit.ratings.outputs import rated_rows
from evalkit.runner.run import Run
from evalkit.types import Record, Sample, content_hash

#: The column under which a scorer finds the source text.
SOURCE = "source"


@dataclass(frozen=True, slots=True)
class Output:
    """One output: its record, ready to be scored, and its ratings and computed numbers by name (missing ones left out)."""

    item: str
    system: str
    record: Record
    ratings: Mapping[str, float]
    computed: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RatedOutputs:
    """All outputs of a data set. ``ratings`` and ``computed`` are the names that occur, in the data's order."""

    where: str
    columns: Columns
    outputs: tuple[Output, ...]
    ratings: tuple[str, ...]
    computed: tuple[str, ...]

    @property
    def items(self) -> list[str]:
        return [output.item for output in self.outputs]

    @property
    def systems(self) -> list[str] | None:
        """Who made each output; ``None`` where the data does not say."""
        return [output.system for output in self.outputs] if self.columns.system else None


def read_rated(
    data: str | Path | Iterable[Mapping[str, Any]], columns: Columns | None = None, runs: Sequence[Run] = ()
) -> RatedOutputs:
    """Rated outputs of a file (JSON Lines, JSON, CSV, TSV, Parquet; packed or not) or of rows in memory.

    A study's folder gives its outputs with their mean ratings; so does a tidy table of ratings with the ``runs`` that it
    rates. Raises DataError for a column that is not there, and where no column of ratings can be told.
    """
    rows: Iterable[Mapping[str, Any]]
    if isinstance(data, str | Path) and is_ratings(Path(data)):
        where, rows = str(data), rated_rows(data, runs)
    elif runs:
        named = data if isinstance(data, str | Path) else "the data"
        raise UsageError(f"runs go with a table of ratings ({', '.join(RATING_COLUMNS)}), and {named} is none")
    elif isinstance(data, str | Path):
        where = str(data)
        rows = read(find(where, [Path.cwd()]), None, {})
    else:
        where, rows = "the data", data
    asked = columns or Columns()
    table, nested = spread(where, rows, asked.systems)
    found = replace(asked, systems=nested).found(where, table)
    plain_names = _shortened(name for row in table for column in found.human for name in _numbers(row, column))
    outputs = tuple(_output(where, found, plain_names, number, row) for number, row in enumerate(table))
    return RatedOutputs(
        where,
        found,
        outputs,
        tuple(dict.fromkeys(plain_names.values())),
        tuple(dict.fromkeys(name for output in outputs for name in output.computed)),
    )


def _numbers(row: Mapping[str, Any], column: str) -> dict[str, float]:
    """The numbers of a column by full path."""
    return {f"{column}.{path}" if path else column: n for path, n in numbers(look_up(row, column)).items()}


def _shortened(names: Iterable[str]) -> dict[str, str]:
    """Each path's last name where that tells them apart, else the path."""
    distinct = list(dict.fromkeys(names))
    last = [name.rpartition(".")[2] for name in distinct]
    return dict(zip(distinct, last if len(set(last)) == len(last) else distinct, strict=True))


def _output(where: str, columns: Columns, names: Mapping[str, str], number: int, row: Mapping[str, Any]) -> Output:
    references = tuple(text for column in columns.references for text in texts(look_up(row, column)))
    output = look_up(row, columns.output) if columns.output else None
    doc = dict(row)
    if columns.source:
        doc[SOURCE] = look_up(row, columns.source)
    item = _item(where, columns, row, number, references)
    system = str(look_up(row, columns.system)) if columns.system else ""
    sample = Sample("validate", f"{item}/{system}" if system else item, number, doc, references or None)
    computed = {
        name: (-value if column.startswith("-") else value)
        for column in columns.computed
        for name, value in _numbers(row, column.removeprefix("-")).items()
    }
    ratings = {names[name]: value for column in columns.human for name, value in _numbers(row, column).items()}
    return Output(item, system, Record(sample, answer=None if output is None else str(output)), ratings, computed)


def _item(where: str, columns: Columns, row: Mapping[str, Any], number: int, references: Sequence[str]) -> str:
    """What an output was made from: the item's id, else its source or references, else (without systems) the row."""
    if columns.item:
        value = look_up(row, columns.item)
        if value is None:
            raise DataError(f"{where}, row {number + 1}: column {columns.item!r} (the item's id) is empty")
        return str(value)
    if not columns.system:
        return str(number)
    content = [look_up(row, columns.source) if columns.source else None, list(references)]
    if content == [None, []]:
        raise DataError(f"{where}: which outputs belong to the same item? Name the column of the item's id with --item")
    return content_hash(content, 6)
