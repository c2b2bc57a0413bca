"""A gate's result as Markdown: for a pull request's comment (GitHub, GitLab) and a job's summary."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from evalkit.comparison.base import Flip
from evalkit.comparison.numbers import code_markdown, escape_markdown, format_value
from evalkit.errors import EvalkitError
from evalkit.figures import count, counted
from evalkit.gating.base import CheckResult, GateResult, Side
from evalkit.gating.cells import bar, bar_scale, by_urgency, cells, failed, left_out, model_of, told, undecided, worse

#: Characters of a comment that GitHub takes, with room for what a workflow puts around it.
LONGEST = 65_536 - 1_000

_MARKS = {"PASS": "✅", "FAIL": "❌", "INCONCLUSIVE": "⚠️"}
_HEADERS = ("check", "base", "cand", "Δ [95% CI]", "margin", "n (flips -/+)", "verdict")


@dataclass(frozen=True, slots=True)
class _Room:
    """How much of a result is shown: worst flips a check, slices, checks, characters of a sentence or a name."""

    flips: int
    slices: int
    rows: int
    text: int


#: The details go first, the verdicts last. What the last room holds always fits.
_ROOMS = (
    _Room(5, 500, 500, 400),
    _Room(2, 100, 200, 300),
    _Room(1, 30, 100, 200),
    _Room(0, 10, 60, 120),
    _Room(0, 0, 25, 100),
    _Room(0, 0, 5, 60),
)


def marker(gate: str) -> str:
    """The invisible line by which a workflow finds the comment to bring up to date."""
    return f"<!-- evalkit-gate:{re.sub(r'[^A-Za-z0-9_.]+', '-', gate)} -->"


def render(result: GateResult, *, report_url: str | None = None, longest: int = LONGEST) -> str:
    """The result as Markdown of at most ``longest`` characters, its first line verdict and reason.

    Names, ids and sentences are escaped: whatever they hold is shown and is no markup. Flips link to ``report_url``, the
    address of the candidate's report.html (``None``: no links). What is left out for want of room is said.
    """
    text = ""
    for at, room in enumerate(_ROOMS):
        text = _Page(result, room, report_url, shortened=at > 0).text()
        if _size(text) <= longest:
            break
    return text


def refused(gate: str, error: EvalkitError) -> str:
    """What takes the place of a verdict where there can be none."""
    why = _cut(str(error), 2000)
    return (
        f"### ⛔ Cannot gate: {escape_markdown(why)}\n\n{marker(gate)}\nGate {code_markdown(gate)} gave no verdict "
        f"(exit {error.exit_code}): neither PASS nor FAIL is known.\n"
    )


class _Page:
    """One rendering of a result in a given room."""

    def __init__(self, result: GateResult, room: _Room, report_url: str | None, *, shortened: bool) -> None:
        self._result = result
        self._room = room
        self._report = report_url
        self._shortened = shortened
        self._scale = bar_scale(result.checks)

    def text(self) -> str:
        result = self._result
        first = [check for check in result.checks if check.kind in ("metric", "floor") or _pressing(check)]
        slices = [check for check in result.checks if check.kind == "slice" and not _pressing(check)]
        budgets = [check for check in result.checks if check.kind in ("budget", "errors")]
        parts = [
            f"### {_MARKS[result.verdict]} {escape_markdown(_cut(result.headline, 600))}",
            f"{marker(result.gate)}\nGate {self._name(result.gate)}: candidate {self._side(result.candidate)} against "
            f"baseline {self._side(result.baseline)}.",
            "\n".join(f"> {self._words(note)}" for note in result.notes[:20]),
            self._table(_HEADERS, first, self._row),
            self._reasons(),
            self._table(("budget", "base", "cand", "verdict", "why"), budgets, self._budget),
            self._apart(slices),
            self._worst(),
            self._footer(),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _row(self, check: CheckResult) -> Sequence[str]:
        c = cells(check)
        drawn = bar(check, self._scale)
        difference = f"{c.difference} {c.interval}".strip() + (f"<br>`{drawn}`" if drawn else "")
        n = f"{c.n} ({c.flips})" if c.flips else c.n
        candidate = f"{c.candidate} {c.own_interval}".strip()
        return self._name(check.name), c.baseline, candidate, difference, c.margin, n, _marked(check)

    def _budget(self, check: CheckResult) -> Sequence[str]:
        c = cells(check)
        why = self._words(told(check))
        return self._name(check.name), c.baseline.replace("$", "\\$"), c.candidate.replace("$", "\\$"), _marked(check), why

    def _table(
        self,
        headers: Sequence[str],
        checks: Sequence[CheckResult],
        row: Callable[[CheckResult], Sequence[str]],
        most: int = 0,
    ) -> str:
        shown = by_urgency(checks)[: most or self._room.rows]
        if not shown:
            return ""
        left = len(checks) - len(shown)
        lines = _table(headers, (row(check) for check in shown))
        return lines + (f"\n\n… and {count(left)} more, left out here for want of room." if left else "")

    def _reasons(self) -> str:
        """Why each check failed or is undecided, what would settle it, and what is in no pair."""
        checks = [c for c in by_urgency(self._result.checks) if c.kind not in ("budget", "errors")]
        lines = [
            f"- {_MARKS[str(c.verdict)]} {self._name(c.name)}: {self._words(told(c))}"
            for c in checks
            if failed(c) or undecided(c)
        ]
        lines += [
            f"- {self._name(check.name)}: in no pair: {reasons}"
            for check in checks
            if check.kind == "metric" and (reasons := left_out(check.left_out))
        ]
        return "\n".join(lines[: self._room.rows])

    def _apart(self, slices: Sequence[CheckResult]) -> str:
        if not slices or not self._room.slices:
            return f"{counted(len(slices), 'slice')} left out here for want of room." if slices else ""
        unknown = sum(check.verdict == "INCONCLUSIVE" for check in slices)
        title = counted(len(slices), "slice") + (f", {count(unknown)} undecided" if unknown else "")
        return _details(title, self._table(_HEADERS, slices, self._row, self._room.slices))

    def _worst(self) -> str:
        """The samples that got worst, of the checks that did not pass (of all, where all passed)."""
        flipped = [c for c in by_urgency(self._result.checks) if c.kind in ("metric", "slice") and worse(c)]
        of_task = [c for c in flipped if c.kind == "metric"] or flipped
        checks = [c for c in of_task if c.verdict != "PASS"] or of_task
        if not checks or not self._room.flips:
            return ""
        blocks = []
        for check in checks[: min(20, self._room.rows)]:
            found = worse(check)
            rows = [
                (self._linked(flip), format_value(flip.baseline, check.percent), format_value(flip.system, check.percent))
                for flip in found[: self._room.flips]
            ]
            more = f" (the worst {len(rows)} of {count(len(found))})" if len(found) > len(rows) else ""
            blocks.append(f"{self._name(check.name)}{more}\n\n" + _table(("sample", "base", "cand"), rows))
        return _details("samples that got worse", "\n\n".join(blocks))

    def _linked(self, flip: Flip) -> str:
        name = self._name(flip.id)
        if self._report is None:
            return name
        anchor = flip.report.rpartition("#")[2] if flip.report else f"samples?{_query(task=flip.task, s=flip.id)}"
        return f"[{name}](<{_url(self._report)}#{_url(anchor)}>)"

    def _footer(self) -> str:
        result = self._result
        seed = result.detail.get("seed")
        facts = [
            f"policy {code_markdown(result.policy_hash[:16])}",
            f"α {result.alpha:g} one-sided",
            *([] if seed is None else [f"seed {escape_markdown(str(seed))}"]),
            *(f"{name}: {self._facts(side)}" for name, side in _sides(result)),
        ]
        said = ["this page is shortened; `--json` has everything"] if self._shortened else []
        said += ["the candidate is the baseline from now on"] if result.baseline_promoted else []
        return "<sub>" + " · ".join([*facts, *said]) + "</sub>"

    def _facts(self, side: Side) -> str:
        parts = [
            f"run {self._name(side.run_id)}" if side.run_id else "",
            f"model fingerprint {self._name(side.fingerprint[:16])}" if side.fingerprint else "",
            self._words(side.created[:16].replace("T", " ")),
            f"evalkit {self._words(side.evalkit)}" if side.evalkit else "",
        ]
        return ", ".join(part for part in parts if part)

    def _side(self, side: Side) -> str:
        model = f" ({self._name(model_of(side))})" if side.model and model_of(side) != side.name else ""
        return f"{self._name(side.name)}{model}"

    def _name(self, text: str) -> str:
        return code_markdown(_cut(text, self._room.text))

    def _words(self, text: str) -> str:
        return escape_markdown(_cut(text, self._room.text))


def _sides(result: GateResult) -> Iterable[tuple[str, Side]]:
    return ("baseline", result.baseline), ("candidate", result.candidate)


def _pressing(check: CheckResult) -> bool:
    """A slice that the verdict hangs on stands among the checks."""
    return check.kind == "slice" and (failed(check) or undecided(check))


def _marked(check: CheckResult) -> str:
    words = cells(check).verdict
    return f"{_MARKS[words]} {words}" if words in _MARKS else words


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _details(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{content}\n\n</details>"


def _query(**parts: str) -> str:
    return "&".join(f"{name}={quote(text.encode('utf-8', 'replace'), safe='')}" for name, text in parts.items())


def _url(text: str) -> str:
    """``text`` inside ``(<...>)`` of a link."""
    return quote(text.encode("utf-8", "replace"), safe="/:?#[]@!$&'()*+,;=%~-._")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _size(text: str) -> int:
    """Length in UTF-16 units, as browsers count."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
