"""A study as its page shows it: everything decided and worded here, so that the template only lays it out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from evalkit.figures import count, counted, number
from evalkit.human.agreement import CriterionAgreement
from evalkit.human.correlations import one_against_the_rest
from evalkit.human.datasheet import datasheet
from evalkit.human.pairwise import split
from evalkit.human.study_report import StudyReport
from evalkit.report.axis import axis
from evalkit.report.forest import Forest, Group
from evalkit.stats.intervals import Interval
from evalkit.stats.reliability import Coefficient

_PAD, _WIDTH = 6, 300
#: p values below this are marked.
ALPHA = 0.05
#: Decimals of ratings and coefficients.
_DIGITS = 3


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table: its name, figures, a bar, and whether it stands out (``mark`` says why)."""

    label: str
    cells: list[str]
    bar: Markup | str = ""
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """A table; ``head`` is the scale above its bars. ``words``: its last column is text, ``plain``: all are."""

    title: str
    caption: str
    columns: list[str]
    lines: list[Line]
    head: Markup | str = ""
    words: bool = False
    folded: bool = False
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A chapter of the page."""

    anchor: str
    title: str
    intro: str
    panels: list[Panel]


@dataclass(frozen=True, slots=True)
class StudyView:
    """The whole page."""

    title: str
    name: str
    form: str
    run: str
    cards: list[tuple[str, str, str]]
    alerts: list[str]
    sections: list[Section]
    facts: list[tuple[str, str]]
    criteria: list[tuple[str, str, list[tuple[str, str]]]]
    open_questions: list[str]


def build(report: StudyReport) -> StudyView:
    """The page of a study's results."""
    sheet = datasheet(report.answers)
    found = [_pairs(report) if report.answers.pairwise else _systems(report), _agreement(report), _annotators(report)]
    if report.correlations:
        found.append(_correlations(report))
    study = report.answers.study
    return StudyView(
        title=f"{report.name}: ratings by people",
        name=report.name,
        form=study.form if study else "ratings",
        run=f"rubric {study.rubric.rubric}, version {study.rubric.version} ({study.rubric.hash})" if study else "",
        cards=_cards(report, sheet),
        alerts=[f"{note}." for note in report.notes],
        sections=[section for section in found if section.panels],
        facts=_facts(sheet),
        criteria=_criteria(sheet),
        open_questions=list(sheet["to_fill_in"]),
    )


def _cards(report: StudyReport, sheet: dict[str, Any]) -> list[tuple[str, str, str]]:
    checks = sum(row.checks for row in report.annotators)
    passed = sum(row.passed for row in report.annotators)
    asked, same = sum(row.repeats for row in report.annotators), sum(row.same for row in report.annotators)
    cards = [
        ("Ratings", count(sheet["ratings"]), f"{count(sheet['not_applicable'])} N/A"),
        ("Annotators", count(sheet["annotators"]), f"{sheet['annotators_per_output']} a rated output"),
        ("Items", count(sheet["items"]), f"{count(sheet['items_with_two_annotators'])} with two annotators or more"),
        ("Systems", count(len(sheet["systems"])), counted(sheet["outputs"], "rated output")),
    ]
    if checks:
        cards.append(("Attention checks", f"{passed} of {checks}", "passed"))
    if asked:
        cards.append(("Repeated ratings", f"{same / asked:.0%}", f"of {count(asked)} the same again"))
    return cards


def _systems(report: StudyReport) -> Section:
    kind = "z-scores of each annotator" if report.z else "ratings"
    intro = (
        f"Means of {kind}, items counting the same, with 95 % intervals. Ratings of one item, and ratings by one annotator, "
        "are not independent: intervals take account of both (variance clustered by item plus by annotator, Student t). "
        "SD is that of single ratings."
    )
    panels = []
    for name in report.answers.criteria:
        means = [row for row in report.systems if row.criterion == name]
        groups = [Group(row.system, row.mean, row.ci, row.n) for row in means]
        ends = [] if report.z or report.answers.study is None else list(report.answers.points[name])
        bars = _forest(groups, ends)
        lines = [
            Line(
                row.system, [_value(row.mean), _ci(row.ci), _value(row.sd), count(row.n), count(row.items)], bars.bar(group)
            )
            for row, group in zip(means, groups, strict=True)
        ]
        if lines:
            panels.append(
                Panel(
                    _shown(report, name), "", ["System", "Mean", "95 % interval", "SD", "Ratings", "Items"], lines, bars.head
                )
            )
        panels += _differences(report, name)
    return Section("systems", "Systems", intro, panels)


def _differences(report: StudyReport, name: str) -> list[Panel]:
    rows = [row for row in report.differences if row.criterion == name]
    if not rows:
        return []
    groups = [Group("", row.difference, row.ci, row.n, row.p_holm) for row in rows]
    bars = _forest(groups, [], 0.0)
    lines = [
        Line(
            f"{row.system} − {row.baseline}",
            [_signed(row.difference), _ci(row.ci), _p(row.p_holm), count(row.items), row.paired],
            bars.bar(group),
            "beyond chance" if group.differs else "",
        )
        for row, group in zip(rows, groups, strict=True)
    ]
    beyond = sum(group.differs for group in groups)
    caption = f"{beyond} of {counted(len(rows), 'difference')} beyond chance (p corrected by Holm below {ALPHA})."
    columns = ["Systems", "Difference", "95 % interval", "p (Holm)", "Items", "Paired within"]
    return [Panel(f"{_shown(report, name)}: paired differences", caption, columns, lines, bars.head, True, len(rows) > 6)]


def _pairs(report: StudyReport) -> Section:
    intro = (
        "How often a system is preferred, ties counting half, with 95 % intervals that take account of ratings of one item "
        "and by one annotator not being independent. Bradley-Terry puts all systems on one scale: 1000 is the average, "
        "400 points more are odds of ten to one."
    )
    panels = []
    for name in report.answers.criteria:
        rates = [row for row in report.win_rates if row.criterion == name]
        groups = [Group(row.system, row.rate, row.ci, row.items, row.p_holm) for row in rates]
        bars = _forest(groups, [0.0, 1.0], 0.5)
        lines = [
            Line(
                f"{row.system} against {row.against or 'all others'}",
                [_value(row.rate), _ci(row.ci), str(row.wins), str(row.ties), str(row.losses), _p(row.p_holm)],
                bars.bar(group),
                "beyond chance" if group.differs else "",
            )
            for row, group in zip(rates, groups, strict=True)
        ]
        columns = ["System", "Win rate", "95 % interval", "Won", "Tied", "Lost", "p (Holm)"]
        if lines:
            panels.append(Panel(_shown(report, name), _side(report, name), columns, lines, bars.head))
        panels += _strengths(report, name)
    return Section("systems", "Systems", intro, panels)


def _strengths(report: StudyReport, name: str) -> list[Panel]:
    rows = [row for row in report.strengths if row.criterion == name]
    if not rows:
        return []
    groups = [Group(row.system, row.points, row.ci, None) for row in rows]
    bars = _forest(groups, [], 1000.0)
    lines = [
        Line(
            row.system,
            ["–" if row.points is None else f"{row.points:.0f}", _ci(row.ci, 0), row.reason or ""],
            bars.bar(group),
        )
        for row, group in zip(rows, groups, strict=True)
    ]
    title = f"{_shown(report, name)}: Bradley-Terry"
    return [Panel(title, "", ["System", "Points", "95 % interval", "Notes"], lines, bars.head, True)]


def _side(report: StudyReport, name: str) -> str:
    for row in report.sides:
        if row.criterion == name:
            ci = f" {_ci(row.ci)}" if row.ci else ""
            turned = f"; {row.flipped} of {row.repeats} answers changed when the sides did" if row.repeats else ""
            return f"Side A was preferred in {_value(row.rate)}{ci} of {count(row.n)} answers{turned}."
    return ""


def _agreement(report: StudyReport) -> Section:
    intro = (
        "Krippendorff's alpha (α): 1 is full agreement, 0 what chance would give. Where nearly all ratings are one value "
        "alpha is low although annotators seldom differ, and Gwet's AC2 is high: read both beside the share of the "
        "commonest one. Where all ratings are the same nothing is defined. Intervals draw items."
    )
    rows = report.agreement
    groups = [Group(row.criterion, row.alpha_ordinal.value, row.alpha_ordinal.ci, row.outputs) for row in rows]
    bars = _forest(groups, [0.0, 1.0], 0.0)
    lines = [
        Line(_shown(report, row.criterion), _coefficients(row), bars.bar(group) if group.value is not None else "")
        for row, group in zip(rows, groups, strict=True)
    ]
    columns = [
        "Criterion", "α ordinal", "95 % interval", "α interval", "α nominal", "AC2", "Kappa", "Same value",
        "Commonest", "Outputs",
    ]  # fmt: skip
    caption = (
        "AC2 and kappa (the mean over pairs of annotators) are quadratic; the bars are ordinal alpha. Outputs have two "
        "annotators or more."
    )
    panels = [Panel("Coefficients", caption, columns, lines, bars.head, True)] if lines else []
    return Section("agreement", "Agreement", intro, panels + _disputed(report))


def _coefficients(row: CriterionAgreement) -> list[str]:
    def told(found: Coefficient) -> str:
        return "undefined" if found.value is None else _value(found.value)

    common = "–" if row.share is None else f"{row.commonest:g}: {row.share:.0%}"
    return [
        told(row.alpha_ordinal), _ci(row.alpha_ordinal.ci), told(row.alpha_interval), told(row.alpha_nominal), told(row.ac2),
        _value(row.kappa), _value(row.percent.value), common, count(row.outputs),
    ]  # fmt: skip


def _disputed(report: StudyReport) -> list[Panel]:
    lines = [
        Line(
            row.item,
            [
                row.system,
                _shown(report, row.criterion),
                ", ".join(f"{who}: {_said(report, row.system, v)}" for who, v in row.ratings.items()),
            ],
        )
        for row in report.disputed
    ]
    caption = "Outputs whose ratings lie farthest apart: worth a talk with the annotators, and often a gap in the rubric."
    columns = ["Item", "System", "Criterion", "Ratings"]
    return [Panel("Most disputed", caption, columns, lines, words=True, plain=True)] if lines else []


def _said(report: StudyReport, system: str, value: float) -> str:
    """A rating; in a pair the system that was preferred."""
    if report.answers.study is None or not report.answers.pairwise:
        return f"{value:g}"
    one, other = split(system, report.answers.study.systems)
    return {1.0: one, 0.0: other}.get(value, "tie")


def _annotators(report: StudyReport) -> Section:
    intro = "Nobody is left out of the results for what stands here; that is yours to decide, and to tell."
    lines = [
        Line(
            row.annotator,
            [
                count(row.rows),
                f"{row.passed} of {row.checks}" if row.checks else "–",
                f"{row.same} of {row.repeats}" if row.repeats else "–",
                "–" if row.drift is None else f"{row.drift:.0%}",
                "–" if row.seconds is None else f"{row.seconds:.0f} s",
            ],
            mark="failed checks" if row.passed < row.checks else "",
        )
        for row in report.annotators
    ]
    columns = ["Annotator", "Rows", "Checks passed", "Same when repeated", "Mean change", "Median a row"]
    caption = "The mean change of repeated ratings is in shares of the scale."
    panels = [Panel("Checks and repeats", caption, columns, lines)]
    panels += [_leniency(report, name) for name in report.answers.criteria]
    return Section("annotators", "Annotators", intro, panels)


def _leniency(report: StudyReport, name: str) -> Panel:
    """How an annotator's ratings of one criterion stand to those of the others."""
    rows = [row for row in report.leniency if row.criterion == name]
    groups = [Group(row.annotator, row.offset, row.ci, row.outputs) for row in rows]
    bars = _forest(groups, [], 0.0)
    lines = []
    for row, group in zip(rows, groups, strict=True):
        offset = [] if report.answers.pairwise else ["–" if row.offset is None else _signed(row.offset), _ci(row.ci)]
        straight = "–" if row.straight is None else f"{row.straight:.0%}"
        cells = [*offset, _value(row.spearman), _value(row.pearson), count(row.outputs), straight]
        bar = bars.bar(group) if group.value is not None else ""
        lines.append(Line(row.annotator, cells, bar, "a straight line" if row.straight_line else ""))
    columns = ["Spearman", "Pearson", "Outputs", "Commonest value"]
    if report.answers.pairwise:
        caption = "How well an annotator's answers go together with the others' on the same pairs."
        return Panel(_shown(report, name), caption, ["Annotator", *columns], lines)
    caption = "How much higher than the others on the same outputs, and how well the two go together."
    columns = ["Annotator", "Above the others", "95 % interval", *columns]
    return Panel(f"{_shown(report, name)}: leniency", caption, columns, lines, bars.head)


def _correlations(report: StudyReport) -> Section:
    intro = (
        "How metrics and judges go together with the mean rating: over all outputs (segment), within each item (summary), "
        "and over systems (system), with 95 % bootstrap intervals. Metrics where lower is better are negated."
    )
    panels = []
    for name in report.answers.criteria:
        rows = [row for row in report.correlations if row.criterion == name]
        spearman = [row.level.coefficients["spearman"] for row in rows]
        groups = [Group(row.label, one.value, one.ci, one.used) for row, one in zip(rows, spearman, strict=True)]
        bars = _forest(groups, [-1.0, 1.0], 0.0)
        lines = [
            Line(
                f"{row.label}{' (negated)' if row.negated else ''}",
                [row.level.name, *(_value(row.level.coefficients[c].value) for c in ("pearson", "spearman")), _ci(one.ci),
                 _value(row.level.coefficients["kendall"].value), count(row.level.n), one.reason or ""],
                bars.bar(group) if group.value is not None else "",
            )
            for row, group, one in zip(rows, groups, spearman, strict=True)
        ]  # fmt: skip
        ceiling = one_against_the_rest(report.leniency, name)
        caption = "" if ceiling is None else f"One annotator against the mean of the others: Spearman {_value(ceiling)}."
        columns = ["Metric", "Level", "Pearson", "Spearman", "95 % interval", "Kendall", "Outputs", "Notes"]
        panels.append(Panel(_shown(report, name), caption, columns, lines, bars.head, True))
    return Section("metrics", "Metrics and judges beside people", intro, panels)


def _facts(sheet: dict[str, Any]) -> list[tuple[str, str]]:
    names = {
        "study": "Study", "created": "Made", "form": "Form", "seed": "Seed", "evalkit": "evalkit", "blind": "Blind",
        "annotators_asked": "Annotators asked", "outputs": "Rated outputs", "annotators_per_output": "Annotators an output",
        "items_with_two_annotators": "Items with two annotators", "repeats": "Hidden repeats",
        "attention_checks": "Attention checks", "median_seconds_a_row": "Median seconds a row", "task": "What was asked",
    }  # fmt: skip
    return [(title, str(sheet[name])) for name, title in names.items() if sheet.get(name) is not None]


def _criteria(sheet: dict[str, Any]) -> list[tuple[str, str, list[tuple[str, str]]]]:
    found = []
    for criterion in sheet.get("criteria") or ():
        levels = criterion["levels"] or {"Scale": ", ".join(criterion["scale"])}
        found.append((criterion["name"], criterion["definition"], list(levels.items())))
    return found


def _forest(groups: Sequence[Group], ends: Iterable[float], line: float | None = None) -> Forest:
    reach = [v for group in groups for v in (group.value, *(group.ci or ())) if v is not None]
    scale = axis([*reach, *ends, *([] if line is None else [line])], _PAD, _WIDTH - _PAD)
    return Forest("", list(groups), len(groups), line, "", "", scale)


def _shown(report: StudyReport, criterion: str) -> str:
    study = report.answers.study
    return study.rubric.criterion(criterion).shown if study else criterion


def _value(value: float | None) -> str:
    return number(value, _DIGITS)


def _ci(ci: Interval | None, digits: int = _DIGITS) -> str:
    return "–" if ci is None else f"[{number(ci[0], digits)}, {number(ci[1], digits)}]" if digits else _whole(ci)


def _whole(ci: Interval) -> str:
    return f"[{ci[0]:.0f}, {ci[1]:.0f}]"


def _signed(value: float) -> str:
    return f"{value:+.{_DIGITS}f}".replace("-", "−")


def _p(p: float | None) -> str:
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
