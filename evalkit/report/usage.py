"""What a run took: tokens, requests, seconds and money by role and task, for the screen, the CSV file and the page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evalkit.report import base
from evalkit.report.base import ReportableRun
from evalkit.report.numbers import count, counted
from evalkit.report.tables import csv_file
from evalkit.runner.usage import Usage, restored
from evalkit.types import Json

#: The name of the rows that sum up a role's tasks.
TOTAL = "all tasks"


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One task as one role's model answered it, or all of them (`TOTAL`). ``local``: there is no bill."""

    role: str
    model: str
    task: str
    usage: Usage
    figures: dict[str, Json]
    local: bool

    @property
    def cost(self) -> str:
        """In words: never a zero for what is not known."""
        cost, usage = self.figures["cost_usd"], self.usage
        if cost is None:
            return "–" if self.local else "price not known"
        return dollars(cost) + (f" without {counted(usage.unpriced, 'answer')} of unknown price" if usage.unpriced else "")

    @property
    def tokens(self) -> str:
        """In words: ``1,200 prompt (200 cached) + 80 output (30 reasoning)``."""
        u = self.usage
        prompt = f"{count(u.prompt_tokens)} prompt" + (f" ({count(u.cached_tokens)} cached)" if u.cached_tokens else "")
        output = f"{count(u.output_tokens)} output" + (
            f" ({count(u.reasoning_tokens)} reasoning)" if u.reasoning_tokens else ""
        )
        return f"{prompt} + {output}"

    @property
    def latency(self) -> str:
        """``p50 / p95`` in seconds."""
        p50, p95 = self.figures["latency_p50_s"], self.figures["latency_p95_s"]
        return "–" if p50 is None else f"{p50:.3g} / {p95:.3g}"

    @property
    def notes(self) -> str:
        """What a reader must know of these numbers."""
        u = self.usage
        said = [
            (u.attempts - u.requests, "{} retried"),
            (u.failed, "{} failed"),
            (u.from_cache, "{} from the cache, not counted here"),
            (u.estimated, "{} with estimated tokens"),
            (u.uncounted, "{} without a token count"),
        ]
        return ", ".join(text.format(count(number)) for number, text in said if number > 0)


def usage_rows(run: ReportableRun) -> list[UsageRow]:
    """The tasks of each role, in the order they were asked, and a sum before them where there are several."""
    prices = base.part(run, "prices")
    by_role: dict[str, list[tuple[str, Usage]]] = {}
    for row in base.part(run, "spent").get("rows", ()):
        by_role.setdefault(row["role"], []).append((row["task"], restored(row["usage"])))
    rows = []
    for role, found in by_role.items():
        known = prices.get(role) or {}
        if len(found) > 1:
            total = Usage()
            for _, usage in found:
                total += usage
            found = [(TOTAL, total), *found]
        for task, usage in found:
            figures = usage.public(priced="input" in known)
            rows.append(UsageRow(role, str(known.get("model") or ""), task, usage, figures, bool(known.get("local"))))
    return rows


def totals(run: ReportableRun) -> list[UsageRow]:
    """One row a role."""
    seen: dict[str, UsageRow] = {}
    for row in usage_rows(run):
        seen.setdefault(row.role, row)
    return list(seen.values())


def in_words(run: ReportableRun) -> Iterator[str]:
    """A line for each role's model."""
    for row in totals(run):
        who = row.model if row.role == "model" else f"{row.role} ({row.model})"
        parts = [counted(row.usage.requests, "request"), f"{row.tokens} tokens"]
        parts += [f"cost {row.cost}"] if not (row.local and row.figures["cost_usd"] is None) else []
        parts += [f"p50 / p95 {row.latency} s"] if row.figures["latency_p50_s"] is not None else []
        yield ", ".join([f"{who}: {parts[0]}", *parts[1:], *([row.notes] if row.notes else [])])


def dollars(cost: float) -> str:
    """Two decimals; more where the amount is small."""
    return f"${cost:,.2f}" if cost >= 1 or cost == 0 else f"${cost:.4f}" if cost >= 0.0001 else f"${cost:.2g}"


_COLUMNS = (
    "requests", "failed", "attempts", "from_cache", "prompt_tokens", "cached_tokens", "output_tokens", "reasoning_tokens",
    "estimated", "uncounted", "unpriced", "cost_usd", "latency_p50_s", "latency_p95_s",
)  # fmt: skip


def export_usage(run: ReportableRun) -> Path:
    """Write ``usage.csv``, a row a role and task; returns its path. An unknown cost is an empty cell."""
    path = base.folder(run) / "usage.csv"
    with csv_file(path, ("role", "model", "task", *_COLUMNS)) as rows:
        for row in usage_rows(run):
            if row.task != TOTAL:
                rows.writerow([row.role, row.model, row.task, *(row.figures[name] for name in _COLUMNS)])
    return path
