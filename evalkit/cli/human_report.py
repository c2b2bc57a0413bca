"""``evalkit human report``: what a study found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evalkit.cli import options as o

if TYPE_CHECKING:
    from evalkit.human.study_report import StudyReport
    from evalkit.stats.intervals import Interval
    from evalkit.stats.reliability import Coefficient

Where = Annotated[
    Path, typer.Argument(metavar="STUDY", help="The study's folder after evalkit human import, or a table of ratings (CSV).")
]
Metrics = Annotated[
    list[str] | None, o.option("--metrics", "A rated run whose metrics and judges are held against people (repeat it).")
]
Z = Annotated[bool, o.option("--z", "Means and differences of each annotator's z-scores, without leniency.")]
Html = Annotated[bool, o.option("--html", "Write report.html, a page in one file, into the study.")]
Csv = Annotated[bool, o.option("--csv", "Write every table as CSV into the study's folder tables/.")]
Attach = Annotated[
    list[str] | None, o.option("--attach", "Put the ratings into a rated run, whose report then shows them (repeat it).")
]
Seed = Annotated[int, o.option("--seed", "Of the bootstrap.")]


def report(
    study: Where,
    metrics: Metrics = None,
    z: Z = False,
    html: Html = False,
    csv: Csv = False,
    attach: Attach = None,
    seed: Seed = 0,
    output_dir: o.OutputDir = None,
    json: o.Json = False,
) -> None:
    """Means and differences of systems, agreement, annotators, and how metrics go together with people.

    Intervals of means and differences take account of ratings of one item, and by one annotator, not being independent.
    p values are corrected (Holm) for the pairs of a criterion.
    """
    from evalkit import api
    from evalkit.cli.output import print_json, say
    from evalkit.human.attach import attach_ratings
    from evalkit.human.study_report import study_report
    from evalkit.report import html as run_report
    from evalkit.report.study import export_csv, export_html

    runs = [api.open_run(name, output_dir=output_dir or "runs") for name in metrics or ()]
    targets = [api.open_run(name, output_dir=output_dir or "runs") for name in attach or ()]
    found = study_report(study, runs=runs, z=z, seed=seed)
    if json:
        print_json(found.to_dict())
    else:
        _print(found)
    place = study if study.is_dir() else study.parent
    for path in export_csv(found, place) if csv else ():
        say(f"written to {path}")
    if html:
        say(f"written to {export_html(found, place)}")
    for run in targets:
        for path in (*attach_ratings(found, run), run_report.export_html(run)):
            say(f"written to {path}")


def _print(found: StudyReport) -> None:
    from evalkit.cli.output import say

    sheet = found.to_dict()["datasheet"]
    say(
        f"{found.name}: {sheet['ratings']:,} ratings by {sheet['annotators']} annotators of {sheet['outputs']:,} outputs "
        f"for {sheet['items']:,} items"
    )
    for note in found.notes:
        say(f"evalkit: warning: {note}")
    if found.answers.pairwise:
        _pairs(found)
    else:
        _systems(found)
    _agreement(found)
    _annotators(found)
    _correlations(found)


def _table(title: str, headers: tuple[str, ...], rows: Sequence[tuple[str, ...]], right: tuple[int, ...]) -> None:
    from evalkit.cli.output import print_table

    if rows:
        print(f"\n{title}")
        print_table(headers, rows, right=right)


def _systems(found: StudyReport) -> None:
    unit = "mean z-score" if found.z else "mean rating"
    rows = [
        (r.criterion, r.system, _number(r.mean), _interval(r.ci), _number(r.sd), str(r.n), str(r.items))
        for r in found.systems
    ]
    headers = ("Criterion", "System", "Mean", "95% CI", "SD", "Ratings", "Items")
    _table(f"Systems ({unit})", headers, rows, (2, 3, 4, 5, 6))
    gaps = [
        (r.criterion, f"{r.system} - {r.baseline}", _signed(r.difference), _interval(r.ci), _p(r.p_holm), str(r.items))
        for r in found.differences
    ]
    columns = ("Criterion", "Systems", "Difference", "95% CI", "p (Holm)", "Items")
    _table("Paired differences", columns, gaps, (2, 3, 4, 5))


def _pairs(found: StudyReport) -> None:
    rows = [
        (r.criterion, r.system, r.against or "(all others)", _number(r.rate), _interval(r.ci),
         f"{r.wins}/{r.ties}/{r.losses}", _p(r.p_holm), str(r.items))
        for r in found.win_rates
    ]  # fmt: skip
    headers = ("Criterion", "System", "Against", "Win rate", "95% CI", "Won/tie/lost", "p (Holm)", "Items")
    _table("Win rates (ties half)", headers, rows, (3, 4, 5, 6, 7))
    points = [
        (r.criterion, r.system, "-" if r.points is None else f"{r.points:.0f}", _interval(r.ci, 0), r.reason or "")
        for r in found.strengths
    ]
    _table("Bradley-Terry", ("Criterion", "System", "Points", "95% CI", "Notes"), points, (2, 3))
    sides = [
        (r.criterion, _number(r.rate), _interval(r.ci), _p(r.p), f"{r.flipped} of {r.repeats}" if r.repeats else "-")
        for r in found.sides
    ]
    columns = ("Criterion", "Side A preferred", "95% CI", "p", "Changed when sides changed")
    _table("Side", columns, sides, (1, 2, 3, 4))


def _agreement(found: StudyReport) -> None:
    rows = [
        (r.criterion, _with(r.alpha_ordinal), _with(r.alpha_interval), _with(r.alpha_nominal), _with(r.ac2),
         _number(r.kappa), _number(r.percent.value), "-" if r.share is None else f"{r.commonest:g}: {r.share:.0%}",
         str(r.outputs), r.reason or "")
        for r in found.agreement
    ]  # fmt: skip
    headers = ("Criterion", "Alpha, ordinal", "interval", "nominal", "AC2", "Kappa", "Same", "Commonest", "Outputs", "Notes")
    _table("Agreement (alpha: Krippendorff; AC2: Gwet, and kappa: quadratic)", headers, rows, (5, 6, 7, 8))


def _annotators(found: StudyReport) -> None:
    rows = [
        (r.annotator, str(r.rows), f"{r.passed} of {r.checks}" if r.checks else "-",
         f"{r.same} of {r.repeats}" if r.repeats else "-", "-" if r.seconds is None else f"{r.seconds:.0f} s")
        for r in found.annotators
    ]  # fmt: skip
    _table("Annotators", ("Annotator", "Rows", "Checks passed", "Repeats the same", "A row"), rows, (1, 2, 3, 4))
    offsets = [
        (r.criterion, r.annotator, "-" if r.offset is None else _signed(r.offset), _interval(r.ci), _number(r.spearman),
         str(r.outputs), "a straight line" if r.straight_line else "")
        for r in found.leniency
    ]  # fmt: skip
    columns = ("Criterion", "Annotator", "Above the others", "95% CI", "Spearman", "Outputs", "Notes")
    _table("Leniency, and agreement with the others", columns, offsets, (2, 3, 4, 5))


def _correlations(found: StudyReport) -> None:
    rows = []
    for r in found.correlations:
        told = []
        for name in ("pearson", "spearman", "kendall"):
            one = r.level.coefficients[name]
            told.append("-" if one.value is None else f"{one.value:.3f}" + (f" {_interval(one.ci, 2)}" if one.ci else ""))
        reason = next((c.reason for c in r.level.coefficients.values() if c.reason), None)
        notes = "; ".join(filter(None, [reason, "negated" if r.negated else ""]))
        rows.append((r.criterion, r.label, r.level.name, *told, str(r.level.n), notes))
    headers = ("Criterion", "Metric", "Level", "Pearson", "Spearman", "Kendall", "n", "Notes")
    _table("Metrics and judges beside people", headers, rows, (3, 4, 5, 6))


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _signed(value: float) -> str:
    return f"{value:+.3f}"


def _interval(ci: Interval | None, digits: int = 3) -> str:
    return "-" if ci is None else f"[{ci[0]:.{digits}f}, {ci[1]:.{digits}f}]"


def _with(found: Coefficient) -> str:
    if found.value is None:
        return "undefined"
    return f"{found.value:.3f}" + (f" {_interval(found.ci, 2)}" if found.ci else "")


def _p(p: float | None) -> str:
    return "-" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"
