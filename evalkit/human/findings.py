"""``import_report.md``: what was read, and everything that an import has to say about it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from evalkit.human.base import Finding, Study
from evalkit.human.given import Returned

#: The file's name in a study's folder.
REPORT = "import_report.md"

#: Letters of a cell that a report shows.
_SHOWN = 60


def order(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first; then by file and row as the spreadsheet shows them."""
    return sorted(findings, key=lambda f: (f.level != "error", f.file, f.row or 0, f.column or "", f.code))


def summary(findings: Sequence[Finding]) -> str:
    """``3 errors (rating, text-torn), 1 warning (attention)``."""
    parts = []
    for level in ("error", "warning"):
        codes = Counter(finding.code for finding in findings if finding.level == level)
        if n := codes.total():
            parts.append(f"{n} {level}{'s' * (n > 1)} ({', '.join(codes)})")
    return ", ".join(parts) or "no findings"


def report(study: Study, returned: Returned, kept: Sequence[str] = ()) -> str:
    """The report in Markdown. ``kept`` are annotators whose ratings an earlier import brought."""
    not_yet = [name for name in study.annotators if name not in returned.annotators]
    lines = [
        f"# Import report of the study {study.id}",
        "",
        f"Rubric {study.rubric.rubric} version {study.rubric.version} ({study.rubric.hash}), {study.form}.",
        "",
        "| file | annotator | rows | ratings | N/A |",
        "|---|---|---:|---:|---:|",
    ]
    for source in returned.sources:
        mine = [given for given in returned.given if given.annotator in source.annotators]
        rated = sum(given.value is not None for given in mine)
        cells = [source.file, ", ".join(source.annotators), str(source.rows), str(rated), str(len(mine) - rated)]
        lines.append("| " + " | ".join(map(escaped, cells)) + " |")
    lines.append("")
    if kept:
        lines += [f"Kept from earlier imports: {escaped(', '.join(kept))}.", ""]
    if not_yet:
        lines += [f"Nothing yet from: {escaped(', '.join(not_yet))}.", ""]
    for level, title in (("error", "Errors"), ("warning", "Warnings")):
        mine_of = [finding for finding in order(returned.findings) if finding.level == level]
        if mine_of:
            lines += [f"## {title} ({len(mine_of)})", "", *map(_item, mine_of), ""]
    if not returned.findings:
        lines += ["Nothing to say about any row: every rating came back well-formed and on the row it belongs to.", ""]
    return "\n".join(lines)


def _item(finding: Finding) -> str:
    value = finding.value or ""
    told = value if len(value) <= _SHOWN else value[: _SHOWN - 3] + "..."
    shown = f" The cell: {escaped(repr(told))}." if told and told not in finding.message else ""
    return f"- **{finding.code}** {escaped(finding.line())}.{shown}"


def escaped(text: str) -> str:
    """Text as itself in Markdown, on one line: what models and annotators wrote is never markup."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&$!])", r"\\\1", " ".join(text.split()))
