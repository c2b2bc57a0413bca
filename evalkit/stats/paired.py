"""Two systems on the same samples: paired bootstrap and approximate randomisation, by re-weighting stored statistics.

The tests are sacrebleu's (``sacrebleu.significance``; Koehn 2004, Riezler and Maxwell 2005) with its streams of random
numbers, so that the p-values are its own under its seed; but a replicate is one row of a matrix product, all metrics and
systems share the draws, and memory is bounded whatever the number of rows.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from evalkit.stats.means import Array, Ints
from evalkit.stats.resample import percentile_interval, replicate_stderr

K = TypeVar("K", bound=Hashable)

#: From column totals (..., m) to values (...).
Finish = Callable[[Array], Array]

#: The values of arrays under their ``finish``; an array is known by its identity.
_Values = Mapping[tuple[int, Finish], Array]

RESAMPLES, TRIALS, SEED = 1_000, 10_000, 12_345
_RESAMPLE_DRAWS, _TRIAL_DRAWS = 300_000_000, 1_000_000_000  # rows x replicates in all: some seconds
_CHUNK = 4_000_000  # rows x replicates at a time
_EXACT = 2.0**24  # whole numbers up to here are exact in single precision
#: Differences this near to each other, relative to the values, are the same one: only the order of a sum differed.
_SAME = 1e-9


@dataclass(frozen=True, slots=True)
class Pair:
    """One metric of two systems: rows (n, m) of the same samples in the same order, and the value of their totals.

    ``finish`` maps totals (..., m) to values (...); pairs that share an array and a ``finish`` share its values.
    """

    baseline: Array
    system: Array
    finish: Finish


@dataclass(frozen=True, slots=True)
class Paired:
    """What two systems differ by. ``difference`` is system - baseline, ``ci`` its percentile interval (bootstrap).

    ``p_bootstrap`` and ``p_randomisation`` are two-sided. ``n`` counts samples, ``units`` what was resampled (samples, or
    clusters); ``resamples`` and ``trials`` the replicates of the two tests. ``None``: undefined.
    """

    baseline: float | None
    system: float | None
    difference: float | None
    ci: tuple[float, float] | None
    stderr: float | None
    p_bootstrap: float | None
    p_randomisation: float | None
    n: int
    units: int
    resamples: int
    trials: int


def mean_pair(baseline: Array, system: Array) -> Pair:
    """The pair of a mean of values (n,) each."""
    ones = np.ones(len(baseline))
    return Pair(np.column_stack([baseline, ones]), np.column_stack([system, ones]), mean_of_totals)


def mean_of_totals(totals: Array) -> Array:
    """Sum over count: the ``finish`` of a mean."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(totals[..., 0] / totals[..., 1], dtype=np.float64)


def environment_seed() -> int | None:
    """The seed that sacrebleu's tests use: ``SACREBLEU_SEED``, 12345 by default; ``none`` is another one each time."""
    given = os.environ.get("SACREBLEU_SEED", str(SEED))
    return None if given.lower() == "none" else int(given)


def paired_tests(
    pairs: Mapping[K, Pair],
    *,
    clusters: Ints | None = None,
    resamples: int = RESAMPLES,
    trials: int = TRIALS,
    seed: int | None = SEED,
    level: float = 0.95,
) -> dict[K, Paired]:
    """Test every pair with the same draws.

    Bootstrap: n rows are drawn with replacement, p = (#{|d_i| - mean |d_i| > |d|} + 1) / (resamples + 1). Approximate
    randomisation: each row goes to the other system with probability 1/2, p = (#{|d_i| > |d|} + 1) / (trials + 1). With
    ``clusters`` (codes 0..C-1, one a row) whole clusters are drawn and swapped. Beyond 300,000 rows there are fewer
    resamples, beyond 100,000 fewer trials; the result says how many.

    One difference from sacrebleu: where all rows of two systems are equal, p is 1, not 1 / (replicates + 1).

    Raises ValueError for pairs of different lengths.
    """
    if not pairs:
        return {}
    rows = {len(rows) for pair in pairs.values() for rows in (pair.baseline, pair.system)}
    if len(rows) > 1 or 0 in rows:
        raise ValueError(f"paired tests need rows of the same samples, at least one, not {sorted(rows)} rows")
    (n,) = rows
    tables = _Tables(pairs, clusters)
    units = tables.units
    resamples = _affordable(resamples, units, _RESAMPLE_DRAWS, 100) if units > 1 else 0
    trials = _affordable(trials, units, _TRIAL_DRAWS, 1_000) if units > 1 else 0
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        observed = tables.values(tables.totals[None, :])
        drawn = tables.bootstrap(resamples, seed)
        found = {key: _result(pair, observed, drawn, key, n, units, level) for key, pair in pairs.items()}
        beyond = tables.randomise(trials, seed, {key: _bound(result) for key, result in found.items()})
    return {key: _tested(result, *beyond[key], equal=tables.equal(pairs[key])) for key, result in found.items()}


def paired_replicates(
    pair: Pair, *, clusters: Ints | None = None, resamples: int = RESAMPLES, seed: int | None = SEED
) -> Array:
    """Bootstrap replicates of the difference of one pair, of the draws that `paired_tests` makes; undefined ones are NaN.

    Fewer than ``resamples`` beyond 300 million draws, none of a single unit. Raises ValueError as `paired_tests` does.
    """
    if len(pair.baseline) != len(pair.system) or not len(pair.baseline):
        raise ValueError(f"paired rows must be as many, at least one: {len(pair.baseline)} and {len(pair.system)}")
    tables = _Tables({"": pair}, clusters)
    count = _affordable(resamples, tables.units, _RESAMPLE_DRAWS, 100) if tables.units > 1 else 0
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return tables.bootstrap(count, seed)[""]


def _affordable(asked: int, units: int, draws: int, least: int) -> int:
    return min(asked, max(least, draws // units))


def _result(
    pair: Pair,
    observed: _Values,
    drawn: Mapping[K, Array],
    key: K,
    n: int,
    units: int,
    level: float,
) -> Paired:
    a, b = (float(observed[_place(rows, pair.finish)][0]) for rows in (pair.baseline, pair.system))
    if not (math.isfinite(a) and math.isfinite(b)):
        return Paired(_known(a), _known(b), None, None, None, None, None, n, units, 0, 0)
    differences = drawn[key][np.isfinite(drawn[key])]
    sizes = np.abs(differences)
    slack = _SAME * max(abs(a), abs(b))
    count = int(np.sum(sizes - sizes.mean() > abs(b - a) + slack)) if len(sizes) else 0
    p = (count + 1) / (len(sizes) + 1) if len(sizes) else None
    ci, stderr = percentile_interval(differences, level), replicate_stderr(differences)
    return Paired(a, b, b - a, ci, stderr, p, None, n, units, len(sizes), 0)


def _bound(result: Paired) -> float | None:
    """What a difference by chance must exceed."""
    if result.difference is None or result.baseline is None or result.system is None:
        return None
    return abs(result.difference) + _SAME * max(abs(result.baseline), abs(result.system))


def _tested(result: Paired, count: int, trials: int, *, equal: bool) -> Paired:
    randomised = (count + 1) / (trials + 1) if trials else None
    same = equal and result.units > 1 and result.difference is not None
    return Paired(
        result.baseline,
        result.system,
        result.difference,
        result.ci,
        result.stderr,
        1.0 if same else result.p_bootstrap,
        1.0 if same else randomised,
        result.n,
        result.units,
        result.resamples,
        trials,
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _place(rows: Array, finish: Finish) -> tuple[int, Finish]:
    return id(rows), finish


class _Tables(Generic[K]):
    """All columns of all pairs side by side, so that one product of draws and columns serves them all."""

    def __init__(self, pairs: Mapping[K, Pair], clusters: Ints | None) -> None:
        self._pairs = pairs
        arrays = {id(rows): rows for pair in pairs.values() for rows in (pair.baseline, pair.system)}
        summed = [rows if clusters is None else _by_cluster(rows, clusters) for rows in arrays.values()]
        edges = np.cumsum([0, *(rows.shape[1] for rows in summed)])
        self._columns = {key: slice(edges[i], edges[i + 1]) for i, key in enumerate(arrays)}
        self._finishers = {
            _place(rows, pair.finish): (self._columns[id(rows)], pair.finish)
            for pair in pairs.values()
            for rows in (pair.baseline, pair.system)
        }
        self._rows = np.concatenate(summed, axis=1)
        self.units = len(self._rows)
        self.totals: Array = self._rows.sum(axis=0)
        whole = bool((self._rows == np.rint(self._rows)).all())
        exact = whole and float(np.abs(self._rows).sum(axis=0).max(initial=0.0)) < _EXACT / 2
        self._type: type[np.floating] = np.float32 if exact else np.float64

    def equal(self, pair: Pair) -> bool:
        return bool(np.array_equal(pair.baseline, pair.system))

    def values(self, totals: Array) -> _Values:
        """The value of every array under its ``finish``, from totals (r, columns)."""
        return {key: np.asarray(finish(totals[:, columns])) for key, (columns, finish) in self._finishers.items()}

    def bootstrap(self, resamples: int, seed: int | None) -> dict[K, Array]:
        """Differences (resamples,) of every pair on rows drawn with replacement."""
        parts: dict[K, list[Array]] = {key: [np.zeros(0)] for key in self._pairs}
        rows = self._rows.astype(self._type)
        for counts in _resampled(self.units, resamples, seed):
            values = self.values((counts.astype(self._type) @ rows).astype(np.float64))
            for key, pair in self._pairs.items():
                parts[key].append(values[_place(pair.system, pair.finish)] - values[_place(pair.baseline, pair.finish)])
        return {key: np.concatenate(found) for key, found in parts.items()}

    def randomise(self, trials: int, seed: int | None, bounds: Mapping[K, float | None]) -> dict[K, tuple[int, int]]:
        """For every pair, how many trials exceeded its bound, and how many there were."""
        counts = dict.fromkeys(self._pairs, 0)
        defined = dict.fromkeys(self._pairs, 0)
        tested = {key: pair for key, pair in self._pairs.items() if bounds[key] is not None}
        if not tested:
            return dict.fromkeys(self._pairs, (0, 0))
        sides = {key: (self._columns[id(p.baseline)], self._columns[id(p.system)]) for key, p in tested.items()}
        moved = np.concatenate([self._rows[:, a] - self._rows[:, b] for a, b in sides.values()], axis=1).astype(self._type)
        for swapped in _coins(self.units, trials, seed):
            shifts = (swapped.astype(self._type) @ moved).astype(np.float64)
            start = 0
            for key, pair in tested.items():
                one, other = sides[key]
                shift = shifts[:, start : (start := start + one.stop - one.start)]
                a, b = pair.finish(self.totals[other] + shift), pair.finish(self.totals[one] - shift)
                sizes = np.abs(a - b)
                counts[key] += int(np.sum(sizes > bounds[key]))
                defined[key] += int(np.isfinite(sizes).sum())
        return {key: (counts[key], defined[key]) for key in self._pairs}


def _by_cluster(rows: Array, clusters: Ints) -> Array:
    summed = np.zeros((int(clusters.max()) + 1, rows.shape[1]))
    np.add.at(summed, clusters, rows)
    return summed


def _resampled(n: int, resamples: int, seed: int | None) -> Iterator[Ints]:
    """Chunks (r, n) of how often each row is drawn, from the stream of ``rng.choice(n, (resamples, n))``."""
    rng = np.random.default_rng(seed)
    size = max(1, _CHUNK // n)
    for start in range(0, resamples, size):
        r = min(size, resamples - start)
        drawn = rng.integers(0, n, size=(r, n), dtype=np.int64)
        drawn += np.arange(r, dtype=np.int64)[:, None] * n
        yield np.bincount(drawn.reshape(-1), minlength=r * n).reshape(r, n)


def _coins(n: int, trials: int, seed: int | None) -> Iterator[npt.NDArray[np.uint8]]:
    """Chunks (r, n) of 0 and 1, from the stream of ``rng.integers(2, size=(trials, n), dtype=bool)``.

    NumPy takes such booleans bit by bit, lowest first, from 32-bit numbers: drawing those is 30 times as fast. The rows of a
    chunk come in thirty-twos, so that none of its numbers is cut.
    """
    rng = np.random.default_rng(seed)
    size = max(32, _CHUNK // n // 32 * 32)
    at_once = max(1, _CHUNK // n)
    for start in range(0, trials, size):
        r = min(size, trials - start)
        words = rng.integers(0, 2**32, size=-(-r * n // 32), dtype=np.uint32).astype("<u4")
        coins = np.unpackbits(words.view(np.uint8), count=r * n, bitorder="little").reshape(r, n)
        for part in range(0, r, at_once):
            yield coins[part : part + at_once]
