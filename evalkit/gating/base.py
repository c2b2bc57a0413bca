"""What a gate finds, as plain data: the one object that every output is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from evalkit.comparison.base import Flip, LeftOut
from evalkit.types import Json

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]
#: ``pass``: must be shown not worse; ``not-fail``: must not be shown worse; ``report``: only shown.
Require = Literal["pass", "not-fail", "report"]
Kind = Literal["metric", "slice", "floor", "budget", "errors"]
#: What an INCONCLUSIVE gate is for the caller: a failed build, a warning (exit 0, said loudly), or fine.
Inconclusive = Literal["fail", "warn", "pass"]

EXIT_CODES: Mapping[Verdict, int] = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 3}


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check of a policy. ``verdict`` is ``None`` where it is only shown (a slice below its minimum n).

    Differences are candidate - baseline in the metric's units, ``bound`` the one-sided lower bound (of the improvement: the
    sign is turned for metrics where lower is better) that is held against -``margin``. ``p`` is one-sided ("not worse"),
    ``p_adjusted`` Holm's over all tests of the gate that can FAIL. ``percent``: values are shares, shown as per cent.
    """

    name: str
    kind: Kind
    verdict: Verdict | None
    require: Require
    sentence: str
    """One line: why."""
    needs: str | None = None
    """What would settle an INCONCLUSIVE: N items, K repeats, or which margin."""
    task: str | None = None
    metric: str | None = None
    slice: str | None = None
    baseline: float | None = None
    candidate: float | None = None
    difference: float | None = None
    ci: tuple[float, float] | None = None
    bound: float | None = None
    margin: float | None = None
    floor: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    n: int | None = None
    units: int | None = None
    gained: int | None = None
    lost: int | None = None
    flips: tuple[Flip, ...] = ()
    left_out: LeftOut | None = None
    method: str | None = None
    higher_is_better: bool | None = True
    percent: bool = False
    unit: str = ""
    """Of a budget's values: ``s``, ``$``, ``tokens``."""
    detail: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two runs as outputs name it."""

    name: str
    source: str
    model: str
    fingerprint: str
    run_id: str
    created: str
    evalkit: str
    report: str | None = None
    """Path of the run's HTML report, where there is one."""
    model_args: Mapping[str, Json] = field(default_factory=dict)
    """The model's options: ``dtype`` and the like."""


@dataclass(frozen=True, slots=True)
class GateResult:
    """One verdict, one exit code, and everything they rest on."""

    gate: str
    verdict: Verdict
    exit_code: int
    headline: str
    """Verdict and one sentence."""
    checks: tuple[CheckResult, ...]
    baseline: Side
    candidate: Side
    alpha: float
    inconclusive: Inconclusive
    policy_hash: str
    notes: tuple[str, ...] = ()
    baseline_promoted: bool = False
    detail: Mapping[str, Json] = field(default_factory=dict)
