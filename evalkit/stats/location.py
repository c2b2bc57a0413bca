"""Are paired differences centred at zero? Tests that assume no normal distribution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from evalkit.stats.means import Array, Ints

EXACT = 16
_CHUNK = 4_000_000  # signs at a time
_SAME = 1e-9


@dataclass(frozen=True, slots=True)
class SignFlips:
    """``p_two_sided``, ``p_less`` (small where differences lie below zero), and how many sign patterns were looked at."""

    p_two_sided: float
    p_less: float
    patterns: int
    exact: bool


def sign_flip_test(
    differences: Array, *, clusters: Ints | None = None, permutations: int = 10_000, seed: int = 0
) -> SignFlips:
    """Permutation test of the mean of ``differences`` (n,), were each as likely to have the other sign.

    With ``clusters`` (codes 0..C-1) a cluster's differences change sign together. Exact up to 16 of them; beyond,
    ``permutations`` random patterns, the observed one counted with them so that no p is 0. Raises ValueError for no
    differences.
    """
    if not len(differences):
        raise ValueError("a permutation test needs at least one difference")
    sums = differences if clusters is None else np.bincount(clusters, weights=differences)
    observed = float(sums.sum())
    slack = _SAME * float(np.abs(sums).sum())
    exact = len(sums) <= EXACT
    count = 2 ** len(sums) if exact else permutations
    beyond = below = 0
    for signs in _patterns(len(sums), count, exact, seed):
        found = signs @ sums
        beyond += int((np.abs(found) >= abs(observed) - slack).sum())
        below += int((found <= observed + slack).sum())
    seen = 0 if exact else 1
    return SignFlips((beyond + seen) / (count + seen), (below + seen) / (count + seen), count, exact)


def _patterns(n: int, count: int, exact: bool, seed: int) -> Iterator[Array]:
    """Chunks (r, n) of -1 and 1."""
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK // n)
    for start in range(0, count, rows):
        r = min(rows, count - start)
        bits = (np.arange(start, start + r)[:, None] >> np.arange(n)) & 1 if exact else rng.integers(0, 2, size=(r, n))
        yield bits.astype(np.float64) * 2 - 1


def wilcoxon(differences: Array) -> tuple[float, float] | None:
    """Wilcoxon's signed-rank statistic and two-sided p, as scipy's defaults have them; ``None`` where all are zero.

    It asks about the median of the differences, and leaves out the items that do not differ: for scores most of which are
    equal it says little about their mean.
    """
    from scipy.stats import wilcoxon as signed_rank

    if not np.any(differences):
        return None
    found = signed_rank(differences)
    return float(found.statistic), float(found.pvalue)
