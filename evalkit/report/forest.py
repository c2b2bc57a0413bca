"""Groups beside each other: each with value, interval, n and corrected p, drawn on one scale with the ideal as a line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from evalkit.report.axis import Axis, axis
from evalkit.report.numbers import count, finite, interval, number, short
from evalkit.stats.distributions import normal_cdf
from evalkit.stats.groups import holm
from evalkit.types import Json, Summary

WIDTH, HEIGHT, _PAD = 300, 26, 6
#: Groups that are shown, of more those farthest from the line.
MAX_GROUPS = 40
#: Half the width of a 95 % interval in standard errors.
_Z = 1.959963984540054
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Group:
    """One group; ``value`` is ``None`` where it has none. ``p`` is corrected for the number of groups."""

    label: str
    value: float | None
    ci: tuple[float, float] | None
    n: int | None
    p: float | None = None

    @property
    def differs(self) -> bool:
        return self.p is not None and self.p < ALPHA

    @property
    def figures(self) -> dict[str, str]:
        """Value, interval, n and p in words."""
        p = "" if self.p is None else "< 0.001" if self.p < 0.001 else f"{self.p:.3f}"
        n = "" if self.n is None else count(self.n)
        return {"value": number(self.value), "ci": interval(self.ci), "n": n, "p": p}


@dataclass(frozen=True, slots=True)
class Forest:
    """``groups`` of ``total`` around ``line`` (called ``line_name``); ``test`` says where the p values come from."""

    title: str
    groups: list[Group]
    total: int
    line: float | None
    line_name: str
    test: str
    scale: Axis

    @property
    def tested(self) -> bool:
        return any(g.p is not None for g in self.groups)

    @property
    def p_name(self) -> str:
        return "corrected p" if "Holm" in self.test or "corrected" in self.test else "p"

    @property
    def found(self) -> str:
        """What the comparison shows, in one sentence."""
        if not self.tested:
            return ""
        named = [f"{g.label}{self._side(g)}" for g in self.groups if g.differs]
        if not named:
            return f"No group differs beyond chance ({self.p_name} < {ALPHA}), which does not show them to be equal."
        more = f" and {len(named) - 6} more" if len(named) > 6 else ""
        return f"Different beyond chance ({self.p_name} < {ALPHA}): {', '.join(named[:6])}{more}."

    def _side(self, group: Group) -> str:
        if self.line is None or group.value is None:
            return ""
        return " (above)" if group.value > self.line else " (below)"

    def bar(self, group: Group) -> Markup:
        """The group's point and interval; the table's cells say the same in figures."""
        at, middle = self.scale.at, HEIGHT / 2
        parts = [Markup('<line class="track" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(_PAD, middle, WIDTH - _PAD, middle)]
        if self.line is not None:
            parts.append(Markup('<line class="ideal" x1="{0}" y1="0" x2="{0}" y2="{1}"/>').format(at(self.line), HEIGHT))
        if group.ci is not None:
            low, high = at(group.ci[0]), at(group.ci[1])
            shape = Markup('<rect class="ci" x="{}" y="{}" width="{}" height="6" rx="3"/>')
            parts.append(shape.format(low, middle - 3, max(1.0, round(high - low, 1))))
        if group.value is not None:
            kind = "dot far" if group.differs else "dot"
            parts.append(Markup('<circle class="{}" cx="{}" cy="{}" r="4"/>').format(kind, at(group.value), middle))
        return _svg("bar", HEIGHT, parts, Markup('aria-hidden="true"'))

    @property
    def head(self) -> Markup:
        """The scale above the bars."""
        ends = ((self.scale.low, "start"), (self.scale.high, "end"))
        room = 40 if self.line is not None else -1  # an end that stands below the line's own figure is left out
        parts = [
            Markup('<text x="{}" y="12" text-anchor="{}">{}</text>').format(self.scale.at(v), anchor, short(v))
            for v, anchor in ends
            if self.line is None or abs(self.scale.at(v) - self.scale.at(self.line)) > room
        ]
        if self.line is not None:
            x = self.scale.at(self.line)
            anchor = "start" if x < 40 else "end" if x > WIDTH - 40 else "middle"
            parts.append(
                Markup('<text class="at" x="{}" y="12" text-anchor="{}">{}</text>').format(
                    x, anchor, short(float(f"{self.line:.3g}"))
                )
            )
        words = f"value and interval, from {short(self.scale.low)} to {short(self.scale.high)}"
        if self.line is not None:
            words += f", the line at {number(self.line)}"
        return _svg("bar scale-head", 16, parts, Markup('role="img" aria-label="{}"').format(words))


def given(title: str, detail: Mapping[str, Json]) -> Forest | None:
    """The plot of a detail ``{"groups": [{"label", "value", "ci", "n", "p", "p_holm"}], "ideal", "test", "correction"}``.

    ``p_holm`` is corrected, and so is ``p`` where ``correction`` says how; otherwise ``p`` is corrected here (Holm).
    """
    entries = [entry for entry in detail.get("groups") or () if isinstance(entry, Mapping)]
    groups = [_group(entry) for entry in entries]
    test = str(detail.get("test") or "").replace("p_holm: ", "")
    how = str(detail.get("correction") or "")
    if not how and not any("p_holm" in entry for entry in entries):
        groups, how = _corrected(groups, [g.p for g in groups]), "Holm"
    if how:
        test = "; ".join(words for words in (test, f"p corrected for the number of groups ({how})") if words)
    by = str(detail.get("by") or "group")
    named = f"{detail['metric']} by {by}" if detail.get("metric") else f"{title} by {by}"
    return _forest(str(detail.get("title") or named), groups, finite(detail.get("ideal")), "ideal", test)


def of_slices(title: str, whole: Summary, slices: Sequence[Summary]) -> Forest | None:
    """A metric on the slices of one column, each tested against the mean of the others; the line is the value over all."""
    known = [s for s in slices if s.value is not None]
    if len(known) < 2:
        return None
    names = [(s.slice or "").partition("=")[2] or "(empty)" for s in known]
    groups = [Group(name, s.value, s.ci, s.n) for name, s in zip(names, known, strict=True)]
    raw = _against_others(groups)
    if len(groups) == 2:  # one comparison: nothing to correct for
        groups = [replace(group, p=value) for group, value in zip(groups, raw, strict=True)]
        test = "one group against the other, two-sided z test from the intervals; the groups are taken to be independent"
    else:
        groups = _corrected(groups, raw)
        test = (
            f"each group against the weighted mean of the others, two-sided z test from the intervals, p corrected for "
            f"{len(groups)} groups (Holm); the groups are taken to be independent"
        )
    return _forest(title, groups, whole.value, "all groups", test)


def _group(entry: Mapping[str, Json]) -> Group:
    value, n = finite(entry.get("value")), finite(entry.get("n"))
    p = finite(entry["p_holm"] if "p_holm" in entry else entry.get("p"))
    p = p if p is not None and 0 <= p <= 1 else None
    ci = entry.get("ci")
    low, high = map(finite, ci) if isinstance(ci, list | tuple) and len(ci) == 2 else (None, None)
    bounds = None if value is None or low is None or high is None else (low, high)
    return Group(str(entry.get("label") or ""), value, bounds, None if n is None else int(n), p)


def _corrected(groups: Sequence[Group], p: Sequence[float | None]) -> list[Group]:
    return [replace(group, p=value) for group, value in zip(groups, holm(p), strict=True)]


def _against_others(groups: Sequence[Group]) -> list[float | None]:
    """The p of each group's value against the mean of the others, weighted by n. Errors are read from the intervals.

    Not from standard errors: those of a share of 0 or 1 are zero, its interval's are not.
    """
    sizes = [g.n or 0 if g.ci is not None else 0 for g in groups]
    errors = [_error(g) for g in groups]
    weight, total = sum(sizes), math.fsum(n * (g.value or 0.0) for n, g in zip(sizes, groups, strict=True))
    spread = math.fsum((n * e) ** 2 for n, e in zip(sizes, errors, strict=True))
    out: list[float | None] = []
    for n, error, group in zip(sizes, errors, groups, strict=True):
        others = weight - n
        if not n or not others:
            out.append(None)
            continue
        rest = math.sqrt(max(0.0, spread - (n * error) ** 2)) / others
        both = math.hypot(error, rest)
        value = group.value or 0.0
        gap = abs(value - (total - n * value) / others)
        out.append(2 * (1 - normal_cdf(gap / both)) if both > 0 else None)
    return out


def _error(group: Group) -> float:
    return 0.0 if group.ci is None else (group.ci[1] - group.ci[0]) / (2 * _Z)


def _forest(title: str, groups: Sequence[Group], line: float | None, line_name: str, test: str) -> Forest | None:
    known = [g.value for g in groups if g.value is not None]
    if not known:
        return None
    shown = list(groups)
    if len(shown) > MAX_GROUPS:
        centre = line if line is not None else sum(known) / len(known)
        far = [-1.0 if g.value is None else abs(g.value - centre) for g in groups]
        kept = sorted(sorted(range(len(groups)), key=lambda i: (-far[i], i))[:MAX_GROUPS])
        shown = [groups[i] for i in kept]
    reach = [v for g in shown for v in (g.value, *(g.ci or ()), line) if v is not None]
    tested = any(g.p is not None for g in groups)
    return Forest(title, shown, len(groups), line, line_name, test if tested else "", axis(reach, _PAD, WIDTH - _PAD))


def _svg(kind: str, height: int, parts: Sequence[Markup], told: Markup) -> Markup:
    return Markup('<svg class="{}" viewBox="0 0 {} {}" width="{}" height="{}" {}>{}</svg>').format(
        kind, WIDTH, height, WIDTH, height, told, Markup("").join(parts)
    )
