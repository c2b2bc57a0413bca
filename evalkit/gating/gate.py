"""The gate: a policy and two runs in, one verdict out."""

from __future__ import annotations

from evalkit.comparison.base import RunScores
from evalkit.gating.base import GateResult
from evalkit.gating.policy import Policy


def decide_gate(policy: Policy, baseline: RunScores, candidate: RunScores) -> GateResult:
    """The verdict of ``policy`` on ``candidate`` against ``baseline``.

    Raises NotComparable (exit 4) where the runs differ in what was asked, or lack a task or metric that a check names, and
    ConfigError where a check does not fit its metric.
    """
    raise NotImplementedError
