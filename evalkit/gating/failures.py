"""Samples that lost their score: what the baseline scored and the candidate did not, as checks of their own.

Pairs without a score are left out of a comparison, and a candidate must not gain by what it fails to answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from evalkit.comparison.base import ERROR, MISSING, OK, UNSCORED, Measured, RunScores
from evalkit.figures import count, counted
from evalkit.gating.base import CheckResult, Verdict
from evalkit.gating.pending import Pending, settled
from evalkit.gating.policy import Policy
from evalkit.gating.select import Selected, leaves

_WHAT = {ERROR: "failed", UNSCORED: "unscored", MISSING: "not answered"}


@dataclass(frozen=True, slots=True)
class Lost:
    """Of ``n`` units of a task that the baseline scored (and both have), how many the candidate did not, by what became."""

    task: str
    filter: str
    n: int
    counts: dict[int, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def rate(self) -> float:
        return self.total / self.n if self.n else 0.0


def failure_checks(
    policy: Policy, chosen: Iterable[Selected], baseline: RunScores, candidate: RunScores
) -> Iterator[Pending]:
    """One check for every task that lost scores, or one in all where none did. Exact counts: nothing is tested."""
    wanted = _wanted(chosen, candidate)
    found = [_most(baseline, candidate, key, scorers) for key, scorers in wanted.items()]
    if not found:
        return
    if not any(lost.total for lost in found):
        n = sum(lost.n for lost in found)
        yield settled(
            _result(policy, None, n, 0.0), "PASS", f"all {counted(n, 'sample')} that the baseline scored have scores"
        )
    for lost in found:
        if lost.total:
            verdict: Verdict = "FAIL" if lost.rate > policy.max_error_rate + 1e-12 else "PASS"
            yield settled(_result(policy, lost, lost.n, lost.rate), verdict, _sentence(policy, lost))


def _sentence(policy: Policy, lost: Lost) -> str:
    parts = [f"{count(number)} {_WHAT[code]}" for code, number in sorted(lost.counts.items(), reverse=True) if number]
    have = "has" if lost.total == 1 else "have"
    return (
        f"{count(lost.total)} of {counted(lost.n, 'sample')} that the baseline scored {have} no score ({', '.join(parts)}): "
        f"{_percent(lost.rate)}, at most {_percent(policy.max_error_rate)} may"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _result(policy: Policy, lost: Lost | None, n: int, rate: float) -> CheckResult:
    return CheckResult(
        name="errors" if lost is None else f"{lost.task}{'' if lost.filter == 'none' else ' ' + lost.filter} errors",
        kind="errors",
        verdict=None,
        require="not-fail",
        sentence="",
        task=None if lost is None else lost.task,
        candidate=rate,
        margin=policy.max_error_rate,
        n=n,
        higher_is_better=False,
        percent=True,
        detail={}
        if lost is None
        else {"filter": lost.filter, **{_WHAT[code]: number for code, number in lost.counts.items()}},
    )


def _wanted(chosen: Iterable[Selected], candidate: RunScores) -> dict[tuple[str, str], dict[str, None]]:
    """The tasks and filters that are checked, and by which scorers."""
    wanted: dict[tuple[str, str], dict[str, None]] = {}
    for one in chosen:
        if one.require != "report":
            for task in leaves(candidate, one.found.task):
                if (task, one.found.filter) in candidate.tasks:
                    wanted.setdefault((task, one.found.filter), {})[one.found.scorer] = None
    return wanted


def _most(baseline: RunScores, candidate: RunScores, key: tuple[str, str], scorers: Iterable[str]) -> Lost:
    """The task's losses under the scorer that lost most of it."""
    pairs = [
        (b, c)
        for b in baseline.tasks[key].measured
        for c in candidate.tasks[key].measured
        if b.scorer.name == c.scorer.name and b.scorer.name in scorers
    ]
    return max((_lost(key, b, c) for b, c in pairs), key=lambda lost: lost.rate, default=Lost(*key, 0, {}))


def _lost(key: tuple[str, str], baseline: Measured, candidate: Measured) -> Lost:
    place = {unit: i for i, unit in enumerate(candidate.units)}
    at = [
        place[unit] for unit, status in zip(baseline.units, baseline.status, strict=True) if status == OK and unit in place
    ]
    statuses = candidate.status[np.array(at, dtype=np.int64)]
    return Lost(*key, len(at), {code: int((statuses == code).sum()) for code in _WHAT})
