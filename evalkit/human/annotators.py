"""Each annotator by the others, by their own repeats and by the attention checks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from evalkit.human.results import Answer, Answers, Table, table
from evalkit.human.systems import clipped
from evalkit.stats.correlation import weighted
from evalkit.stats.crossed import crossed_mean
from evalkit.stats.intervals import Interval
from evalkit.stats.means import Array

#: One value in more than this share of an annotator's ratings of a criterion is a straight line, from so many ratings on.
STRAIGHT, LEAST = 0.9, 10


@dataclass(frozen=True, slots=True)
class Leniency:
    """One annotator on one criterion, over the ``outputs`` that somebody else rated too.

    ``offset`` (not of pairs) is by how much the annotator rates higher than the mean of the others; ``pearson`` and
    ``spearman`` tell how well the two go together. ``straight`` is the share of the commonest value, of ``n`` ratings.
    """

    criterion: str
    annotator: str
    n: int
    not_applicable: int
    mean: float | None
    outputs: int
    offset: float | None
    ci: Interval | None
    pearson: float | None
    spearman: float | None
    straight: float | None

    @property
    def straight_line(self) -> bool:
        return self.straight is not None and self.straight > STRAIGHT and self.n >= LEAST


@dataclass(frozen=True, slots=True)
class Annotator:
    """One annotator over all criteria. ``repeats`` counts ratings that were asked for twice; of those ``same`` were equal.

    ``drift`` is the mean distance of the two in steps from one end of the scale to the other (0 to 1). ``checks`` counts
    attention checks, ``passed`` those that were passed on every criterion that they check. ``seconds``: median a row.
    """

    annotator: str
    rows: int
    ratings: int
    repeats: int
    same: int
    drift: float | None
    checks: int
    passed: int
    seconds: float | None


def leniencies(answers: Answers) -> list[Leniency]:
    """A row for each criterion and annotator."""
    found = []
    for criterion in answers.criteria:
        rated = table(answers.rated(criterion), answers.annotators, answers.systems)
        points = answers.points[criterion]
        span = max(points, default=0.0) - min(points, default=0.0)
        absent = Counter(a.annotator for a in answers.answers if (a.kind, a.criterion, a.value) == ("item", criterion, None))
        others = _others(rated)
        for code, name in enumerate(answers.annotators):
            mine = rated.raters == code
            if mine.any():
                row = _leniency(criterion, name, absent[name], rated, mine, others, span)
                # in a pair the one named first has no meaning: to lean to it is no leniency
                found.append(replace(row, offset=None, ci=None) if answers.pairwise else row)
    return found


def _others(rated: Table) -> Array:
    """The mean of everybody else's ratings of the same output, one a rating; NaN where there is none."""
    n = np.bincount(rated.units, minlength=len(rated.unit_names)).astype(np.float64)[rated.units]
    total = np.bincount(rated.units, weights=rated.values, minlength=len(rated.unit_names))[rated.units]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(n > 1, (total - rated.values) / (n - 1), np.nan), dtype=np.float64)


def _leniency(
    criterion: str, name: str, absent: int, rated: Table, mine: np.ndarray, others: Array, span: float
) -> Leniency:
    values = rated.values[mine]
    _, counts = np.unique(values, return_counts=True)
    head = (criterion, name, len(values), absent, float(values.mean()))
    both = mine & np.isfinite(others)
    shared = int(both.sum())
    straight = float(counts.max() / len(values))
    if not shared:
        return Leniency(*head, 0, None, None, None, None, straight)
    own, rest = rated.values[both], others[both]
    alone = np.zeros(shared, dtype=np.int64)
    offset = crossed_mean(own - rest, rated.items[both], alone)
    together = {k: _known(float(v[0])) for k, v in weighted(own, rest, np.ones((1, shared))).items()} if shared > 2 else {}
    ci = clipped(offset.interval(), (-span, span))
    return Leniency(*head, shared, offset.value, ci, together.get("pearson"), together.get("spearman"), straight)


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def annotators(answers: Answers) -> list[Annotator]:
    """A row for each annotator."""
    by_name: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers.answers:
        by_name[answer.annotator].append(answer)
    return [_annotator(name, by_name[name], answers) for name in answers.annotators]


def _annotator(name: str, mine: Sequence[Answer], answers: Answers) -> Annotator:
    pairs = repeats(mine)
    distances = []
    for now, before in pairs:
        points = answers.points[now.criterion]
        distances.append(abs((now.value or 0.0) - (before.value or 0.0)) / ((max(points) - min(points)) or 1.0))
    checks: dict[str, list[bool]] = defaultdict(list)
    for a in mine:
        if a.passed is not None:
            checks[a.row].append(a.passed)
    seconds = {a.row: a.seconds for a in mine if a.seconds is not None}
    return Annotator(
        name,
        len({(a.row, a.item, a.system) for a in mine if a.kind == "item"}),
        sum(a.kind == "item" and a.value is not None for a in mine),
        len(pairs),
        sum(distance == 0 for distance in distances),
        sum(distances) / len(distances) if distances else None,
        len(checks),
        sum(all(passed) for passed in checks.values()),
        median(seconds.values()) if seconds else None,
    )


def repeats(mine: Sequence[Answer]) -> list[tuple[Answer, Answer]]:
    """One annotator's answers to hidden repeats, each with the answer to the row that it repeats."""
    first = {(a.row, a.criterion): a for a in mine if a.kind == "item" and a.value is not None}
    found = [(a, first.get((a.of or "", a.criterion))) for a in mine if a.kind == "repeat" and a.value is not None]
    return [(now, before) for now, before in found if before is not None]
