"""A study's ratings in the directory of a run that was rated, where the run's own report finds them."""

from __future__ import annotations

import json
from pathlib import Path

from evalkit.human.pairwise import WinRate, split
from evalkit.human.study_report import StudyReport
from evalkit.human.systems import SystemMean
from evalkit.ratings.base import RATINGS, Rating, write_ratings
from evalkit.ratings.joining import match_runs
from evalkit.runner.files import atomic, writing
from evalkit.runner.run import Run
from evalkit.types import Json

#: The folder in a run, and what its report reads of it. A further study replaces the one before.
FOLDER, SUMMARY = "human", "summary.json"
SCHEMA = 1


def attach_ratings(report: StudyReport, run: Run) -> list[Path]:
    """Write ``human/ratings_long.csv``, the ratings of this run's system, and ``human/summary.json`` into ``run``.

    Gives their paths. Raises DataError for a run that was not rated, StoreError for one that cannot be written to.
    """
    answers = report.answers
    paired = answers.study.systems if answers.study is not None and answers.pairwise else ()
    (system,) = match_runs([run], paired or answers.systems)
    ratings = [
        Rating(a.annotator, a.item, a.system, a.criterion, a.value)
        for a in answers.answers
        if a.kind == "item" and a.value is not None and system in (split(a.system, paired) if paired else (a.system,))
    ]
    folder = run.path / FOLDER
    with writing(folder):
        folder.mkdir(exist_ok=True)
        with atomic(folder / RATINGS) as file:
            write_ratings(Path(file.name), ratings)
        with atomic(folder / SUMMARY) as file:
            text = json.dumps(_summary(report, system), ensure_ascii=False, indent=1, allow_nan=False)
            file.write(text.encode("utf-8", "backslashreplace") + b"\n")
    return [folder / RATINGS, folder / SUMMARY]


def _summary(report: StudyReport, system: str) -> dict[str, Json]:
    answers = report.answers
    agreement = {row.criterion: row for row in report.agreement}
    criteria = []
    rows: list[SystemMean | WinRate] = [*report.systems, *report.win_rates]
    for row in rows:
        if row.system != system:
            continue
        mean, against = (row.mean, None) if isinstance(row, SystemMean) else (row.rate, row.against or "all others")
        agreed = agreement[row.criterion]
        criteria.append(
            {
                "criterion": row.criterion,
                "title": answers.study.rubric.criterion(row.criterion).shown if answers.study else row.criterion,
                "against": against,
                "low": min(answers.points[row.criterion]),
                "high": max(answers.points[row.criterion]),
                "mean": mean,
                "ci": row.ci,
                "items": row.items,
                "annotators": row.annotators,
                "alpha_ordinal": agreed.alpha_ordinal.value,
                "ac2": agreed.ac2.value,
            }
        )
    return {
        "schema": SCHEMA,
        "study": report.name,
        "system": system,
        "z": report.z,
        "form": "pairwise" if answers.pairwise else "pointwise",
        "rubric": answers.study.rubric.hash if answers.study else None,
        "notes": report.notes,
        "criteria": criteria,
    }
