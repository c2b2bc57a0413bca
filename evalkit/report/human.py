"""People's ratings of a run's outputs as its report tells them: what `evalkit human report --attach` put into the run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from evalkit.human.attach import FOLDER, SCHEMA, SUMMARY
from evalkit.report.axis import axis
from evalkit.report.base import ReportableRun
from evalkit.report.forest import Forest, Group
from evalkit.report.numbers import count, number


@dataclass(frozen=True, slots=True)
class Rated:
    """One criterion: its name, a drawing, and the cells of the table."""

    name: str
    bar: Markup
    cells: list[str]


@dataclass(frozen=True, slots=True)
class HumanSection:
    """What people said of this run. ``head`` is the scale above the drawings, the same for all of them."""

    study: str
    system: str
    pairs: bool
    notes: list[str]
    rows: list[Rated]
    head: Markup


def human_section(run: ReportableRun) -> HumanSection | None:
    """The section; ``None`` where nobody rated the run, or the file of it is of another evalkit or damaged."""
    if run.path is None:
        return None
    try:
        told = json.loads((run.path / FOLDER / SUMMARY).read_text("utf-8"))
        return _section(told) if told["schema"] == SCHEMA and told["criteria"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _section(told: dict[str, Any]) -> HumanSection:
    criteria = told["criteria"]
    pairs = told["form"] == "pairwise"
    groups = [Group(one["title"], one["mean"], _ci(one["ci"]), one["items"]) for one in criteria]
    ends = [] if told["z"] else [value for one in criteria for value in (one["low"], one["high"])]
    reach = [v for group in groups for v in (group.value, *(group.ci or ())) if v is not None]
    bars = Forest("", groups, len(groups), 0.5 if pairs else None, "", "", axis([*reach, *ends], 6, 294))
    rows = [
        Rated(
            f"{one['title']}, against {one['against']}" if pairs else one["title"],
            bars.bar(group),
            [
                number(one["mean"], 3), "–" if group.ci is None else f"[{group.ci[0]:.3f}, {group.ci[1]:.3f}]",
                count(one["items"]), count(one["annotators"]), *(_known(one[name]) for name in ("alpha_ordinal", "ac2")),
            ],
        )
        for one, group in zip(criteria, groups, strict=True)
    ]  # fmt: skip
    return HumanSection(told["study"], told["system"], pairs, list(told["notes"]), rows, bars.head)


def _ci(ci: list[float] | None) -> tuple[float, float] | None:
    return None if ci is None else (float(ci[0]), float(ci[1]))


def _known(value: float | None) -> str:
    return "undefined" if value is None else number(value, 3)
