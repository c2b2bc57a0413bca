"""``report.html`` of a study, its tables as CSV, and its ratings in the directories of the runs that were rated."""

from __future__ import annotations

from pathlib import Path

from evalkit.human.study_report import StudyReport
from evalkit.report.page import page
from evalkit.report.study_view import build
from evalkit.report.tables import csv_file
from evalkit.runner.files import atomic

#: The page's name, and the folder of the tables.
PAGE, TABLES = "report.html", "tables"


def render(report: StudyReport) -> str:
    """The page: one file, which needs no network and no script. It names the systems: it is not for annotators."""
    return page("study.html.j2", ("report.css", "study.css"), (), view=build(report))


def export_html(report: StudyReport, folder: Path) -> Path:
    """Write ``report.html`` into ``folder``; returns its path."""
    path = folder / PAGE
    with atomic(path, derived=True) as file:
        file.write(render(report).encode("utf-8", "backslashreplace"))
    return path


def export_csv(report: StudyReport, folder: Path) -> list[Path]:
    """Write every table into ``folder``/tables; their paths."""
    paths = []
    (folder / TABLES).mkdir(exist_ok=True)
    for name, rows in report.tables().items():
        path = folder / TABLES / f"{name}.csv"
        with csv_file(path, list(rows[0])) as lines:
            for row in rows:
                lines.writerow(list(row.values()))
        paths.append(path)
    return paths
