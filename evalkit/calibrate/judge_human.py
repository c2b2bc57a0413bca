"""People's ratings beside a judge's: read from a tidy table or a file of rated outputs, and joined by item and system."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evalkit.calibrate.columns import Columns
from evalkit.calibrate.judge_run import Judged, parameter
from evalkit.calibrate.reading import read_rated
from evalkit.errors import DataError, UsageError, nearest
from evalkit.ratings.base import Rating, is_ratings, read_ratings
from evalkit.scorers.base import Array
from evalkit.stats.means import Ints


@dataclass(frozen=True, slots=True)
class Joined:
    """One criterion over all judged rows (n,) of all runs, those that nobody rated too (``human`` NaN).

    ``raters`` (people, n) has each person's ratings, NaN where there is none; ``human`` is their mean. ``run`` (n,) numbers
    the judge run that a row is of.
    """

    metric: str
    criterion: str
    low: float | None
    high: float | None
    judge: Array
    human: Array
    raters: Array
    items: tuple[str, ...]
    systems: tuple[str, ...]
    run: Ints
    lengths: Array
    positions: Ints
    slices: tuple[Mapping[str, str], ...]

    @property
    def rated(self) -> Ints:
        """Rows that both judged."""
        return np.flatnonzero(np.isfinite(self.judge) & np.isfinite(self.human))

    @property
    def pass_fail(self) -> bool:
        """Whether the scale has two points and people used no others."""
        if self.low is None or self.high is None or self.high - self.low != 1:
            return False
        given = self.raters[np.isfinite(self.raters)]
        return bool(np.isin(given, (self.low, self.high)).all())


def read_human(path: str | Path, columns: Columns | None = None) -> tuple[Rating, ...]:
    """The ratings of a tidy table, a study's folder, or any file of rated outputs that ``metrics validate`` reads.

    Raises DataError.
    """
    found = Path(path)
    if columns is None and is_ratings(found):
        return read_ratings(found)
    data = read_rated(found, columns)
    return tuple(
        Rating("", output.item, output.system, name, value)
        for output in data.outputs
        for name, value in output.ratings.items()
    )


def systems_of(
    runs: Sequence[Judged], ratings: Sequence[Rating], named: Sequence[str]
) -> tuple[list[str | None], list[str]]:
    """Which system of the ratings each run is (``None``: sample ids are ``item/system``), and what was guessed.

    Raises DataError where it cannot be told.
    """
    known = list(dict.fromkeys(rating.system for rating in ratings))
    if named:
        if len(named) != len(runs):
            raise UsageError(f"--system is given {len(named)} times for {len(runs)} judge runs")
        missing = [name for name in named if name not in known]
        if missing:
            raise DataError(f"the ratings have no system {missing[0]!r}{_hint(missing[0], known)}")
        return [*named], []
    if known == [""]:
        if len(runs) > 1:
            raise DataError("the ratings have no column system, so they cannot belong to several judge runs")
        return [""], []
    folded = {name.casefold(): name for name in known}
    found = [next((folded[name.casefold()] for name in run.names if name.casefold() in folded), None) for run in runs]
    if len(runs) == 1 and runs[0].pairs:
        return [None], []
    if len(runs) == 1 and found == [None]:
        if {f"{rating.item}/{rating.system}" for rating in ratings} & set(runs[0].ids):
            return [None], []
        if len(known) == 1:
            return [*known], [f"the ratings are of {known[0]!r}, taken for the judged run {runs[0].name!r}"]
    lost = next((run.name for run, system in zip(runs, found, strict=True) if system is None), None)
    if lost is not None:
        raise DataError(f"which system of the ratings is the run {lost!r}? Say --system{_hint(lost, known)}")
    return found, []


def _hint(name: str, known: Sequence[str]) -> str:
    return nearest(name, known) or f"; they have {', '.join(map(repr, known[:8]))}"


def criteria_of(
    runs: Sequence[Judged], ratings: Sequence[Rating], only: Sequence[str], mapped: Mapping[str, str]
) -> dict[str, str]:
    """The judge's metrics and the human criterion of each: by name, or as ``mapped``. Raises UsageError."""
    metrics = list(dict.fromkeys(name for run in runs for name in run.metrics))
    human = list(dict.fromkeys(rating.criterion for rating in ratings))
    folded = {name.casefold(): name for name in human}
    for judge, person in mapped.items():
        if judge not in metrics:
            raise UsageError(f"--map: the judge has no metric {judge!r}{_listed(judge, metrics)}")
        if person not in human:
            raise UsageError(f"--map: people rated no {person!r}{_listed(person, human)}")
    found = {}
    for metric in metrics:
        also = parameter(runs[0].signature, "criterion") if metric == "win_rate" else None
        names = [mapped.get(metric), metric, also]
        match = next((folded[name.casefold()] for name in names if name and name.casefold() in folded), None)
        if match is not None:
            found[metric] = match
    for name in only:
        if name not in found and name not in found.values():
            raise UsageError(f"there is no criterion {name!r} that both rated{_listed(name, list(found))}")
    found = {judge: person for judge, person in found.items() if not only or judge in only or person in only}
    if not found:
        raise UsageError(
            f"the judge rated {', '.join(metrics)}, people {', '.join(human)}: say what is the same with --map JUDGE=HUMAN"
        )
    return found


def _listed(name: str, known: Sequence[str]) -> str:
    return nearest(name, known) or (f"; there is {', '.join(known)}" if known else "")


def joined(
    runs: Sequence[Judged], systems: Sequence[str | None], ratings: Sequence[Rating], metric: str, criterion: str
) -> Joined:
    """The judge's ``metric`` beside people's ``criterion``. Raises DataError where no judged item was rated."""
    people = sorted({rating.annotator for rating in ratings if rating.criterion == criterion})
    place = {name: i for i, name in enumerate(people)}
    given: dict[tuple[str, str], list[list[float]]] = {}
    for rating in ratings:
        if rating.criterion == criterion:
            by_person = given.setdefault((rating.item, rating.system), [[] for _ in people])
            by_person[place[rating.annotator]].append(rating.value)
    keys = [key for run, system in zip(runs, systems, strict=True) for key in rated_keys(run, system, given)]
    raters = np.full((len(people), len(keys)), np.nan)
    for column, key in enumerate(keys):
        for person, values in enumerate(given.get(key, ())):
            if values:
                raters[person, column] = math.fsum(values) / len(values)
    known = np.isfinite(raters)
    if not known.any():
        mine, theirs = next(iter(keys), ("", ""))[0], next(iter(given), ("", ""))[0]
        raise DataError(
            f"no rated item of {criterion!r} is among the judged samples: ids are like {mine!r} in the run, {theirs!r} in "
            "the ratings"
        )
    counts = known.sum(axis=0)
    human = np.full(len(keys), np.nan)
    np.divide(np.where(known, raters, 0.0).sum(axis=0), counts, out=human, where=counts > 0)
    info = next(run.metrics[metric] for run in runs if metric in run.metrics)
    nothing = [np.full(len(run.ids), np.nan) for run in runs]
    return Joined(
        metric,
        criterion,
        info.low,
        info.high,
        np.concatenate([run.values.get(metric, empty) for run, empty in zip(runs, nothing, strict=True)]),
        human,
        raters,
        tuple(item for item, _ in keys),
        tuple(system for _, system in keys),
        np.repeat(np.arange(len(runs)), [len(run.ids) for run in runs]),
        np.concatenate([run.lengths for run in runs]),
        np.concatenate([run.positions for run in runs]),
        tuple(labels for run in runs for labels in run.slices),
    )


def rated_keys(run: Judged, system: str | None, given: Collection[tuple[str, str]]) -> list[tuple[str, str]]:
    """Item and system of every judged sample, as the ratings ``given`` name them.

    An item's id has the task before it where the ratings are of several tasks that share ids.
    """
    if run.pairs:
        return [(pair.item, pair.name) for pair in run.pairs]
    if system is None:
        ids = {f"{item}/{name}": (item, name) for item, name in given}
        return [ids.get(sample) or _split(sample) for sample in run.ids]
    longer = [(f"{run.task}/{sample}", system) for sample in run.ids]
    return [key if key in given else (sample, system) for key, sample in zip(longer, run.ids, strict=True)]


def _split(sample: str) -> tuple[str, str]:
    item, _, system = sample.rpartition("/")
    return item or sample, system if item else ""
