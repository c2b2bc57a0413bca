"""From a policy and the names of two runs to a verdict: the same for the command line, Python and pytest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from evalkit.comparison.base import RunScores
from evalkit.comparison.load import load_scores
from evalkit.errors import ConfigError, NotComparable, NotFound, StoreError, nearest
from evalkit.figures import counted
from evalkit.gating.base import EXIT_CODES, GateResult, Inconclusive, Side
from evalkit.gating.gate import decide_gate, headline, overall
from evalkit.gating.policy import Policy, load_policy

#: What needs no baseline.
_ABSOLUTE = ("floor", "budget")
_NO_BASELINE = Side("none", "none", "", "", "", "", "")


def read_policy(policy: str | Path | Policy, inconclusive: str | None = None) -> Policy:
    """The policy, read where it is a path; ``inconclusive`` instead of what it says. Raises ConfigError."""
    found = policy if isinstance(policy, Policy) else load_policy(Path(policy))
    if inconclusive is None:
        return found
    if inconclusive not in get_args(Inconclusive):
        known = ", ".join(get_args(Inconclusive))
        raise ConfigError(
            f"inconclusive is one of {known}, not {inconclusive!r}{nearest(inconclusive, get_args(Inconclusive))}"
        )
    return found.model_copy(update={"inconclusive": inconclusive})


def find_baseline(
    policy: Policy, source: str | Path | None = None, *, output_dir: str | Path = "runs", missing_ok: bool = False
) -> RunScores | None:
    """The scores of ``source``, or of the baseline that the policy names.

    ``None`` where there is nothing of that name and ``missing_ok``, and where none is named for a policy that compares
    nothing; otherwise that raises NotComparable. One that is there but cannot be read is never taken for missing.
    """
    named = str(source) if source is not None else policy.baseline_source()
    if named is None:
        if missing_ok or not _compares(policy):
            return None
        raise ConfigError(f"{policy.path or policy.gate}: no baseline; the policy names one (baseline: ...), or --baseline")
    try:
        return load_scores(named, output_dir=output_dir)
    except StoreError as error:
        if missing_ok and isinstance(error, NotFound):
            return None
        said = str(error)
        raise NotComparable(f"baseline {said if said.startswith(named) else f'{named}: {said}'}") from error


def gate_scores(
    policy: Policy, baseline: RunScores | None, candidate: RunScores, *, missing: str | Path | None = None
) -> GateResult:
    """The verdict on ``candidate``. Without a baseline, of what needs none; such a gate is INCONCLUSIVE with exit code 0.

    ``missing``: what was looked for where there is no baseline; the policy's by default. Raises what `decide_gate` raises.
    """
    result = decide_gate(policy, baseline, candidate) if baseline is not None else _alone(policy, candidate, missing)
    if baseline is not None and baseline.manifest.get("id") == candidate.manifest.get("id") is not None:
        result = replace(result, notes=("baseline and candidate are the same run: no difference can show", *result.notes))
    seed = (candidate.manifest.get("config") or {}).get("seed")
    return result if seed is None else replace(result, detail={**result.detail, "seed": seed})


def _alone(policy: Policy, candidate: RunScores, missing: str | Path | None) -> GateResult:
    """Floors and absolute budgets, held against the candidate alone: what compares it with itself is left out."""
    found = decide_gate(_without_baseline(policy), candidate, candidate)
    checks = tuple(check for check in found.checks if check.kind in _ABSOLUTE)
    why = f"there is no baseline ({missing or policy.baseline or 'none is named'}), so nothing was compared"
    alone = replace(found, checks=checks, baseline=_NO_BASELINE, policy_hash=policy.hash, notes=(why, *found.notes))
    if not _compares(policy):
        verdict = overall(checks)
        code = EXIT_CODES[verdict] if verdict != "INCONCLUSIVE" or policy.inconclusive == "fail" else 0
        return replace(alone, verdict=verdict, exit_code=code, headline=headline(verdict, checks), notes=found.notes)
    if any(
        c.verdict != "PASS" and (c.require == "pass" or (c.require == "not-fail" and c.verdict == "FAIL")) for c in checks
    ):
        return alone
    held = f"; {counted(len(checks), 'check')} that need none passed" if checks else ""
    return replace(alone, verdict="INCONCLUSIVE", exit_code=EXIT_CODES["PASS"], headline=f"INCONCLUSIVE: {why}{held}")


def _compares(policy: Policy) -> bool:
    """Whether anything of the policy is held against a baseline: all but floors and absolute budgets."""
    margins = any(check.margin or policy.defaults.margin or check.slices for check in policy.checks)
    return margins or any(budget.limit.kind != "absolute" for budget in policy.budgets.given().values())


def _without_baseline(policy: Policy) -> Policy:
    """The policy with its floors and absolute budgets, its other checks only named: budgets are over their tasks."""
    bare: dict[str, Any] = {"margin": None, "slices": [], "min_judge_alpha": None}
    only_named = {**bare, "require": "report"}
    checks = [check.model_copy(update=only_named if check.floor is None else bare) for check in policy.checks]
    relative = [name for name, budget in policy.budgets.given().items() if budget.limit.kind != "absolute"]
    budgets = policy.budgets.model_copy(update=dict.fromkeys(relative))
    defaults = policy.defaults.model_copy(update={"margin": None})
    return policy.model_copy(update={"checks": checks, "defaults": defaults, "budgets": budgets})
