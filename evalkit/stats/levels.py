"""How well a metric agrees with ratings at three levels, with bootstrap intervals.

| level | what is correlated | the interval draws |
|---|---|---|
| segment | all rows pooled | items, with all their rows |
| summary | the rows of one item (its systems); the mean over items | items |
| system | the systems' values over all items | items, and systems |

The three are different numbers and are easily mistaken for each other. At the summary level an item with a constant side has
no correlation and is left out of the mean, never counted as 0; ``used`` tells how many items remain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evalkit.stats.correlation import COEFFICIENTS, by_row, tidy, tie_calibrated, undefined, weighted
from evalkit.stats.means import Array, Ints, cluster_codes
from evalkit.stats.resample import percentile_interval, resample_counts

LEVELS = ("segment", "summary", "system")
REPLICATES = 1000

#: A metric's values (r, systems) from how often each item counts (r, items).
SystemValues = Callable[[Array], Array]

_WORK = 4_000_000  # rows x replicates at the segment level: a second or two
_PAIRS = 40_000_000  # pairs of systems x replicates
_CELLS = 20_000_000  # items x systems that a table of them may have


@dataclass(frozen=True, slots=True)
class Agreement:
    """One coefficient at one level. ``value`` is ``None`` with the ``reason``; ``used`` counts the units behind it.

    Units are rows (segment), items (summary) or systems (system).
    """

    value: float | None
    ci: tuple[float, float] | None = None
    used: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Level:
    """All coefficients at one level, by name, over ``n`` rows of ``items`` items and ``systems`` systems.

    At the summary level ``calibrated`` is pairwise accuracy after the best tie threshold, and that threshold.
    """

    name: str
    coefficients: Mapping[str, Agreement]
    n: int
    items: int
    systems: int
    calibrated: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Rated:
    """A metric's values ``x`` and ratings ``y`` (n,) of rows with codes of their item and system (0.. each)."""

    x: Array
    y: Array
    items: Ints
    systems: Ints

    @property
    def item_count(self) -> int:
        return int(self.items.max(initial=-1)) + 1

    @property
    def system_count(self) -> int:
        return int(self.systems.max(initial=-1)) + 1


def rated(x: Array, y: Array, items: Sequence[Any], systems: Sequence[Any] | None = None) -> tuple[Rated, Ints]:
    """The rows where both ``x`` and ``y`` (n,) are known, and their positions.

    ``items`` and ``systems`` are labels (n,); without systems all rows are of one. Values that share 12 digits are equal.
    """
    kept = np.flatnonzero(np.isfinite(x) & np.isfinite(y)).tolist()
    labels = [str(items[i]) for i in kept]
    named = ["" if systems is None else str(systems[i]) for i in kept]
    rows = Rated(tidy(x[kept]), tidy(y[kept]), cluster_codes(labels)[0], cluster_codes(named)[0])
    return rows, np.array(kept, dtype=np.int64)


def agreement(
    rows: Rated, level: str, *, replicates: int = REPLICATES, seed: int = 0, system_values: SystemValues | None = None
) -> Level:
    """Every coefficient of ``rows`` at ``level``; 95 % percentile intervals from at most ``replicates`` draws.

    ``system_values`` gives a metric's system values where these are no means of its rows' (corpus BLEU). Large data gets
    fewer replicates (100 at least), so that work and memory stay bounded. The same seed and order give the same numbers.
    """
    if level == "segment":
        return _segment(rows, replicates, seed)
    if level == "summary":
        return _summary(rows, replicates, seed)
    if level == "system":
        return _system(rows, replicates, seed, system_values)
    raise ValueError(f"level must be one of {', '.join(LEVELS)}, not {level!r}")


def _made(
    level: str,
    rows: Rated,
    values: Mapping[str, float],
    drawn: Mapping[str, Array],
    reason: str | None,
    used: Mapping[str, int] | int,
    **more: Any,
) -> Level:
    found = {}
    for name in COEFFICIENTS:
        count = used if isinstance(used, int) else used[name]
        value = float(values.get(name, np.nan))
        if not np.isfinite(value):
            found[name] = Agreement(None, used=count, reason=reason or "undefined")
        else:
            found[name] = Agreement(value, percentile_interval(drawn[name]) if name in drawn else None, count)
    return Level(level, found, len(rows.x), rows.item_count, rows.system_count, **more)


def _segment(rows: Rated, replicates: int, seed: int) -> Level:
    n = len(rows.x)
    if n < 2:
        return _made("segment", rows, {}, {}, undefined({}, rows.x, rows.y), n)
    whole = {name: float(value[0]) for name, value in weighted(rows.x, rows.y, np.ones((1, n))).items()}
    drawn: list[dict[str, Array]] = []
    if rows.item_count > 1 and replicates:
        count = min(replicates, max(100, _WORK // n))
        step = max(1, 100_000 // n)  # a few weightings at a time stay in the processor's cache
        for counts in resample_counts(rows.item_count, count, seed):
            drawn += [weighted(rows.x, rows.y, counts[at : at + step][:, rows.items]) for at in range(0, len(counts), step)]
    reason = undefined(whole, rows.x, rows.y, ("the metric", "the rating"))
    return _made("segment", rows, whole, _joined(drawn), reason, n)


def _joined(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([part[name] for part in parts]) for name in COEFFICIENTS} if parts else {}


def _packed(rows: Rated) -> tuple[Array, Array]:
    """The rows of each item side by side, (items, most rows of an item), NaN where an item has fewer."""
    order = np.argsort(rows.items, kind="stable")
    codes = rows.items[order]
    place = np.arange(len(codes)) - np.searchsorted(codes, codes)
    shape = (rows.item_count, int(place.max(initial=-1)) + 1)
    x, y = np.full(shape, np.nan), np.full(shape, np.nan)
    x[codes, place], y[codes, place] = rows.x[order], rows.y[order]
    return x, y


def _summary(rows: Rated, replicates: int, seed: int) -> Level:
    x, y = _packed(rows)
    if x.shape[1] < 2:
        return _made("summary", rows, {}, {}, "no item has outputs of two systems", 0)
    each = by_row(x, y)
    values, used, drawn = {}, {}, {}
    for name, per_item in each.items():
        known = per_item[np.isfinite(per_item)]
        used[name] = len(known)
        values[name] = float(known.mean()) if len(known) else float("nan")
        if len(known) > 1 and replicates:
            drawn[name] = np.concatenate([c @ known / len(known) for c in resample_counts(len(known), replicates, seed)])
    reason = "in every item the metric or the rating is the same everywhere"
    return _made("summary", rows, values, drawn, reason, used, calibrated=tie_calibrated(x, y))


def _system(rows: Rated, replicates: int, seed: int, system_values: SystemValues | None) -> Level:
    systems = rows.system_count
    if systems < 2:
        return _made("system", rows, {}, {}, "there is one system: at least 2 are needed", systems)
    if rows.item_count * systems > _CELLS:
        return _made("system", rows, {}, {}, f"{rows.item_count} items x {systems} systems are too many", systems)
    ratings = _means(rows, rows.y)
    metric = system_values or _means(rows, rows.x)
    ones = np.ones((1, rows.item_count))
    x, y = tidy(metric(ones)), tidy(ratings(ones))
    whole = {name: float(value[0]) for name, value in by_row(x, y).items()}
    drawn: list[dict[str, Array]] = []
    if rows.item_count > 1 and replicates:
        rng = np.random.default_rng([seed, 1])
        count = min(replicates, max(100, _PAIRS // systems**2))
        for counts in resample_counts(rows.item_count, count, seed):
            chosen = rng.integers(0, systems, size=(len(counts), systems))
            left, right = (np.take_along_axis(tidy(of(counts)), chosen, axis=1) for of in (metric, ratings))
            drawn.append(by_row(left, right, chosen))
    reason = undefined(whole, x[0], y[0], ("the metric", "the rating"))
    return _made("system", rows, whole, _joined(drawn), reason, systems)


def _means(rows: Rated, values: Array) -> SystemValues:
    """Means of ``values`` by system, from how often each item counts; NaN for a system none of whose items was drawn."""
    shape = (rows.item_count, rows.system_count)
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (rows.items, rows.systems), values)
    np.add.at(counts, (rows.items, rows.systems), 1.0)

    def means(weights: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((weights @ sums) / (weights @ counts), dtype=np.float64)

    return means
