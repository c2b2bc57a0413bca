"""What the highest of k draws would have been, from n >= k draws: averages over all subsets of size k, in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence


def expected_maximum(values: Sequence[float], k: int) -> float:
    """Mean over all subsets of ``k`` of ``values`` of their highest member: unbiased for the expected maximum of k draws.

    With x sorted from low to high it is the sum over i of x_i C(i - 1, k - 1) / C(n, k): the i-th is the highest of so
    many subsets. k = 1 gives the mean, k = n the maximum. Raises ValueError unless 1 <= k <= n.
    """
    n = len(values)
    if not 1 <= k <= n:
        raise ValueError(f"the highest of {k} needs at least as many values, not {n}")
    total = math.comb(n, k)
    ordered = sorted(values)
    return math.fsum(ordered[i - 1] * (math.comb(i - 1, k - 1) / total) for i in range(k, n + 1))
