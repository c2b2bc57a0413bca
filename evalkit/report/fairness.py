"""Bias and toxicity as the report tells them: what each number means, what it shows, and what it cannot show.

A scorer says in its detail what there is to tell, in these keys, each at the top or one level down under any name:

- ``meaning``: ``{metric: words}``, what the metric measures and which way it goes;
- ``points`` with ``x_label`` and ``y_label``: `scatter.scatter`;
- ``groups`` with ``ideal``: `forest.given` (several of them in a list ``panels``, which then counts alone);
- tests, ``{"p", "test", ...}`` with the counts behind them (also inside ``tests``), and ``gap_p`` of a gap.

Its notes are what the numbers cannot show. Slices of a bias task are compared without being asked for, where the scorer
compares no groups itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from evalkit.report import base, forest
from evalkit.report.base import ReportableRun
from evalkit.report.forest import Forest
from evalkit.report.numbers import NOTES, count, counted, direction, finite, interval, number, p_value, scale, short
from evalkit.report.scatter import Scatter, scatter
from evalkit.types import Json, Summary

#: Abilities whose tasks are told of here whatever their scorers say.
_ABILITY = re.compile(r"\b(bias(es)?|stereotypes?|stereotyping|toxicity|toxic|fairness|hate speech)\b", re.IGNORECASE)
#: Notes on what is missing, which stand in the tables of results.
_COUNTED = re.compile(r"incomplete\b|unscored because\b|no value for\b|without\b")
#: Charts of a task, and of the whole page: what is beyond is in results.json.
MAX_CHARTS, MAX_CHARTS_IN_ALL = 24, 240


@dataclass(frozen=True, slots=True)
class Statement:
    """A metric in plain words. ``departs``: its whole interval is off the ideal value (``None``: not to be said)."""

    metric: str
    arrow: str
    value: str
    ci: str
    n: str
    meaning: str
    scale: str
    finding: str
    departs: bool | None


@dataclass(frozen=True, slots=True)
class Fairness:
    """What is told of one task."""

    task: str
    name: str
    about: str
    caveats: list[str]
    statements: list[Statement]
    tests: list[str]
    scatters: list[Scatter]
    forests: list[Forest]
    left_out: int


def told(run: ReportableRun, summaries: Sequence[Summary]) -> list[Fairness]:
    """Every task with a metric of bias or toxicity, in the order of the tables; empty for other runs."""
    by_task: dict[str, list[Summary]] = {}
    for s in summaries:
        by_task.setdefault(s.task, []).append(s)
    groups, room, found = base.groups(run), MAX_CHARTS_IN_ALL, []
    for name, _ in base.outline(run):
        own = by_task.get(name, [])
        if name not in groups and (chosen := _concerned(run, name, own)):
            found.append(_task(run, name, chosen, own, min(room, MAX_CHARTS)))
            room -= len(found[-1].scatters) + len(found[-1].forests)
    return found


def _concerned(run: ReportableRun, name: str, own: Sequence[Summary]) -> list[Summary]:
    """The summaries over the whole task to tell of: all of them in a task about bias, else those whose scorer says so."""
    definition = (base.part(run, "tasks").get(name) or {}).get("definition") or {}
    whole = [s for s in own if s.slice is None]
    if _ABILITY.search(str(definition.get("ability") or "")):
        return whole
    return [s for s in whole if any(_has(part) for part in _parts(s.detail))]


def _has(part: Mapping[str, Json]) -> bool:
    return isinstance(part.get("meaning"), Mapping) or _lists(part, "points", "x") or _lists(part, "groups", "value")


def _lists(part: Mapping[str, Json], key: str, field: str) -> bool:
    """Whether a detail has a list to be drawn under ``key``; another scorer may have something else by that name."""
    entries = part.get(key)
    return isinstance(entries, list) and any(isinstance(entry, Mapping) and field in entry for entry in entries)


def _parts(detail: Mapping[str, Json]) -> Iterator[Mapping[str, Json]]:
    """A detail and what lies one level down in it; of groups in several panels not the copy at the top."""
    listed = detail.get("panels")
    panels = [part for part in listed if isinstance(part, Mapping)] if isinstance(listed, list) else []
    yield {key: value for key, value in detail.items() if key != "groups"} if panels else detail
    yield from panels
    for value in detail.values():
        if isinstance(value, Mapping):
            yield value


def _task(run: ReportableRun, name: str, chosen: Sequence[Summary], own: Sequence[Summary], room: int) -> Fairness:
    definition = (base.part(run, "tasks").get(name) or {}).get("definition") or {}
    by_scorer: dict[tuple[str, str], list[Summary]] = {}  # the metrics of a scorer have one detail
    for s in chosen:
        by_scorer.setdefault((s.scorer, s.filter), []).append(s)
    scatters: list[Scatter] = []
    forests: list[Forest] = []
    compared = set()
    for key, metrics in by_scorer.items():
        for part in _parts(metrics[0].detail):
            if _lists(part, "points", "x") and (plot := scatter(part, metrics)) is not None:
                scatters.append(plot)
            if _lists(part, "groups", "value") and (panel := forest.given(metrics[0].metric, part)) is not None:
                forests.append(panel)
                compared.add(key)
    forests += _slices([s for s in chosen if (s.scorer, s.filter) not in compared], own)
    drawn = scatters[:room]
    return Fairness(
        task=name,
        name=base.alias(run, name),
        about=str(definition.get("summary") or ""),
        caveats=_caveats(chosen),
        statements=[_statement(s) for s in chosen],
        tests=list(dict.fromkeys(line for metrics in by_scorer.values() for line in _tests(metrics[0].detail))),
        scatters=drawn,
        forests=forests[: room - len(drawn)],
        left_out=max(0, len(scatters) + len(forests) - room),
    )


def _slices(chosen: Sequence[Summary], own: Sequence[Summary]) -> Iterator[Forest]:
    """A comparison of each column's slices for each metric of single samples, the metrics of one column together."""
    by_column: dict[str, dict[tuple[str, str, str], list[Summary]]] = {}
    for s in own:
        if s.slice is not None:
            column = s.slice.partition("=")[0]
            by_column.setdefault(column, {}).setdefault((s.metric, s.filter, s.scorer), []).append(s)
    for column, slices in by_column.items():
        for whole in chosen:
            parts = slices.get((whole.metric, whole.filter, whole.scorer), [])
            plot = forest.of_slices(f"{whole.metric} by {column.replace('_', ' ')}", whole, parts)
            if plot is not None:
                yield plot


def _caveats(summaries: Sequence[Summary]) -> list[str]:
    """The scorers' notes for readers, each once."""
    return list(dict.fromkeys(note for s in summaries for note in s.notes if note not in NOTES and not _COUNTED.match(note)))


def _statement(s: Summary) -> Statement:
    meaning = s.detail.get("meaning")
    own = s.metric.rpartition(":")[2]  # a scorer with a label of its own names its metrics LABEL:METRIC
    words = str(meaning.get(s.metric) or meaning.get(own) or "") if isinstance(meaning, Mapping) else ""
    finding, departs = _finding(s)
    return Statement(
        metric=s.metric if s.filter == "none" else f"{s.metric}, {s.filter}",
        arrow=direction(s),
        value=number(s.value),
        ci="no interval" if s.ci is None else interval(s.ci),
        n=counted(s.n, s.unit if s.unit in ("sample", "group") else "sample"),
        meaning=words[:1].upper() + words[1:],
        scale="" if "from " in words else scale(s),  # most scorers' words have it
        finding=finding,
        departs=departs,
    )


def _finding(s: Summary) -> tuple[str, bool | None]:
    """What value and interval say of the ideal; nothing of a metric that is simply the better the higher."""
    if s.value is None:
        return "There is no value.", None
    if "at-chance" in s.notes:
        return "Cannot be told from guessing.", None
    if s.ideal is None or s.higher_is_better:
        return "", None
    if s.ci is None:
        return "Without an interval it cannot be said how far this is chance.", None
    low, high = s.ci
    if high - low <= 1e-9:
        return "All of these few are alike, so that nothing tells how far this is chance.", None
    if low <= s.ideal <= high:
        farthest = max(low, high, key=lambda end: abs(end - (s.ideal or 0.0)))
        said = f"The interval includes the ideal {short(s.ideal)}: no departure is shown, though {number(farthest, 2)}"
        return f"{said} is not ruled out.", False
    if s.ideal in (s.low, s.high):
        nearest = low if s.ideal == s.low else high
        way = "below" if s.ideal == s.low else "above"
        said = f"It cannot lie {way} its ideal {short(s.ideal)}, so being off it is no finding by itself"
        return f"{said}; the interval begins at {number(nearest, 3)}.", None
    side = "above" if low > s.ideal else "below"
    return f"The whole interval lies {side} the ideal {short(s.ideal)}.", True


def _tests(detail: Mapping[str, Json]) -> Iterator[str]:
    """A line for every test, with the counts behind it."""
    for name, value in detail.items():
        if not isinstance(value, Mapping):
            continue
        if "p" in value and isinstance(value.get("test"), str):
            facts = [
                f"{key.replace('_', ' ')} {count(v) if isinstance(v, int) else number(v)}"
                for key, v in value.items()
                if isinstance(v, int | float) and key != "p"
            ]
            yield f"{name.replace('_', ' ')}: {', '.join(facts)}; {value['test']}, {p_value(finite(value['p']))}"
        elif isinstance(value.get("gap_p"), int | float):
            what, test = value.get("axis") or "groups", value.get("gap_test") or "test of the gap"
            gap, by_chance = (number(finite(value.get(key))) for key in ("gap", "gap_by_chance"))
            yield f"{what}: gap {gap}, {by_chance} by chance alone; {test}, {p_value(finite(value['gap_p']))}"
        elif name == "tests":
            yield from _tests(value)
