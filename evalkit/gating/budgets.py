"""Budgets: seconds, dollars, output tokens and failures of the candidate, over the tasks that a policy checks.

| budget | absolute | against the baseline (same samples) |
|---|---|---|
| latency | exact binomial test of how many samples are slower | paired bootstrap of the ratio of medians or percentiles |
| dollars, tokens | the figure itself | the ratio of the figures |
| failures | the figure itself | |

Latency is noise and is tested as metrics are: PASS and FAIL both have to be shown. Money and tokens were spent: they are
exact. What came from a cache took no time and cost nothing, and says nothing of what it would: it is left out, and a budget
without data is INCONCLUSIVE.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from evalkit.comparison.base import RunScores
from evalkit.figures import count, counted, number
from evalkit.gating.base import CheckResult, Verdict
from evalkit.gating.decide import decide
from evalkit.gating.latency import LEAST, below_p, exceeds_p, ratio_evidence, shown_at
from evalkit.gating.pending import Pending, Settled, settled
from evalkit.gating.policy import Budget, Policy
from evalkit.gating.spent import Spent, failures, paired, spent
from evalkit.stats.intervals import Interval
from evalkit.stats.means import Array

_QUANTILES = {"median_latency": 0.5, "median_latency_s": 0.5, "p95_latency": 0.95, "p95_latency_s": 0.95}
_UNITS = {"cost_usd": "$", "output_tokens": "tokens", "error_rate": ""}
_NO_DATA = {
    "cost_usd": "no price of its answers is known (local models have none; --price gives one), or all came from a cache",
    "output_tokens": "nobody counted its output tokens, or all answers came from a cache",
    "": "no latency is known: its answers came from a cache, or nobody timed them",
}


def budget_checks(policy: Policy, tasks: list[str], baseline: RunScores, candidate: RunScores) -> Iterator[Pending]:
    """The policy's budgets over ``tasks`` (all of the candidate's for a policy without checks), in their order."""
    names = tasks or list(dict.fromkeys(task for task, _ in candidate.tasks))
    mine, theirs = spent(candidate, names), spent(baseline, names)
    for name, budget in policy.budgets.given().items():
        if name == "error_rate":
            yield _error_rate(budget, candidate, names)
        elif name in _QUANTILES:
            yield _latency(policy, name, budget, theirs, mine)
        else:
            yield _exact(name, budget, theirs, mine)


def _latency(policy: Policy, name: str, budget: Budget, theirs: Spent, mine: Spent) -> Pending:
    q, alpha = _QUANTILES[name], policy.alpha
    if budget.limit.kind == "absolute":
        x = mine.latency_s[np.isfinite(mine.latency_s)]
        return _at_most(name, budget, x, q, alpha) if len(x) else _without_data(name, budget)
    a, b = paired(theirs.ids, theirs.latency_s, mine.ids, mine.latency_s)
    if not len(a):
        return _without_data(name, budget)
    return _ratio(name, budget, a, b, q, alpha)


def _at_most(name: str, budget: Budget, x: Array, q: float, alpha: float) -> Pending:
    """A percentile against an absolute limit: as many samples above it as chance allows, exactly."""
    limit, slower = budget.limit.value, int((x > budget.limit.value).sum())
    value, ci = shown_at(x, q)
    result = _result(name, budget, candidate=value, ci=ci, n=len(x), unit="s", method="binomial")
    within, over = below_p(slower, len(x), 1 - q), exceeds_p(slower, len(x), 1 - q)
    told = f"{_what(q)} {number(value, 3)} s of {counted(len(x), 'sample')}, {count(slower)} slower than {limit:g} s"

    def settle(p: float | None, tests: int) -> Settled:
        if value <= limit:
            if within < alpha:
                return Settled("PASS", told)
            least = math.ceil(math.log(alpha) / math.log(q))
            needs = f"needs more samples: {count(max(least, len(x) + 1))} at least (has {count(len(x))})"
            return Settled("INCONCLUSIVE", f"{told}: too few samples to be sure", needs)
        if p is not None and p < alpha:
            return Settled("FAIL", told)
        return Settled("INCONCLUSIVE", f"{told}: chance may explain it", f"needs more samples (has {count(len(x))})")

    return Pending(result, over, settle)


def _ratio(name: str, budget: Budget, a: Array, b: Array, q: float, alpha: float) -> Pending:
    limit = budget.limit.value
    before, after = float(np.quantile(a, q)), float(np.quantile(b, q))
    facts: dict[str, Any] = {"baseline": before, "candidate": after, "n": len(a), "unit": "s", "method": "bootstrap"}
    told = f"{_what(q)} {number(after, 3)} s, was {number(before, 3)} s over {counted(len(a), 'sample')}"
    if len(a) < LEAST[q] or not before > 0:
        needs = f"needs {LEAST[q]} samples with a latency in both runs (has {count(len(a))})"
        return settled(_result(name, budget, **facts), "INCONCLUSIVE", f"{told}: too few to be compared", needs)
    shown, ci = ratio_evidence(a, b, q, alpha)
    result = _result(name, budget, **facts, ratio=1 - shown.value, ratio_ci=ci, bound=shown.lower)
    slower = f"{told} ({_signed(-shown.value)})"

    def settle(p: float | None, tests: int) -> Settled:
        verdict: Verdict = decide(shown, limit, alpha, p=p)
        if verdict != "INCONCLUSIVE":
            return Settled(verdict, f"{slower}, {budget.limit} allowed")
        could = f"could be {_signed(-(shown.lower or 0.0))}"
        return Settled(verdict, f"{slower}, {could}; {budget.limit} allowed", f"needs more samples (has {count(len(a))})")

    return Pending(result, shown.p, settle)


def _exact(name: str, budget: Budget, theirs: Spent, mine: Spent) -> Pending:
    """Dollars in all, output tokens a sample: figures, not estimates. What is unknown cannot make them smaller."""
    total = name == "cost_usd"
    column = mine.cost_usd if total else mine.output_tokens
    limit = budget.limit
    if limit.kind == "absolute":
        known = column[np.isfinite(column)]
        unknown = len(column) - len(known)
        value = (math.fsum(known) if total else float(known.mean())) if len(known) else None
        result = _result(name, budget, candidate=value, n=len(known), unit=_UNITS[name], method="exact")
        if value is None:
            return _without_data(name, budget)
        told = f"{_figure(name, value)}, at most {_figure(name, limit.value)} allowed"
        if total and unknown and value <= limit.value:
            why = f"{told}, but the cost of {count(unknown)} of {counted(len(column), 'sample')} is not known"
            return settled(result, "INCONCLUSIVE", why, "needs a run that does not answer from a cache")
        return settled(result, "PASS" if value <= limit.value else "FAIL", told)
    before = theirs.cost_usd if total else theirs.output_tokens
    a, b = paired(theirs.ids, before, mine.ids, column)
    sums = math.fsum(a), math.fsum(b)
    if not len(a) or not sums[0] > 0:
        return _without_data(name, budget)
    ratio = sums[1] / sums[0]
    over = ratio > 1 + limit.value + 1e-12 or (limit.kind == "within" and ratio < 1 - limit.value - 1e-12)
    values = [value if total else value / len(a) for value in sums]
    facts: dict[str, Any] = {
        "baseline": values[0],
        "candidate": values[1],
        "n": len(a),
        "unit": _UNITS[name],
        "method": "exact",
    }
    told = f"{_figure(name, values[1])}, was {_figure(name, values[0])} ({_signed(ratio - 1)}), {limit} allowed"
    return settled(_result(name, budget, **facts, ratio=ratio), "FAIL" if over else "PASS", told)


def _error_rate(budget: Budget, candidate: RunScores, names: list[str]) -> Pending:
    failed, n = failures(candidate, names)
    result = _result("error_rate", budget, candidate=failed / n if n else None, n=n, percent=True, method="exact")
    if not n:
        return settled(result, "INCONCLUSIVE", "which samples failed is not known of these tasks", "needs the figure")
    told = f"{count(failed)} of {counted(n, 'sample')} without an answer ({100 * failed / n:.3g} %), {budget.limit} allowed"
    return settled(result, "PASS" if failed / n <= budget.limit.value + 1e-12 else "FAIL", told)


def _without_data(name: str, budget: Budget) -> Pending:
    why = _NO_DATA.get(name, _NO_DATA[""])
    return settled(_result(name, budget), "INCONCLUSIVE", why, "needs a run that has the figure")


def _result(
    name: str, budget: Budget, *, ratio: float | None = None, ratio_ci: Interval | None = None, **facts: Any
) -> CheckResult:
    """``facts`` are fields of the result; the ratio to the baseline is told beside them."""
    before, after = facts.get("baseline"), facts.get("candidate")
    ratios = {"ratio": ratio, "ratio_ci": None if ratio_ci is None else list(ratio_ci)}
    return CheckResult(
        name=name,
        kind="budget",
        verdict=None,
        require=budget.require,
        sentence="",
        difference=None if before is None or after is None else after - before,
        margin=budget.limit.value,
        higher_is_better=False,
        detail={"limit": str(budget.limit), **{key: value for key, value in ratios.items() if value is not None}},
        **facts,
    )


def _what(q: float) -> str:
    return "median" if q == 0.5 else f"{100 * q:g}th percentile"


def _figure(name: str, value: float) -> str:
    return f"${value:,.4g}" if name == "cost_usd" else f"{number(value, 1)} tokens a sample"


def _signed(share: float) -> str:
    return f"{100 * share:+.1f} %"
