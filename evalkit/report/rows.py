"""The rows of the results table: the same for the terminal, CI logs and the HTML report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from evalkit.report import base
from evalkit.report.base import ReportableRun
from evalkit.report.numbers import count, direction, interval, number, scale, warnings
from evalkit.types import Summary

#: Longer notes are said once a task.
LONG_NOTE = 40

Kind = Literal["task", "group", "slice"]


@dataclass(frozen=True, slots=True)
class Row:
    """One metric as words and figures. ``scale`` says how to read it; ``repeated``: the row above is of the same name."""

    summary: Summary
    name: str
    depth: int
    kind: Kind
    shots: str
    filter: str
    metric: str
    arrow: str
    scale: str
    value: str
    stderr: str
    ci: str
    n: str
    notes: tuple[str, ...]
    repeated: bool = False


def table(run: ReportableRun, *, slices: bool = True) -> Iterator[Row]:
    """Every metric of a run: groups, their tasks below them, and each task's slices below it."""
    summaries = run.summary()
    members = base.groups(run)
    for name, depth in base.outline(run):
        own = [s for s in summaries if s.task == name]
        yield from rows(run, (s for s in own if s.slice is None), depth, "group" if name in members else "task")
        if slices:
            yield from rows(run, by_slice(own), depth + 1, "slice")


def by_slice(summaries: Iterable[Summary]) -> list[Summary]:
    """The slices' summaries, all metrics of a slice together, slices in order of first mention."""
    found = [s for s in summaries if s.slice is not None]
    order = {name: i for i, name in enumerate(dict.fromkeys(s.slice for s in found))}
    return sorted(found, key=lambda s: order[s.slice])


def rows(run: ReportableRun, summaries: Iterable[Summary], depth: int, kind: Kind) -> Iterator[Row]:
    """Rows of one task, group or slice list."""
    before = None
    said: set[tuple[str, str]] = set()  # what scorers say of several metrics stands beside the first of them
    for s in summaries:
        told = {(s.task, note) for note in s.notes if len(note) > LONG_NOTE}
        name = s.slice if s.slice is not None else base.alias(run, s.task)
        yield Row(
            summary=s,
            name=name,
            depth=depth,
            kind=kind,
            shots=str(s.n_shot) if kind == "task" else "",
            filter=s.filter,
            metric=s.metric,
            arrow=direction(s),
            scale=scale(s),
            value=number(s.value),
            stderr="" if s.stderr is None else f"± {number(s.stderr)}",
            ci="" if s.ci is None else interval(s.ci),
            n=count(s.n),
            notes=tuple(note for note in warnings(s) if (s.task, note) not in said),
            repeated=name == before,
        )
        before = name
        said |= told
