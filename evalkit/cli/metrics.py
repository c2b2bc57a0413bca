"""``evalkit metrics validate``: can this metric be trusted on data like mine?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from evalkit.cli import options as o

if TYPE_CHECKING:
    from evalkit.calibrate.validate import Validation, Validity
    from evalkit.stats.levels import Agreement

app = typer.Typer(rich_markup_mode=None)


@app.callback()
def metrics() -> None:
    """How far metrics agree with people (metrics validate)."""


@app.command("validate")
def validate(
    data: Annotated[
        str, o.option("--data", "Rated outputs: a JSON Lines, CSV or Parquet file, packed or not; or a study's folder.")
    ],
    scorers: Annotated[list[str] | None, o.option("--scorers", "Scorers: name or name:param=value,... (repeat it).")] = None,
    columns: Annotated[
        str | None, o.option("--columns", "Numbers in the data as metrics: a,b; -a: lower is better.")
    ] = None,
    human: Annotated[str | None, o.option("--human", "Columns of human ratings: a,b or scores.a.")] = None,
    item: Annotated[str | None, o.option("--item", "The column that says which outputs are for the same input.")] = None,
    system: Annotated[str | None, o.option("--system", "The column that says who made an output.")] = None,
    output: Annotated[str | None, o.option("--prediction", "The column of the output.")] = None,
    references: Annotated[str | None, o.option("--references", "Columns of the reference or references: a,b.")] = None,
    source: Annotated[str | None, o.option("--source", "The column of the source text.")] = None,
    systems: Annotated[
        str | None, o.option("--systems", "A column that maps systems to outputs, or to columns of their own.")
    ] = None,
    levels: Annotated[
        str | None, o.option("--levels", "Of segment,summary,system. [default: those that the data has]")
    ] = None,
    run: Annotated[
        list[str] | None, o.option("--run", "A run that a table of single ratings (CSV) rates; repeat it.")
    ] = None,
    output_dir: o.OutputDir = None,
    replicates: Annotated[int, o.option("--replicates", "Bootstrap draws an interval; 0: none.", min=0)] = 1000,
    seed: Annotated[int, o.option("--seed", "Of the bootstrap.")] = 0,
    allow_code: o.AllowCode = None,
    json: o.Json = False,
    csv: Annotated[bool, o.option("--csv", "CSV on stdout instead of a table.")] = False,
    to: Annotated[str | None, o.option("--output", "Write a file too: CSV where its name ends in .csv, else JSON.")] = None,
) -> None:
    """Correlate metrics with human ratings.

    Pearson, Spearman, Kendall's tau-b and pairwise accuracy with ties (acc_eq), with 95 % bootstrap intervals, over all
    outputs (segment), within each item (summary) and over systems (system).
    """
    from evalkit import api
    from evalkit.calibrate.columns import Columns
    from evalkit.cli.files import write_result
    from evalkit.cli.progress import shown
    from evalkit.encoder.base import watched

    roles = Columns(
        item=item or "",
        system=system or "",
        output=output or "",
        references=_names(references),
        source=source or "",
        human=_names(human),
        systems=systems or "",
        computed=_names(columns),
    )
    with shown() as progress, watched(progress.working, progress.warning):
        found = api.validate_metrics(
            data,
            scorers or (),
            columns=roles,
            levels=_names(levels) or None,
            replicates=replicates,
            seed=seed,
            allow_code=bool(allow_code),
            runs=[api.open_run(name, output_dir=output_dir or "runs") for name in run or ()],
        )
    _print(found, json, csv)
    if to is not None:
        write_result(to, found.to_dict(), found.flat())


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _print(found: Validation, json: bool, csv: bool) -> None:
    from evalkit.cli.files import csv_text
    from evalkit.cli.output import print_json, print_table

    if json:
        print_json(found.to_dict())
    elif csv:
        print(csv_text(found.flat()), end="")
    else:
        _say_data(found)
        rows = [_row(row) for row in found.rows]
        headers = ("Metric", "Rating", "Level", "Pearson", "Spearman", "Kendall", "Accuracy", "n", "Used", "Notes")
        print_table(headers, rows, right=(3, 4, 5, 6, 7), spare=(9, 3, 6))


def _say_data(found: Validation) -> None:
    from evalkit.cli.output import say
    from evalkit.report.numbers import counted

    about = found.to_dict()["data"]
    roles = ", ".join(f"{role}: {name}" for role, name in about["columns"].items())
    counts = (counted(about[f"{what}s"], what) for what in ("output", "item", "system"))
    say("{} for {} by {} ({})".format(*counts, roles))
    for metric in found.metrics:
        lost = sum(metric.missing.values())
        if lost:
            reason = max(metric.missing, key=lambda text: metric.missing[text])
            say(f"evalkit: warning: {metric.name} has no value for {lost} outputs: {reason}")
        for note in metric.notes:
            say(f"evalkit: warning: {metric.name}: {note}")
    say("")


def _row(row: Validity) -> tuple[str, ...]:
    level = row.level
    told = [_with_interval(found) for found in level.coefficients.values()]
    whole = {"segment": (level.n, "rows"), "summary": (level.items, "items"), "system": (level.systems, "systems")}
    count, unit = whole[level.name]
    used = level.coefficients["pearson"].used
    notes = [next((a.reason for a in level.coefficients.values() if a.reason), ""), "negated" if row.values.negated else ""]
    if level.calibrated and level.calibrated[1] > 0:
        notes.append(f"accuracy {level.calibrated[0]:.3f} with ties up to {level.calibrated[1]:.3g}")
    amount = f"{used} {unit}" if used == count else f"{used} of {count} {unit}"
    return (row.metric, row.rating, level.name, *told, str(level.n), amount, "; ".join(filter(None, notes)))


def _with_interval(found: Agreement) -> str:
    if found.value is None:
        return "-"
    return f"{found.value:.3f}" + (f" [{found.ci[0]:.2f}, {found.ci[1]:.2f}]" if found.ci else "")
