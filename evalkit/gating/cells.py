"""A check as figures and words, the same on the terminal and in Markdown (which escapes them in its own way)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evalkit.comparison.base import Flip, LeftOut
from evalkit.comparison.numbers import error_bar, format_difference, format_interval, format_value
from evalkit.comparison.render import why
from evalkit.figures import count, interval, number
from evalkit.gating.base import CheckResult, Side

#: Characters of an error bar, and how many margins it shows to either side of zero, at least and at most.
_WIDTH, _LEAST, _MOST = 21, 2.0, 6.0


@dataclass(frozen=True, slots=True)
class Cells:
    """The figures of a check; empty where it has none."""

    baseline: str
    candidate: str
    difference: str
    interval: str
    own_interval: str
    """Of the candidate's value, where that is what is tested."""
    margin: str
    n: str
    flips: str
    verdict: str


def cells(check: CheckResult) -> Cells:
    """``check`` in figures: values as the run's tables show them, differences of shares in percentage points."""
    compared = check.kind in ("metric", "slice")
    return Cells(
        baseline=_value(check, check.baseline),
        candidate=_value(check, check.candidate),
        difference=format_difference(check.difference, check.percent) if compared and check.difference is not None else "",
        interval=format_interval(check.ci, check.percent) if compared and check.ci is not None else "",
        own_interval=interval(check.ci) if check.kind == "floor" and check.ci is not None else "",
        margin=_limit(check),
        n="" if check.n is None else count(check.n),
        flips="" if check.lost is None or check.gained is None else f"-{count(check.lost)}/+{count(check.gained)}",
        verdict=verdict(check),
    )


def verdict(check: CheckResult) -> str:
    """The verdict as people read it, with a word where the gate's does not depend on it."""
    if check.verdict is None or check.verdict == "PASS":
        return check.verdict or "shown"
    if check.require == "report":
        return f"shown ({check.verdict})"
    return check.verdict if failed(check) or undecided(check) else f"{check.verdict} (allowed)"


def told(check: CheckResult) -> str:
    """Why, and what would settle it, in one line."""
    return check.sentence if check.needs in (None, check.sentence) else f"{check.sentence.rstrip('.')}; {check.needs}"


def model_of(side: Side) -> str:
    """The model with its options: ``demo/smollm2, dtype=bfloat16``."""
    return ", ".join([side.model, *(f"{key}={value}" for key, value in side.model_args.items())]) if side.model else ""


def by_urgency(checks: Iterable[CheckResult]) -> list[CheckResult]:
    """What failed first, then what holds the gate up; otherwise in the policy's order."""
    return sorted(checks, key=lambda check: 0 if failed(check) else 1 if undecided(check) else 2)


def failed(check: CheckResult) -> bool:
    """Whether the gate fails because of it."""
    return check.verdict == "FAIL" and check.require != "report"


def undecided(check: CheckResult) -> bool:
    """Whether the gate cannot pass because of it."""
    return check.verdict == "INCONCLUSIVE" and check.require == "pass"


def bar_scale(checks: Sequence[CheckResult]) -> float:
    """How many margins the error bars of ``checks`` reach to either side: one scale for all, so that they compare."""
    ratios = [max(map(abs, check.ci)) / check.margin for check in checks if check.ci and check.margin]
    return min(_MOST, max(_LEAST, *ratios)) if ratios else _LEAST


def bar(check: CheckResult, scale: float) -> str:
    """The interval as ``····├──●─┼─┤····`` with zero in the middle and ``┊`` at the margin; empty where there is none.

    ``scale``: how many margins it reaches to either side.
    """
    if check.ci is None or check.difference is None or check.kind not in ("metric", "slice"):
        return ""
    low, high = check.ci
    span = check.margin * scale if check.margin else 1.1 * max(abs(low), abs(high))
    if not span > 0:
        return ""
    margin = None if not check.margin else -check.margin if check.higher_is_better is False else check.margin
    return error_bar(low, check.difference, high, span, _WIDTH, margin=margin)


def left_out(found: LeftOut | None) -> str:
    """Which samples are in no pair, and why; empty where all are."""
    if found is None:
        return ""
    return ", ".join(why(found))


def worse(check: CheckResult) -> list[Flip]:
    """The samples whose score got worse, the worst first."""
    sign = -1.0 if check.higher_is_better is False else 1.0
    return [flip for flip in check.flips if sign * flip.change < 0]


def _value(check: CheckResult, value: float | None) -> str:
    if value is None:
        return ""
    if check.unit:
        return _amount(value, check.unit)
    return f"{100 * value:.2f} %" if check.kind in ("budget", "errors") else format_value(value, check.percent)


def _limit(check: CheckResult) -> str:
    """The margin, or the floor."""
    if check.floor is not None and check.kind == "floor":
        return f"{'≤' if check.higher_is_better is False else '≥'} {number(check.floor)}"
    if check.margin is None or check.kind in ("budget", "errors"):
        return ""
    return f"{100 * check.margin:.4g} pp" if check.percent else f"{check.margin:.4g}"


def _amount(value: float, unit: str) -> str:
    if unit == "$":
        return f"${value:,.4f}" if abs(value) < 1 else f"${value:,.2f}"
    if abs(value) >= 1000:
        return f"{value:,.0f} {unit}"
    return f"{value:.1f} {unit}" if unit == "tokens" else f"{value:.4g} {unit}"
