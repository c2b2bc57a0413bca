"""``evalkit compare``: how much two runs differ on the same samples, or how several rank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evalkit.cli import options as o
from evalkit.errors import ConfigError

if TYPE_CHECKING:
    from evalkit.comparison.base import RunScores
    from evalkit.comparison.ranks import Ranking
    from evalkit.comparison.render import Line, Table

Source = Annotated[str, typer.Argument(metavar="BASE", help="The baseline: a run, a score file or git:REF:PATH of one.")]
Candidate = Annotated[str, typer.Argument(metavar="CAND", help="What is compared with it.")]
More = Annotated[list[str] | None, typer.Argument(metavar="MORE", help="Further runs: then all are ranked.")]
Tasks = Annotated[list[str] | None, o.option("--tasks -t", "Only these tasks and groups: a,b.")]
Metrics = Annotated[list[str] | None, o.option("--metrics", "Only these metrics: a,b. [default: the headline metrics]")]
Slices = Annotated[list[str] | None, o.option("--slices", "Only the slices of these names: a,b. [default: all]")]
NoSlices = Annotated[bool, o.option("--no-slices", "No slices.")]
ClusterBy = Annotated[
    str | None, o.option("--cluster-by", "The slice that says which samples are not independent. [default: the task's]")
]
MinOverlap = Annotated[
    float, o.option("--min-overlap", "The share of samples that runs must have in common.", min=0.0, max=1.0)
]
ErrorsAsWrong = Annotated[
    bool, o.option("--errors-as-wrong", "A candidate's failed or unscored sample counts as wrong, not as left out.")
]
Flips = Annotated[str, o.option("--flips", "How many flipped samples are listed a metric, or all.")]
Level = Annotated[float, o.option("--level", "Of the intervals.", min=0.5, max=0.9999)]
Seed = Annotated[int, o.option("--seed", "Of the bootstrap.")]
#: Elsewhere --json and --csv are flags, so what they read from the environment has other names here.
MARKDOWN, JSON, CSV = "--markdown", "--json", "--csv"
ToMarkdown = Annotated[
    str | None,
    o.option(MARKDOWN, "Markdown too, to a file; -: to stdout, instead.", metavar="FILE", envvar="EVALKIT_MARKDOWN_FILE"),
]
ToJson = Annotated[
    str | None,
    o.option(JSON, "Everything as one JSON document, to a file or -.", metavar="FILE", envvar="EVALKIT_JSON_FILE"),
]
ToCsv = Annotated[
    str | None, o.option(CSV, "A row a comparison as CSV, to a file or -.", metavar="FILE", envvar="EVALKIT_CSV_FILE")
]


def compare(
    base: Source,
    cand: Candidate,
    more: More = None,
    tasks: Tasks = None,
    metrics: Metrics = None,
    slices: Slices = None,
    no_slices: NoSlices = False,
    cluster_by: ClusterBy = None,
    min_overlap: MinOverlap = 0.98,
    errors_as_wrong: ErrorsAsWrong = False,
    flips: Flips = "5",
    level: Level = 0.95,
    seed: Seed = 0,
    markdown: ToMarkdown = None,
    json: ToJson = None,
    csv: ToCsv = None,
    output_dir: o.OutputDir = None,
) -> None:
    """Compare runs over the same samples: paired differences with intervals, p values and flipped samples.

    A source is a run (its directory, run:NAME, a part of its name, latest), a score file (*.jsonl.gz) or git:REF:PATH;
    NAME=SOURCE calls it NAME. Three and more are ranked. Exit 4: these runs must not be compared, and why.
    """
    from evalkit.cli.output import say

    to = {flag: path for flag, path in ((MARKDOWN, markdown), (JSON, json), (CSV, csv)) if path is not None}
    if list(to.values()).count("-") > 1:
        raise ConfigError(f"only one of {', '.join(to)} can go to stdout; name a file for the others")
    if no_slices and slices:
        raise ConfigError("--slices and --no-slices exclude each other")
    limit = _limit(flips)
    runs = _runs([base, cand, *(more or ())], output_dir or "runs")
    asked: dict[str, Any] = {
        "tasks": _names(tasks),
        "metrics": _names(metrics),
        "slices": not no_slices if slices is None else _names(slices) or True,
        "cluster_by": cluster_by,
        "min_overlap": min_overlap,
        "errors_as_wrong": errors_as_wrong,
        "seed": seed,
    }
    for note in _notes(runs, asked):
        say(note)
    if len(runs) == 2:
        _two(runs[0], runs[1], asked, level, limit, to)
    else:
        _several(runs, asked, level, to)


def _names(given: Sequence[str] | None) -> tuple[str, ...] | None:
    return tuple(name.strip() for text in given for name in text.split(",") if name.strip()) if given else None


def _limit(flips: str) -> int | None:
    if flips == "all":
        return None
    if not flips.isdecimal():
        raise ConfigError(f"--flips: expected a number or all, got {flips!r}")
    return int(flips)


def _runs(sources: Sequence[str], output_dir: str) -> list[RunScores]:
    """The runs under names that differ: given ones (``NAME=SOURCE``), or their own."""
    from evalkit.comparison.load import apart, load_scores

    found = []
    for source in sources:
        name, equals, rest = source.partition("=")
        named = bool(equals and name and not Path(source).exists())
        found.append(load_scores(rest if named else source, output_dir=output_dir, name=name if named else None))
    return apart(found)


def _notes(runs: Sequence[RunScores], asked: dict[str, Any]) -> list[str]:
    """What of the runs is not compared at all. Raises NotComparable where they must not be."""
    from evalkit.comparison.match import match_runs
    from evalkit.comparison.numbers import visible

    names = ("tasks", "metrics", "min_overlap")
    matched = [match_runs(runs[0], run, **{name: asked[name] for name in names}) for run in runs[1:]]
    return list(dict.fromkeys(visible(note) for matching in matched for note in matching.notes))


def _two(
    base: RunScores,
    cand: RunScores,
    asked: dict[str, Any],
    level: float,
    limit: int | None,
    to: dict[str, str],
) -> None:
    from evalkit.comparison import render, render_data, render_markdown
    from evalkit.comparison.compare import compare_scores

    found = render.lines(compare_scores(base, cand, **asked), level=level, metrics=asked["metrics"])
    _write(
        to,
        lambda: render_markdown.comparison_markdown(found, base, cand, level=level, limit=limit),
        lambda: render_data.comparison_document(found, base, cand, level=level, seed=asked["seed"]),
        lambda: render_data.comparison_rows(found, level),
    )
    if "-" not in to.values():
        _print_two(found, base, cand, level, limit)


def _several(runs: Sequence[RunScores], asked: dict[str, Any], level: float, to: dict[str, str]) -> None:
    from evalkit.comparison import render_data, render_markdown
    from evalkit.comparison.several import rank_scores

    rankings = rank_scores(runs, level=level, **asked)
    _write(
        to,
        lambda: render_markdown.ranking_markdown(rankings, runs, level=level),
        lambda: render_data.ranking_document(rankings, runs, level=level, seed=asked["seed"]),
        lambda: render_data.ranking_rows(rankings, level),
    )
    if "-" not in to.values():
        _print_several(rankings, runs, level)


def _write(
    to: dict[str, str],
    markdown: Callable[[], str],
    document: Callable[[], Any],
    rows: Callable[[], list[dict[str, Any]]],
) -> None:
    """What was asked for, each to its file, or to stdout."""
    from evalkit.cli.files import csv_text
    from evalkit.cli.output import say
    from evalkit.report.strict import dumps

    makers: dict[str, Callable[[], str]] = {
        MARKDOWN: markdown,
        JSON: lambda: dumps(document(), indent=2).decode("utf-8") + "\n",
        CSV: lambda: csv_text(rows()),
    }
    for flag, name in to.items():
        text = makers[flag]()
        if name == "-":
            print(text, end="")
            continue
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
        say(f"written to {path}")


def _print_two(found: Sequence[Line], base: RunScores, cand: RunScores, level: float, limit: int | None) -> None:
    from evalkit.cli.output import say
    from evalkit.comparison.numbers import visible
    from evalkit.comparison.render import flips, footnotes, more_flips, place, table

    for role, run in (("baseline", base), ("candidate", cand)):
        say(f"{role}: {visible(run.name)} ({visible(place(run))})")
    say("")
    _print(table(_few_slices(found), level))
    say("")
    for line in footnotes(found, level):
        say(line)
    changed = flips(found, limit)
    if changed.rows:
        print(flush=True)
        _print(changed)
    if more := more_flips(found, limit):
        say(more)


def _print_several(rankings: Sequence[Ranking], runs: Sequence[RunScores], level: float) -> None:
    from evalkit.cli.output import say
    from evalkit.comparison.numbers import visible
    from evalkit.comparison.render import place
    from evalkit.comparison.render_ranks import rank_footnotes, rank_table

    for run in runs:
        say(f"{visible(run.name)} ({visible(place(run))})")
    say("")
    _print(rank_table(rankings, level))
    say("")
    for line in rank_footnotes(rankings, runs[0].name, level):
        say(line)


def _print(found: Table) -> None:
    import sys

    from evalkit.cli.output import print_table

    print_table(found.headers, found.rows, right=found.right, spare=found.spare)
    sys.stdout.flush()


def _few_slices(found: Sequence[Line]) -> list[Line]:
    """Without the slices of a metric that has many: the files have all of them."""
    from evalkit.cli.output import SLICES_SHOWN, say

    counts = Counter(_metric(line) for line in found if not line.judged)
    many = {key for key, n in counts.items() if n > SLICES_SHOWN}
    if many:
        say(f"(not shown: the slices of metrics that have more than {SLICES_SHOWN}; --csv has them)")
    return [line for line in found if line.judged or _metric(line) not in many]


def _metric(line: Line) -> tuple[str, ...]:
    c = line.comparison
    return c.task, c.filter, c.scorer, c.metric.name
