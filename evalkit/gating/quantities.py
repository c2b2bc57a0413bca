"""Margins (``2pp``, ``0.5``, ``5%``), limits (``+10%``, ``±20%``, ``4``) and levels (``0.55``, ``55%``) of a policy."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?"
_MARGIN = re.compile(rf"({_NUMBER})\s*(pp|%)?", re.IGNORECASE)
_LIMIT = re.compile(rf"(\+|±|\+-|\+/-)?\s*({_NUMBER})\s*(%)?", re.IGNORECASE)
_SHARE = re.compile(rf"({_NUMBER})\s*(%)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Margin:
    """How much worse is good enough: ``points`` of a share (0.02 for 2pp), ``units`` of the metric, a ``relative`` part."""

    value: float
    kind: Literal["points", "units", "relative"]

    def __str__(self) -> str:
        if self.kind == "units":
            return f"{self.value:g}"
        return f"{_times_100(self.value)}{'pp' if self.kind == 'points' else '%'}"


@dataclass(frozen=True, slots=True)
class Limit:
    """What a budget allows: ``absolute`` at most, at most so much ``more`` than the baseline, ``within`` so much of it."""

    value: float
    kind: Literal["absolute", "more", "within"]
    percent: bool = False
    """An absolute limit that was written in per cent."""

    def __str__(self) -> str:
        if self.kind == "absolute":
            return f"{_times_100(self.value)}%" if self.percent else f"{self.value:g}"
        return f"{'+' if self.kind == 'more' else '±'}{_times_100(self.value)}%"


def parse_margin(value: Any) -> Margin:
    """``2pp``, ``5%``, ``0.5`` or a number. Raises ValueError."""
    if isinstance(value, Margin):
        return value
    match = _MARGIN.fullmatch(_text(value))
    if not match or not math.isfinite(number := float(match[1])):
        raise ValueError(
            f"expected a margin: 2pp (percentage points), 0.5 (the metric's units) or 5% of the baseline, got {value!r}"
        )
    unit = (match[3] or "").lower()
    kinds: dict[str, Literal["points", "units", "relative"]] = {"pp": "points", "%": "relative", "": "units"}
    return Margin(number if not unit else number / 100, kinds[unit])


def parse_limit(value: Any) -> Limit:
    """``+10%``, ``±20%`` (also ``+-20%``), ``0.5%``, ``4`` or a number. Raises ValueError."""
    if isinstance(value, Limit):
        return value
    match = _LIMIT.fullmatch(_text(value))
    if not match or not math.isfinite(number := float(match[2])):
        raise ValueError(f"expected a limit: 4 (at most), +10% (over the baseline) or ±20% (of the baseline), got {value!r}")
    sign, percent = match[1], bool(match[4])
    if not sign:
        return Limit(number / 100 if percent else number, "absolute", percent)
    if not percent:
        raise ValueError(f"a limit against the baseline is in per cent (+10%, ±20%), got {value!r}")
    return Limit(number / 100, "more" if sign == "+" else "within")


def parse_share(value: Any) -> float:
    """``0.005`` or ``0.5%`` as a number. Raises ValueError."""
    match = _SHARE.fullmatch(_text(value))
    if not match:
        raise ValueError(f"expected a number, or one in per cent (0.005, 0.5%), got {value!r}")
    return float(match[1]) / (100 if match[3] else 1)


def parse_level(value: Any) -> float:
    """A value that a metric must reach: any number, or ``55%``. Raises ValueError."""
    text = _text(value)
    number = -parse_share(text[1:]) if text.startswith("-") else parse_share(text)
    if not math.isfinite(number):
        raise ValueError(f"expected a number, got {value!r}")
    return number


def _text(value: Any) -> str:
    return "" if isinstance(value, bool) else str(value).strip()


def _times_100(value: float) -> str:
    return f"{round(100 * value, 10):g}"


def _schema(pattern: str, examples: list[Any], description: str) -> WithJsonSchema:
    kinds = [{"type": "number", "minimum": 0}, {"type": "string", "pattern": pattern}]
    return WithJsonSchema({"anyOf": kinds, "examples": examples, "description": description})


_DIGITS = r"([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?"
MarginField = Annotated[
    Margin,
    PlainValidator(parse_margin),
    PlainSerializer(str, return_type=str),
    _schema(
        rf"^\s*{_DIGITS}\s*([pP][pP]|%)?\s*$",
        ["2pp", 0.5, "5%"],
        "How much worse is still good enough: 2pp (percentage points of a share), 0.5 (the metric's units), 5% (of the "
        "baseline's value).",
    ),
]
LimitField = Annotated[
    Limit,
    PlainValidator(parse_limit),
    PlainSerializer(str, return_type=str),
    _schema(
        rf"^\s*(\+|±|\+-|\+/-)?\s*{_DIGITS}\s*%?\s*$",
        ["+10%", "±20%", 4, "0.5%"],
        "At most this (4, 0.5%), at most so much over the baseline (+10%), or within so much of it (±20%).",
    ),
]
ShareField = Annotated[float, PlainValidator(parse_share), _schema(rf"^\s*{_DIGITS}\s*%?\s*$", [0.005, "0.5%"], "A share.")]
LevelField = Annotated[
    float,
    PlainValidator(parse_level),
    WithJsonSchema(
        {
            "anyOf": [{"type": "number"}, {"type": "string", "pattern": rf"^\s*-?{_DIGITS}\s*%?\s*$"}],
            "examples": [0.55, "55%"],
        }
    ),
]
