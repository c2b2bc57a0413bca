"""Comparing many groups honestly: an exact test of two shares, and a correction for how many were compared."""

from __future__ import annotations

import math
from collections.abc import Sequence


def fisher_p(hits: int, trials: int, other_hits: int, other_trials: int) -> float | None:
    """Two-sided p of Fisher's exact test that two shares are equal; ``None`` where one has no trials.

    The tables no likelier than what was seen, as scipy's ``fisher_exact`` counts them.
    """
    if not (0 <= hits <= trials and 0 <= other_hits <= other_trials):
        raise ValueError(f"no shares: {hits} of {trials}, {other_hits} of {other_trials}")
    if not trials or not other_trials:
        return None
    whole, marked = trials + other_trials, hits + other_hits
    first, last = max(0, marked - other_trials), min(marked, trials)

    def log_ways(k: int) -> float:
        return _log_choose(trials, k) + _log_choose(other_trials, marked - k)

    bound = log_ways(hits) + 1e-7
    total = _log_choose(whole, marked)
    return min(1.0, math.fsum(math.exp(w - total) for k in range(first, last + 1) if (w := log_ways(k)) <= bound))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p values, in the order given: reject those below alpha and the chance of any false one stays below it.

    A test that could not be made (``None``) stays so and does not count.
    """
    known = sorted((value, i) for i, value in enumerate(p) if value is not None)
    adjusted: list[float | None] = [None] * len(p)
    highest = 0.0
    for rank, (value, i) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * value))
        adjusted[i] = highest
    return adjusted
