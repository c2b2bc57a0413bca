"""Numbers and notes as people read them; shared by the table of the command line and the HTML report."""

from __future__ import annotations

from evalkit.figures import arrow, count, counted, interval, number
from evalkit.types import Json, Summary

__all__ = [
    "arrow",
    "count",
    "counted",
    "direction",
    "duration",
    "finite",
    "interval",
    "number",
    "p_value",
    "scale",
    "short",
    "warnings",
]

#: Larger numbers are no measurements, and their squares overflow.
DRAWN = 1e100
#: What the notes of a Summary say in words. A note that is not here is shown as it is.
NOTES = {
    "at-chance": "cannot be told from chance",
    "saturated": "saturated: too close to the ideal value to rank models",
    "at-floor": "at the floor: too close to the worst value to rank models",
}


def direction(summary: Summary) -> str:
    """The arrow of a summary's metric; the ideal value itself where it is neither end of the range (``→ 0.5``)."""
    if summary.ideal is not None and (summary.higher_is_better is None or summary.ideal not in (summary.low, summary.high)):
        return f"→ {short(summary.ideal)}"
    return arrow(summary.higher_is_better)


def scale(summary: Summary) -> str:
    """How to read a metric's value, in words: ``lower is better; ideal 0; from 0 to 1``. Empty where nothing is known."""
    better = {True: "higher is better", False: "lower is better", None: ""}[summary.higher_is_better]
    ideal = "" if summary.ideal is None else f"ideal {short(summary.ideal)}"
    low, high = summary.low, summary.high
    if low is not None and high is not None:
        reach = f"from {short(low)} to {short(high)}"
    else:
        reach = f"from {short(low)} up" if low is not None else "" if high is None else f"up to {short(high)}"
    return "; ".join(words for words in (better, ideal, reach) if words)


def short(value: float) -> str:
    """A round figure of a scale: ``0.5``, ``-100``."""
    return f"{value:g}"


def p_value(p: float | None) -> str:
    """``p = 0.026``, ``p < 0.001``."""
    return "p not defined" if p is None else "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def finite(value: Json) -> float | None:
    """``value`` if it is a number that can be drawn; what a scorer's detail holds may be anything."""
    return float(value) if isinstance(value, int | float) and abs(value) < DRAWN else None


def duration(seconds: float) -> str:
    """Two units at most: ``47 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def warnings(summary: Summary) -> list[str]:
    """What a reader must know before trusting the number, most serious first."""
    out = []
    if summary.errors:
        out.append(f"{count(summary.errors)} failed")
    if summary.unscored:
        out.append(f"{count(summary.unscored)} unscored")
    if summary.cut:
        out.append(f"{summary.cut:.1%} of generations cut at the length limit")
    if summary.truncated:
        out.append(f"{counted(summary.truncated, 'prompt')} truncated")
    for note in summary.notes:
        text = NOTES.get(note, note)
        if note == "at-chance" and summary.chance is not None:
            text += f" ({number(summary.chance)})"
        out.append(text)
    return out
