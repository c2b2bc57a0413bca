"""``evalkit judge``: what a judge is worth beside people."""

from __future__ import annotations

from typing import Annotated

import typer

from evalkit.cli import judge_pairs, judge_steps
from evalkit.cli import options as o

app = typer.Typer(rich_markup_mode=None)


@app.callback()
def judge() -> None:
    """Judges: steps to rate by (steps), which system one prefers (pairs), how far it agrees with people (calibrate)."""


app.command("pairs")(judge_pairs.pairs)
app.command("steps")(judge_steps.steps)


@app.command("calibrate")
def calibrate(
    runs: Annotated[
        list[str], o.option("--judge-run", "A run that a judge scored: directory, (part of its) name, latest (repeat it).")
    ],
    human: Annotated[
        str,
        o.option("--human", "People's ratings: a table (annotator,item,system,criterion,value), a study, rated outputs."),
    ],
    criterion: Annotated[list[str] | None, o.option("--criterion", "Only this criterion (repeat it).")] = None,
    mapped: Annotated[
        list[str] | None, o.option("--map", "Where names differ: the judge's criterion=the people's (repeat it).")
    ] = None,
    system: Annotated[
        list[str] | None, o.option("--system", "What the run is called in the ratings; one for each --judge-run, in order.")
    ] = None,
    task: o.Task = None,
    scorer: Annotated[str | None, o.option("--scorer", "Which judge, where the run has several.")] = None,
    item: Annotated[str | None, o.option("--item", "In rated outputs: the column of the sample's id.")] = None,
    columns: Annotated[str | None, o.option("--columns", "In rated outputs: the columns of ratings, a,b.")] = None,
    by: Annotated[str | None, o.option("--by", "In rated outputs: the column that says who made an output.")] = None,
    replicates: Annotated[int, o.option("--replicates", "Bootstrap draws an interval; 0: none.", min=0)] = 1000,
    seed: Annotated[int, o.option("--seed", "Of the bootstrap.")] = 0,
    output_dir: o.OutputDir = None,
    json: o.Json = False,
    to: Annotated[
        str | None, o.option("--output", "Write a file too: the means as CSV where its name ends in .csv, else JSON.")
    ] = None,
) -> None:
    """Hold a judge against people's ratings of the same outputs.

    Prints what the judge may be used for, correlations at three levels beside those of trivial judges, bias, agreement
    beside that of people with each other, and means: of the judge, of the people, and corrected (PPI++). Keeps it all in the
    run's calibration/ for reports and gates.
    """
    from pathlib import Path

    from evalkit import api
    from evalkit.calibrate.judge_file import write_calibration
    from evalkit.cli.files import write_result
    from evalkit.cli.judge_tables import print_calibration
    from evalkit.cli.output import print_json, say
    from evalkit.errors import StoreError
    from evalkit.report.html import export_html

    given = {"item": item, "human": _names(columns), "system": by}
    found = api.calibrate_judge(
        runs,
        human,
        criteria=criterion or (),
        mapped=_pairs(mapped),
        systems=system or (),
        task=task,
        scorer=scorer,
        columns={role: name for role, name in given.items() if name} or None,
        replicates=replicates,
        seed=seed,
        output_dir=output_dir or "runs",
    )
    if json:
        print_json(found.to_dict())
    else:
        print_calibration(found)
    if to is not None:
        write_result(to, found.to_dict(), found.flat())
    for path in write_calibration(found):
        say(f"kept in {path}")
    for run in found.runs:
        try:
            export_html(api.open_run(Path(run.path)))
        except StoreError as error:
            say(f"evalkit: warning: the report of {run.path.name} was not made again: {error}")


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _pairs(given: list[str] | None) -> dict[str, str]:
    """Raises UsageError for what is no pair."""
    from evalkit.errors import UsageError

    pairs = [text.partition("=") for text in given or ()]
    wrong = next((text for text, (left, _, right) in zip(given or (), pairs, strict=True) if not left or not right), None)
    if wrong is not None:
        raise UsageError(f"--map {wrong!r}: write the judge's criterion=the people's")
    return {left.strip(): right.strip() for left, _, right in pairs}
