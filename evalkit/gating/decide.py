"""One check's verdict from what was measured: pure functions, nothing else decides.

With d the candidate's improvement (the difference, its sign turned where lower is better) and M the margin:

| d | verdict | else |
|---|---|---|
| not below -M | PASS where the one-sided lower bound is above -M | INCONCLUSIVE |
| below -M | FAIL where "not worse" is refused at alpha (``strict``: and the upper bound is below -M, too) | INCONCLUSIVE |

What was measured is on one side of -M, so that no data can both pass and fail, however bounds and p values are made: Tango's
bound and McNemar's p are no two readings of one test. Unlike a bare threshold, FAIL needs significance; unlike a bare
significance test, it needs size.
"""

from __future__ import annotations

from dataclasses import dataclass

from evalkit.gating.base import Verdict
from evalkit.stats.difference import Difference

#: Differences that only rounding tells apart are equal: 3 of 150 lost are not beyond a margin of 2 points.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Evidence:
    """How much better the candidate is: the point, its one-sided bounds at 1 - alpha, and p of "not worse".

    A bound or p that cannot be had is ``None``: it never decides.
    """

    value: float
    lower: float | None
    upper: float | None
    p: float | None


def evidence(test: Difference, alpha: float, *, higher_is_better: bool = True) -> Evidence:
    """What ``test`` shows at one-sided ``alpha``, turned so that higher is better."""
    turned = test if higher_is_better else test.flipped()
    return Evidence(turned.value, turned.lower(alpha), turned.upper(alpha), turned.p_worse())


def decide(shown: Evidence, margin: float, alpha: float, *, p: float | None = None, strict: bool = False) -> Verdict:
    """The verdict on ``shown`` against ``margin`` >= 0.

    ``p`` is the p value that FAIL is held against where it was adjusted for other tests; the evidence's own otherwise.
    ``strict`` fails only what is beyond the margin with its upper bound, too.
    """
    if not beyond(shown, margin):
        return "PASS" if shown.lower is not None and shown.lower > -margin else "INCONCLUSIVE"
    p = shown.p if p is None else p
    worse = p is not None and p < alpha
    if strict:
        worse = worse and shown.upper is not None and shown.upper < -margin
    return "FAIL" if worse else "INCONCLUSIVE"


def beyond(shown: Evidence, margin: float) -> bool:
    """Whether the measured drop is larger than the margin: what alone can FAIL, and alone cannot PASS."""
    return shown.value < -margin - _ROUNDING * max(abs(shown.value), margin)


def decide_floor(shown: Evidence, alpha: float, *, p: float | None = None) -> Verdict:
    """The verdict on a value's distance above its floor: PASS with a lower bound that reaches it."""
    if shown.value >= 0:
        return "PASS" if shown.lower is not None and shown.lower >= 0 else "INCONCLUSIVE"
    p = shown.p if p is None else p
    return "FAIL" if p is not None and p < alpha else "INCONCLUSIVE"
