"""A sweep as its page shows it: everything decided and worded here, so that the template only lays it out."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from evalkit.comparison.base import Flip
from evalkit.comparison.numbers import format_difference, format_interval, format_p
from evalkit.figures import count, counted, interval, number
from evalkit.report.numbers import direction, p_value, scale
from evalkit.report.sweep_axis import TITLES, Name, amount, axes
from evalkit.report.sweep_chart import chart
from evalkit.report.sweep_marks import ALPHA
from evalkit.report.sweep_panels import Panel, Point
from evalkit.runner.series import Member, Series

#: Samples that are listed of those that the first regression lost.
MAX_FLIPS = 8
#: Panels that are open; of more, those of tasks inside groups are folded.
MAX_OPEN = 12
SOURCES = {"total_flos": "as the trainer counted", "6ND": "6 × parameters × tokens"}


@dataclass(frozen=True, slots=True)
class Row:
    """A checkpoint of a panel in words and figures; ``href`` leads to its run's report."""

    name: str
    href: str
    step: str
    parameters: str
    compute: str
    value: str
    ci: str
    n: str
    p_chance: str
    above: bool
    against: str
    difference: str
    difference_ci: str
    p_worse: str
    flips: str
    regressed: bool
    note: str


@dataclass(frozen=True, slots=True)
class PanelView:
    """One metric of one task."""

    anchor: str
    name: str
    metric: str
    arrow: str
    scale: str
    group: bool
    found: list[tuple[str, str]]
    """Sentences on the marks, each with its kind: ``emerges``, ``regresses`` or nothing."""
    charts: list[tuple[Name, Markup]]
    rows: list[Row]
    tested: bool
    flips: list[tuple[str, str, str]]
    """Of the first regression: sample, change, and the link to it in the run's report."""
    compare: str


@dataclass(frozen=True, slots=True)
class SweepView:
    """The whole page."""

    title: str
    name: str
    pattern: str
    status: str
    cards: list[tuple[str, str, str]]
    alerts: list[str]
    axes: list[tuple[Name, str]]
    panels: list[PanelView]
    folded: list[PanelView]
    members: list[dict[str, str]]
    rules: list[tuple[str, str]]
    command: str


def build(series: Series, panels: Sequence[Panel], margin: float) -> SweepView:
    """The view model of a series."""
    drawn = [member for member in series.members if member.finished]
    names = axes(drawn)
    views = [_panel(at, panel, drawn, names) for at, panel in enumerate(panels)]
    groups = any(view.group for view in views) and len(views) > MAX_OPEN
    return SweepView(
        title=f"{series.name}: sweep over {counted(len(series.members), 'checkpoint')}",
        name=series.path.name,
        pattern=str(series.manifest["pattern"]),
        status=series.status,
        cards=_cards(series, panels),
        alerts=_alerts(series),
        axes=[(name, TITLES[name][:1].upper() + TITLES[name][1:]) for name in names],
        panels=[view for view in views if view.group or not groups],
        folded=[view for view in views if groups and not view.group],
        members=[_member(member) for member in series.members],
        rules=_rules(margin),
        command=shlex.join(series.manifest.get("command") or ()),
    )


def _cards(series: Series, panels: Sequence[Panel]) -> list[tuple[str, str, str]]:
    done = sum(member.finished for member in series.members)
    tested = [panel for panel in panels if panel.emergence is not None]
    left = sum(panel.emergence is not None and panel.emergence.first is not None for panel in panels)
    worse = sum(panel.regressed is not None for panel in panels)
    cards = [("Checkpoints", f"{count(done)} of {count(len(series.members))}", "evaluated")]
    cards.append(("Curves", count(len(panels)), "headline metrics of tasks and groups"))
    if tested:
        cards.append(("▲ Above chance", f"{count(left)} of {count(len(tested))}", "of curves with a chance level"))
    cards.append(("▼ Regressed", f"{count(worse)} of {count(len(panels))}", "curves with a checkpoint that is worse"))
    return cards


def _alerts(series: Series) -> list[str]:
    found = [f"{m.name} could not be loaded: {m.error}" for m in series.members if m.status == "failed"]
    for status in ("incomplete", "interrupted", "waiting"):
        names = [m.name for m in series.members if m.status == status]
        if names:
            shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
            found.append(f"{status}, and neither drawn nor tested: {shown}; the same command goes on with them")
    return found


def _rules(margin: float) -> list[tuple[str, str]]:
    level = f"{ALPHA:.0%}".replace("%", " %")
    share = f"{100 * margin:g}"
    return [
        (
            "▲ Leaves chance level for good",
            f"Every checkpoint is tested against the chance level (one-sided, {level}; p corrected for the number of "
            "checkpoints by Holm). The mark is the first checkpoint from which on all of them are above it.",
        ),
        (
            "▼ First regression",
            "Every checkpoint is compared, on the same samples, with the best one before it. The mark is the first one that "
            f"is significantly worse (one-sided, {level}) and by more than {share} pp (of other scales: "
            f"{share} % of the metric's range, or of the better value where there is no range). p is multiplied by the "
            "number of checkpoints that the best one was chosen from, for the best is also the luckiest, and corrected for "
            "the number of checkpoints by Holm. No mark does not show that nothing was lost: few samples show only large "
            "drops.",
        ),
        (
            "Points and intervals",
            "A point is the checkpoint's value on all samples, its whisker the 95 % interval of that value alone. The "
            "checkpoints answer the same samples, so two of them can differ significantly though their whiskers overlap.",
        ),
    ]


def _panel(at: int, panel: Panel, members: Sequence[Member], names: Sequence[Name]) -> PanelView:
    s = panel.summary
    filter_ = "" if s.filter in ("none", "") else f" ({s.filter})"
    flips, command = _lost(panel)
    return PanelView(
        anchor=f"curve-{at}",
        name=panel.name,
        metric=f"{s.metric}{filter_}",
        arrow=direction(s),
        scale=scale(s),
        group=panel.group,
        found=[sentence for sentence in (_emergence(panel), _regression(panel)) if sentence],
        charts=[(name, chart(panel, name, members)) for name in names],
        rows=[_row(panel, point) for point in panel.points],
        tested=panel.emergence is not None,
        flips=flips,
        compare=command,
    )


def _emergence(panel: Panel) -> tuple[str, str] | None:
    found, chance = panel.emergence, panel.summary.chance
    if found is None:
        return None
    level = f"chance level ({number(chance)})"
    if found.first is None:
        above = [point.member.name for point in panel.points if point.above]
        if not above:
            return "", f"No checkpoint is shown to be above {level}."
        return "", f"Not above {level} for good: {', '.join(above[:4])}{' and others' if len(above) > 4 else ''} alone."
    first = panel.points[found.first]
    if found.throughout:
        return "", f"Above {level} at every checkpoint."
    return "emerges", f"▲ Leaves {level} for good at {first.member.name} ({p_value(first.p_chance)})."


def _regression(panel: Panel) -> tuple[str, str] | None:
    if panel.summary.higher_is_better is None:
        return "", "Neither way is better, so no regression is looked for."
    point, others = panel.regressed, len(panel.regressions.regressed) - 1
    if point is None or point.comparison is None or point.comparison.test is None or point.against is None:
        if all(p is None for p in panel.regressions.adjusted):
            return None
        return "", "No checkpoint is shown to be worse than the best before it."
    test = point.comparison.test
    drop = f"{format_difference(test.value, panel.share)}, 95 % interval {format_interval(test.interval(), panel.share)}"
    more = f" {counted(others, 'later checkpoint')} {'is' if others == 1 else 'are'} worse, too." if others else ""
    where = f"▼ First regression at {point.member.name}: {drop} against {point.against.name}"
    return "regresses", f"{where} ({p_value(point.p_worse)}).{more}"


def _row(panel: Panel, point: Point) -> Row:
    s, pair, member = point.summary, point.comparison, point.member
    test = None if pair is None else pair.test
    flips = "" if pair is None else f"+{count(pair.gained)} −{count(pair.lost)}"
    return Row(
        name=member.name,
        href=f"../{member.run}/report.html",
        step="" if member.step is None else count(member.step),
        parameters="" if member.parameters is None else amount(member.parameters),
        compute="" if member.compute is None else amount(member.compute[0]),
        value=number(None if s is None else s.value),
        ci=interval(None if s is None else s.ci),
        n="" if s is None else count(s.n),
        p_chance="" if point.p_chance is None else format_p(point.p_chance),
        above=bool(point.above),
        against="" if point.against is None else point.against.name,
        difference="" if test is None else format_difference(test.value, panel.share),
        difference_ci="" if test is None else format_interval(test.interval(), panel.share),
        p_worse="" if point.p_worse is None else format_p(point.p_worse),
        flips=flips,
        regressed=point.regressed,
        note=point.note or "",
    )


def _lost(panel: Panel) -> tuple[list[tuple[str, str, str]], str]:
    """The samples that the first regression got worse on, and the command that shows all of the comparison."""
    point = panel.regressed
    if point is None or point.comparison is None or point.against is None:
        return [], ""
    higher = panel.summary.higher_is_better
    lost = [flip for flip in point.comparison.flips if (flip.change < 0 if higher else flip.change > 0)]
    command = shlex.join(["evalkit", "compare", str(point.against.run), str(point.member.run)])
    return [_flip(flip, point.member) for flip in lost[:MAX_FLIPS]], command


def _flip(flip: Flip, member: Member) -> tuple[str, str, str]:
    hash_, anchor = ("", "") if flip.report is None else flip.report.partition("#")[1:]
    link = f"../{member.run}/report.html{hash_}{anchor}" if anchor else ""
    return flip.id, f"{number(flip.baseline)} → {number(flip.system)}", link


def _member(member: Member) -> dict[str, str]:
    found = member.compute
    return {
        "name": member.name,
        "model": member.model,
        "step": "" if member.step is None else count(member.step),
        "parameters": "" if member.parameters is None else count(member.parameters),
        "tokens": "" if member.tokens is None else amount(member.tokens),
        "compute": "" if found is None else amount(found[0]),
        "source": "" if found is None else SOURCES[found[1]],
        "status": member.status,
        "run": member.run or "",
        "error": member.error or "",
    }
