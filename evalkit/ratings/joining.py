"""Ratings beside what was rated: a run's outputs and values for the same items, joined by item and system.

A run is a system, named in ratings by its model, its own name or its folder; an item is a sample's id, with the task
before it (``task/id``) where two tasks share ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from evalkit.errors import DataError, nearest
from evalkit.types import Record

#: Ratings of an output by criterion, under its item and system.
Means = Mapping[tuple[str, str], Mapping[str, float]]

#: What people were shown, under its item and system.
Texts = Mapping[tuple[str, str], str]


class View(Protocol):
    """A record of a run, as far as joining goes."""

    @property
    def task(self) -> str: ...

    @property
    def filter(self) -> str: ...

    @property
    def record(self) -> Record: ...


V_co = TypeVar("V_co", bound=View, covariant=True)


class RatedRun(Protocol[V_co]):
    """A run, as far as joining goes."""

    @property
    def name(self) -> str: ...

    @property
    def path(self) -> Path: ...

    @property
    def manifest(self) -> Mapping[str, Any]: ...

    def records(self, task: str | None = None) -> Iterator[V_co]: ...


def run_names(run: RatedRun[Any]) -> tuple[str, ...]:
    """What ratings may call this run's system: its model's name, its own name, its folder."""
    manifest = run.manifest
    model, config = manifest.get("model") or {}, manifest.get("config") or {}
    names = (model.get("name"), run.name, run.path.name, config.get("model"))
    return tuple(dict.fromkeys(str(name) for name in names if name))


def match_runs(runs: Sequence[RatedRun[Any]], systems: Sequence[str]) -> list[str]:
    """The rated system of each run. Raises DataError for a run that none can be told for, and for two of one system."""
    folded = {name.casefold(): name for name in systems}
    found: list[str] = []
    for run in runs:
        name = next((folded[name.casefold()] for name in run_names(run) if name.casefold() in folded), None)
        if name is None and len(runs) == len(systems) == 1:
            name = systems[0]
        if name is None:
            known = nearest(run.name, systems) or f"; they have {', '.join(map(repr, systems[:8]))}"
            raise DataError(
                f"the ratings have no system called as the run {run.path.name} ({', '.join(run_names(run))}){known}"
            )
        if name in found:
            raise DataError(f"two runs are the system {name!r}: {runs[found.index(name)].path} and {run.path}")
        found.append(name)
    return found


def rated_views(
    run: RatedRun[V_co], system: str, means: Means, shown: Texts | None = None
) -> list[tuple[tuple[str, str], V_co]]:
    """The records of ``run`` that people rated as ``system``, under their key in ``means``.

    Of each task it is the first filter; where it is known what people were ``shown``, the first one that leaves that text.
    An id that two tasks share belongs to the task that the ratings name.

    Raises DataError for a run whose outputs are not those that were shown: it has the name of the rated one only.
    """
    first: dict[tuple[str, str], V_co] = {}
    same: dict[tuple[str, str], V_co] = {}
    for view in run.records():
        sample = view.record.sample.id
        key = next(((item, system) for item in (f"{view.task}/{sample}", sample) if (item, system) in means), None)
        if key is not None:
            first.setdefault(key, view)
            if shown and shown.get(key) == answer_text(view.record):
                same.setdefault(key, view)
    known = [key for key in first if shown and key in shown]
    if differing := [key for key in known if key not in same]:
        raise DataError(
            f"{len(differing)} of {len(known)} rated outputs of {system} are other texts in {run.path} (first: "
            f"{differing[0][0]}); name the run that people rated"
        )
    return [(key, same.get(key, view)) for key, view in first.items()]


def answer_text(record: Record) -> str | None:
    """The output that people rate: the first answer, where several were drawn."""
    answer = record.answer[0] if isinstance(record.answer, list | tuple) and record.answer else record.answer
    return answer if isinstance(answer, str) else None


def rated_row(
    item: str, system: str, output: str | None, source: str | None, references: Iterable[str], ratings: Mapping[str, float]
) -> dict[str, Any]:
    """One rated output as `evalkit metrics validate` reads it, from a file or from here."""
    row: dict[str, Any] = {"item": item, "system": system, "output": output}
    row |= {"source": source} if source is not None else {}
    references = list(references)
    return row | ({"references": references} if references else {}) | {"ratings": dict(ratings)}
