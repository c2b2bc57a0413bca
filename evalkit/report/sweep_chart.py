"""A panel of a sweep as SVG: value and interval of every checkpoint, the chance level, and the two marks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from evalkit.figures import count, interval, number
from evalkit.report.axis import Axis, axis
from evalkit.report.numbers import short
from evalkit.report.sweep_axis import Name, Scale, amount, positions, scale
from evalkit.report.sweep_panels import Panel, Point
from evalkit.runner.series import Member

WIDTH, HEIGHT = 560, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 26, 46
#: Half the width of the stroke at the end of an interval.
_CAP = 3
#: Characters of a checkpoint's name that the plot itself has room for.
_NAME = 24

#: A checkpoint of the panel, where it stands, and what its summary says: value, and the ends of its interval.
Drawn = tuple[Point, float, float, tuple[float, float] | None]


def chart(panel: Panel, name: Name, members: Sequence[Member]) -> Markup:
    """The panel over one axis, which is scaled for all ``members`` of the series, so that panels stand under each other."""
    across = scale(name, members, _LEFT, WIDTH - _RIGHT)
    where = dict(zip((member.name for member in members), positions(name, members), strict=True))
    drawn = [
        (point, across.at(x), s.value, s.ci)
        for point in panel.points
        if (s := point.summary) is not None and s.value is not None and (x := where[point.member.name]) is not None
    ]
    chance = panel.summary.chance
    ends = [end for _, _, value, ci in drawn for end in (value, *(ci or ()))]
    up = axis([*ends, *([] if chance is None else [chance])], HEIGHT - _BOTTOM, _TOP)
    parts = [
        *_grid(across, up),
        *_chance(chance, drawn, up),
        *_marks(panel, drawn),
        *_line(drawn, up),
        *_dots(drawn, up, across),
    ]
    parts.append(Markup('<text class="callout" aria-hidden="true"></text>'))
    words = f"{panel.summary.metric} of {panel.name} by {across.title}, {len(drawn)} checkpoints; its table has all figures"
    return Markup('<svg class="plot" viewBox="0 0 {} {}" role="group" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, words, Markup("").join(parts)
    )


def _grid(across: Scale, up: Axis) -> Iterator[Markup]:
    for x, text in across.ticks():
        yield _rule(x, _TOP, x, HEIGHT - _BOTTOM, "grid")
        yield _text(x, HEIGHT - _BOTTOM + 16, text, "middle", "tick")
    for tick in up.ticks:
        yield _rule(_LEFT, up.at(tick), WIDTH - _RIGHT, up.at(tick), "grid")
        yield _text(_LEFT - 8, up.at(tick) + 4, short(tick), "end", "tick")
    yield _text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 8, across.title, "middle", "axis")


def _chance(chance: float | None, drawn: Sequence[Drawn], up: Axis) -> Iterator[Markup]:
    """The dashed line, named at the side where the curve is farther from it."""
    if chance is None or not drawn:
        return
    y = up.at(chance)
    first, last = (pick(drawn, key=lambda dot: dot[1])[2] for pick in (min, max))
    left = abs(first - chance) > abs(last - chance)
    yield _rule(_LEFT, y, WIDTH - _RIGHT, y, "chance")
    yield _text(
        _LEFT + 4 if left else WIDTH - _RIGHT - 2, y - 5, f"chance {number(chance)}", "start" if left else "end", "tick"
    )


def _marks(panel: Panel, drawn: Sequence[Drawn]) -> Iterator[Markup]:
    """Upright lines with their sign on top; what both say stands in words above the chart."""
    marks = ((panel.emerged, "emerges", "▲"), (panel.regressed, "regresses", "▼"))
    for point, kind, sign in marks:
        for at in (x for own, x, _, _ in drawn if own is point):
            yield _rule(at, _TOP, at, HEIGHT - _BOTTOM, kind)
            yield _text(at, _TOP - 8, sign, "middle", kind)


def _line(drawn: Sequence[Drawn], up: Axis) -> Iterator[Markup]:
    """From checkpoint to checkpoint, where no two stand at the same place."""
    places = sorted((x, up.at(value)) for _, x, value, _ in drawn)
    if len({x for x, _ in places}) == len(places) > 1:
        yield Markup('<polyline class="way" points="{}"/>').format(" ".join(f"{x},{y}" for x, y in places))


def _dots(drawn: Sequence[Drawn], up: Axis, across: Scale) -> Iterator[Markup]:
    # from left to right, as the arrow keys step through them; one of them at a time is reached by the tab key
    ordered = sorted(drawn, key=lambda dot: dot[1])
    for _, x, _, ci in ordered:
        if ci is not None:
            low, high = up.at(ci[0]), up.at(ci[1])
            yield Markup('<path class="whisker" d="M{0} {1}V{2}M{3} {1}h{4}M{3} {2}h{4}"/>').format(
                x, low, high, round(x - _CAP, 1), 2 * _CAP
            )
    for at, (point, x, value, _) in enumerate(ordered):
        said = spoken(point, across.name)
        kind = "pt worse" if point.regressed else "pt"
        dot = Markup('<circle class="{}" cx="{}" cy="{}" r="4.5" tabindex="{}" role="img" aria-label="{}">')
        yield dot.format(kind, x, up.at(value), -1 if at else 0, said) + Markup("<title>{}</title></circle>").format(said)


def spoken(point: Point, axis_name: Name) -> str:
    """A checkpoint in one line, which has room in the plot."""
    s, member = point.summary, point.member
    found = {"parameters": member.parameters, "compute": None if member.compute is None else member.compute[0]}
    beside = found.get(axis_name)
    name = member.name if len(member.name) <= _NAME else f"…{member.name[1 - _NAME :]}"
    where = "" if beside is None else f" ({amount(float(beside))}{' FLOP' if axis_name == 'compute' else ''})"
    if s is None:
        return f"{name}{where}: no value"
    ci = "" if s.ci is None else f" {interval(s.ci)}"
    return f"{name}{where}: {number(s.value)}{ci}, n = {count(s.n)}" + (", regressed" if point.regressed else "")


def _rule(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(kind, x1, y1, x2, y2)


def _text(x: float, y: float, text: str, anchor: str, kind: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}" aria-hidden="true">{}</text>').format(
        kind, round(x, 1), round(y, 1), anchor, text
    )
