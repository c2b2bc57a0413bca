"""Pairs rated side by side: who wins how often, a strength for each system, and whether the side it stood on mattered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from evalkit.errors import UsageError
from evalkit.human.annotators import repeats
from evalkit.human.results import VERSUS, Answer, Answers
from evalkit.human.systems import clipped
from evalkit.stats.crossed import CrossedMean, crossed_mean
from evalkit.stats.groups import holm
from evalkit.stats.intervals import Interval
from evalkit.stats.means import Array, Ints, cluster_codes
from evalkit.stats.rating_systems import Comparisons, Rating, bradley_terry

_SHARE = (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class WinRate:
    """How often ``system`` is preferred to ``against`` (all others where that is empty), ties half. ``p``: against 0.5.

    ``p_holm`` is corrected for the pairs of a criterion; there is no p against all others.
    """

    criterion: str
    system: str
    against: str
    rate: float
    ci: Interval | None
    wins: int
    ties: int
    losses: int
    items: int
    annotators: int
    p: float | None = None
    p_holm: float | None = None


@dataclass(frozen=True, slots=True)
class SideBias:
    """``rate`` is how often side A is preferred, ties half; ``p`` tests 0.5. Of ``repeats`` shown with sides changed
    ``flipped`` preferred the other text, or turned into or from a tie.
    """

    criterion: str
    rate: float
    ci: Interval | None
    p: float | None
    n: int
    repeats: int
    flipped: int


@dataclass(frozen=True, slots=True)
class Strength:
    """A system's Bradley-Terry points on one criterion: 1000 is the average system, 400 more are odds of ten to one."""

    criterion: str
    system: str
    points: float | None
    ci: Interval | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class _Games:
    """The pairs of one criterion: codes of the two systems and the first one's score (n,)."""

    first: Ints
    second: Ints
    score: Array
    items: Ints
    raters: Ints
    swapped: np.ndarray
    systems: tuple[str, ...]


def games(answers: Answers, criterion: str) -> _Games:
    """The item rows of one criterion, from the first-named system's side."""
    assert answers.study is not None
    systems = answers.study.systems
    rated = answers.rated(criterion)
    names = [split(answer.system, systems) for answer in rated]
    return _Games(
        np.array([systems.index(one) for one, _ in names], dtype=np.int64),
        np.array([systems.index(other) for _, other in names], dtype=np.int64),
        np.array([a.value for a in rated], dtype=np.float64),
        cluster_codes([a.item for a in rated])[0],
        cluster_codes([a.annotator for a in rated])[0],
        np.array([a.swapped for a in rated], dtype=np.bool_),
        systems,
    )


def split(name: str, systems: Sequence[str]) -> tuple[str, str]:
    """The two systems of a pair; a system's own name may hold what stands between them."""
    for one in systems:
        if name.startswith(one + VERSUS) and name.removeprefix(one + VERSUS) in systems:
            return one, name.removeprefix(one + VERSUS)
    raise ValueError(f"{name!r} is no pair of {', '.join(systems)}")


def win_rates(answers: Answers) -> list[WinRate]:
    """For each criterion every pair that was rated, then each system against all others."""
    found = []
    for criterion in answers.criteria:
        played = games(answers, criterion)
        pairs = []
        for one, other in sorted(set(zip(played.first.tolist(), played.second.tolist(), strict=True))):
            mine = (played.first == one) & (played.second == other)
            pairs.append(_rate(criterion, played, one, played.systems[other], mine))
        corrected = holm([pair.p for pair in pairs])
        found += [replace(pair, p_holm=p) for pair, p in zip(pairs, corrected, strict=True)]
        if len(pairs) > 1:
            for code in range(len(played.systems)):
                mine = (played.first == code) | (played.second == code)
                if mine.any():
                    found.append(replace(_rate(criterion, played, code, "", mine), p=None))
    return found


def _rate(criterion: str, played: _Games, system: int, against: str, mine: np.ndarray) -> WinRate:
    score = np.where(played.first[mine] == system, played.score[mine], 1 - played.score[mine])
    mean = crossed_mean(score, played.items[mine], played.raters[mine])
    wins, ties, losses = (int((score == value).sum()) for value in (1.0, 0.5, 0.0))
    ci = clipped(mean.interval(), _SHARE)
    name = played.systems[system]
    return WinRate(criterion, name, against, mean.value, ci, wins, ties, losses, mean.items, mean.raters, mean.p(0.5))


def strengths(answers: Answers, *, seed: int = 0) -> list[Strength]:
    """Each system on each criterion, with intervals from drawing items; ``None`` with the reason where it has none."""
    found = []
    for criterion in answers.criteria:
        played = games(answers, criterion)
        if not len(played.score):
            continue
        compared = Comparisons(played.systems, played.first, played.second, played.score, played.items)
        try:
            ratings = bradley_terry(compared, seed=seed)
        except UsageError as error:  # everything else in a report is known without it
            ratings = [Rating(system, None, reason=str(error)) for system in played.systems]
        found += [Strength(criterion, r.system, r.value, r.ci, r.reason) for r in ratings]
    return found


def side_biases(answers: Answers) -> list[SideBias]:
    """A row for each criterion."""
    found = []
    for criterion in answers.criteria:
        played = games(answers, criterion)
        if not len(played.score):
            continue
        shown_first = np.where(played.swapped, 1 - played.score, played.score)
        mean: CrossedMean = crossed_mean(shown_first, played.items, played.raters)
        again = _turned(answers, criterion)
        changed = sum(now.value != before.value for now, before in again)
        ci = clipped(mean.interval(), _SHARE)
        found.append(SideBias(criterion, mean.value, ci, mean.p(0.5), mean.n, len(again), changed))
    return found


def _turned(answers: Answers, criterion: str) -> list[tuple[Answer, Answer]]:
    """Repeats that showed the pair the other way round, each with the first answer (both from one system's side)."""
    of = [a for a in answers.answers if a.criterion == criterion]
    pairs = [pair for name in answers.annotators for pair in repeats([a for a in of if a.annotator == name])]
    return [(now, before) for now, before in pairs if now.swapped != before.swapped]
