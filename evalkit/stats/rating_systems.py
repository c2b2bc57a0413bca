"""Systems on one scale from comparisons of two at a time: win-rate matrix, Bradley-Terry and Elo, with intervals.

Both scales are computed by evalica (Ustalov 2024; extra ``judge``) and read alike: 1000 points is the average system, and
400 points more are odds of ten to one. Bradley and Terry (1952) is the likelihood's maximum over all comparisons at once and
does not depend on their order; Elo updates after each one, so it is averaged over shuffled orders here, and with few
comparisons it stays nearer to 1000. A tie is half a win for either side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.errors import UsageError
from evalkit.stats.means import Array, Ints
from evalkit.stats.resample import percentile_interval, resample_counts

#: Points of the average system, and what they are per factor of ten in odds.
CENTRE, SCALE = 1000.0, 400.0
#: Elo's step, and the shuffled orders that it is averaged over (one a bootstrap replicate).
ELO_STEP = 4.0
_ORDERS = 50
_REPLICATES = 500
#: Share of the bootstrap replicates without a value above which there is no interval: the ends would be too near.
_UNDEFINED = 0.025


@dataclass(frozen=True, slots=True)
class Comparisons:
    """Comparisons of two systems: ``first`` and ``second`` (n,) are codes of ``systems``, ``wins`` (n,) in [0, 1] the share
    that the first one won, ``clusters`` (n,) codes 0..C-1 of what is drawn together (the item).
    """

    systems: tuple[str, ...]
    first: Ints
    second: Ints
    wins: Array
    clusters: Ints


@dataclass(frozen=True, slots=True)
class Rating:
    """A system's points with their 95 % bootstrap interval; ``reason`` says why either is ``None``."""

    system: str
    value: float | None
    ci: tuple[float, float] | None = None
    reason: str | None = None


def win_matrix(found: Comparisons, weights: Array | None = None) -> tuple[Array, Array]:
    """Wins (k, k) of the row's system over the column's, and comparisons (k, k) between them, the diagonal 0."""
    k = len(found.systems)
    counted = np.ones(len(found.wins)) if weights is None else weights
    wins, played = np.zeros((k, k)), np.zeros((k, k))
    np.add.at(wins, (found.first, found.second), counted * found.wins)
    np.add.at(wins, (found.second, found.first), counted * (1 - found.wins))
    np.add.at(played, (found.first, found.second), counted)
    np.add.at(played, (found.second, found.first), counted)
    return wins, played


def unrated(wins: Array, systems: Sequence[str]) -> str | None:
    """Why Bradley-Terry has no maximum: somebody who never won, or never lost, against the rest (Ford 1957)."""
    k = len(systems)
    if k < 2:
        return "there is but one system"
    compared, reached = _closure(wins + wins.T > 0), _closure(wins > 0)
    if not compared.all():
        apart = ", ".join(systems[i] for i in range(k) if not compared[0, i])
        return f"{apart} and {systems[0]} are not compared with each other, directly or through others"
    if reached.all():
        return None
    groups = {tuple(np.flatnonzero(reached[i] & reached[:, i]).tolist()) for i in range(k)}
    top = next(group for group in groups if not any(reached[j, group[0]] for j in range(k) if j not in group))
    return f"{', '.join(systems[i] for i in top)} never lost or tied against the rest: there is no bound to its lead"


def _closure(edges: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Who can be reached from whom (k, k)."""
    reached = edges | np.eye(len(edges), dtype=bool)
    for _ in range(len(edges).bit_length()):
        reached = (reached.astype(np.int64) @ reached.astype(np.int64)) > 0
    return reached


def bradley_terry(found: Comparisons, *, replicates: int = _REPLICATES, seed: int = 0) -> list[Rating]:
    """Bradley-Terry points of each system, with intervals from drawing whole clusters."""
    reason = unrated(win_matrix(found)[0], found.systems)
    if reason is not None:
        return [Rating(system, None, reason=reason) for system in found.systems]
    points = _bradley_terry(found, None)
    drawn = _drawn(found, lambda weights: _bradley_terry(found, weights), replicates, seed)
    return _ratings(found.systems, points, drawn)


def elo(found: Comparisons, *, replicates: int = _REPLICATES, seed: int = 0) -> list[Rating]:
    """Elo points of each system (step 4), averaged over shuffled orders, with intervals from drawing whole clusters."""
    compared = {*found.first.tolist(), *found.second.tolist()}
    rng = np.random.default_rng(seed)
    orders = [_elo(found, rng.permutation(len(found.wins))) for _ in range(_ORDERS)] if compared else []
    if not orders:
        return [Rating(system, None, reason="nothing was compared") for system in found.systems]

    def resampled(weights: Array) -> Array:
        return _elo(found, rng.permutation(np.repeat(np.arange(len(weights)), weights.astype(np.int64))))

    rows = _ratings(found.systems, np.mean(orders, axis=0), _drawn(found, resampled, replicates, seed))
    return [
        row if at in compared else Rating(row.system, None, reason="it was not compared with any other")
        for at, row in enumerate(rows)
    ]


def expected_win(points: float, other: float) -> float:
    """The chance that points stand for: of winning against a system with ``other`` points."""
    return float(1 / (1 + 10 ** ((other - points) / SCALE)))


def _bradley_terry(found: Comparisons, weights: Array | None) -> Array:
    """Points (k,); NaN where these weights leave them without a maximum."""
    evalica = _evalica()
    wins, _ = win_matrix(found, weights)
    k = len(found.systems)
    if unrated(wins, found.systems) is not None:
        return np.full(k, np.nan)
    better, worse = np.nonzero(wins > 0)
    result = evalica.bradley_terry(
        better.tolist(), worse.tolist(), [evalica.Winner.X] * len(better), weights=wins[better, worse].tolist(),
        tolerance=1e-10, limit=10_000,
    )  # fmt: skip
    strength = np.log10(np.array([float(result.scores[i]) for i in range(k)]))
    return np.asarray(CENTRE + SCALE * (strength - strength.mean()), dtype=np.float64)


def _elo(found: Comparisons, order: npt.NDArray[np.int64]) -> Array:
    evalica = _evalica()
    names = (evalica.Winner.Y, evalica.Winner.Draw, evalica.Winner.X)
    sides = np.sign(found.wins[order] - 0.5).astype(int) + 1
    result = evalica.elo(
        found.first[order].tolist(), found.second[order].tolist(), [names[side] for side in sides],
        initial=CENTRE, scale=SCALE, k=ELO_STEP,
    )  # fmt: skip
    return np.array([float(result.scores.get(i, np.nan)) for i in range(len(found.systems))])


def _drawn(found: Comparisons, value: Callable[[Array], Array], replicates: int, seed: int) -> Array:
    """Bootstrap replicates (r, k)."""
    units = int(found.clusters.max()) + 1 if len(found.clusters) else 0
    if units < 2 or not replicates:
        return np.zeros((0, len(found.systems)))
    rows = [value(count[found.clusters]) for counts in resample_counts(units, replicates, seed) for count in counts]
    return np.array(rows)


def _ratings(systems: Sequence[str], points: Array, drawn: Array) -> list[Rating]:
    rows = []
    for system, value, values in zip(systems, points, drawn.T, strict=True):
        ci = reason = None
        if not len(values):
            reason = "no interval: a single item"
        elif float(np.isnan(values).mean()) > _UNDEFINED:
            reason = "no interval: many resampled data sets have no rating"
        elif (ci := percentile_interval(values)) is None:
            reason = "no interval: the comparisons do not vary"
        rows.append(Rating(system, float(value), ci, reason))
    return rows


def _evalica() -> Any:
    try:
        import evalica
    except ImportError as error:
        raise UsageError("Bradley-Terry and Elo need evalica: pip install 'evalkit[judge]'") from error
    return evalica
