"""Why a check came out as it did, in one line for people: of improvements, in the metric's units."""

from __future__ import annotations

from evalkit.comparison.numbers import format_p
from evalkit.figures import count, number
from evalkit.gating.base import Verdict
from evalkit.gating.decide import Evidence, beyond


def amount(value: float, percent: bool) -> str:
    """A size without sign: ``1.2 pp`` of shares, ``0.031`` of other metrics."""
    size = abs(value)
    if not percent:
        return number(size)
    return f"{100 * size:.{2 if 0 < size < 0.0005 else 1}f} pp"


def allowance(margin: float, percent: bool) -> str:
    """A margin as it was asked for: ``2 pp``, ``0.5``."""
    return f"{round(100 * margin, 6):g} pp" if percent else f"{margin:g}"


def change(value: float, percent: bool) -> str:
    """``1.2 pp worse``, ``0.5 better``, ``unchanged``."""
    return f"{amount(value, percent)} {'better' if value > 0 else 'worse'}" if value else "unchanged"


def compared(
    shown: Evidence,
    margin: float,
    alpha: float,
    verdict: Verdict,
    *,
    percent: bool,
    p_adjusted: float | None,
    tests: int,
    strict: bool = False,
) -> str:
    """The sentence of a comparison with its baseline."""
    found, allowed = change(shown.value, percent), f"the margin of {allowance(margin, percent)}"
    if shown.value != shown.value:
        return "the difference is not defined"
    if verdict == "PASS":
        return _passed(shown, alpha, found, allowed, percent)
    if verdict == "FAIL":
        return f"{found}, beyond {allowed} ({p_words(shown.p, p_adjusted, tests)})"
    if not beyond(shown, margin):
        if shown.lower is None:
            return f"{found}, but a single unit shows nothing"
        return f"{found}, but it could be {change(shown.lower, percent)}: {allowed} is not excluded"
    if strict and p_adjusted is not None and p_adjusted < alpha:
        return f"{found} ({p_words(shown.p, p_adjusted, tests)}), but not all of the interval is beyond {allowed}"
    return f"{found}, beyond {allowed}, but chance may explain it ({p_words(shown.p, p_adjusted, tests)})"


def _passed(shown: Evidence, alpha: float, found: str, allowed: str, percent: bool) -> str:
    level = f"at {100 * (1 - alpha):g} % confidence"
    lower = 0.0 if shown.lower is None else shown.lower
    if lower >= 0:
        return f"{found}, and not worse {level}"
    sentence = f"{found}, at most {change(lower, percent)} {level}: within {allowed}"
    if shown.value < 0 and shown.p is not None and shown.p < alpha:
        sentence += f"; a real drop (p {_equals(shown.p)}), smaller than the margin"
    return sentence


def p_words(p: float | None, adjusted: float | None, tests: int) -> str:
    """``p = .012, .048 by Holm over 4 tests``."""
    if p is None:
        return "no p value"
    corrected = "" if adjusted is None or tests < 2 else f", {_bare(adjusted)} by Holm over {count(tests)} tests"
    return f"p {_equals(p)}{corrected}"


def _equals(p: float) -> str:
    return f"< {format_p(p)[1:]}" if format_p(p).startswith("<") else f"= {format_p(p)}"


def _bare(p: float) -> str:
    return _equals(p).removeprefix("= ")
