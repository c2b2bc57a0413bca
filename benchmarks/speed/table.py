"""The report: what is in the book, in words and as a Markdown table."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from speed.book import Book, Row
from speed.floor import floor_seconds, gflops
from speed.workloads import WORKLOADS, Workload

#: How many times lm-eval's speed each workload is to reach: float32, bfloat16.
GOALS = {
    "hellaswag": (2.8, 3.0),
    "mmlu-1": (7.0, 8.0),
    "mmlu-10": (5.5, 6.5),
    "gsm8k-64": (6.5, 4.0),
    "gsm8k-256": (4.0, 3.0),
    "mix": (2.0, 2.4),
    "mix-process": (2.5, 3.0),
}
DTYPES = ("float32", "bfloat16")
_HEAD = (
    "workload",
    "dtype",
    "evalkit s",
    "lm-eval s (batch)",
    "ratio (goal)",
    "CPU s",
    "peak MB (with children)",
    "agreement",
    "share of the floor",
)


def best(results: Sequence[Sequence[Any]], sizes: Sequence[int]) -> list[int]:
    """The choice with the highest sum of each sample that has several; ``sizes`` are the numbers of choices."""
    at, found = 0, []
    for size in sizes:
        if size > 1:
            sums = [float(pair[0]) for pair in results[at : at + size]]
            found.append(sums.index(max(sums)))
        at += size
    return found


def same(one: Iterable[Any], other: Iterable[Any]) -> str:
    """``n/n``: how many of two lists' items are equal."""
    equal = [a == b for a, b in zip(one, other, strict=True)]
    return f"{sum(equal)}/{len(equal)}"


def agreement(ours: Sequence[Sequence[Any]], theirs: Sequence[Sequence[Any]], sizes: Sequence[int]) -> str:
    """Of requests' results on both sides: texts, or [sum of log-probabilities, greedy]."""
    if ours and isinstance(ours[0][0], str):
        return f"texts {same((pair[0] for pair in ours), (pair[0] for pair in theirs))}"
    off = max(abs(one[0] - two[0]) for one, two in zip(ours, theirs, strict=True))
    greedy = same((pair[1] for pair in ours), (pair[1] for pair in theirs))
    chosen = best(ours, sizes)
    choice = f"argmax {same(chosen, best(theirs, sizes))}, " if chosen else ""
    return f"off {off:.1e}, {choice}greedy {greedy}"


def metrics_agreement(ours: Mapping[str, float], theirs: Mapping[str, float]) -> str:
    """Of two programs' metrics by name: how many agree within a millionth, and the most they differ (above 1: relative)."""
    shared = ours.keys() & theirs.keys()
    apart = [abs(ours[name] - theirs[name]) / max(abs(theirs[name]), 1.0) for name in shared]
    equal = sum(gap <= 1e-6 for gap in apart)
    return f"metrics {equal}/{len(ours.keys() | theirs.keys())} equal, off {max(apart, default=0.0):.1e}"


def median(rows: Sequence[Row], name: str = "seconds") -> float:
    return statistics.median(float(row[name]) for row in rows)


def report(book: Book) -> str:
    """Everything in the book, newest code first."""
    lines = [*_machine(book), "", f"| {' | '.join(_HEAD)} |", "|---" * len(_HEAD) + "|"]
    for name in GOALS:
        for dtype in DTYPES:
            if book.found(cell=name, dtype=dtype, kind="evalkit"):
                lines.append(f"| {' | '.join(_line(book, WORKLOADS[name], dtype))} |")
    for dtype in DTYPES:
        lines += [*_linear(book, dtype), *_first(book, dtype), *_plain(book, dtype), *_reference(book, dtype)]
    dropped = book.found(kind="dropped")
    lines.append(f"\nRuns dropped because others used the machine: {len(dropped)}.")
    return "\n".join(lines)


def cell(book: Book, name: str, dtype: str) -> str:
    """One cell, as soon as it is measured."""
    if not book.found(cell=name, dtype=dtype, kind="evalkit"):
        return ""
    if name in GOALS:
        return "\n".join(f"  {key}: {value}" for key, value in zip(_HEAD, _line(book, WORKLOADS[name], dtype), strict=True))
    return "\n".join(_linear(book, dtype) if name.startswith("linear") else _first(book, dtype))


def _machine(book: Book) -> list[str]:
    lines = []
    for dtype in DTYPES:
        for row in book.latest(kind="rates", dtype=dtype)[-1:]:
            lines.append(
                f"{dtype}: {gflops(row, 'body'):.0f} GFLOP/s in the layers ({row['body'] / 1e6:.1f}M parameters), "
                f"{gflops(row, 'head'):.0f} in the output layer ({row['head'] / 1e6:.1f}M), {row['threads']} threads"
            )
    return lines


def _line(book: Book, workload: Workload, dtype: str) -> list[str]:
    """A workload's cells of the table."""
    ours, theirs = (book.latest(cell=workload.name, dtype=dtype, kind=kind) for kind in ("evalkit", "lm-eval"))
    both = [rows for rows in (ours, theirs) if rows]
    ratio = "-"
    if theirs:
        goal = GOALS[workload.name][DTYPES.index(dtype)]
        ratio = f"**{median(theirs) / median(ours):.2f}x** ({goal}x)"
    some = "" if ours[-1]["samples"] == workload.samples else f" [{ours[-1]['samples']} samples]"
    return [
        workload.title + some,
        dtype,
        _times(ours),
        f"{_times(theirs)} (batch {theirs[-1]['batch']})" if theirs else "-",
        ratio,
        " / ".join(f"{median(rows, 'cpu'):.1f}" for rows in both),
        " / ".join(f"{max(r['peak'] for r in rows):.0f} ({max(r['tree'] for r in rows):.0f})" for rows in both),
        _agree(ours[0], theirs[0]) if theirs else "-",
        _share(book, workload, dtype, ours),
    ]


def _times(rows: Sequence[Row]) -> str:
    runs = ", ".join(f"{row['seconds']:.2f}" for row in rows)
    return f"{median(rows):.2f} ({runs})"


def _agree(ours: Row, theirs: Row) -> str:
    if "metrics" in ours:
        return metrics_agreement(ours["metrics"], theirs["metrics"])
    return agreement(ours["results"], theirs["results"], ours["sizes"])


def _share(book: Book, workload: Workload, dtype: str, ours: Sequence[Row]) -> str:
    rates = book.latest(kind="rates", dtype=dtype)
    counts = book.found(kind="counts", cell=workload.name, samples=ours[-1]["samples"])
    if not rates or not counts:
        return "-"
    lengths = [pair[1] for pair in ours[0]["results"]] if workload.max_tokens else []
    floor = floor_seconds(rates[-1], counts[-1], lengths)
    found = counts[-1]
    new = f", {sum(lengths):,} new" if lengths else ""
    return (
        f"{floor / median(ours):.0%} of {floor:.2f} s ({found['each']:,} tokens, {found['tokens']:,} of them distinct, "
        f"{found['rows']:,} scored{new})"
    )


def _linear(book: Book, dtype: str) -> list[str]:
    cells = [book.latest(cell=name, dtype=dtype, kind="evalkit") for name in ("linear-50", "linear-100", "hellaswag")]
    if not all(cells):
        return []
    parts = [f"{rows[-1]['samples']} samples {median(rows):.2f} s" for rows in cells]
    each = [f"{1000 * median(rows) / rows[-1]['samples']:.1f}" for rows in cells]
    return [f"\nLinear, {dtype}: {', '.join(parts)}; {', '.join(each)} ms a sample."]


def _first(book: Book, dtype: str) -> list[str]:
    parts = []
    for kind in ("evalkit", "lm-eval"):
        if rows := book.latest(cell="first-forward", dtype=dtype, kind=kind):
            parts.append(
                f"{kind} {median(rows, 'first'):.2f} s to its first pass, {median(rows):.2f} s to its first full one"
            )
    return [f"\nStart, {dtype}, medians of {len(rows)}: {'; '.join(parts)}."] if parts else []


def _plain(book: Book, dtype: str) -> list[str]:
    """The engine beside evalkit's own plain path, where that was measured."""
    parts = []
    for name in GOALS:
        ours, plain = (book.latest(cell=name, dtype=dtype, kind=kind) for kind in ("evalkit", "plain"))
        if ours and plain:
            parts.append(f"{name} {median(plain):.2f} s ({median(plain) / median(ours):.2f}x; {_agree(ours[0], plain[0])})")
    return [f"\nevalkit's plain path, {dtype}: {'; '.join(parts)}."] if parts else []


def _reference(book: Book, dtype: str) -> list[str]:
    """How far both are from lm-eval in full precision: in half precision it does not agree with itself."""
    if dtype == DTYPES[0]:
        return []
    lines = []
    for name in GOALS:
        truth = book.latest(cell=name, dtype=DTYPES[0], kind="lm-eval")
        for kind in ("evalkit", "lm-eval"):
            rows = book.latest(cell=name, dtype=dtype, kind=kind)
            if truth and rows and "results" in rows[0] and truth[0]["samples"] == rows[0]["samples"]:
                lines.append(f"- {name}: {kind} in {dtype} against lm-eval in {DTYPES[0]}: {_agree(rows[0], truth[0])}")
    return ["", *lines] if lines else []
