"""A scatter plot with its fitted trend as SVG: labels on hover and focus, the values in a table beside it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from evalkit.report.axis import Axis, axis
from evalkit.report.numbers import count, counted, finite, interval, number, p_value, short
from evalkit.stats.exact import fisher_interval, pearson_p
from evalkit.types import Json, Summary

WIDTH, HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 14, 48
#: Points that are drawn and listed, of more a fixed selection; the trend is that of all.
MAX_POINTS = 400
#: Points whose label is written into the plot: those farthest from the trend.
_NAMED = 8


@dataclass(frozen=True, slots=True)
class Point:
    """``n`` is what the point is made of, where that is known."""

    label: str
    x: float
    y: float
    n: int | None = None


@dataclass(frozen=True, slots=True)
class Scatter:
    """A plot as the report shows it: ``trend`` is the sentence on r, ``points`` those drawn of ``total``."""

    x_label: str
    y_label: str
    points: list[Point]
    total: int
    trend: str
    svg: Markup


def scatter(detail: Mapping[str, Json], summaries: Iterable[Summary] = ()) -> Scatter | None:
    """The plot of a detail ``{"points": [{"label", "x", "y", "n"}], "x_label", "y_label"}``; ``None`` without points.

    The interval of r is that of the metric among ``summaries`` whose value it is, so that a page has one r; else Fisher's.
    """
    entries = [entry for entry in detail.get("points") or () if isinstance(entry, Mapping)]
    points = [p for p in map(_point, entries) if p is not None]
    if not points:
        return None
    x_label, y_label = str(detail.get("x_label") or "x"), str(detail.get("y_label") or "y")
    line = _line(points)
    slope, intercept = line or (0.0, statistics.fmean(p.y for p in points))
    points.sort(key=lambda p: -abs(p.y - intercept - slope * p.x))  # the farthest first: they are named, and kept
    rest = sorted(points[_NAMED:], key=lambda p: (p.x, p.y, p.label))
    apart = max(1, math.ceil(len(rest) / (MAX_POINTS - _NAMED)))
    shown = [*points[:_NAMED], *rest[::apart]]
    words = _trend(points, line, list(summaries))
    svg = _svg(shown, line, x_label, y_label, f"{y_label} by {x_label}, {counted(len(points), 'point')}. {words}")
    return Scatter(x_label, y_label, sorted(shown, key=lambda p: p.label), len(points), words, svg)


def _point(entry: Mapping[str, Json]) -> Point | None:
    x, y, n = (finite(entry.get(key)) for key in ("x", "y", "n"))
    if x is None or y is None:
        return None
    return Point(str(entry.get("label") or ""), x, y, None if n is None else int(n))


def _line(points: Sequence[Point]) -> tuple[float, float] | None:
    """Slope and intercept of least squares; ``None`` where a side does not vary."""
    xs, ys = [p.x for p in points], [p.y for p in points]
    if len(set(xs)) < 2 or len(set(ys)) < 2:
        return None
    slope, intercept = statistics.linear_regression(xs, ys)
    return slope, intercept


def _trend(points: Sequence[Point], line: tuple[float, float] | None, summaries: Sequence[Summary]) -> str:
    if line is None:
        return "No trend can be fitted: one of the two is the same for all points."
    r, n = statistics.correlation([p.x for p in points], [p.y for p in points]), len(points)
    own = next((s for s in summaries if s.value is not None and abs(s.value - r) < 1e-9 and s.ci), None)
    ci = own.ci if own else fisher_interval(r, n)
    p = pearson_p(r, n)
    said = f"r = {number(r, 3)}" + (f" (metric {own.metric})" if own else "")
    said += f", 95 % interval {interval(ci)}" if ci else ""
    said += f", {p_value(p)}" if p is not None else ""
    said += f"; n = {count(n)}."
    if ci is None:
        return said
    if ci[0] <= 0 <= ci[1]:
        return f"{said} The interval includes 0: no trend is shown."
    way = "rise" if r > 0 else "fall"
    return f"{said} The interval excludes 0: the dots {way} from left to right by more than chance explains."


def _svg(points: Sequence[Point], line: tuple[float, float] | None, x_label: str, y_label: str, words: str) -> Markup:
    across = axis((p.x for p in points), _LEFT, WIDTH - _RIGHT, count=6)
    up = axis([*(p.y for p in points), 0.0], HEIGHT - _BOTTOM, _TOP)
    parts = [*_grid(across, up, x_label, y_label)]
    if line is not None:
        parts.append(_trend_line(across, up, *line))
    # from left to right, as the arrow keys step through them; one of them at a time is reached by the tab key
    ordered = sorted(points, key=lambda p: (p.x, p.y, p.label))
    for i, p in enumerate(ordered):
        said = f"{p.label}: {p.x:.4g}, {p.y:.4g}" + ("" if p.n is None else f", n = {count(p.n)}")
        parts.append(
            Markup('<circle class="pt" cx="{}" cy="{}" r="4.5" tabindex="{}" role="img" aria-label="{}">').format(
                across.at(p.x), up.at(p.y), -1 if i else 0, said
            )
            + Markup("<title>{}</title></circle>").format(said)
        )
    parts += _names(points, across, up)
    parts.append(Markup('<text class="callout" aria-hidden="true"></text>'))
    return Markup('<svg class="plot" viewBox="0 0 {} {}" role="group" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, words, Markup("").join(parts)
    )


def _grid(across: Axis, up: Axis, x_label: str, y_label: str) -> Iterable[Markup]:
    for tick in across.ticks:
        yield _rule(across.at(tick), _TOP, across.at(tick), HEIGHT - _BOTTOM, "grid")
        yield _text(across.at(tick), HEIGHT - _BOTTOM + 16, short(tick), "middle")
    for tick in up.ticks:
        yield _rule(_LEFT, up.at(tick), WIDTH - _RIGHT, up.at(tick), "zero" if tick == 0 else "grid")
        yield _text(_LEFT - 8, up.at(tick) + 4, short(tick), "end")
    yield _text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 8, _clipped(x_label), "middle", "axis")
    middle = (_TOP + HEIGHT - _BOTTOM) / 2
    turned = '<text class="axis" text-anchor="middle" transform="translate(14 {}) rotate(-90)" aria-hidden="true">{}</text>'
    yield Markup(turned).format(middle, _clipped(y_label, 50))


def _trend_line(across: Axis, up: Axis, slope: float, intercept: float) -> Markup:
    """The line within the plot: cut where it would leave it at the top or below."""
    ends = [across.low, across.high]
    if slope:
        reached = ((y - intercept) / slope for y in (up.low, up.high))
        ends = sorted(min(max(x, across.low), across.high) for x in reached)
    low, high = ends
    return _rule(across.at(low), up.at(intercept + slope * low), across.at(high), up.at(intercept + slope * high), "trend")


def _names(points: Sequence[Point], across: Axis, up: Axis) -> list[Markup]:
    """Labels of the first points that have room for them."""
    taken: list[tuple[float, float, float, float]] = []
    names: list[Markup] = []
    for p in points[: 5 * _NAMED]:
        label = _clipped(p.label, 24)
        x, y, wide = across.at(p.x), up.at(p.y), 6.4 * len(label) + 4
        right = x + 8 + wide < WIDTH - _RIGHT
        box = (x + 6 if right else x - 6 - wide, y - 17, x + 6 + wide if right else x - 6, y - 2)
        crowded = any(b[0] < box[2] and box[0] < b[2] and b[1] < box[3] and box[1] < b[3] for b in taken)
        if label and not crowded and len(names) < _NAMED:
            taken.append(box)
            names.append(_text(x + 6 if right else x - 6, y - 5, label, "start" if right else "end", "name"))
    return names


def _clipped(text: str, limit: int = 90) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _rule(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(kind, x1, y1, x2, y2)


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}" aria-hidden="true">{}</text>').format(
        kind, round(x, 1), round(y, 1), anchor, text
    )
