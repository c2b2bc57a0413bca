"""Comparisons with the baseline as checks of a gate: metrics and their slices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from evalkit.comparison.base import RunScores
from evalkit.comparison.numbers import is_share
from evalkit.figures import count
from evalkit.gating.base import CheckResult
from evalkit.gating.decide import decide, evidence
from evalkit.gating.judges import doubt
from evalkit.gating.names import leaves
from evalkit.gating.pending import Pending, Settled, settled
from evalkit.gating.policy import Policy
from evalkit.gating.select import Selected
from evalkit.gating.sentences import compared
from evalkit.gating.settle import needs


def metric_checks(policy: Policy, chosen: list[Selected], candidate: RunScores) -> Iterator[Pending]:
    """The check of every comparison that has a margin, in order."""
    return (pending for one in chosen if (pending := metric_check(policy, one, candidate)) is not None)


def metric_check(policy: Policy, one: Selected, candidate: RunScores) -> Pending | None:
    """``None`` for a check that has only a floor."""
    if one.margin is None:
        return None
    result, found = _result(policy, one, one.margin), one.found
    if (why := doubt(policy, one.check, found, candidate)) is not None:
        return settled(result, "INCONCLUSIVE", why, why)
    if found.slice is not None and found.n < one.min_n:
        few = f"{count(found.n)} pairs are too few to be tested (min_n {one.min_n})"
        if one.require == "pass":
            return settled(result, "INCONCLUSIVE", few, f"needs {count(one.min_n)} items (has {count(found.n)})")
        return settled(result, None, f"{few}: shown only")
    if found.metric.higher_is_better is None:
        return settled(result, None, "neither more nor less is better: shown only")
    if found.test is None:
        return settled(result, "INCONCLUSIVE", _untested(one), _untested(one))
    return _tested(policy, one, one.margin, result, candidate)


def _tested(policy: Policy, one: Selected, margin: float, result: CheckResult, candidate: RunScores) -> Pending:
    found, alpha, percent = one.found, policy.alpha, is_share(one.found.metric)
    assert found.test is not None
    test = found.test if found.metric.higher_is_better else found.test.flipped()
    shown = evidence(test, alpha)
    strict = one.check.strict is not None

    def settle(p: float | None, tests: int) -> Settled:
        verdict = decide(shown, margin, alpha, p=p, strict=strict)
        sentence = compared(shown, margin, alpha, verdict, percent=percent, p_adjusted=p, tests=tests, strict=strict)
        if verdict == "PASS" and found.n < one.min_n:
            few = f"{count(found.n)} pairs are fewer than min_n {one.min_n}: too few to pass"
            return Settled("INCONCLUSIVE", f"{few} ({sentence})", f"needs {count(one.min_n)} items (has {count(found.n)})")
        if verdict != "INCONCLUSIVE":
            return Settled(verdict, sentence)
        size, generated = data_of(candidate, one)
        ways = needs(test, shown, margin, alpha, size=size, repeatable=generated, percent=percent)
        return Settled(verdict, sentence, ways)

    return Pending(result, shown.p, settle)


def _result(policy: Policy, one: Selected, margin: float) -> CheckResult:
    found, test = one.found, one.found.test
    higher = found.metric.higher_is_better
    turned = test if test is None or higher is not False else test.flipped()
    notes: dict[str, object] = {"notes": list(found.notes)} if found.notes else {}
    relative = {"relative_margin": str(one.said)} if one.said is not None and one.said.kind == "relative" else {}
    return CheckResult(
        name=found.key,
        kind="metric" if found.slice is None else "slice",
        verdict=None,
        require=one.require,
        sentence="",
        task=found.task,
        metric=found.metric.name,
        slice=found.slice,
        baseline=found.baseline_value,
        candidate=found.system_value,
        difference=None if test is None or test.value != test.value else test.value,
        ci=None if test is None else test.interval(0.95),
        bound=None if turned is None else turned.lower(policy.alpha),
        margin=margin,
        n=found.n,
        units=None if test is None else test.units,
        gained=found.gained,
        lost=found.lost,
        flips=found.flips,
        left_out=found.left_out,
        method=None if test is None else test.method,
        higher_is_better=higher,
        percent=is_share(found.metric),
        detail={
            "signature": found.signature,
            "filter": found.filter,
            "check": one.at,
            "min_n": one.min_n,
            **({} if test is None else {"p_method": test.p_method}),
            **({"strict": "beyond_margin"} if one.check.strict else {}),
            **relative,
            **notes,
            **dict(found.detail),
        },
    )


def _untested(one: Selected) -> str:
    if not one.found.n:
        return "no sample has a value in both runs"
    return "there is no paired test of it: a single unit, or a metric that only its task's folder can compute"


def data_of(candidate: RunScores, one: Selected) -> tuple[int | None, bool]:
    """How many items the check's tasks have, and whether their answers are generated and sampled."""
    keys = [(name, one.found.filter) for name in leaves(candidate, one.found.task)]
    entries = candidate.manifest.get("tasks") or {}
    generated = all(_sampled(candidate, entries.get(name) or {}) for name, _ in keys)
    whole = one.found.slice is None and all(key in candidate.tasks for key in keys)
    return (sum(candidate.tasks[key].size for key in keys) if whole else None), generated


def _sampled(run: RunScores, entry: Mapping[str, Any]) -> bool:
    """Whether a task's answers are drawn, so that asking again brings others: greedy ones are the same each time."""
    asked = (entry.get("definition") or {}).get("generation_kwargs") or {}
    asked = {**asked, **((run.manifest.get("config") or {}).get("gen_kwargs") or {})}
    drawn = bool(asked.get("do_sample", True)) and float(asked.get("temperature") or 0) > 0
    return entry.get("output_type") == "generate_until" and drawn
