"""Charts as SVG, made here so that they show without JavaScript. Colours come from the style sheet by class."""

from __future__ import annotations

from markupsafe import Markup

from evalkit.report.numbers import interval, number
from evalkit.types import Summary

WIDTH, HEIGHT, _PAD = 150, 18, 4


def bounded(summary: Summary) -> bool:
    """Whether value, interval and what is known of the scale lie in 0..1: then they stand on one scale with the others."""
    points = [summary.value, *(summary.ci or ()), *(end for end in (summary.low, summary.high) if end is not None)]
    return summary.value is not None and all(p is not None and 0 <= p <= 1 for p in points)


def interval_bar(summary: Summary) -> Markup | None:
    """The value as a dot, its 95 % interval as a bar and the chance level as a tick, on a scale of 0 to 1."""
    if summary.value is None or not bounded(summary):
        return None
    middle = HEIGHT / 2
    low, high = summary.ci or (summary.value, summary.value)
    label = f"{number(summary.value)}, 95 % interval {interval(summary.ci)}"
    parts = [
        Markup('<line class="track" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(_PAD, middle, WIDTH - _PAD, middle),
        *(
            Markup('<line class="grid" x1="{0}" y1="{1}" x2="{0}" y2="{2}"/>').format(_x(t), 5, HEIGHT - 5)
            for t in (0, 0.5, 1)
        ),
    ]
    if summary.chance is not None and 0 <= summary.chance <= 1:
        label += f", chance {number(summary.chance)}"
        parts.append(
            Markup('<line class="chance" x1="{0}" y1="1" x2="{0}" y2="{1}"/>').format(_x(summary.chance), HEIGHT - 1)
        )
    parts += [
        Markup('<rect class="ci" x="{}" y="{}" width="{}" height="6" rx="3"/>').format(
            _x(low), middle - 3, max(1.0, round(_x(high) - _x(low), 1))
        ),
        Markup('<circle class="dot" cx="{}" cy="{}" r="3.5"/>').format(_x(summary.value), middle),
    ]
    return Markup('<svg class="bar" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, WIDTH, HEIGHT, label, Markup("").join(parts)
    )


def _x(value: float) -> float:
    return round(_PAD + value * (WIDTH - 2 * _PAD), 1)
