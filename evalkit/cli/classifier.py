"""``evalkit classifier``: is this classifier any good on texts that people labelled, and what is known of it?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from evalkit.cli import options as o

if TYPE_CHECKING:
    from evalkit.calibrate.classifier import ClassifierReport
    from evalkit.calibrate.group_figures import GroupRow
    from evalkit.calibrate.labelled_figures import Figure

app = typer.Typer(rich_markup_mode=None)


@app.callback()
def classifier() -> None:
    """How good a toxicity (or other) classifier is (classifier evaluate), and what is known of it (classifier about)."""


@app.command("evaluate")
def evaluate(
    data: Annotated[str, o.option("--data", "Labelled texts: a JSON Lines, CSV or Parquet file, packed or not.")],
    name: Annotated[str | None, o.option("--classifier", "profanity, wordlist, hf:ID-OR-PATH, ...")] = None,
    settings: Annotated[
        list[str] | None, o.option("--classifier-arg", "A classifier's own option: key=value, the value as YAML.")
    ] = None,
    scores: Annotated[
        str | None, o.option("--scores", "Instead: a column of computed scores; -a: low ones mean the positive class.")
    ] = None,
    text: Annotated[str | None, o.option("--text", "The column of the text.")] = None,
    label: Annotated[str | None, o.option("--label", "Columns of labels: a,b; positive where one of them is.")] = None,
    positive: Annotated[list[str] | None, o.option("--positive", "The label's positive value (repeat it).")] = None,
    groups: Annotated[
        list[str] | None, o.option("--groups", "A column that names each text's group, or marks one (repeat it).")
    ] = None,
    functionality: Annotated[
        str | None, o.option("--functionality", "The column of a text's functionality. [default: functionality]")
    ] = None,
    cluster: Annotated[str | None, o.option("--cluster", "The column that says which texts resemble each other.")] = None,
    threshold: Annotated[
        float | None, o.option("--threshold", "Texts scoring it or more are flagged. [default: the classifier's, or 0.5]")
    ] = None,
    replicates: Annotated[int, o.option("--replicates", "Bootstrap draws an interval; 0: none.", min=0)] = 1000,
    seed: Annotated[int, o.option("--seed", "Of the bootstrap.")] = 0,
    json: o.Json = False,
    csv: Annotated[bool, o.option("--csv", "CSV on stdout instead of tables.")] = False,
    to: Annotated[str | None, o.option("--output", "Write a file too: CSV where its name ends in .csv, else JSON.")] = None,
) -> None:
    """Hold a classifier against people's labels.

    Accuracy, precision, recall, F1, AUC, average precision and false positive rate, each with a 95 % interval and n; what
    other thresholds would give; AUCs and error rates by group with tests corrected for the number of groups; accuracy by
    functionality (HateCheck).
    """
    from evalkit import api
    from evalkit.calibrate.labelled_texts import TextColumns
    from evalkit.cli.files import write_result
    from evalkit.cli.progress import shown
    from evalkit.encoder.base import watched

    columns = TextColumns(
        text=text or "",
        label=_names(label),
        positive=tuple(positive or ()),
        groups=tuple(name for given in groups or () for name in _names(given)),
        functionality=functionality or "",
        cluster=cluster or "",
        scores=scores or "",
    )
    with shown() as progress, watched(progress.working, progress.warning):
        found = api.evaluate_classifier(
            data, _named(name, settings), columns=columns, threshold=threshold, replicates=replicates, seed=seed
        )
    _print(found, json, csv)
    if to is not None:
        write_result(to, found.to_dict(), found.flat())


@app.command("about")
def about(
    name: Annotated[str, typer.Argument(help="profanity, wordlist, hf:ID-OR-PATH, ...", metavar="NAME")],
    json: o.Json = False,
) -> None:
    """What a classifier is, its version and threshold, and how good it is known to be."""
    from dataclasses import asdict

    from evalkit.calibrate.known_figures import KNOWN, WARNINGS
    from evalkit.classifiers.base import classifier as build
    from evalkit.cli.output import print_json, print_table, say

    built = build(name)
    told = {"about": (type(built).__doc__ or "").strip().split("\n\n")[0], **built.describe()}
    known, warnings = KNOWN.get(built.name, ()), WARNINGS.get(built.name, ())
    if json:
        print_json({**told, "warnings": list(warnings), "figures": [asdict(row) for row in known]})
        return
    print_table(("What", ""), [(key, " ".join(str(value).split())) for key, value in told.items()])
    for line in warnings:
        say(f"evalkit: warning: {line}")
    if not known:
        say("No figures are kept for it; measure it on texts of your own: evalkit classifier evaluate")
        return
    print("\nAt threshold 0.5 on public sets")
    rows = [
        (row.data, str(row.n), f"{row.positive:.0%}", *map(_three, (row.auc, row.precision, row.recall, row.f1)), row.remark)
        for row in known
    ]
    print_table(("Data", "n", "Positive", "AUC", "P", "R", "F1", "Remark"), rows, right=(1, 2, 3, 4, 5, 6))


def _named(name: str | None, settings: list[str] | None) -> dict[str, Any] | None:
    """The classifier with its options. Raises UsageError for an option that is no pair, or has no classifier."""
    import yaml

    from evalkit.errors import UsageError

    for item in settings or ():
        if name is None or "=" not in item:
            raise UsageError(f"--classifier-arg is key=value for a --classifier, not {item!r}")
    given = dict(item.split("=", 1) for item in settings or ())
    return None if name is None else {"name": name, **{key: yaml.safe_load(value) for key, value in given.items()}}


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _three(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _print(found: ClassifierReport, json: bool, csv: bool) -> None:
    from evalkit.cli.files import csv_text
    from evalkit.cli.output import print_json, say

    if json:
        print_json(found.to_dict())
    elif csv:
        print(csv_text(found.flat()), end="")
    else:
        _say_data(found)
        _print_overall(found)
        _print_thresholds(found)
        if found.groups:
            _print_groups(found)
        if found.functionality:
            _print_functionality(found)
        for note in found.notes:
            say(f"note: {note}")


def _say_data(found: ClassifierReport) -> None:
    from evalkit.cli.output import say
    from evalkit.report.numbers import counted

    told = found.to_dict()
    roles = ", ".join(f"{role}: {name}" for role, name in told["data"]["columns"].items())
    say(f"{counted(found.n, 'text')}, {found.positives} positive ({found.data.positive_value}; {roles})")
    say("; ".join(f"{key} {value}" for key, value in found.classifier.items()))
    if found.data.unlabelled:
        say(f"evalkit: warning: {counted(found.data.unlabelled, 'row')} without a label left out")
    for reason, count in found.unscored.items():
        say(f"evalkit: warning: {counted(count, 'text')} unscored, in none of the numbers: {reason}")
    say("")


def _figure(figure: Figure) -> str:
    if figure.value is None:
        return "–"
    return f"{figure.value:.3f}" + (f" [{figure.ci[0]:.2f}, {figure.ci[1]:.2f}]" if figure.ci else "")


def _print_overall(found: ClassifierReport) -> None:
    from evalkit.calibrate.labelled_figures import METRICS, about
    from evalkit.cli.output import print_table
    from evalkit.report.numbers import arrow, interval

    rows = []
    for figure in (*found.figures, *found.group_figures):
        info = METRICS[figure.metric]
        told = figure.reason or str(about(figure.metric)["meaning"])
        ends = f"{info.low:g} to {info.high:g}, ideal {info.ideal:g}"
        name, way = figure.metric, arrow(info.higher_is_better)
        rows.append((name, way, _three(figure.value), interval(figure.ci), str(figure.n), ends, told))
    print(f"At threshold {found.threshold:g}")
    headers = ("Metric", "", "Value", "95% CI", "n", "Range", "Meaning")
    print_table(headers, rows, right=(2, 3, 4), spare=(5,))


def _print_thresholds(found: ClassifierReport) -> None:
    from evalkit.cli.output import print_table

    names = ("accuracy", "precision", "recall", "f1", "fpr")
    rows = [(f"{row.threshold:.4g}", *(_three(row.rates[name]) for name in names), row.why) for row in found.thresholds]
    print("\nOther thresholds")
    print_table(("Threshold", "Accuracy", "P", "R", "F1", "FPR", "Which"), rows, right=(0, 1, 2, 3, 4, 5))


def _print_groups(found: ClassifierReport) -> None:
    from evalkit.cli.output import print_table

    print("\nBy group; p: against all other texts, corrected (Holm) for the number of groups")
    headers = ("Group", "n", "Positive", "AUC", "p", "BPSN AUC", "BNSP AUC", "FPR", "p", "FNR", "p")
    print_table(headers, [_group(row) for row in found.groups], right=(1, 2, 3, 4, 5, 6, 7, 8, 9, 10))


def _group(row: GroupRow) -> tuple[str, ...]:
    figures = {figure.metric: _figure(figure) for figure in row.figures}
    p = {test.metric: "–" if test.adjusted is None else _p(test.adjusted) for test in row.tests}
    aucs = (figures["subgroup_auc"], p["subgroup_auc"], figures["bpsn_auc"], figures["bnsp_auc"])
    return (row.group, str(row.n), str(row.positives), *aucs, figures["fpr"], p["fpr"], figures["fnr"], p["fnr"])


def _p(value: float) -> str:
    return "<.001" if value < 0.001 else f"{value:.3f}"


def _print_functionality(found: ClassifierReport) -> None:
    from evalkit.cli.output import print_table
    from evalkit.report.numbers import interval

    print("\nAccuracy by functionality")
    rows = [
        (name, "positive" if positive else "negative", _three(figure.value), interval(figure.ci), str(figure.n))
        for name, (positive, figure) in found.functionality.items()
    ]
    print_table(("Functionality", "Label", "Accuracy", "95% CI", "n"), rows, right=(2, 3, 4))
