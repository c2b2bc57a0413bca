"""Stable ids for samples, and which samples a run selects.

An id comes from the data where it has one, else it is a hash of the row: never a position, never dependent on a limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from evalkit.data.base import Table
from evalkit.errors import TaskError, TemplateError, UsageError, nearest
from evalkit.tasks.templates import compiled
from evalkit.types import content_hash

Doc = Mapping[str, Any]
Value = Callable[[Doc], Any]


def column_value(task: str, key: str, field: str, columns: Sequence[str]) -> Value:
    """A column or template of the task file (``sample_id``, ``cluster``, ``slices``) as a function of the document."""
    if field in columns:
        return lambda doc: doc[field]
    if "{" not in field:
        hint = nearest(field, columns) or f"; columns: {', '.join(columns)}"
        raise TaskError(f"task {task}: {key} names no column {field!r} of the data{hint}")
    render = compiled(field)

    def value(doc: Doc) -> Any:
        try:
            return render(doc)
        except TemplateError as error:
            raise TemplateError(f"task {task}: {key}: {error}") from error

    return value


def id_source(task: str, table: Table, sample_id: str | None) -> Value | None:
    """Where ids come from: the task's ``sample_id``, else a column ``id`` of distinct numbers or texts, else ``None``.

    The whole column is looked at, however few samples are wanted: what the ids are must not depend on a limit.
    """
    if sample_id is not None:
        return column_value(task, "sample_id", sample_id, table.columns)
    if "id" not in table.columns:
        return None
    seen: set[Any] = set()
    for doc in table:
        value = doc["id"]
        if isinstance(value, bool) or not isinstance(value, int | str) or value == "" or value in seen:
            return None
        seen.add(value)
    return lambda doc: doc["id"]


def numbered(table: Table, source: Value | None) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """``(index, id, document)`` for each row; a repeated id gets ``-2``, ``-3``, ... in order of the data."""
    seen: set[str] = set()
    copies: dict[str, int] = {}
    for index, doc in enumerate(table):
        value = None if source is None else source(doc)
        base = content_hash(doc, size=6) if value is None or value == "" else str(value)
        sample_id = base
        while sample_id in seen:
            copies[base] = copies.get(base, 1) + 1
            sample_id = f"{base}-{copies[base]}"
        seen.add(sample_id)
        yield index, sample_id, doc


def limited(size: int, limit: int | float | None) -> range:
    """The first samples: ``limit`` of them, or a share of all (rounded up) where it is below 1."""
    if limit is None:
        return range(size)
    if not 0 < limit < math.inf:
        raise UsageError(f"--limit must be above 0 and finite, got {limit}")
    return range(min(size, math.ceil(size * limit) if limit < 1 else int(limit)))


def limited_groups(table: Table, limit: int | float | None, group: Value) -> range | list[int]:
    """The first groups of `limited`, in order of the data: as many whole ones as fit, but at least one.

    A group is all rows for which ``group`` gives the same, wherever they stand; ``None`` or blank is a group of its own.
    """
    room = len(limited(len(table), limit))
    if room == len(table):
        return range(room)
    groups: dict[tuple[str, str], list[int]] = {}
    for index, doc in enumerate(table):
        value = group(doc)
        groups.setdefault(("row", str(index)) if value is None or value == "" else ("group", str(value)), []).append(index)
    taken: list[int] = []
    for positions in groups.values():
        if taken and len(taken) + len(positions) > room:
            break
        taken += positions
    return sorted(taken)


def selected(task: str, table: Table, source: Value | None, wanted: Sequence[str]) -> list[int]:
    """Positions of the samples named by id or, where no id matches, by position; in order of the data."""
    size = len(table)
    if not wanted:
        raise UsageError(f"task {task}: --samples names none of its samples; name some or leave the task out")
    places = {sample_id: index for index, sample_id, _ in numbered(table, source)}
    positions = set()
    for name in dict.fromkeys(wanted):
        if name in places:
            positions.add(places[name])
        elif name.isdecimal() and int(name) < size:
            positions.add(int(name))
        else:
            what = f"positions are 0 to {size - 1}" if name.lstrip("-").isdecimal() else nearest(name, places).strip()
            raise UsageError(f"task {task}: no sample {name!r}" + (f"; {what}" if what else ""))
    return sorted(positions)
