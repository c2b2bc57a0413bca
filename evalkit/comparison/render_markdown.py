"""Comparisons and rankings as Markdown for a pull request, an issue or a wiki: nothing that a model wrote is markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evalkit.comparison.base import RunScores
from evalkit.comparison.numbers import code_markdown, escape_markdown
from evalkit.comparison.ranks import Ranking
from evalkit.comparison.render import LEVEL, Line, Table, flips, footnotes, more_flips, place, table
from evalkit.comparison.render_ranks import rank_footnotes, rank_table
from evalkit.figures import counted


def comparison_markdown(
    found: Sequence[Line], baseline: RunScores, system: RunScores, *, level: float = LEVEL, limit: int | None = 5
) -> str:
    """The table of two runs, what stands below it, and at most ``limit`` flipped samples a metric, folded away."""
    title = f"### {code_markdown(system.name)} against {code_markdown(baseline.name)}"
    sources = f"baseline {code_markdown(place(baseline))}, candidate {code_markdown(place(system))}"
    parts = [title, sources, markdown_table(table(found, level)), bullets(footnotes(found, level))]
    changed = flips(found, limit)
    if changed.rows:
        more = more_flips(found, limit)
        told = counted(len(changed.rows), "flipped sample") + (f", {more}" if more else "")
        summary = f"<details>\n<summary>{told}</summary>"
        parts.append(f"{summary}\n\n{markdown_table(changed, code=(5,))}\n\n</details>")
    return "\n\n".join(parts) + "\n"


def ranking_markdown(rankings: Sequence[Ranking], runs: Sequence[RunScores], *, level: float = LEVEL) -> str:
    """The ranks of several runs, the first of which is the baseline."""
    title = f"### {len(runs)} systems, compared with {code_markdown(runs[0].name)}"
    sources = bullets([f"{code_markdown(run.name)}: {code_markdown(place(run))}" for run in runs], escaped=True)
    told = bullets(rank_footnotes(rankings, runs[0].name, level))
    return "\n\n".join([title, sources, markdown_table(rank_table(rankings, level), code=(7,)), told]) + "\n"


def markdown_table(given: Table, code: Sequence[int] = ()) -> str:
    """A table without its empty columns; columns in ``code`` (by position) as code."""
    kept = [i for i in range(len(given.headers)) if any(row[i] for row in given.rows) or not given.rows]
    lines = [_line(given.headers[i].strip() for i in kept), _line("---:" if i in given.right else "---" for i in kept)]
    figures = {i: _figure for i in given.right} | dict.fromkeys(code, _code)
    lines += [_line(figures.get(i, escape_markdown)(row[i]) for i in kept) for row in given.rows]
    return "\n".join(lines)


def bullets(texts: Sequence[str], *, escaped: bool = False) -> str:
    """A list of texts, escaped unless they are already."""
    return "\n".join(f"- {text if escaped else escape_markdown(text)}" for text in texts)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _figure(text: str) -> str:
    """Figures are ours: brackets stay legible, but ``<.001`` is no tag."""
    return text.replace("<", "&lt;")


def _code(text: str) -> str:
    return code_markdown(text) if text else ""
