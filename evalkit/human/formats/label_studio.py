"""Label Studio: tasks as JSON with a labelling configuration, and its JSON export back again.

The export is read in its full form ("JSON", not "JSON-MIN" or CSV, where annotations of several people get mixed up).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

from evalkit.errors import DataError
from evalkit.human.base import Finding, RawRow, Study
from evalkit.human.formats.rows import asked, imported_with, points, put, rated_column, records, text_columns, words
from evalkit.human.header import ANNOTATOR, EXTRA, SECONDS, Table
from evalkit.human.layout import COMMENT, ITEM_ID, STUDY_ID

_TOOL = "Label Studio"
#: What its pairwise control calls the two sides.
_SIDES = {"left": "A", "right": "B"}


def write(study: Study, folder: Path) -> list[str]:
    """``config.xml`` for the project's labelling interface and ``annotator_NN.json`` to import as tasks."""
    names = [put(folder / "config.xml", config(study))]
    for who in study.annotators:
        tasks = [{"data": record} for record in records(study, who)]
        names.append(put(folder / f"{who}.json", json.dumps(tasks, ensure_ascii=False, indent=1)))
    note = imported_with(study, _TOOL, "evalkit human import STUDY export.json      (export as JSON)")
    return [*names, put(folder / "README.txt", note)]


def config(study: Study) -> str:
    """The labelling interface: the texts as text, never as HTML, and one choice a criterion."""
    view = xml.Element("View")
    xml.SubElement(view, "Header", value=words(study), size="6")
    for name in text_columns(study):
        xml.SubElement(view, "Header", value=name.replace("_", " "))
        xml.SubElement(view, "Text", name=name, value=f"${name}", granularity="word")
    target = rated_column(study)
    for criterion in study.rubric.criteria:
        xml.SubElement(view, "Header", value=asked(criterion))
        control = xml.SubElement(
            view, "Choices", name=criterion.name, toName=target, choice="single-radio", required="true", showInline="true"
        )
        for point in points(criterion):
            anchor = criterion.levels.get(point)
            xml.SubElement(control, "Choice", {"value": point, **({"hint": f"{point}: {anchor}"} if anchor else {})})
    xml.SubElement(view, "TextArea", name=COMMENT, toName=target, placeholder=COMMENT, maxSubmissions="1")
    xml.indent(view)
    return xml.tostring(view, encoding="unicode") + "\n"


def read_export(path: Path, file: str, study: Study) -> Table:
    """The annotations of an export: one row an annotation, so that several people's stay apart.

    The row number is the task's place in the file. Cancelled annotations are left out and counted in a warning. Raises
    DataError for a file that cannot be read.
    """
    headings = [ITEM_ID, STUDY_ID, *study.rubric.names, COMMENT, ANNOTATOR, SECONDS]
    table = Table(file, headings={name: name for name in headings})
    try:
        tasks = json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        table.findings.append(Finding("error", "json", file, f"no JSON: {error}"))
        return table
    if not isinstance(tasks, list) or not all(isinstance(t, dict) and isinstance(t.get("data"), dict) for t in tasks):
        message = "no Label Studio export: a list of tasks with data and annotations; export as JSON, not as JSON-MIN"
        table.findings.append(Finding("error", "json", file, message))
        return table
    skipped: Counter[str] = Counter()
    for number, task in enumerate(tasks, 1):
        for annotation in task.get("annotations") or ():
            who = _who(annotation)
            if annotation.get("was_cancelled"):
                skipped[who] += 1
            else:
                table.rows.append(RawRow(file, number, _cells(study, task["data"], annotation, who)))
    for who, count in skipped.items():
        message = f"{who} cancelled {count} task{'s' * (count != 1)}: not read"
        table.findings.append(Finding("warning", "cancelled", file, message))
    return table


def _who(annotation: Mapping[str, Any]) -> str:
    """Who made an annotation: exports name a user by number, by address, or by both."""
    by = annotation.get("completed_by")
    if isinstance(by, Mapping):
        by = by.get("email") or by.get("id")
    return "" if by is None else f"user {by}" if isinstance(by, int) else str(by)


def _cells(study: Study, data: Mapping[str, Any], annotation: Mapping[str, Any], who: str) -> dict[str, str]:
    known = [*study.rubric.names, COMMENT]
    cells = {ITEM_ID: str(data.get(ITEM_ID) or ""), STUDY_ID: str(data.get(STUDY_ID) or ""), ANNOTATOR: who}
    cells |= dict.fromkeys(known, "")
    seconds = annotation.get("lead_time")
    cells[SECONDS] = "" if seconds is None else f"{float(seconds):.1f}"
    for result in annotation.get("result") or ():
        name = str(result.get("from_name") or "")
        text = _said(result.get("value") or {})
        column = name if name in known else f"{EXTRA}{name}"
        cells[column] = ", ".join(filter(None, [cells.get(column, ""), text]))
    return cells


def _said(value: Mapping[str, Any]) -> str:
    """What a control was set to, as a sheet's cell would say it."""
    if "selected" in value:
        return _SIDES.get(str(value["selected"]), str(value["selected"]))
    for kind in ("choices", "text", "rating", "number"):
        if kind in value:
            given = value[kind]
            return ", ".join(map(str, given)) if isinstance(given, Sequence) and not isinstance(given, str) else str(given)
    return json.dumps(dict(value), ensure_ascii=False)
