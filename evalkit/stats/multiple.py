"""Several tests at once: p values that keep the chance of any false alarm among them at the level of one test."""

from __future__ import annotations

from collections.abc import Sequence


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down adjusted p values, in the order given; each holds for any dependence between the tests.

    The k-th smallest of m is multiplied by m - k + 1, made no smaller than the one before, and cut at 1. Raises ValueError
    for what is no probability.
    """
    if any(not 0 <= p <= 1 for p in ps):
        raise ValueError(f"p values must be within 0 and 1: {list(ps)}")
    adjusted, reached = [0.0] * len(ps), 0.0
    for rank, at in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        reached = max(reached, min(1.0, (len(ps) - rank) * ps[at]))
        adjusted[at] = reached
    return adjusted
