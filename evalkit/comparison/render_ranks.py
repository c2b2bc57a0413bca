"""Rankings of several runs as a reader sees them: one table, a block of systems a metric, and what stands below it."""

from __future__ import annotations

from collections.abc import Sequence

from evalkit.comparison.numbers import format_difference, format_interval, format_p, format_value, visible
from evalkit.comparison.ranks import Ranked, Ranking
from evalkit.comparison.render import BETTER, DIFFERENT, LEVEL, WORSE, Table, flip_counts, percent
from evalkit.figures import arrow, count, counted, interval


def rank_table(rankings: Sequence[Ranking], level: float = LEVEL) -> Table:
    """A row a system, best first; task, metric and n are told once a ranking."""
    ci = f"{percent(level)} CI"
    headers = ("Task", "Filter", "Metric", "", "n", "Rank", "Group", "System", "Value", ci, " ", "To first", ci, "p (Holm)")
    rows: list[tuple[str, ...]] = []
    task = ""
    for found in rankings:
        own = f"· {visible(found.slice)}" if found.slice is not None else visible(found.task)
        filter_ = "" if found.filter in ("none", "") else visible(found.filter)
        head = (own if own != task else "", filter_, visible(found.metric.name), arrow(found.metric.higher_is_better))
        task = own
        told = "; ".join(map(visible, found.notes))
        for at, system in enumerate(found.systems):
            left = (*head, count(found.n)) if at == 0 else ("",) * 5
            rows.append(
                (
                    *left,
                    *_row(system, found, level),
                    "" if system.to_first is None else flip_counts(system.to_first),
                    told if at == 0 else "",
                )
            )
    return Table((*headers, "Flips", "Notes"), rows, (4, 8, 9, 11, 12, 13, 14), (1, 15, 14, 4, 13, 9, 12))


def _row(system: Ranked, found: Ranking, level: float) -> tuple[str, ...]:
    best, worst = system.ranks or (0, 0)
    ranks = "" if system.ranks is None else f"{best}" if best == worst else f"{best}-{worst}"
    value = (format_value(system.value, found.metric), "" if system.ci is None else interval(system.ci))
    compared = system.to_first
    test = None if compared is None else compared.test
    head = (ranks, "".join(system.groups), visible(system.system), *value)
    if test is None:
        return (*head, "", "", "", "")
    ci = test.interval(level)
    p = "" if system.p_adjusted is None else format_p(system.p_adjusted)
    change = format_difference(test.value, found.metric)
    return (*head, _mark(system, found, level), change, "" if ci is None else format_interval(ci, found.metric), p)


def _mark(system: Ranked, found: Ranking, level: float) -> str:
    test = None if system.to_first is None else system.to_first.test
    if test is None or not test.value or system.p_adjusted is None or system.p_adjusted >= 1 - level:
        return ""
    better = found.metric.higher_is_better
    return DIFFERENT if better is None else BETTER if (test.value > 0) == better else WORSE


def rank_footnotes(rankings: Sequence[Ranking], first: str, level: float = LEVEL) -> list[str]:
    """How to read the table, and every sample that is in no ranking."""
    if not rankings:
        return ["nothing to compare"]
    pairs = max(found.pairs for found in rankings)
    told = [
        "systems that share a letter cannot be told apart: every two are tested on the samples that all have, p (Holm) is "
        f"adjusted over the {counted(pairs, 'pair')} of a metric, and told apart are those below {1 - level:.2g}",
        "a rank runs from 1 + the systems that are significantly better to all but those significantly worse",
        f"to first: the paired difference from {visible(first)}",
    ]
    for found in rankings:
        lacking = [f"{count(n)} without a value of {visible(name)}" for name, n in found.left_out.items() if n]
        line = f"left out of {visible(found.task)} ({visible(found.metric.name)}): {', '.join(lacking)}"
        if lacking and found.slice is None and line not in told:
            told.append(line)
    return told
