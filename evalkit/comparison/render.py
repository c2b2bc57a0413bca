"""A comparison of two runs as a reader sees it: lines of a table, what stands below it, and the flipped samples.

Everything here is plain text, on one line each; the command line prints it, `render_markdown` escapes it, and
`render_data` gives the figures themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields

from evalkit.comparison.base import Comparison, Flip, LeftOut, RunScores
from evalkit.comparison.numbers import format_difference, format_interval, format_p, format_value, visible
from evalkit.figures import arrow, count, counted, number
from evalkit.stats.intervals import Interval
from evalkit.stats.multiple import holm

WORSE, BETTER, DIFFERENT, FAILING, MENDED = "▼", "▲", "≠", "!", "*"
LEVEL = 0.95

METHODS = {
    "tango": "Tango's score interval",
    "t": "Student's t",
    "t-clustered": "Student's t over clusters (CR1)",
    "bootstrap": "paired bootstrap",
}
TESTS = {
    "mcnemar-exact": "exact McNemar test",
    "t": "t test",
    "t-clustered": "t test over clusters",
    "bootstrap": "paired bootstrap",
}
_WHY = {
    "baseline_only": "only in the baseline",
    "system_only": "only in the candidate",
    "baseline_errors": "failed in the baseline",
    "system_errors": "failed in the candidate",
    "baseline_unscored": "unscored in the baseline",
    "system_unscored": "unscored in the candidate",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A comparison at a level. ``p_adjusted`` is Holm's over the comparisons that are read together (see `lines`)."""

    comparison: Comparison
    difference: float | None
    ci: Interval | None
    p: float | None
    p_adjusted: float | None
    mark: str

    @property
    def judged(self) -> bool:
        """Whether it is a comparison of whole tasks, not of a slice."""
        return self.comparison.slice is None


def lines(comparisons: Iterable[Comparison], *, level: float = LEVEL, metrics: Collection[str] | None = None) -> list[Line]:
    """Comparisons with interval, p and mark: whole tasks in the order given, each followed by its slices.

    ``metrics``: names of those wanted, the headline metrics by default. p values are adjusted (Holm) over all whole tasks
    and metrics together, and over all slices together; a difference is marked where its adjusted p is below 1 - ``level``.
    """
    wanted = wanted_metrics(comparisons, metrics)
    ps = [None if c.test is None else c.test.p_two_sided() for c in wanted]
    adjusted: dict[int, float] = {}
    for sliced in (False, True):
        family = {at: p for at, p in enumerate(ps) if p is not None and (wanted[at].slice is not None) == sliced}
        adjusted |= dict(zip(family, holm(list(family.values())), strict=True))
    found = []
    for at, c in enumerate(wanted):
        difference = None if c.test is None else c.test.value
        ci = None if c.test is None else c.test.interval(level)
        sure = adjusted.get(at, 1.0) < 1 - level
        found.append(Line(c, difference, ci, ps[at], adjusted.get(at), _mark(c, difference if sure else None)))
    return found


def wanted_metrics(comparisons: Iterable[Comparison], metrics: Collection[str] | None = None) -> list[Comparison]:
    """Those of ``metrics`` (the headline metrics by default): whole tasks in the order given, each before its slices."""
    wanted = [c for c in comparisons if (c.metric.headline if metrics is None else c.metric.name in metrics)]
    place = {_row(c): at for at, c in reversed(list(enumerate(wanted)))}
    return sorted(wanted, key=lambda c: (place[_row(c)], c.slice is not None))


def _row(comparison: Comparison) -> tuple[str, ...]:
    c = comparison
    return c.task, c.filter, c.scorer, c.metric.name, c.system


def _mark(comparison: Comparison, difference: float | None) -> str:
    mark = ""
    if difference:
        better = comparison.metric.higher_is_better
        mark = DIFFERENT if better is None else BETTER if (difference > 0) == better else WORSE
    out = comparison.left_out
    if out.system_errors != out.baseline_errors:
        mark += FAILING if out.system_errors > out.baseline_errors else MENDED
    return mark


@dataclass(frozen=True, slots=True)
class Table:
    """Headers and rows of texts. ``right``: figures, by position; ``spare``: what a narrow page can do without, in order."""

    headers: tuple[str, ...]
    rows: list[tuple[str, ...]]
    right: tuple[int, ...] = ()
    spare: tuple[int, ...] = ()


def place(run: RunScores) -> str:
    """Where a run's scores are from: the name of its directory, or what the user named."""
    return run.source if run.path is None else run.path.name


def percent(level: float) -> str:
    """``95%``."""
    return f"{100 * level:g}%"


def table(found: Sequence[Line], level: float = LEVEL) -> Table:
    """A row a line; a task is named once."""
    headers = ("Task", "Filter", "Metric", "", "n", "Base", "Cand", " ", "Difference", f"{percent(level)} CI")
    rows: list[tuple[str, ...]] = []
    before = None
    for line in found:
        c, at = line.comparison, (line.comparison.task, line.comparison.filter)
        task = f"· {visible(c.slice)}" if c.slice is not None else "" if at == before else visible(c.task)
        before = at
        filter_ = "" if c.filter in ("none", "") else visible(c.filter)
        figures = (count(c.n), format_value(c.baseline_value, c.metric), format_value(c.system_value, c.metric))
        shown = "" if line.difference is None else format_difference(line.difference, c.metric)
        ci = "" if line.ci is None else format_interval(line.ci, c.metric)
        p = ["" if one is None else format_p(one) for one in (line.p, line.p_adjusted)]
        head = (task, filter_, visible(c.metric.name), arrow(c.metric.higher_is_better))
        rows.append((*head, *figures, line.mark, shown, ci, *p, flip_counts(c), "; ".join(notes(c))))
    return Table(
        (*headers, "p", "p (Holm)", "Flips", "Notes"), rows, (4, 5, 6, 8, 9, 10, 11, 12), (1, 13, 10, 4, 12, 5, 11, 6)
    )


def flip_counts(comparison: Comparison) -> str:
    """``-lost/+gained``; empty where the metric has no value of single units, so that none is seen to change."""
    c = comparison
    unseen = not (c.lost or c.gained) and c.test is not None and c.test.value != 0
    return "" if unseen else f"-{count(c.lost)}/+{count(c.gained)}"


def notes(comparison: Comparison) -> list[str]:
    """What a reader must know of one line before trusting it, most serious first."""
    out = comparison.left_out
    found = []
    if out.system_errors > out.baseline_errors:
        found.append(f"{count(out.system_errors - out.baseline_errors)} newly failing")
    elif out.system_errors < out.baseline_errors:
        found.append(f"{count(out.baseline_errors - out.system_errors)} fail no more")
    if comparison.test is None:
        found.append("no paired test")
    return [*found, *map(visible, comparison.notes)]


def footnotes(found: Sequence[Line], level: float = LEVEL) -> list[str]:
    """What stands below the table: marks, tests, the claim, and every unit that is in no pair, counted by why."""
    if not found:
        return ["nothing to compare"]
    return [*filter(None, (legend(found, level), tested(found, level), claim(found))), *left_out(found)]


def legend(found: Sequence[Line], level: float = LEVEL) -> str:
    """The marks that occur, and over how many comparisons p values were adjusted."""
    words = {WORSE: "worse", BETTER: "better", DIFFERENT: "different", FAILING: "newly failing", MENDED: "fails no more"}
    used = [f"{mark} {text}" for mark, text in words.items() if any(mark in line.mark for line in found)]
    whole, sliced = (sum(line.p is not None and line.judged == one for line in found) for one in (True, False))
    sizes = [f"{counted(whole, 'comparison')} of whole tasks"] if whole else []
    sizes += [f"{counted(sliced, 'slice')} by themselves"] if sliced else []
    if not sizes:
        return ", ".join(used)
    rule = f"p (Holm) is adjusted over {' and over '.join(sizes)}; a difference is marked where it is below {1 - level:.2g}"
    return f"{', '.join(used)}{'; ' if used else ''}{rule}"


def tested(found: Sequence[Line], level: float = LEVEL) -> str:
    """How intervals and p values were made, each method with its metrics."""
    methods: dict[str, set[str]] = {}
    by: dict[tuple[str, str], list[str]] = {}
    for c, test in [(line.comparison, line.comparison.test) for line in found]:
        if test is not None:
            methods.setdefault(c.metric.name, set()).add(test.method)
    for c, test in [(line.comparison, line.comparison.test) for line in found]:
        if test is not None:
            name = c.metric.name if len(methods[c.metric.name]) == 1 else f"{c.metric.name} of {c.task}"
            by.setdefault((test.method, test.p_method), []).append(visible(name))
    if not by:
        return ""
    parts = []
    for (method, p_method), names in by.items():
        words = dict.fromkeys((METHODS.get(method, method), TESTS.get(p_method, p_method)))
        parts.append(f"{' and '.join(words)} ({', '.join(dict.fromkeys(names))})")
    return f"{percent(level)} intervals of the paired difference, two-sided p: {'; '.join(parts)}"


def claim(found: Sequence[Line]) -> str:
    """What the intervals speak of."""
    if all(line.ci is None for line in found):
        return ""
    return (
        "what the intervals claim: how these two models differ over all samples of this kind, of which these are taken as a "
        "draw; on just these samples the difference is the one shown, but for the chance in sampled answers"
    )


def left_out(found: Iterable[Line]) -> list[str]:
    """A line for every task whose pairs are fewer than its units: how many, and why.

    What is left out of a group is told of its tasks, where these are compared, too.
    """
    found = list(found)
    tasks = {line.comparison.task for line in found}
    by: dict[tuple[str, str, str, LeftOut], list[str]] = {}
    for line in found:
        c = line.comparison
        told_by_task = c.detail.get("members") and tasks.issuperset(c.detail["members"])
        if line.judged and why(c.left_out) and not told_by_task:
            by.setdefault((c.task, c.filter, c.system, c.left_out), []).append(c.metric.name)
    metrics = Counter((task, filter_, system) for task, filter_, system, _ in by)
    told = []
    for (task, filter_, system, out), names in by.items():
        where = visible(task) + ("" if filter_ in ("none", "") else f" {visible(filter_)}")
        which = f" ({visible(', '.join(names))})" if metrics[task, filter_, system] > 1 else ""
        told.append(f"left out of {where}{which}: {', '.join(why(out))}")
    return told


def why(out: LeftOut) -> list[str]:
    """``3 only in the baseline``, ...: the counts of units that are in no pair."""
    told = [f"{count(n)} {_WHY[f.name]}" for f in fields(out) if f.name in _WHY and (n := getattr(out, f.name))]
    return told or ([f"{count(out.pairs)} without a value"] if out.pairs else [])


FLIP_HEADERS = ("Task", "Metric", "", "Base", "Cand", "Sample")


def flips(found: Sequence[Line], limit: int | None = 5) -> Table:
    """The samples whose score changed, worst first: at most ``limit`` a metric (``None``: all), whole tasks only.

    A group's are listed with the tasks they are of.
    """
    rows: list[tuple[str, ...]] = []
    for c, changed in _own_flips(found):
        for flip in changed if limit is None else changed[:limit]:
            change = (number(flip.baseline), "→ " + number(flip.system))
            mark = _flip_mark(flip.change, c.metric.higher_is_better)
            rows.append((visible(flip.task), visible(c.metric.name), mark, *change, visible(flip.id)))
    return Table(FLIP_HEADERS, rows, (3, 4))


def _own_flips(found: Sequence[Line]) -> list[tuple[Comparison, list[Flip]]]:
    whole = [line.comparison for line in found if line.judged]
    tasks = {(c.task, c.filter, c.metric.name) for c in whole}
    return [(c, [f for f in c.flips if f.task == c.task or (f.task, c.filter, c.metric.name) not in tasks]) for c in whole]


def _flip_mark(change: float, higher_is_better: bool | None) -> str:
    if higher_is_better is None or not change:
        return ""
    return BETTER if (change > 0) == higher_is_better else WORSE


def more_flips(found: Sequence[Line], limit: int | None) -> str:
    """How many flips are not in the list; empty where all are."""
    if limit is None:
        return ""
    hidden = sum(max(0, len(changed) - limit) for _, changed in _own_flips(found))
    return f"{counted(hidden, 'flip')} more (--flips all lists them)" if hidden else ""
