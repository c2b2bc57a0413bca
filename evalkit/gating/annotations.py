"""A gate's result as workflow commands of GitHub Actions: lines that GitHub shows beside the build."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from evalkit.comparison.numbers import visible
from evalkit.errors import EvalkitError
from evalkit.gating.base import CheckResult, GateResult
from evalkit.gating.cells import failed, told, undecided

Level = Literal["error", "warning", "notice"]

#: GitHub shows as many of each level for a step, and drops the others without a word.
MOST = 10

#: Characters. GitHub cuts longer ones.
_LONGEST, _LONGEST_TITLE = 4096, 255


def render(result: GateResult) -> list[str]:
    """The commands, what failed first; the last of a level that has more than `MOST` says how many more there are.

    A check that failed is an error. One that is undecided is what the gate makes of it: an error where that ends the build,
    a warning where it is told, a notice where it passes. A gate that passed is one notice.
    """
    levels: dict[str, Level] = {"fail": "error", "warn": "warning", "pass": "notice"}
    level = levels[result.inconclusive]
    found: dict[Level, list[str]] = {"error": [], "warning": [], "notice": []}
    found["error"] += [_of(result, "error", check) for check in result.checks if failed(check)]
    found[level] += [_of(result, level, check) for check in result.checks if undecided(check)]
    if not any(found.values()):
        found["notice"].append(command("notice", result.headline, title=f"gate {result.gate}"))
    return [line for kind in found for line in _capped(kind, found[kind], result.gate)]


def refused(gate: str, error: EvalkitError) -> list[str]:
    """The one command where there is no verdict."""
    return [command("error", str(error), title=f"gate {gate}: cannot gate")]


def command(level: Level, message: str, *, title: str) -> str:
    """``::error title=...::message``, with everything escaped that GitHub would read as syntax."""
    properties = _data(title, _LONGEST_TITLE).replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={properties}::{_data(message, _LONGEST)}"


def _of(result: GateResult, level: Level, check: CheckResult) -> str:
    return command(level, told(check), title=f"gate {result.gate}: {check.name} {check.verdict}")


def _capped(level: Level, lines: list[str], gate: str) -> Iterable[str]:
    if len(lines) <= MOST:
        return lines
    left = len(lines) - MOST + 1
    return [*lines[: MOST - 1], command(level, f"+{left} more; the gate's summary has them all", title=f"gate {gate}")]


def _data(text: str, most: int) -> str:
    """One line: `visible` leaves no line end that GitHub would have to be spared, and no escape sequence for its log."""
    line = visible(text)
    return (line if len(line) <= most else line[: most - 1] + "…").replace("%", "%25")
