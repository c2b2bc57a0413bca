"""Permutation tests of groups: could the differences between them come from which label stands at which value?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from evalkit.stats.means import Array, Ints

PERMUTATIONS = 10_000
_DRAWS = 20_000_000  # values x permutations in all: about a second
_CHUNK = 1_000_000  # values x permutations at a time
#: Differences this near to the observed one are as large: only the order of a sum differed.
_SAME = 1e-9


@dataclass(frozen=True, slots=True)
class GroupTest:
    """``against_rest``: p of each group's mean against that of all others (two-sided); ``gap``: p of max - min of the means.

    ``expected_gap`` is the mean gap of the permutations: what there would be without any difference.
    """

    against_rest: tuple[float, ...]
    gap: float
    expected_gap: float
    permutations: int


def permuted_groups(values: Array, groups: Ints, blocks: Ints | None = None, *, seed: int = 0) -> GroupTest:
    """Test ``values`` (n,) in groups 0..G-1 (each has a member, G >= 2) by permuting labels, within ``blocks`` where given.

    Blocks are for matched values (the same prompt with each group's name): only labels within one are exchanged. The p
    values count the observed labels as one permutation more, so that none is 0. The same seed gives the same numbers.
    """
    n, count = len(values), int(groups.max()) + 1
    sizes = np.bincount(groups, minlength=count).astype(float)
    total, scale = float(values.sum()), float(np.abs(values).max()) or 1.0

    def statistics(sums: Array) -> tuple[Array, Array]:
        """Differences of each group's mean to the rest's (..., G), and the gap (...)."""
        means = sums / sizes
        rest = (total - sums) / (n - sizes)
        return np.abs(means - rest), means.max(axis=-1) - means.min(axis=-1)

    differences, gap = statistics(np.bincount(groups, weights=values, minlength=count).astype(np.float64))
    permutations = int(min(PERMUTATIONS, max(200, _DRAWS // n)))
    larger, larger_gap, gaps = np.ones(count), 1.0, 0.0
    for sums in _sums(values, groups, blocks, permutations, np.random.default_rng(seed)):
        found, found_gaps = statistics(sums)
        larger += (found >= differences - _SAME * scale).sum(axis=0)
        larger_gap += float((found_gaps >= gap - _SAME * scale).sum())
        gaps += float(found_gaps.sum())
    whole = permutations + 1
    return GroupTest(tuple((larger / whole).tolist()), larger_gap / whole, gaps / permutations, permutations)


def _sums(values: Array, groups: Ints, blocks: Ints | None, permutations: int, rng: np.random.Generator) -> Iterator[Array]:
    """Sums of each group (r, G) under random labels, r permutations at a time."""
    n, count = len(values), int(groups.max()) + 1
    keys = np.zeros(n) if blocks is None else blocks.astype(float)
    ordered = np.argsort(keys, kind="stable")
    values, groups, keys = values[ordered], groups[ordered], keys[ordered]
    rows = max(1, _CHUNK // n)
    for start in range(0, permutations, rows):
        r = min(rows, permutations - start)
        # block numbers are whole, so that sorting number + fraction shuffles within blocks only
        shuffled = values[np.argsort(keys + rng.random((r, n)), axis=1)]
        sums = np.empty((r, count))
        for group in range(count):
            sums[:, group] = shuffled[:, groups == group].sum(axis=1)
        yield sums
