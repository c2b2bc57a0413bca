"""``evalkit score``: measure outputs that are there already, with no model at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from evalkit.cli import options as o
from evalkit.errors import ConfigError, Incomplete, Interrupted

if TYPE_CHECKING:
    from evalkit.api import PairedScores, Scores

Predictions = Annotated[
    list[str] | None, o.option("--predictions -p", "A file of outputs, or NAME=FILE; repeat it for several systems.")
]
References = Annotated[
    list[str] | None, o.option("--references -r", "A file of references; repeat it for further references of each row.")
]
Sources = Annotated[str | None, o.option("--sources", "A file of the texts that the outputs were made from.")]
Scorers = Annotated[
    list[str] | None, o.option("--scorers -s", "name or name:param=value,... (repeat it). [default: bleu, chrf, rouge]")
]
Column = Annotated[
    list[str] | None, o.option("--column", "ROLE=NAME: the column of the prediction, reference, source or id.")
]
Slices = Annotated[list[str] | None, o.option("--slices", "A column whose values are reported apart (repeat it).")]
Cluster = Annotated[str | None, o.option("--cluster", "A column that says which rows are not independent.")]
Baseline = Annotated[
    str | None, o.option("--baseline", "The system that the others are compared with. [default: the first]")
]
TaskName = Annotated[str | None, o.option("--task", "What the data is called. [default: the references' file]")]


def score(
    predictions: Predictions = None,
    references: References = None,
    sources: Sources = None,
    scorers: Scorers = None,
    column: Column = None,
    slices: Slices = None,
    cluster: Cluster = None,
    baseline: Baseline = None,
    task: TaskName = None,
    roles: o.Role = None,
    retry_errors: o.RetryErrors = None,
    max_cost: o.MaxCost = None,
    max_tokens_total: o.MaxTokensTotal = None,
    price: o.Price = None,
    prices: o.Prices = None,
    cache: o.Cache = None,
    cache_dir: o.CacheDir = None,
    output_dir: o.OutputDir = None,
    name: o.Name = None,
    allow_code: o.AllowCode = None,
    new: o.New = False,
    json: o.Json = False,
) -> None:
    """Score outputs that are there already: text, JSONL, CSV or TSV files, of one system or of several.

    Judges among the scorers are asked; what they may spend (--max-cost) is for each system apart.
    """
    import sys

    from evalkit import api
    from evalkit.cli.output import print_json, results_json
    from evalkit.cli.progress import shown
    from evalkit.cli.settings import from_flags
    from evalkit.data.textfile import stem

    asking = {
        "roles": roles, "retry_errors": retry_errors, "max_cost": max_cost, "max_tokens_total": max_tokens_total,
        "price": price, "prices": prices, "cache": cache_dir or cache,
    }  # fmt: skip
    if not predictions:
        raise ConfigError("no outputs given; name a file of them with --predictions FILE")
    options = api.GivenOptions(
        task=task or (stem(references[0]) if references else "outputs"),
        scorers=scorers or (),
        slices=slices or (),
        cluster=cluster,
        name=name,
        output_dir=output_dir or "runs",
        new=new,
        allow_code=bool(allow_code),
        **from_flags(asking),
        command=("evalkit", *sys.argv[1:]),
    )
    with shown() as progress:
        done = api.score(
            _systems(predictions),
            [Path(path) for path in references] if references else None,
            sources,
            columns=_pairs("--column", column),
            baseline=baseline,
            options=options,
            progress=progress,
        )
    if done.status == "interrupted":
        raise Interrupted("interrupted; whatever was scored is kept. Run the same command again to resume")
    if json:
        print_json(_document(done) if len(done.runs) > 1 else results_json(done.run))
    else:
        _show(done)
    if done.status != "complete":
        raise Incomplete("incomplete: not everything was answered. Run the same command again to go on")


def _show(done: Scores) -> None:
    from evalkit.cli.output import print_results, say, say_usage

    if len(done.runs) == 1:
        print_results(done.run)
    else:
        _print_systems(done)
    for run in done.runs.values():
        if run.manifest["roles"].keys() - {"model"}:
            say_usage(run)
        say(f"report: {run.path / 'report.html'}")


def _systems(given: list[str]) -> Any:
    """``FILE`` or ``NAME=FILE``; a file's own name may hold an equals sign."""
    named = [(None, text) if Path(text).is_file() or "=" not in text else tuple(text.split("=", 1)) for text in given]
    if all(name is None for name, _ in named):
        return [Path(path) for _, path in named]
    from evalkit.data.textfile import stem

    found = {str(name or stem(path)): Path(path) for name, path in named}
    if len(found) < len(named):
        raise ConfigError("--predictions: two systems have one name; tell them apart with NAME=FILE")
    return found


def _pairs(flag: str, given: list[str] | None) -> dict[str, str]:
    pairs = [text.partition("=") for text in given or ()]
    if wrong := next((name for name, equals, _ in pairs if not equals), None):
        raise ConfigError(f"{flag}: expected NAME=VALUE, got {wrong!r}")
    return {name: value for name, _, value in pairs}


HEADERS = (
    "Metric",
    "",
    "System",
    "Value",
    "95% CI",
    "Difference",
    "95% CI",
    "p (bootstrap)",
    "p (randomised)",
    "n",
    "Notes",
)


def _print_systems(done: Scores) -> None:
    """A row a metric and system; below the table what the figures are."""
    from evalkit.cli.output import print_table, say
    from evalkit.report.numbers import arrow, count, interval, number, warnings

    found = {(c.scorer, c.metric, c.filter, c.system): c for c in done.comparisons}
    rows = []
    summaries = {name: [s for s in run.summary() if s.slice is None] for name, run in done.runs.items()}
    for at in range(len(summaries[done.baseline])):
        for name in (done.baseline, *(name for name in done.runs if name != done.baseline)):
            s = summaries[name][at]
            compared = found.get((s.scorer, s.metric, s.filter, name))
            head = (s.metric, arrow(s.higher_is_better)) if name == done.baseline else ("", "")
            value = (name, number(s.value), "" if s.ci is None else interval(s.ci))
            rows.append((*head, *value, *_difference(compared), count(s.n), "; ".join(warnings(s))))
    print_table(HEADERS, rows, right=(3, 4, 5, 6, 7, 8, 9), spare=(9, 10, 4))
    say(f"\ndifferences from {done.baseline} on the same samples: bootstrap intervals, two-sided p-values")


def _difference(compared: PairedScores | None) -> tuple[str, str, str, str]:
    from evalkit.comparison.numbers import format_difference, format_interval
    from evalkit.report.numbers import number

    result = None if compared is None else compared.result
    if result is None or result.difference is None:
        return "", "", "", ""
    ci = "" if result.ci is None else format_interval(result.ci, False)
    p = [number(p) if p is not None else "" for p in (result.p_bootstrap, result.p_randomisation)]
    return format_difference(result.difference, False), ci, p[0], p[1]


def _document(done: Scores) -> dict[str, Any]:
    from dataclasses import asdict

    from evalkit.cli.output import results_json

    return {
        "baseline": done.baseline,
        "systems": {name: results_json(run) for name, run in done.runs.items()},
        "comparisons": [asdict(comparison) for comparison in done.comparisons],
    }
