"""Gate results made by hand, for the tests of what is made of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from evalkit.comparison.base import Flip, LeftOut
from evalkit.gating.base import CheckResult, GateResult, Side

#: What data, models and people put into ids and names to become something else than text.
NASTY = (
    "a|b",
    "<script>alert(1)</script>",
    "]]>",
    "line\nbreak\r\nand\ttab",
    "::error::owned",
    "%0A::set-output name=x::y",
    "\x1b[31mred\x1b[0m",
    "nul\x00bell\x07",
    "lone\ud800surrogate",
    "`code` **bold** _it_ [x](http://evil.example) ![i](x) @admin #1 :smile: $x$",
    "<!-- evalkit-gate:other -->",
    "\u202eright to left",
    "--> </details> &amp;",
)

BASE = Side("base", "runs/base", "hf/one", "f" * 64, "20261122-base", "2026-11-22T10:00:00+00:00", "0.1.0")
CANDIDATE = Side(
    "cand",
    "runs/cand",
    "hf/two",
    "e" * 64,
    "20261122-cand",
    "2026-11-22T11:00:00+00:00",
    "0.1.0",
    report="runs/cand/report.html",
)


def check(name: str = "gsm8k exact_match", **changes: Any) -> CheckResult:
    """A check of a share that passed, with changes."""
    made = CheckResult(
        name=name,
        kind="metric",
        verdict="PASS",
        require="pass",
        sentence="not worse by more than 2.0 pp",
        task="gsm8k",
        metric="exact_match",
        baseline=0.74,
        candidate=0.735,
        difference=-0.005,
        ci=(-0.013, 0.004),
        bound=-0.012,
        margin=0.02,
        p=0.2,
        n=1319,
        units=1319,
        gained=20,
        lost=27,
        method="tango",
        percent=True,
    )
    return replace(made, **changes)


FAILED = check(
    "arc_easy acc",
    verdict="FAIL",
    sentence="worse by 3.1 pp, more than the margin of 2.0 pp (p = .001)",
    task="arc_easy",
    baseline=0.7,
    candidate=0.669,
    difference=-0.031,
    ci=(-0.048, -0.014),
    bound=-0.045,
    p=0.001,
    p_adjusted=0.002,
    gained=10,
    lost=41,
    flips=(Flip("arc_easy", "q-7", 1.0, 0.0, "report.html#samples?task=arc_easy&s=q-7"), Flip("arc_easy", "q-9", 0.0, 1.0)),
    left_out=LeftOut(system_errors=3, pairs=3),
)
UNDECIDED = check(
    "ifeval prompt",
    verdict="INCONCLUSIVE",
    sentence="the drop may be larger than 2.0 pp",
    needs="needs about 1,900 items (it has 541), or a margin of 3.2 pp",
    n=541,
)
BUDGET = check(
    "p95_latency_s", kind="budget", sentence="3.1 s, within 4 s", baseline=2.9, candidate=3.1, difference=0.2, ci=(0.1, 0.3),
    unit="s", percent=False, lost=None, gained=None,
)  # fmt: skip
SLICE = check("mmlu acc [subject=law]", kind="slice", slice="subject=law", require="not-fail", n=44)


def result(*checks: CheckResult, **changes: Any) -> GateResult:
    """A result with these checks; its verdict is that of the worst."""
    verdicts = [c.verdict for c in checks]
    verdict = next((v for v in ("FAIL", "INCONCLUSIVE") if v in verdicts), "PASS")
    made = GateResult(
        gate="release",
        verdict=verdict,  # type: ignore[arg-type]
        exit_code={"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 3}[verdict],
        headline=f"{verdict}: as the checks say",
        checks=checks,
        baseline=BASE,
        candidate=CANDIDATE,
        alpha=0.05,
        inconclusive="fail",
        policy_hash="0123456789abcdef0123",
        detail={"seed": 0},
    )
    return replace(made, **changes)


def nasty(text: str) -> GateResult:
    """A result in which every name, id and sentence is ``text``."""
    flips = (Flip(text, text, 1.0, 0.0),)
    side = Side(text, text, text, text, text, text, text, report=text)
    failed = replace(FAILED, name=text, sentence=text, needs=text, task=text, metric=text, slice=text, flips=flips)
    undecided = replace(UNDECIDED, name=text, sentence=text, needs=text)
    slices = replace(SLICE, name=text, sentence=text)
    budget = replace(BUDGET, name=text, sentence=text)
    return result(failed, undecided, slices, budget, headline=text, gate=text, notes=(text,), baseline=side, candidate=side)
