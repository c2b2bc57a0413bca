"""What a policy can certify with the data it has, before anything is spent."""

from __future__ import annotations

from dataclasses import dataclass

from evalkit.comparison.base import RunScores
from evalkit.gating.base import Kind, Require
from evalkit.gating.policy import Policy


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One check: the margin asked, and the smallest that its data certify with the power wanted, were the systems equal.

    Margins are in the metric's units (``percent``: a share, shown in percentage points). ``can`` is ``None`` where nothing
    is known of the data; ``sentence`` says why.
    """

    name: str
    kind: Kind
    require: Require
    task: str
    metric: str | None
    slice: str | None
    n: int | None
    margin: float | None
    certifiable: float | None
    needed: int | None
    can: bool | None
    sentence: str
    percent: bool = False


def plan_gate(policy: Policy, baseline: RunScores | None, *, power: float = 0.8, discordance: float = 0.08) -> list[PlanRow]:
    """What each check of ``policy`` can certify with ``power`` over the samples that ``baseline`` has.

    ``discordance`` is the share of items whose correctness flips between equal systems, assumed for 0/1 metrics.
    """
    raise NotImplementedError
