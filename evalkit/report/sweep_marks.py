"""Two marks on the curve of a metric over checkpoints: where it leaves chance level for good, and where it first regressed.

Leaves chance: every checkpoint is tested (one-sided, "not above the chance level"), p is corrected by Holm over the
checkpoints, and the mark is the first one from which on all are significant.

Regressed: every checkpoint but the first is compared, on the same samples, with the best one before it. To choose the best
is to choose the luckiest as well: among equal checkpoints it beats the next one far too often. p (one-sided, "not worse") is
therefore multiplied by the number of checkpoints that it was chosen from, which holds whatever they depend on (Bonferroni),
and then corrected by Holm over the checkpoints. The mark is the first one that is significantly worse, and by more than the
margin. Ten equal checkpoints with 15 % of flips between any two are marked in 3 % of all sweeps; without the factor in 12 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.stats.distributions import normal_cdf, t_cdf, t_quantile
from evalkit.stats.groups import holm
from evalkit.stats.intervals import effective_n
from evalkit.types import Summary

#: Level of both tests, one-sided.
ALPHA = 0.05
#: Share of a metric's range that a drop must exceed.
MARGIN = 0.01


@dataclass(frozen=True, slots=True)
class Emergence:
    """``p`` and ``adjusted`` (Holm) by checkpoint, ``None`` without a value; ``first``: position of the mark, if any."""

    p: tuple[float | None, ...]
    adjusted: tuple[float | None, ...]
    first: int | None

    def above(self, at: int) -> bool:
        """Whether a checkpoint is above chance level."""
        return _significant(self.adjusted[at])

    @property
    def throughout(self) -> bool:
        """Whether every checkpoint is above it, so that the series does not show where it was left."""
        return self.first == next((at for at, p in enumerate(self.adjusted) if p is not None), -1)


@dataclass(frozen=True, slots=True)
class Decline:
    """A checkpoint against the best before it: improvement (negative: worse) in the metric's units, and p of "not worse".

    ``best`` is the position of that one, ``chosen_from`` how many there were. ``margin`` is what a drop must exceed.
    """

    best: int
    chosen_from: int
    improvement: float | None
    p: float | None
    margin: float


@dataclass(frozen=True, slots=True)
class Regressions:
    """``adjusted`` p by checkpoint, ``None`` where there is no test; ``regressed`` positions in order."""

    adjusted: tuple[float | None, ...]
    regressed: tuple[int, ...]

    @property
    def first(self) -> int | None:
        return self.regressed[0] if self.regressed else None


def emergence(summaries: Sequence[Summary | None]) -> Emergence | None:
    """Where the checkpoints leave chance level; ``None`` for a metric without one. ``None`` among them has no value."""
    p = [None if s is None else p_at_chance(s) for s in summaries]
    if not any(value is not None for value in p):
        return None
    adjusted = holm(p)
    first = None
    for at in reversed(range(len(p))):
        if adjusted[at] is None:
            continue
        if not _significant(adjusted[at]):
            break
        first = at
    return Emergence(tuple(p), tuple(adjusted), first)


def p_at_chance(summary: Summary) -> float | None:
    """One-sided p of "not better than the chance level", by inverting the kind of interval that the summary has.

    Shares: the score test, which is Wilson's interval; means: Student t, with the degrees of freedom that the interval was
    made with; others: normal. ``None`` where there is no value, chance level, direction or spread.
    """
    value, chance, stderr = summary.value, summary.chance, summary.stderr
    if value is None or chance is None or summary.higher_is_better is None:
        return None
    gain = value - chance if summary.higher_is_better else chance - value
    method = summary.ci_method or ""
    if method.startswith("wilson"):
        spread = chance * (1 - chance) / _trials(summary)
        if spread <= 0:  # nothing can be guessed: one right answer is above it
            return 0.0 if gain > 0 else 1.0
        return 1 - normal_cdf(gain / math.sqrt(spread))
    if stderr is None or stderr <= 0:
        return None
    if method in ("t", "t-clustered"):
        return 1 - t_cdf(gain / stderr, _degrees(summary, stderr))
    return 1 - normal_cdf(gain / stderr)


def _trials(summary: Summary) -> float:
    """Independent trials behind a share: n, or fewer in clusters; at 0 and 1 as many as its interval tells."""
    value = summary.value or 0.0
    if summary.ci_method == "wilson":
        return float(summary.n)
    if 0 < value < 1 and summary.stderr:
        return effective_n(value, summary.stderr, summary.n)
    if summary.ci is None:
        return float(summary.n)
    reach = summary.ci[1] if value <= 0 else 1 - summary.ci[0]
    return _Z95**2 * (1 - reach) / reach


_Z95 = 1.959963984540054


def _degrees(summary: Summary, stderr: float) -> float:
    """Degrees of freedom of a t interval: rows less one, or in clusters those with which it is as wide as it is."""
    if summary.ci_method == "t" or summary.ci is None or summary.value is None:
        return summary.n - 1
    # an end may be cut at the end of the metric's range; the farther one is whole
    width = max(summary.ci[1] - summary.value, summary.value - summary.ci[0]) / stderr
    low, high = 1.0, max(2.0, summary.n - 1.0)
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if t_quantile(0.975, middle) > width else (low, middle)
    return low


def best_before(values: Sequence[float | None], higher_is_better: bool) -> list[tuple[int, int] | None]:
    """For every checkpoint the position of the best one before it, and how many with a value there were.

    Of equals the first. ``None`` where there is none before it, or it has no value itself.
    """
    found: list[tuple[int, int] | None] = []
    best, seen = -1, 0
    for at, value in enumerate(values):
        found.append((best, seen) if seen and value is not None else None)
        if value is None:
            continue
        leader = values[best] if seen else None
        if leader is None or (value > leader if higher_is_better else value < leader):
            best = at
        seen += 1
    return found


def regressions(declines: Sequence[Decline | None]) -> Regressions:
    """Which checkpoints are worse than the best before them: significantly, all checkpoints taken together, and beyond
    the margin.
    """
    chosen = [None if d is None or d.p is None else min(1.0, d.p * d.chosen_from) for d in declines]
    adjusted = holm(chosen)
    regressed = tuple(
        at
        for at, decline in enumerate(declines)
        if decline is not None
        and decline.improvement is not None
        and decline.improvement < -decline.margin
        and _significant(adjusted[at])
    )
    return Regressions(tuple(adjusted), regressed)


def _significant(p: float | None) -> bool:
    return p is not None and p < ALPHA
