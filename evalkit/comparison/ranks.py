"""Several systems on the same samples, best first, with what can be told apart.

The rule: within a task and metric every two systems are tested on the samples that all of them have (the paired tests of
`compare_scores`), and the p values of all pairs are adjusted together (Holm). Two systems can be told apart where the
adjusted p is below 1 - level. Then, as in WMT's rankings (Kocmi et al. 2022, section 6), a system's rank is the range

    1 + the number of systems that are significantly better  ..  the number of systems - those significantly worse

and its groups are letters: two systems share a letter exactly where they cannot be told apart (a compact letter display, as
Piepho 2004 has it). So equal systems are one group, a clear best is alone in its own, and a system between two others that
differ may be in the groups of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from evalkit.comparison.base import Comparison
from evalkit.scorers.base import MetricInfo
from evalkit.stats.intervals import Interval
from evalkit.stats.multiple import holm


@dataclass(frozen=True, slots=True)
class Ranked:
    """One system among others. ``ranks`` is (best, worst) it can be; ``None`` where the metric has no better direction.

    ``groups`` are the letters of its groups. ``to_first`` compares it with the first system given (``None`` for that one);
    ``p_adjusted`` is that comparison's, Holm's over all pairs of the table.
    """

    system: str
    value: float | None
    ci: Interval | None
    ranks: tuple[int, int] | None
    groups: tuple[str, ...]
    to_first: Comparison | None
    p_adjusted: float | None


@dataclass(frozen=True, slots=True)
class Ranking:
    """A task and metric over several systems, best first (in the order given where neither direction is better).

    ``n`` counts the samples that all systems have; ``left_out`` those that only some have, by system that lacks them.
    """

    task: str
    filter: str
    scorer: str
    metric: MetricInfo
    slice: str | None
    n: int
    pairs: int
    """Pairs of systems that were tested."""
    systems: tuple[Ranked, ...]
    left_out: Mapping[str, int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pairwise:
    """Who can be told apart: adjusted p of each pair of positions (i < j), and the pairs (better, worse)."""

    adjusted: Mapping[tuple[int, int], float]
    beats: frozenset[tuple[int, int]]


def pairwise(
    differences: Mapping[tuple[int, int], tuple[float, float] | None], higher_is_better: bool | None, level: float = 0.95
) -> Pairwise:
    """Adjust and judge ``differences``: for positions i < j the value of j - i and its two-sided p (``None``: no test).

    Without a better direction, the system with the higher value stands for the better one: only who differs counts then.
    """
    tested = {pair: found for pair, found in differences.items() if found is not None}
    adjusted = dict(zip(tested, holm([p for _, p in tested.values()]), strict=True))
    up = higher_is_better is not False
    beats = frozenset(
        (pair[1], pair[0]) if (value > 0) == up else pair
        for pair, (value, _) in tested.items()
        if value and adjusted[pair] < 1 - level
    )
    return Pairwise(adjusted, beats)


def rank_ranges(count: int, beats: frozenset[tuple[int, int]]) -> list[tuple[int, int]]:
    """For each of ``count`` systems: 1 + how many beat it, ``count`` - how many it beats."""
    lost, won = [0] * count, [0] * count
    for better, worse in beats:
        won[better] += 1
        lost[worse] += 1
    return [(1 + lost[i], count - won[i]) for i in range(count)]


def letter_groups(order: Sequence[int], beats: frozenset[tuple[int, int]]) -> dict[int, tuple[str, ...]]:
    """Letters of the systems in ``order`` (best first): two share one exactly where neither beats the other.

    Each pair that cannot be told apart and is in no group yet begins one, to which everybody is added, best first, who
    cannot be told apart from all of its members. So there are few groups, and never more than pairs.
    """
    apart = beats | {(other, one) for one, other in beats}
    groups: list[list[int]] = []
    for at, one in enumerate(order):
        for other in order[at:]:
            if (one, other) not in apart and not any(one in group and other in group for group in groups):
                group = {one, other}
                for further in order:
                    if all((further, member) not in apart for member in group):
                        group.add(further)
                groups.append([member for member in order if member in group])
    place = {system: at for at, system in enumerate(order)}
    groups.sort(key=lambda group: [place[member] for member in group])
    return {i: tuple(_letter(at) for at, group in enumerate(groups) if i in group) for i in order}


def _letter(at: int) -> str:
    """From a to z, then a1, b1, ..."""
    return chr(ord("a") + at % 26) + (str(at // 26) if at >= 26 else "")


def rank(
    names: Sequence[str],
    values: Sequence[tuple[float | None, Interval | None]],
    comparisons: Mapping[tuple[int, int], Comparison],
    *,
    left_out: Mapping[str, int] | None = None,
    level: float = 0.95,
) -> Ranking:
    """The ranking of systems ``names`` with their ``values`` and intervals, from the comparisons of all pairs (i < j).

    Every comparison is of the same task, metric and samples, system j against baseline i. Raises ValueError for fewer than
    two systems, or where a pair is missing.
    """
    wanted = list(combinations(range(len(names)), 2))
    if not wanted or missing_pair(wanted, comparisons):
        raise ValueError(f"a ranking of {len(names)} systems needs the comparisons of all pairs of at least two")
    first = comparisons[0, 1]
    better = first.metric.higher_is_better
    found = pairwise({pair: _tested(comparisons[pair]) for pair in wanted}, better, level)
    order = sorted(range(len(names)), key=lambda i: _best_first(values[i][0], better))
    letters = letter_groups(order, found.beats)
    ranges = rank_ranges(len(names), found.beats)
    systems = tuple(
        Ranked(
            names[i],
            *values[i],
            ranges[i] if better is not None else None,
            letters[i],
            comparisons.get((0, i)),
            found.adjusted.get((0, i)),
        )
        for i in order
    )
    notes = tuple(dict.fromkeys(note for pair in wanted for note in comparisons[pair].notes))
    key = (first.task, first.filter, first.scorer, first.metric, first.slice, first.n, len(found.adjusted))
    return Ranking(*key, systems, dict(left_out or {}), notes)


def missing_pair(
    wanted: Sequence[tuple[int, int]], comparisons: Mapping[tuple[int, int], Comparison]
) -> tuple[int, int] | None:
    """The first pair that was not compared."""
    return next((pair for pair in wanted if pair not in comparisons), None)


def _tested(comparison: Comparison) -> tuple[float, float] | None:
    p = None if comparison.test is None else comparison.test.p_two_sided()
    return None if comparison.test is None or p is None else (comparison.test.value, p)


def _best_first(value: float | None, higher_is_better: bool | None) -> tuple[bool, float]:
    if value is None or higher_is_better is None:
        return value is None, 0.0
    return False, -value if higher_is_better else value
