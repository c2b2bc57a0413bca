"""A study of a few rows, made by hand: two annotators, two systems, three items."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from evalkit.human.base import Output, Row, Study
from evalkit.human.ids import new_ids
from evalkit.human.key import write_study
from evalkit.human.layout import row_digest
from evalkit.rubric.load import load_rubric

SYSTEMS = ("secret-system-one", "secret-system-two")


def small_study(folder: Path, rubric: str = "summarisation", warnings: tuple[str, ...] = ()) -> Study:
    """Write the study's key into ``folder`` and give the study."""
    folder.mkdir(parents=True, exist_ok=True)
    found = load_rubric(rubric)
    ids = iter(new_ids(12, 7))
    texts = {
        (item, system): Output(
            f"item{item}", SYSTEMS[system], f"Text {item} of {'ab'[system]} <b>bold</b>", "Ask", f"Source {item}."
        )
        for item in range(3)
        for system in range(2)
    }
    rows = []
    for annotator in ("annotator_01", "annotator_02"):
        for position, (item, system) in enumerate(sorted(texts, reverse=annotator.endswith("2"))):
            pair = found.form == "pairwise"
            row = Row(next(ids), annotator, position, "item", texts[item, system], texts[item, 1 - system] if pair else None)
            rows.append(row)
    study = Study(
        "teststudy",
        found.form,
        found,
        7,
        "2026-01-01",
        "0",
        ("run",),
        SYSTEMS,
        ("annotator_01", "annotator_02"),
        (),
        warnings,
    )
    study = replace(study, rows=tuple(replace(row, digest=row_digest(study, row)) for row in rows))
    write_study(study, folder)
    return study
