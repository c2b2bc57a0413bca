"""Sheets as XLSX: instructions, locked texts with rating cells that take only what is on the scale, and a hidden page."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Sequence
from typing import Any

from evalkit.errors import UsageError
from evalkit.human import guidelines
from evalkit.human.base import Row, Study
from evalkit.human.layout import INSTRUCTIONS, META, NOT_APPLICABLE, RATINGS, Column, columns, meta, text_cells
from evalkit.rubric.schema import Criterion

#: Excel's limits: letters in a list of allowed values, in a prompt and in its title; points of a row's height.
_LIST, _PROMPT, _TITLE, _TALL = 255, 255, 32, 409
_LINE = 15.0

_GREY, _PAPER, _PEN = "#E8EDF3", "#F7F7F7", "#FFFBE6"


def xlsx_bytes(study: Study, annotator: str, rows: Sequence[Row], *, page: bool = False) -> bytes:
    """One annotator's workbook. ``page``: there is a page of long texts beside it.

    The same study gives the same bytes. Raises UsageError without XlsxWriter.
    """
    try:
        import xlsxwriter
    except ImportError as error:
        raise UsageError("writing .xlsx needs XlsxWriter: pip install 'evalkit[human]', or --format csv") from error
    buffer = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(buffer, options) as book:
        book.set_properties({"title": "Rating sheet", "author": "", "created": dt.datetime(2000, 1, 1, tzinfo=dt.UTC)})
        styles = _styles(book)
        told, ratings, hidden = (book.add_worksheet(name) for name in (INSTRUCTIONS, RATINGS, META))
        _instructions(told, study, annotator, styles, page)
        facts = meta(study, annotator)
        _ratings(ratings, study, rows, facts, styles)
        _meta(hidden, study, facts, styles)
    return buffer.getvalue()


def _styles(book: Any) -> dict[str, Any]:
    text = {"num_format": "@", "text_wrap": True, "valign": "top", "border": 1, "border_color": "#C8C8C8"}
    middle = {"align": "center", "valign": "top", "border": 1, "border_color": "#C8C8C8", "locked": False, "bg_color": _PEN}
    return {
        "title": book.add_format({"bold": True, "font_size": 14}),
        "head": book.add_format(
            {"bold": True, "bg_color": _GREY, "border": 1, "border_color": "#C8C8C8", "num_format": "@"}
        ),
        "plain": book.add_format({"text_wrap": True, "valign": "top", "num_format": "@"}),
        "bold": book.add_format({"text_wrap": True, "valign": "top", "bold": True, "num_format": "@"}),
        "text": book.add_format({**text, "bg_color": _PAPER}),
        "id": book.add_format({**text, "bg_color": _PAPER, "text_wrap": False, "font_color": "#707070"}),
        "number": book.add_format(middle),
        "label": book.add_format({**middle, "num_format": "@"}),
        "comment": book.add_format({**text, "locked": False, "bg_color": _PEN}),
    }


def _instructions(sheet: Any, study: Study, annotator: str, styles: dict[str, Any], page: bool) -> None:
    sheet.set_column(0, 0, 22)
    sheet.set_column(1, 1, 100)
    sheet.hide_gridlines(2)
    sheet.write_string(0, 0, "How to rate", styles["title"])
    told = [*guidelines.warning_lines(study), study.rubric.task, study.rubric.guidelines, *guidelines.rules(study)]
    told += [guidelines.texts_hint(annotator)] if page else []
    lines: list[tuple[str, str, bool]] = [("", text, False) for text in told if text]
    lines += [("", f"Your ratings go into the sheet {RATINGS}, into the yellow cells.", True)]
    for criterion in study.rubric.criteria:
        lines += [("", "", False), (criterion.name, criterion.definition, True)]
        lines += [(point, criterion.levels.get(point, ""), False) for point in criterion.scale.points]
        lines += [("", f"{at}. {step}", False) for at, step in enumerate(criterion.steps, 1)]
    for at, (name, text, strong) in enumerate(lines, 2):
        style = styles["bold" if strong else "plain"]
        sheet.set_row(at, _LINE * guidelines.lines_of(" ".join(text.split()), 110))
        sheet.write_string(at, 0, name, style)
        sheet.write_string(at, 1, " ".join(text.split()), style)
    sheet.protect()
    _printed(sheet)


def _ratings(sheet: Any, study: Study, rows: Sequence[Row], facts: dict[str, list[str]], styles: dict[str, Any]) -> None:
    layout = columns(study)
    for at, column in enumerate(layout):
        sheet.set_column(at, at, _width(column))
        sheet.write_string(0, at, column.name, styles["head"])
    for number, row in enumerate(rows, 1):
        texts = text_cells(study, row)
        sheet.set_row(number, min(_TALL, max(2, guidelines.row_lines(study, texts)) * _LINE))
        given = {"item_id": row.id, "study_id": study.id, **texts}
        for at, column in enumerate(layout):
            if column.name in given and column.role in ("id", "study", "text"):
                sheet.write_string(number, at, given[column.name], styles["text" if column.role == "text" else "id"])
            else:
                sheet.write_blank(number, at, None, styles[_rating_style(study, column)])
    for at, column in enumerate(layout):
        if column.criterion is not None and rows:
            criterion = study.rubric.criterion(column.criterion)
            there = len(facts) + study.rubric.names.index(criterion.name)
            sheet.data_validation(1, at, len(rows), at, _validation(criterion, there))
    sheet.freeze_panes(1, 1)
    sheet.autofilter(0, 0, len(rows), len(layout) - 1)
    sheet.protect("", {"autofilter": True, "format_columns": True, "format_rows": True})
    sheet.activate()
    sheet.set_first_sheet()
    sheet.repeat_rows(0)
    _printed(sheet)


def _rating_style(study: Study, column: Column) -> str:
    """A number stays a number, a label (``3/4``, ``TRUE``) stays a text."""
    if column.criterion is None:
        return "comment"
    return "label" if study.rubric.criterion(column.criterion).scale.labels else "number"


def _width(column: Column) -> float:
    if column.part is not None:
        return guidelines.WIDTHS[column.part] + 2
    return {"id": 11, "study": 10, "comment": 32}.get(column.role, max(10, len(column.name) + 4))


def _allowed(criterion: Criterion) -> list[str]:
    return [*criterion.scale.points, NOT_APPLICABLE]


def _fits(allowed: Sequence[str]) -> bool:
    """Whether values can stand in a validation itself: their number of letters, and no comma, which parts them."""
    return len(",".join(allowed)) <= _LIST and not any("," in value for value in allowed)


def _validation(criterion: Criterion, row: int) -> dict[str, Any]:
    """What a rating cell takes. Values that do not fit in stand in ``row`` of the hidden sheet."""
    allowed = _allowed(criterion)
    there = f"='{META}'!$B${row + 1}:${_letters(len(allowed))}${row + 1}"
    return {
        "validate": "list",
        "source": allowed if _fits(allowed) else there,
        "input_title": _short(criterion.shown, _TITLE),
        "input_message": _short(" ".join(criterion.definition.split()), _PROMPT),
        "error_title": "Not on the scale",
        "error_message": _short(f"{criterion.name}: {guidelines.scale_words(criterion)}", _PROMPT),
        "error_type": "stop",
    }


def _letters(column: int) -> str:
    from xlsxwriter.utility import xl_col_to_name

    return str(xl_col_to_name(column))


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _meta(sheet: Any, study: Study, facts: dict[str, list[str]], styles: dict[str, Any]) -> None:
    scales = {f"values of {criterion.name}": _allowed(criterion) for criterion in study.rubric.criteria}
    for at, (name, values) in enumerate((facts | scales).items()):
        for column, value in enumerate((name, *values)):
            sheet.write_string(at, column, value, styles["plain"])
    sheet.protect()
    sheet.hide()


def _printed(sheet: Any) -> None:
    sheet.set_landscape()
    sheet.set_paper(9)
    sheet.fit_to_pages(1, 0)
