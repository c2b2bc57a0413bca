"""Judges as the report tells them: what they are, what they said, what they let pass, and what they are worth beside people.

Everything comes from the scorers' details (`Judge.detail`, `JudgePairwise.detail`) and from the run's calibration files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from evalkit.calibrate.judge_file import read_calibration
from evalkit.calibrate.judge_run import parameter
from evalkit.report import base
from evalkit.report.base import ReportableRun
from evalkit.report.judge_calibration import Calibrated, calibrated
from evalkit.report.numbers import NOTES, count, counted, direction, interval, number, scale
from evalkit.types import Json, Summary

#: Notes whose facts stand in the section's own tables.
_SHOWN = ("canaries ", "verdicts missing", "probability is on no label")


@dataclass(frozen=True, slots=True)
class Mean:
    """A criterion's mean as the judge alone sees it."""

    metric: str
    arrow: str
    scale: str
    value: str
    ci: str
    n: str


@dataclass(frozen=True, slots=True)
class Canary:
    """A worthless output and what a judge gave it, a cell a criterion: (text, whether that was more than the floor)."""

    name: str
    judge: str
    cells: list[tuple[str, bool]]


@dataclass(frozen=True, slots=True)
class JudgeSection:
    """What is told of one judge on one task."""

    task: str
    name: str
    scorer: str
    facts: list[tuple[str, str]]
    caveats: list[str]
    means: list[Mean]
    counts: str
    outside: str
    canary_columns: list[str]
    canaries: list[Canary]
    earned: str
    panel: list[list[str]]
    panel_columns: list[str]
    trivial: list[tuple[str, str]]
    trivial_remark: str
    calibration: Calibrated | None


def judge_sections(run: ReportableRun, summaries: Sequence[Summary]) -> list[JudgeSection]:
    """Every judge of every task, in the order of the tables; empty for runs without one."""
    groups = base.groups(run)
    found: dict[tuple[str, str, str], list[Summary]] = {}
    for s in summaries:
        if s.slice is None and s.task not in groups and "rubric" in s.detail and {"judges", "judge"} & s.detail.keys():
            found.setdefault((s.task, s.filter, s.scorer), []).append(s)
    order = {name: i for i, (name, _) in enumerate(base.outline(run))}
    keys = sorted(found, key=lambda key: order.get(key[0], 0))
    return [_section(run, found[key]) for key in keys]


def _section(run: ReportableRun, own: Sequence[Summary]) -> JudgeSection:
    first = own[0]
    detail = first.detail
    canary_columns, canaries = _canaries(detail)
    panel_columns, panel = _panel(detail)
    trivial = detail.get("win_rate_of_trivial_judges")
    stored = read_calibration(run.path, first.scorer, first.signature, first.task)
    return JudgeSection(
        task=first.task,
        name=base.alias(run, first.task),
        scorer=first.scorer if first.filter == "none" else f"{first.scorer}, {first.filter}",
        facts=list(_facts(first)),
        caveats=[n for n in dict.fromkeys(n for s in own for n in s.notes) if n not in NOTES and not _told(n)],
        means=[_mean(s) for s in own if "@" not in s.metric],
        counts=_counts(detail),
        outside=_outside(detail),
        canary_columns=canary_columns,
        canaries=canaries,
        earned=_earned(detail),
        panel=panel,
        panel_columns=panel_columns,
        trivial=[(name, number(value)) for name, value in trivial.items()] if isinstance(trivial, Mapping) else [],
        trivial_remark=_trivial_remark(detail),
        calibration=None if stored is None else calibrated(stored),
    )


def _told(note: str) -> bool:
    return any(words in note for words in _SHOWN)


def _facts(s: Summary) -> Iterator[tuple[str, str]]:
    judges = s.detail.get("judges")
    models = list(judges.values()) if isinstance(judges, Mapping) else [s.detail.get("judge")]
    yield ("Judge" if len(models) == 1 else "Panel"), ", ".join(str(model) for model in models if model) or "unknown"
    hashed = (parameter(s.signature, "rubric") or "").rpartition("@")[2]
    yield "Rubric", f"{s.detail['rubric']}" + (f" ({hashed})" if hashed else "")
    for label, name in (
        ("Score mode", "mode"), ("How asked", "via"), ("Style", "style"), ("Combined by", "combine"), ("Orders", "orders"),
        ("Disagreeing orders", "swap"), ("Compared with", "against"),
    ):  # fmt: skip
        value = parameter(s.signature, name)
        if value:
            yield label, value.replace("_", " ")


def _mean(s: Summary) -> Mean:
    return Mean(s.metric, direction(s), scale(s), number(s.value), "–" if s.ci is None else interval(s.ci), count(s.n))


def _counts(detail: Mapping[str, Json]) -> str:
    """How many verdicts were asked for, and how many came to nothing."""
    asked = detail.get("verdicts")
    if not isinstance(asked, int):
        return ""
    failed, refused = (int(detail.get(key) or 0) for key in ("failed", "refused"))
    lost = failed + refused
    share = f" ({lost / asked:.1%})" if asked and lost else ""
    again = int(detail.get("asked_again") or 0)
    more = f" {counted(again, 'verdict')} had to be asked for again." if again else ""
    return (
        f"{counted(asked, 'verdict')}: {count(failed)} could not be read, {count(refused)} refused{share}. "
        f"Neither counts as a score.{more}{_unscored(detail)}"
    )


def _unscored(detail: Mapping[str, Json]) -> str:
    """Samples without any score: those verdicts are not among the counted ones."""
    reasons = detail.get("unscored")
    if not isinstance(reasons, Mapping) or not reasons:
        return ""
    told = "; ".join(f"{count(int(n))}: {reason}" for reason, n in list(reasons.items())[:3])
    return f" {counted(sum(map(int, reasons.values())), 'sample')} without a score ({told})."


def _outside(detail: Mapping[str, Json]) -> str:
    found = detail.get("outside")
    if not isinstance(found, Mapping):
        return ""
    return (
        f"Probability on none of the scale's labels: {found['mean']:.1%} on the mean, {found['worst']:.1%} at worst; "
        "what is left was scaled to 1."
    )


def _canaries(detail: Mapping[str, Json]) -> tuple[list[str], list[Canary]]:
    entries = [entry for entry in detail.get("canaries") or () if isinstance(entry, Mapping)]
    columns = list(dict.fromkeys(str(entry["criterion"]) for entry in entries))
    rows: dict[tuple[str, str], dict[str, Mapping[str, Json]]] = {}
    for entry in entries:
        rows.setdefault((str(entry["canary"]), str(entry.get("judge") or "")), {})[str(entry["criterion"])] = entry
    several = len({judge for _, judge in rows}) > 1
    return columns, [
        Canary(name, judge if several else "", [_canary(cells.get(column)) for column in columns])
        for (name, judge), cells in rows.items()
    ]


def _canary(entry: Mapping[str, Json] | None) -> tuple[str, bool]:
    if entry is None:
        return "", False
    if entry.get("value") is None:
        return str(entry.get("state") or "no verdict"), False
    return number(float(entry["value"]), 2), bool(entry.get("earned"))


def _earned(detail: Mapping[str, Json]) -> str:
    entries = [
        entry for entry in detail.get("canaries") or () if isinstance(entry, Mapping) and entry.get("worthless", True)
    ]
    fell = sum(bool(entry.get("earned")) for entry in entries)
    if not entries:
        return ""
    if not fell:
        return "None of them earned more than the scale's floor."
    return f"{fell} of {len(entries)} earned more than they deserve: a text can win marks of this judge for nothing."


def _panel(detail: Mapping[str, Json]) -> tuple[list[str], list[list[str]]]:
    found = detail.get("panel")
    if not isinstance(found, Mapping) or not found:
        return [], []
    judges = list(dict.fromkeys(role for part in found.values() for role in part.get("mean", {})))
    names = detail.get("judges")
    labels = [str(names.get(role, role)) if isinstance(names, Mapping) else role for role in judges]
    rows = []
    for criterion, part in found.items():
        own = [number(part.get("mean", {}).get(role), 3) for role in judges]
        without = [number(part.get("without", {}).get(role), 3) for role in judges]
        rows.append([str(criterion), *own, number(part.get("spread"), 3), *without])
    return [*labels, "Spread between judges", *(f"Panel without {label}" for label in labels)], rows


def _trivial_remark(detail: Mapping[str, Json]) -> str:
    share = detail.get("agrees_with_longest")
    return "" if share is None else f"Where it decided, it chose the longer of the two texts in {share:.0%}."
