"""The gate: a policy and two runs in, one verdict with one exit code out."""

from __future__ import annotations

from collections.abc import Sequence

from evalkit.comparison.base import RunScores
from evalkit.comparison.match import match_runs
from evalkit.comparison.numbers import format_value
from evalkit.figures import count, counted
from evalkit.gating.base import EXIT_CODES, CheckResult, GateResult, Side, Verdict
from evalkit.gating.budgets import budget_checks
from evalkit.gating.checks import metric_check
from evalkit.gating.failures import failure_checks
from evalkit.gating.floors import floor_check
from evalkit.gating.names import leaves, measured_of
from evalkit.gating.pending import Pending, settle_all
from evalkit.gating.policy import Policy
from evalkit.gating.select import Selected, selected

_SHOWN = 3


def decide_gate(policy: Policy, baseline: RunScores, candidate: RunScores) -> GateResult:
    """The verdict of ``policy`` on ``candidate`` against ``baseline``.

    PASS where every check that must pass does and none fails (an intersection of tests needs no correction: Berger 1982);
    FAIL where one fails (a union: Holm's correction over all of the gate's tests that can); else INCONCLUSIVE.

    Raises NotComparable (exit 4) where the runs differ in what was asked, or lack a task or metric that a check names, and
    ConfigError where a check does not fit its metric.
    """
    chosen = selected(policy, baseline, candidate)
    tasks = list(dict.fromkeys(leaf for one in chosen for leaf in leaves(candidate, one.found.task)))
    # budgets alone are held against the same samples, too
    matching = match_runs(
        baseline,
        candidate,
        tasks=tasks or None,
        metrics=list(dict.fromkeys(one.found.metric.name for one in chosen)),
        min_overlap=policy.min_overlap,
    )
    checks = settle_all(_pending(policy, chosen, tasks, baseline, candidate))
    verdict = overall(checks)
    return GateResult(
        gate=policy.gate,
        verdict=verdict,
        exit_code=EXIT_CODES[verdict] if verdict != "INCONCLUSIVE" or policy.inconclusive == "fail" else 0,
        headline=headline(verdict, checks),
        checks=checks,
        baseline=side(baseline),
        candidate=side(candidate),
        alpha=policy.alpha,
        inconclusive=policy.inconclusive,
        policy_hash=policy.hash,
        notes=(*matching.notes, *_unjudged(chosen, baseline), *_at_worst(chosen), *_notes(policy, checks)),
        detail={"errors": policy.errors, "max_error_rate": policy.max_error_rate, "policy": str(policy.path or "")},
    )


def overall(checks: Sequence[CheckResult]) -> Verdict:
    """One verdict of many. A gate in which nothing that is required was decided is INCONCLUSIVE, never an empty PASS."""
    binding = [check for check in checks if check.require != "report"]
    if any(check.verdict == "FAIL" for check in binding):
        return "FAIL"
    if any(check.require == "pass" and check.verdict != "PASS" for check in binding):
        return "INCONCLUSIVE"
    return "PASS" if any(check.verdict is not None and check.kind != "errors" for check in binding) else "INCONCLUSIVE"


def side(run: RunScores) -> Side:
    """A run as outputs name it."""
    manifest = run.manifest
    report = None if run.path is None or not (run.path / "report.html").is_file() else str(run.path / "report.html")
    return Side(
        name=run.name,
        source=run.source,
        model=str((manifest.get("model") or {}).get("name", "")),
        fingerprint=str((manifest.get("fingerprints") or {}).get("model", "")),
        run_id=str(manifest.get("id", "")),
        created=str(manifest.get("created", "")),
        evalkit=str(manifest.get("evalkit", "")),
        report=report,
        model_args={str(key): value for key, value in ((manifest.get("config") or {}).get("model_args") or {}).items()},
    )


def _pending(
    policy: Policy, chosen: list[Selected], tasks: list[str], baseline: RunScores, candidate: RunScores
) -> list[Pending]:
    found: list[Pending] = []
    for one in chosen:
        if (check := metric_check(policy, one, candidate)) is not None:
            found.append(check)
        if one.check.floor is not None and one.found.slice is None:
            found.append(floor_check(policy, one, candidate))
    found += failure_checks(policy, chosen, baseline, candidate)
    return [*found, *budget_checks(policy, tasks, baseline, candidate)]


def headline(verdict: Verdict, checks: Sequence[CheckResult]) -> str:
    """Verdict and one sentence."""
    binding = [check for check in checks if check.require != "report"]
    if verdict == "PASS":
        open_ = [check for check in binding if check.verdict != "PASS"]
        also = f"; {counted(len(open_), 'check')} that must not fail could not be decided" if open_ else ""
        return f"PASS: {counted(len(binding) - len(open_), 'check')} passed{also}"
    if verdict == "FAIL":
        failed = [check for check in binding if check.verdict == "FAIL"]
        return f"FAIL: {len(failed)} of {counted(len(binding), 'check')} failed: {_named(failed)}"
    waiting = [check for check in binding if check.require == "pass" and check.verdict != "PASS"]
    if not waiting:
        return "INCONCLUSIVE: nothing that the policy requires could be decided"
    return f"INCONCLUSIVE: {len(waiting)} of {counted(len(binding), 'check')} cannot be decided: {_named(waiting)}"


def _named(checks: Sequence[CheckResult]) -> str:
    first = checks[0]
    sentences = f"{first.name}: {first.sentence}"
    if len(checks) == 1:
        return sentences
    names = ", ".join(check.name for check in checks[1:_SHOWN])
    more = f" and {len(checks) - _SHOWN} more" if len(checks) > _SHOWN else ""
    return f"{sentences}; also {names}{more}"


def _unjudged(chosen: Sequence[Selected], baseline: RunScores) -> list[str]:
    """The members of groups that a check of the group leaves out and that no other judges."""
    judged = {task.task for one in chosen for task, _ in measured_of(baseline, one.found)}
    notes = []
    for one in chosen:
        rest = [task for task in leaves(baseline, one.found.task) if task not in judged]
        if rest:
            has = "has" if len(rest) == 1 else "have"
            metric = one.found.metric.name
            notes.append(f"{one.found.key} is without {', '.join(rest)}, which {has} no {metric}: no check judges it")
    return notes


def _at_worst(chosen: Sequence[Selected]) -> list[str]:
    """Checks whose baseline cannot be undercut: no candidate fails them."""
    notes = []
    for one in chosen:
        metric = one.found.metric
        worst = None if metric.higher_is_better is None else metric.low if metric.higher_is_better else metric.high
        if one.margin is not None and one.found.slice is None and worst is not None and one.found.baseline_value == worst:
            value = format_value(worst, metric)
            notes.append(
                f"{one.found.key}: the baseline is at {value}, the worst that there is: these samples cannot show a loss"
            )
    return notes


def _notes(policy: Policy, checks: Sequence[CheckResult]) -> list[str]:
    notes = []
    whole = [check for check in checks if check.kind == "metric" and "members" not in check.detail]
    left = {check.task: check.left_out.pairs for check in whole if check.left_out is not None and check.left_out.pairs}
    if left and policy.errors == "leave-out":
        told = ", ".join(f"{count(pairs)} of {task}" for task, pairs in left.items())
        notes.append(f"samples without a score in one of the runs are in no pair: {told}")
    if policy.errors == "wrong":
        notes.append("samples of the candidate without a score count as the metric's worst value")
    return notes
