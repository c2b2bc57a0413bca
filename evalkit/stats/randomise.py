"""Permutation tests of groups: could the differences between them come from which label stands at which value?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from evalkit.stats.distributions import normal_cdf
from evalkit.stats.means import Array, Ints

PERMUTATIONS = 10_000
_FEWEST = 500
_DRAWS = 20_000_000  # values x permutations in all: about a second
_CHUNK = 1_000_000  # values x permutations at a time
#: Differences this near to the observed one are as large: only the order of a sum differed.
_SAME = 1e-9


@dataclass(frozen=True, slots=True)
class GroupTest:
    """``against_rest``: p of each group against all others (two-sided); ``gap``: p of max - min of the means.

    ``expected_gap`` is the mean gap of the permutations: what there would be without any difference. ``permutations`` is
    how many were drawn; ``normal`` says that ``against_rest`` is by the normal limit of the permutation distribution.
    """

    against_rest: tuple[float, ...]
    gap: float
    expected_gap: float
    permutations: int
    normal: bool = False


def permuted_groups(values: Array, groups: Ints, blocks: Ints | None = None, *, seed: int = 0) -> GroupTest:
    """Test ``values`` (n,) in groups 0..G-1 (each has a member, G >= 2) by permuting labels, within ``blocks`` where given.

    Blocks are for matched values (the same prompt with each group's name): only labels within one are exchanged. The p
    values count the observed labels as one permutation more, so that none is 0. Beyond 2,000 values fewer permutations are
    drawn, too few for a correction for many groups, and each group's test takes the exact mean and variance that its sum
    has under permutation, and the normal distribution. The same seed gives the same numbers.
    """
    n, count = len(values), int(groups.max()) + 1
    strata = np.zeros(n, dtype=np.int64) if blocks is None else blocks
    sizes = np.bincount(groups, minlength=count).astype(float)
    scale = float(np.abs(values).max()) or 1.0
    expected, variance = _moments(values, groups, strata)

    def gap_of(sums: Array) -> Array:
        means = sums / sizes
        found: Array = means.max(axis=-1) - means.min(axis=-1)
        return found

    observed = np.bincount(groups, weights=values, minlength=count).astype(np.float64)
    away, gap = np.abs(observed - expected), gap_of(observed)
    permutations = int(min(PERMUTATIONS, max(_FEWEST, _DRAWS // n)))
    larger, larger_gap, gaps = np.ones(count), 1.0, 0.0
    for sums in _sums(values, groups, strata, permutations, np.random.default_rng(seed)):
        found = gap_of(sums)
        larger += (np.abs(sums - expected) >= away - _SAME * scale * sizes).sum(axis=0)
        larger_gap += float((found >= gap - _SAME * scale).sum())
        gaps += float(found.sum())
    normal = permutations < PERMUTATIONS
    whole = permutations + 1
    ps = _normal(away, variance, scale) if normal else tuple((larger / whole).tolist())
    return GroupTest(ps, larger_gap / whole, gaps / permutations, permutations, normal)


def _moments(values: Array, groups: Ints, strata: Ints) -> tuple[Array, Array]:
    """Mean and variance of each group's sum (G,) when labels are permuted within strata: draws without replacement."""
    count, blocks = int(groups.max()) + 1, int(strata.max()) + 1
    k = np.bincount(strata, minlength=blocks).astype(float)
    used = np.maximum(k, 1.0)
    mean = np.bincount(strata, weights=values, minlength=blocks) / used
    spread = np.bincount(strata, weights=(values - mean[strata]) ** 2, minlength=blocks) / np.maximum(k - 1, 1.0)
    expected, variance = np.zeros(count), np.zeros(count)
    for group in range(count):
        m = np.bincount(strata[groups == group], minlength=blocks).astype(float)
        expected[group] = (m * mean).sum()
        variance[group] = (m * (k - m) / used * spread).sum()
    return expected, variance


def _normal(away: Array, variance: Array, scale: float) -> tuple[float, ...]:
    known = variance > (_SAME * scale) ** 2
    z = np.where(known, away / np.sqrt(np.where(known, variance, 1.0)), 0.0)
    return tuple(2 * normal_cdf(-float(x)) for x in z)


def _sums(values: Array, groups: Ints, strata: Ints, permutations: int, rng: np.random.Generator) -> Iterator[Array]:
    """Sums of each group (r, G) under random labels, r permutations at a time."""
    n, count = len(values), int(groups.max()) + 1
    ordered = np.argsort(strata, kind="stable")
    values, groups, keys = values[ordered], groups[ordered], strata[ordered].astype(float)
    rows = max(1, _CHUNK // n)
    for start in range(0, permutations, rows):
        r = min(rows, permutations - start)
        # strata are whole numbers, so that sorting number + fraction shuffles within them only
        shuffled = values[np.argsort(keys + rng.random((r, n)), axis=1)]
        sums = np.empty((r, count))
        for group in range(count):
            sums[:, group] = shuffled[:, groups == group].sum(axis=1)
        yield sums
