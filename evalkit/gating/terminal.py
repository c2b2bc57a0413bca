"""A gate's result for the person at the terminal: a table, and a line for each check that needs one."""

from __future__ import annotations

from collections.abc import Sequence

from evalkit.comparison.numbers import visible
from evalkit.figures import counted
from evalkit.gating.base import CheckResult, GateResult
from evalkit.gating.cells import bar, bar_scale, by_urgency, cells, failed, left_out, model_of, told, undecided, worse
from evalkit.gating.plan import PlanRow

HEADERS = ("Check", "Base", "Cand", "Difference", "95% CI", "", "Margin", "n", "Flips -/+", "Verdict")
RIGHT = (1, 2, 3, 4, 6, 7, 8)
SPARE = (5, 8, 1, 2)
PLAN_HEADERS = ("Check", "n", "Margin", "Certifiable", "Needed", "Enough", "Notes")
PLAN_RIGHT = (1, 2, 3, 4)

#: More slices that passed, or that are only shown, are counted.
_SLICES = 20
#: Samples that are named after a failure.
_SAMPLES = 5


def table(result: GateResult) -> list[Sequence[str]]:
    """Rows under `HEADERS`, what failed first; of many slices, only those that did not pass."""
    scale = bar_scale(result.checks)
    return [_row(check, scale) for check in _shown(result)]


def lines(result: GateResult) -> list[str]:
    """What is said below the table: why and what would settle it, which samples got worse, notes, and the headline last."""
    said = []
    for check in by_urgency(result.checks):
        if failed(check) or undecided(check):
            said.append(f"{check.verdict} {check.name}: {told(check)}")
        if failed(check) and (flips := worse(check)):
            more = f" and {len(flips) - _SAMPLES} more" if len(flips) > _SAMPLES else ""
            said.append(f"  got worse: {', '.join(flip.id for flip in flips[:_SAMPLES])}{more}")
        if check.require == "report" and check.kind != "slice" and check.verdict in ("FAIL", "INCONCLUSIVE"):
            said.append(f"shown ({check.verdict}) {check.name}: {told(check)}")
        if check.kind == "metric" and (reasons := left_out(check.left_out)):
            said.append(f"{check.name}: in no pair: {reasons}")
    if hidden := len(result.checks) - len(_shown(result)):
        said.append(f"{counted(hidden, 'slice')} that the verdict does not hang on: --json and --markdown have all")
    return [*map(visible, [*said, *result.notes, *_sides(result)]), visible(result.headline)]


def _sides(result: GateResult) -> list[str]:
    """Which runs these are, and where to look into the candidate's."""
    words = [
        f"{side.name} ({model})" if (model := model_of(side)) else side.name for side in (result.candidate, result.baseline)
    ]
    report = [] if result.candidate.report is None else [f"report: {result.candidate.report}"]
    return [f"candidate {words[0]} against baseline {words[1]}", *report]


def plan(rows: Sequence[PlanRow]) -> list[Sequence[str]]:
    """Rows under `PLAN_HEADERS`."""
    return [
        (
            visible(row.name),
            "" if row.n is None else f"{row.n:,}",
            _margin(row.margin, row.percent),
            _margin(row.certifiable, row.percent),
            "" if row.needed is None else f"{row.needed:,}",
            {True: "yes", False: "no", None: "?"}[row.can],
            visible(row.sentence),
        )
        for row in rows
    ]


def _shown(result: GateResult) -> list[CheckResult]:
    quiet = [check for check in result.checks if check.kind == "slice" and not failed(check) and not undecided(check)]
    hidden = set(map(id, quiet)) if len(quiet) > _SLICES else set()
    return [check for check in by_urgency(result.checks) if id(check) not in hidden]


def _row(check: CheckResult, scale: float) -> Sequence[str]:
    c = cells(check)
    drawn = bar(check, scale)
    figures = (c.baseline, c.candidate, c.difference, c.interval or c.own_interval, drawn, c.margin, c.n, c.flips)
    return (visible(check.name), *figures, c.verdict)


def _margin(value: float | None, percent: bool) -> str:
    return "" if value is None else f"{100 * value:.1f} pp" if percent else f"{value:.4g}"
