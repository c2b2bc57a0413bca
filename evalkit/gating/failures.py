"""Samples that lost their score: what the baseline scored and the candidate did not, as checks of their own.

Pairs without a score are left out of a comparison, and a candidate must not gain by what it fails to answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from evalkit.comparison.base import ERROR, MISSING, OK, UNSCORED, Measured, RunScores
from evalkit.comparison.match import joined
from evalkit.figures import count, counted
from evalkit.gating.base import CheckResult, Verdict
from evalkit.gating.names import measured_of
from evalkit.gating.pending import Pending, settled
from evalkit.gating.policy import Policy
from evalkit.gating.select import Selected

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
    pairs = _pairs(chosen, baseline, candidate)
    found = [max((_lost(key, *pair) for pair in scorers), key=lambda lost: lost.rate) for key, scorers in pairs.items()]
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


def _pairs(
    chosen: Iterable[Selected], baseline: RunScores, candidate: RunScores
) -> dict[tuple[str, str], list[tuple[Measured, Measured]]]:
    """By task and filter: the scorers of both runs on which checks rest."""
    pairs: dict[tuple[str, str], dict[str, tuple[Measured, Measured]]] = {}
    for one in chosen:
        if one.require == "report" or one.found.slice is not None:
            continue
        ours = {(task.task, m.scorer.name): m for task, m in measured_of(candidate, one.found)}
        for task, measured in measured_of(baseline, one.found):
            name = measured.scorer.name
            if (task.task, name) in ours:
                pairs.setdefault((task.task, one.found.filter), {})[name] = (measured, ours[task.task, name])
    return {key: list(scorers.values()) for key, scorers in pairs.items()}


def _lost(key: tuple[str, str], baseline: Measured, candidate: Measured) -> Lost:
    at_a, at_b = joined(baseline.units, candidate.units)
    statuses = candidate.status[at_b[baseline.status[at_a] == OK]]
    return Lost(*key, len(statuses), {code: int((statuses == code).sum()) for code in _WHAT})
