"""``evalkit human export``: blind rating sheets, or what a study of that size can show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evalkit.cli import options as o
from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.human.base import Study
    from evalkit.human.make import Settings
    from evalkit.human.plan import Shape, Wanted
    from evalkit.human.pool import Pool
    from evalkit.rubric.schema import Rubric

Runs = Annotated[list[str] | None, typer.Argument(metavar="RUN...", help="One run a system: directory, name or latest.")]
RubricName = Annotated[
    str, o.option("--rubric", "What is rated: a shipped rubric, one criterion as rubric/criterion, or a YAML file.")
]
Out = Annotated[str | None, o.option("--out", "The folder of the study; a new one.")]
N = Annotated[int | None, o.option("--n", "Items to rate. [default: all]")]
Annotators = Annotated[int, o.option("--annotators", "People who rate.")]
Overlap = Annotated[int | None, o.option("--overlap", "Items that everybody rates. [default: 30, or all]")]
Seed = Annotated[int, o.option("--seed", "Of the draw and of every order.")]
Stratify = Annotated[str | None, o.option("--stratify", "A slice to draw in proportion, as tasks and lengths are.")]
Repeats = Annotated[float, o.option("--repeats", "Share of rows that come again, to see how steady a rater is.")]
Checks = Annotated[float, o.option("--checks", "Share of rows with shuffled words, to see who reads.")]
CheckOn = Annotated[
    list[str] | None, o.option("--check-on", "A criterion that shuffled words must fail. [default: fluency and its like]")
]
Format = Annotated[str, o.option("--format", "csv, xlsx, both; or for another tool label-studio, argilla, potato, mturk.")]
Delimiter = Annotated[str, o.option("--delimiter", "Of CSV: auto (as this computer's language has it), a comma, ; or tab.")]
Task = Annotated[list[str] | None, o.option("--task", "Only this task (repeat it). [default: all that the runs share]")]
Filter = Annotated[str | None, o.option("--filter", "The filter whose answers are rated. [default: the first]")]
Column = Annotated[list[str] | None, o.option("--column", "PART=NAME: the data's column of the input, source or reference.")]
Predictions = Annotated[list[str] | None, o.option("--predictions -p", "Instead of runs, NAME=FILE of outputs; repeat it.")]
References = Annotated[list[str] | None, o.option("--references -r", "With --predictions, a file of references.")]
Sources = Annotated[str | None, o.option("--sources", "With --predictions, a file of source texts.")]
Force = Annotated[bool, o.option("--force", "Replace a study that nobody has rated.")]
Plan = Annotated[bool, o.option("--plan", "Write nothing; say what a study of this size can show, and what it takes.")]
Interval = Annotated[float | None, o.option("--interval", "With --plan: wanted half-width of a mean's interval.")]
Difference = Annotated[float | None, o.option("--difference", "With --plan: difference of two systems to be found.")]
WinRate = Annotated[float | None, o.option("--win-rate", "With --plan: true win rate to be found, 0.6 or 60.")]
Sd = Annotated[float | None, o.option("--sd", "With --plan: standard deviation over items, in points of the scale.")]


def export(
    runs: Runs = None,
    rubric: RubricName = "",
    n: N = None,
    annotators: Annotators = 3,
    overlap: Overlap = None,
    seed: Seed = 0,
    out: Out = None,
    stratify: Stratify = None,
    repeats: Repeats = 0.1,
    checks: Checks = 0.05,
    check_on: CheckOn = None,
    format: Format = "both",
    delimiter: Delimiter = "auto",
    task: Task = None,
    filter: Filter = None,
    column: Column = None,
    predictions: Predictions = None,
    references: References = None,
    sources: Sources = None,
    force: Force = False,
    plan: Plan = False,
    interval: Interval = None,
    difference: Difference = None,
    win_rate: WinRate = None,
    sd: Sd = None,
    output_dir: o.OutputDir = None,
    json: o.Json = False,
) -> None:
    """Write blind rating sheets for the same items of several systems.

    One sheet an annotator, as XLSX and CSV, each in an order of its own, with hidden repeats and attention checks. Nothing
    in them says which system wrote what: that is in key.json alone.
    """
    from evalkit.cli.score import _pairs, _systems
    from evalkit.human.export import open_pool, open_rubric, write_folder
    from evalkit.human.folder import require_free
    from evalkit.human.make import Settings, make_study
    from evalkit.rubric.load import shipped

    if not rubric:
        raise UsageError(f"no rubric given; --rubric says what is rated: {', '.join(shipped())}, or a YAML file")
    if not plan:
        if out is None:
            raise UsageError("no folder given; --out FOLDER says where the study goes (--plan needs none)")
        require_free(Path(out), force)
    chosen = open_rubric(rubric)
    pool = open_pool(
        runs or (),
        chosen,
        predictions=_systems(predictions) if predictions else None,
        references=[Path(path) for path in references] if references else None,
        sources=sources,
        tasks=task or (),
        filter_=filter,
        columns=_pairs("--column", column),
        output_dir=output_dir or "runs",
    )
    _say_pool(pool)
    settings = Settings(n, annotators, overlap, seed, stratify, repeats, checks, tuple(check_on or ()))
    if plan or out is None:
        _plan(pool, chosen, settings, _wanted(interval, difference, win_rate, sd), json)
        return
    study = make_study(pool, chosen, settings)
    files = write_folder(study, Path(out), format=format, delimiter=delimiter, force=force)  # type: ignore[arg-type]
    _say_study(study, pool, Path(out), files, settings, json)


def _wanted(interval: float | None, difference: float | None, win_rate: float | None, sd: float | None) -> Wanted:
    from evalkit.human.plan import Wanted

    for name, value in (("--interval", interval), ("--difference", difference), ("--sd", sd)):
        if value is not None and not value > 0:
            raise UsageError(f"{name} {value:g}: it must be above 0")
    rate = win_rate / 100 if win_rate is not None and win_rate > 1 else win_rate
    if rate is not None and not 0.5 < rate < 1:
        raise UsageError(f"--win-rate {win_rate:g}: it lies between 0.5 and 1")
    return Wanted(interval, difference, rate, sd)


def _say_pool(pool: Pool) -> None:
    from evalkit.cli.output import say

    say(f"evalkit: {len(pool.items):,} items can be rated, each with the output of {', '.join(pool.systems)}")
    for reason, count in pool.left_out.items():
        say(f"evalkit: left out: {count:,} {reason}")
    for line in pool.notes:
        say(f"evalkit: warning: {line}")


def _plan(pool: Pool, rubric: Rubric, settings: Settings, wanted: Wanted, json: bool) -> None:
    from dataclasses import asdict

    from evalkit.cli.output import print_json, print_table, say
    from evalkit.human.make import shape
    from evalkit.human.plan import advice, answers, minutes

    found = shape(pool, rubric, settings)
    told = answers(found, rubric, wanted)
    times = minutes(found.sheets, found.seconds)
    if json:
        lines = [{**asdict(line), "needed": dict(line.needed)} for line in told]
        print_json({"study": asdict(found), "minutes": times, "answers": lines, "advice": advice(found)})
        return
    rows = [(line.question, line.here, ", ".join(f"{what}: {count:,}" for what, count in line.needed)) for line in told]
    print_table(("What is measured", f"with {found.items:,} items", "items needed"), rows)
    print()
    print_table(
        ("Annotator", "Items", "Rows", "Repeats", "Checks", "Minutes"), _sheet_rows(found, times), right=(1, 2, 3, 4, 5)
    )
    say(
        f"\n{found.overlap} of the {found.items} items are rated by all {found.annotators}. Minutes are an estimate "
        f"({found.seconds:.0f} s a row, 200 words a minute and 8 s a criterion): time a few rows first. Ratings of one item "
        "are not independent: more items tell more than more raters."
    )
    for line in advice(found):
        say(f"evalkit: {line}")


def _sheet_rows(shape: Shape, times: list[int]) -> list[tuple[str, ...]]:
    from evalkit.human.design import units

    each = units("pairwise" if shape.form == "pairwise" else "pointwise", shape.systems)
    return [
        (str(at), str(c.items // max(each, 1)), str(c.rows), str(c.repeats), str(c.checks), str(time))
        for at, (c, time) in enumerate(zip(shape.sheets, times, strict=True), 1)
    ]


def _say_study(study: Study, pool: Pool, out: Path, files: list[str], settings: Settings, json: bool) -> None:
    from evalkit.cli.output import print_json, say
    from evalkit.human.export import unblinding
    from evalkit.human.folder import GUIDELINES, README
    from evalkit.human.key import KEY

    kinds = {kind: sum(row.kind == kind for row in study.rows) for kind in ("item", "repeat", "check")}
    if json:
        rows = {who: sum(row.annotator == who for row in study.rows) for who in study.annotators}
        facts: dict[str, Any] = {"study": study.id, "folder": str(out), "files": files, "systems": study.systems}
        print_json({**facts, "rows": rows, "kinds": kinds, "left_out": pool.left_out})
    else:
        print(out)
    items = len({row.first.item for row in study.rows if row.kind == "item"})
    say(
        f"evalkit: study {study.id}: {items} items, {len(study.annotators)} annotators, {len(study.rows):,} rows "
        f"({kinds['repeat']} repeats, {kinds['check']} attention checks)"
    )
    if settings.checks and not kinds["check"]:
        say(f"evalkit: warning: no attention checks: {_why_no_checks(study, settings)}")
    for line in unblinding(study, pool):
        say(f"evalkit: warning: {line}")
    say(f"evalkit: keep {KEY} to yourself; {README} says which files go to whom, {GUIDELINES} goes to everybody")


def _why_no_checks(study: Study, settings: Settings) -> str:
    from evalkit.human.checks import checked_criteria

    if checked_criteria(study.rubric, settings.check_on):
        return "the outputs or the sheets are too short"
    return "no criterion of the rubric is known to be failed by shuffled words (--check-on names one)"
