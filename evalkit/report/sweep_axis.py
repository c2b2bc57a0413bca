"""What a series can be drawn against: training step, parameters, training compute, or just its order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from evalkit.report.axis import Axis, axis
from evalkit.runner.series import Member

Name = Literal["step", "parameters", "compute", "order"]

#: Axes in the order in which they are offered, with what stands below them.
TITLES: dict[Name, str] = {
    "step": "training step",
    "parameters": "parameters",
    "compute": "training compute, FLOP",
    "order": "checkpoint, in order",
}
#: Values that span more decades than this are drawn on a logarithmic scale.
DECADES = 2.0
#: Pixels beside the first and the last checkpoint.
_PAD = 8
#: Pixels between zero and the rest of a logarithmic scale.
_BREAK = 34
_SUFFIXES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))

_READ: dict[Name, Callable[[Member], float | None]] = {
    "step": lambda member: None if member.step is None else float(member.step),
    "parameters": lambda member: None if member.parameters is None else float(member.parameters),
    "compute": lambda member: None if member.compute is None else member.compute[0],
}


@dataclass(frozen=True, slots=True)
class Scale:
    """Positions in pixels of a series' values. A logarithmic scale has zero (step 0) apart, at its beginning."""

    name: Name
    log: bool
    line: Axis
    zero: float | None = None

    @property
    def title(self) -> str:
        return TITLES[self.name] + (" (logarithmic)" if self.log else "")

    def at(self, value: float) -> float:
        if not self.log:
            return self.line.at(value)
        return self.line.at(math.log10(value)) if value > 0 else self.zero if self.zero is not None else self.line.start

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Pixels and texts."""
        if self.zero is not None:
            yield self.zero, "0"
        for tick in self.line.ticks:
            yield self.line.at(tick), amount(10**tick if self.log else tick)


def axes(members: Sequence[Member]) -> list[Name]:
    """What can be drawn: known for at least two of the members, and not the same for all of them."""
    names: list[Name] = [name for name in _READ if len({v for v in map(_READ[name], members) if v is not None}) > 1]
    return names or ["order"]


def positions(name: Name, members: Sequence[Member]) -> list[float | None]:
    """Where each member stands on an axis; ``None``: not known."""
    if name == "order":
        return [float(at) for at in range(1, len(members) + 1)]
    return [_READ[name](member) for member in members]


def scale(name: Name, members: Sequence[Member], start: float, end: float) -> Scale:
    """The scale that holds all members whose value is known."""
    known = [value for value in positions(name, members) if value is not None]
    positive = [value for value in known if value > 0]
    if name == "order":
        ticks = axis([1.0, *known], start, end, count=min(6, max(1, len(known) - 1))).ticks
        whole = tuple(tick for tick in ticks if tick == int(tick) and 1 <= tick <= len(known))
        return Scale(name, False, Axis(0.5, len(known) + 0.5, start, end, whole))
    if not positive or math.log10(max(positive) / min(positive)) <= DECADES:
        return Scale(name, False, axis(known, start + _PAD, end - _PAD, count=5))
    zero = start + _PAD if len(positive) < len(known) else None
    first = start if zero is None else start + _BREAK
    low, high = math.log10(min(positive)), math.log10(max(positive))
    margin = 0.02 * (high - low)
    every = max(1, math.ceil((high - low) / 7))
    ticks = tuple(float(t) for t in range(math.ceil(low - margin), math.floor(high + margin) + 1) if t % every == 0)
    return Scale(name, True, Axis(low - margin, high + margin, first, end, ticks), zero)


def amount(value: float) -> str:
    """A count as people write it: ``500``, ``1.5k``, ``134.5M``, ``3.2e+18``."""
    size = abs(value)
    if size >= 1e15:
        return f"{value:.3g}".replace("e+", "e")
    for unit, suffix in _SUFFIXES:
        if size >= unit:
            return f"{value / unit:.4g}{suffix}"
    return f"{value:g}"
