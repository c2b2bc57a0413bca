"""``evalkit ls``: what there is to evaluate, with and by."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from evalkit.cli import options as o
from evalkit.errors import UsageError

Listing = tuple[tuple[str, ...], list[tuple[str, ...]]]


def ls(
    what: Annotated[Literal["tasks", "models", "scorers", "rubrics"], typer.Argument(help="What to list.")],
    pattern: Annotated[str | None, typer.Argument(help="Only names that hold this text or fit this pattern (*).")] = None,
    task_dirs: o.TaskDir = None,
    json: o.Json = False,
) -> None:
    """List tasks (with groups and tags), models, scorers or rubrics (for judges and human raters)."""
    from evalkit.cli.output import print_json, print_table, say

    headers, rows = {"tasks": lambda: _tasks(task_dirs or []), "models": _models, "scorers": _scorers, "rubrics": _rubrics}[
        what
    ]()
    shown = [row for row in rows if pattern is None or _fits(row[0], pattern)]
    if not shown:
        raise UsageError(f"no {what} fit {pattern!r}" if pattern else f"there are no {what}")
    if json:
        print_json([dict(zip((h.lower() for h in headers), row, strict=True)) for row in shown])
        return
    print_table(headers, shown, spare=(2,))
    say(f"\n{len(shown)} of {len(rows)} {what}" if pattern else f"\n{len(rows)} {what}")


def _fits(name: str, pattern: str) -> bool:
    import fnmatch

    return fnmatch.fnmatch(name, pattern) if any(sign in pattern for sign in "*?[") else pattern.lower() in name.lower()


def _tasks(folders: list[str]) -> Listing:
    from pathlib import Path

    from evalkit.cli.output import say
    from evalkit.tasks.load import TaskLibrary

    library = TaskLibrary([Path(folder) for folder in folders])
    rows: list[tuple[str, ...]] = []
    for entry in library.listing():
        about = entry.summary or (f"{len(entry.children)} members" if entry.children else "")
        rows.append((entry.name, entry.kind, ",".join(entry.tags), about))
    for warning in library.warnings[:10]:
        say(f"evalkit: warning: {warning}")
    if len(library.warnings) > 10:
        say(f"evalkit: and {len(library.warnings) - 10} more warnings")
    return ("Name", "Kind", "Tags", "Summary"), rows


def _models() -> Listing:
    from evalkit.models.registry import models_listing

    rows: list[tuple[str, ...]] = [(m.name, m.summary, ", ".join(arg.name for arg in m.args)) for m in models_listing()]
    return ("Name", "Summary", "Options"), rows


def _scorers() -> Listing:
    from evalkit.scorers.registry import scorers_listing

    return ("Name", "Summary"), [(s.name, s.summary) for s in scorers_listing()]


def _rubrics() -> Listing:
    from evalkit.rubric.load import load_rubric, shipped

    rubrics = [load_rubric(name) for name in shipped()]
    rows: list[tuple[str, ...]] = [
        (r.rubric, ", ".join(r.names), r.form, str(r.version), r.hash, r.summary) for r in rubrics
    ]
    return ("Name", "Criteria", "Form", "Version", "Hash", "Summary"), rows
