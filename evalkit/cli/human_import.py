"""``evalkit human import``: sheets that came back, validated row by row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evalkit.cli import options as o
from evalkit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from evalkit.human.import_ratings import ImportedRatings

#: Findings of each level that the terminal shows; the report and --json have them all.
_SHOWN = 25

Folder = Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder, as evalkit human export made it.")]
Files = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[FILE]...", help="Sheets that came back (XLSX, CSV, TSV). [default: answers of the browser]"),
]
AllowMissing = Annotated[bool, o.option("--allow-missing", "Rows and ratings may be missing; they become warnings.")]
Map = Annotated[
    list[str] | None,
    o.option("--map", "OURS=THEIRS: a column of a file that is not ours; annotator and seconds too (repeat it)."),
]
Replace = Annotated[bool, o.option("--replace", "Take these files instead of what was imported of their annotators before.")]
Encoding = Annotated[str | None, o.option("--encoding", "Of CSV files that are not UTF-8, UTF-16 or Windows-1252.")]


def import_sheets(
    study: Folder,
    files: Files = None,
    allow_missing: AllowMissing = False,
    map_: Map = None,
    replace: Replace = False,
    encoding: Encoding = None,
    json: o.Json = False,
) -> None:
    """Take rating sheets back: every row is held against the study's key, every finding names its cell.

    An error (exit code 2) writes nothing. Otherwise the ratings are in ratings_long.csv and ratings.json, and what was
    noticed in import_report.md, all in the study's folder.
    """
    from evalkit.cli.output import print_json, say
    from evalkit.human.combine import MISSING
    from evalkit.human.findings import order, summary
    from evalkit.human.import_ratings import import_ratings

    done = import_ratings(
        study,
        files or (),
        allow_missing=allow_missing,
        mapping=_mapping(map_ or ()),
        replace_earlier=replace,
        encoding=encoding,
    )
    if json:
        print_json(_document(done))
    else:
        for level in ("error", "warning"):
            found = [finding for finding in order(done.findings) if finding.level == level]
            for finding in found[:_SHOWN]:
                say(f"evalkit: {level}: {finding.line()}")
            if len(found) > _SHOWN:
                say(f"evalkit: {level}: and {len(found) - _SHOWN} more; --json lists them all")
    if done.errors:
        missing_only = all(finding.code in MISSING for finding in done.errors)
        hint = "; --allow-missing takes what is there" if missing_only else ""
        raise DataError(f"{summary(done.findings)}; nothing was written{hint}")
    if not json:
        _print(study, done)


def _mapping(given: list[str] | tuple[()]) -> dict[str, str]:
    mapping: dict[str, str] = {}
    for word in given:
        ours, equals, theirs = word.partition("=")
        if not equals or not ours.strip() or not theirs.strip():
            raise ConfigError(f"--map {word}: write it as OURS=THEIRS, e.g. --map item_id=Input.item_id")
        mapping[ours.strip()] = theirs.strip()
    return mapping


def _print(study: Path, done: ImportedRatings) -> None:
    from evalkit.cli.output import print_table, say
    from evalkit.human.findings import REPORT

    rows = []
    for name in dict.fromkeys(given.annotator for given in done.given):
        mine = [given for given in done.given if given.annotator == name]
        rated = sum(given.value is not None for given in mine)
        earlier = "earlier" if name in done.kept else "now"
        rows.append([name, str(len({given.row for given in mine})), str(rated), str(len(mine) - rated), earlier])
    print_table(["annotator", "rows", "ratings", "N/A", "imported"], rows, right=[1, 2, 3])
    not_yet = [name for name in done.study.annotators if name not in {row[0] for row in rows}]
    if not_yet and {row[0] for row in rows} & set(done.study.annotators):
        say(f"nothing yet from {', '.join(not_yet)}")
    say(f"report: {study / REPORT}")


def _document(done: ImportedRatings) -> dict[str, object]:
    from dataclasses import asdict

    return {
        "study": done.study.id,
        "written": not done.errors,
        "annotators": list(done.annotators),
        "kept": list(done.kept),
        "ratings": len(done.ratings),
        "findings": [asdict(finding) for finding in done.findings],
    }
