"""Mechanical Turk and Prolific: one row a task as CSV, and the form that shows it.

Such platforms put the cells into a page as HTML, so every text is escaped; what is left is plain ASCII, because emoji are
refused there, and no cell is a formula to a spreadsheet.
"""

from __future__ import annotations

import csv
import html
import io
from pathlib import Path

from evalkit.human.base import Study
from evalkit.human.formats.rows import asked, imported_with, points, put, records, text_columns, words
from evalkit.human.layout import COMMENT, ITEM_ID, STUDY_ID
from evalkit.rubric.schema import Criterion

_FORMULA = "=+-@"

_STYLE = (
    ".text { white-space: pre-wrap; border: 1px solid #ccc; padding: .6em; } label { margin-right: 1em; } "
    "fieldset { margin: 1em 0; } legend { white-space: pre-wrap; font-weight: bold; }"
)


def write(study: Study, folder: Path) -> list[str]:
    """``annotator_NN.csv`` to publish as a batch each, and ``form.html`` for the layout of the task."""
    names = [put(folder / "form.html", form(study))]
    for who in study.annotators:
        text = io.StringIO()
        writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
        writer.writerow([ITEM_ID, STUDY_ID, *text_columns(study)])
        writer.writerows([escaped(cell) for cell in record.values()] for record in records(study, who))
        names.append(put(folder / f"{who}.csv", text.getvalue()))
    criteria = " ".join(f"--map {name}=Answer.{name}" for name in study.rubric.names)
    command = (
        f"evalkit human import STUDY Batch_results.csv --map {ITEM_ID}=Input.{ITEM_ID} --map {STUDY_ID}=Input.{STUDY_ID} "
        f"--map annotator=WorkerId --map seconds=WorkTimeInSeconds {criteria} --map {COMMENT}=Answer.{COMMENT}\n\n"
        "Publish one file after the other, each to other workers, with one assignment a task. On Prolific the annotator is\n"
        "the column PROLIFIC_PID of your survey tool's export."
    )
    return [*names, put(folder / "README.txt", imported_with(study, "Mechanical Turk and Prolific", command))]


def escaped(text: str) -> str:
    """``text`` as HTML that shows it, in ASCII on one line, whose first letter no spreadsheet takes for a formula."""
    safe = html.escape(text).replace("\n", "&#10;").replace("\t", "&#9;").replace("$", "&#36;")
    if safe[:1] in tuple(_FORMULA):
        safe = f"&#{ord(safe[0])};{safe[1:]}"
    return safe.encode("ascii", "xmlcharrefreplace").decode("ascii")


def form(study: Study) -> str:
    """The page of a task: plain fields, whose answers come back as one column each (those of crowd-form do not)."""
    texts = [
        f'<h3>{html.escape(name.replace("_", " "))}</h3>\n<div class="text">${{{name}}}</div>'
        for name in text_columns(study)
    ]
    comment = f'<p><label>Comment <textarea name="{COMMENT}" rows="2" cols="60"></textarea></label></p>'
    parts = [
        f"<style>{_STYLE}</style>",
        f'<div class="text">{escaped(words(study))}</div>',
        *texts,
        *(_fieldset(criterion) for criterion in study.rubric.criteria),
        comment,
    ]
    return "\n".join(parts) + "\n"


def _fieldset(criterion: Criterion) -> str:
    choices = [
        f'<label><input type="radio" name="{criterion.name}" value="{html.escape(point)}" required> {escaped(point)}</label>'
        for point in points(criterion)
    ]
    return "\n".join([f"<fieldset><legend>{escaped(asked(criterion))}</legend>", *choices, "</fieldset>"])
