"""How systems were rated: a mean for each system and criterion, and paired differences between systems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from evalkit.human.results import Answer, Answers, Table, table
from evalkit.stats.crossed import CrossedMean, crossed_mean
from evalkit.stats.groups import holm
from evalkit.stats.intervals import Interval
from evalkit.stats.means import Array, Ints


@dataclass(frozen=True, slots=True)
class SystemMean:
    """One system on one criterion: the mean over items (which count the same), the SD and number of single ratings."""

    criterion: str
    system: str
    mean: float
    ci: Interval | None
    stderr: float | None
    sd: float | None
    n: int
    items: int
    annotators: int
    not_applicable: int


@dataclass(frozen=True, slots=True)
class SystemDifference:
    """``system`` less ``baseline`` over the items that both have ratings of. ``p`` is two-sided, ``p_holm`` corrected.

    ``paired`` says what the difference was taken within: one annotator's ratings of one item, or items only.
    """

    criterion: str
    system: str
    baseline: str
    difference: float
    ci: Interval | None
    p: float | None
    p_holm: float | None
    n: int
    items: int
    annotators: int
    paired: str


def standardised(ratings: Sequence[Answer]) -> list[Answer]:
    """The ratings of one criterion as each annotator's z-scores: leniency and use of the scale taken out.

    Who gave fewer than two ratings, or one value only, is left out: there is nothing to measure by.
    """
    by_rater: dict[str, list[float]] = {}
    for a in ratings:
        by_rater.setdefault(a.annotator, []).append(a.value or 0.0)
    spread = {who: (float(np.mean(v)), float(np.std(v, ddof=1))) for who, v in by_rater.items() if len(v) > 1}
    return [
        replace(a, value=((a.value or 0.0) - mean) / sd)
        for a in ratings
        for mean, sd in [spread.get(a.annotator, (0.0, 0.0))]
        if sd > 1e-12
    ]


def system_means(answers: Answers, *, z: bool = False) -> list[SystemMean]:
    """A row for each criterion and system that has ratings; ``z`` counts each annotator's z-scores instead of ratings."""
    found = []
    for criterion in answers.criteria:
        rated = _table(answers, criterion, z)
        absent = [a.system for a in answers.answers if (a.kind, a.criterion, a.value) == ("item", criterion, None)]
        reach = None if z else _reach(answers, criterion)
        for code, name in enumerate(answers.systems):
            mine = rated.systems == code
            if not mine.any():
                continue
            values = rated.values[mine]
            mean = crossed_mean(values, rated.items[mine], rated.raters[mine])
            sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
            ci = clipped(mean.interval(), reach)
            found.append(
                SystemMean(
                    criterion, name, mean.value, ci, mean.stderr, sd, mean.n, mean.items, mean.raters, absent.count(name)
                )
            )
    return found


def system_differences(answers: Answers, *, z: bool = False) -> list[SystemDifference]:
    """Every pair of systems on every criterion, the one named first by the study as baseline.

    p values are corrected (Holm) for the pairs of a criterion.
    """
    return [row for criterion in answers.criteria for row in _criterion(answers, criterion, z)]


def _criterion(answers: Answers, criterion: str, z: bool) -> list[SystemDifference]:
    rated, systems = _table(answers, criterion, z), answers.systems
    grids = _Grids(rated, len(systems))
    reach = None if z else _reach(answers, criterion)
    widest = None if reach is None else (reach[0] - reach[1], reach[1] - reach[0])
    rows = []
    for one, other in combinations(range(len(systems)), 2):
        found, paired = grids.difference(one, other)
        if found is not None:
            ci, p = clipped(found.interval(), widest), found.p()
            names = systems[other], systems[one]
            rows.append(
                SystemDifference(criterion, *names, found.value, ci, p, None, found.n, found.items, found.raters, paired)
            )
    corrected = holm([row.p for row in rows])
    return [replace(row, p_holm=p) for row, p in zip(rows, corrected, strict=True)]


class _Grids:
    """Each system's ratings by item and annotator, (items * annotators,), NaN where there is none."""

    def __init__(self, rated: Table, systems: int) -> None:
        self._raters = int(rated.raters.max(initial=-1)) + 1
        self._values = np.full((systems, len(rated.item_names) * self._raters), np.nan)
        self._values[rated.systems, rated.items * self._raters + rated.raters] = rated.values

    def difference(self, one: int, other: int) -> tuple[CrossedMean | None, str]:
        """Within annotators where most of the items allow it, else between the means of items."""
        if not self._values.size:
            return None, ""
        gap = self._values[other] - self._values[one]
        at = np.flatnonzero(np.isfinite(gap))
        means = self._item_means(other) - self._item_means(one)
        both = np.flatnonzero(np.isfinite(means))
        if 2 * len(np.unique(at // self._raters)) >= len(both) and len(at):
            return crossed_mean(gap[at], at // self._raters, at % self._raters), "item and annotator"
        if len(both):
            return crossed_mean(means[both], both, np.zeros(len(both), dtype=np.int64)), "item"
        return None, ""

    def _item_means(self, system: int) -> Array:
        cells = self._values[system].reshape(-1, self._raters)
        given = np.isfinite(cells)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(given, cells, 0.0).sum(axis=1) / given.sum(axis=1), dtype=np.float64)


def _table(answers: Answers, criterion: str, z: bool) -> Table:
    rated = answers.rated(criterion)
    return table(standardised(rated) if z else rated, answers.annotators, answers.systems)


def _reach(answers: Answers, criterion: str) -> Interval | None:
    """The ends of a study's scale; the values of a table from elsewhere tell none."""
    points = answers.points[criterion]
    return (min(points), max(points)) if answers.study is not None else None


def clipped(ci: Interval | None, reach: Interval | None) -> Interval | None:
    """An interval within what the scale allows."""
    if ci is None or reach is None:
        return ci
    return max(ci[0], reach[0]), min(ci[1], reach[1])


def codes(values: Array, points: Sequence[float]) -> Ints:
    """The place of each value on the scale, from 0."""
    return np.searchsorted(np.asarray(points), values - 1e-9).astype(np.int64)
