"""Our workbooks come back edited: headings, sheets, formats and formulas are told apart by what the workbook remembers."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import returned_study as small

from evalkit.human.import_ratings import ImportedRatings, import_ratings
from evalkit.human.sheets_xlsx import xlsx_bytes

MADE = small.study(annotators=1)
(ANNOTATOR,) = MADE.annotators


def brought(folder: Path, edit: Callable[[Any], None], **options: Any) -> ImportedRatings:
    """The exported workbook, filled in, edited and imported."""
    from openpyxl import load_workbook

    book = load_workbook(io.BytesIO(xlsx_bytes(MADE, ANNOTATOR, MADE.rows)))
    for number, cells in enumerate(small.filled(MADE, ANNOTATOR)[1:], 2):
        for at, text in enumerate(cells[4:], 5):
            book["Ratings"].cell(number, at).value = (int(text) if text.isdecimal() else text) or None
    edit(book)
    book.save(folder / "annotator_01.xlsx")
    return import_ratings(small.written(folder / "study", MADE), [folder / "annotator_01.xlsx"], **options)


def codes(done: ImportedRatings) -> list[tuple[str, str, int | None, str | None]]:
    return [(f.level, f.code, f.row, f.column) for f in done.findings]


def exact(done: ImportedRatings) -> bool:
    return {(g.annotator, g.row, g.criterion): g.value for g in done.given} == small.truth(MADE)


def test_filled_in_and_nothing_else(tmp_path: Path) -> None:
    done = brought(tmp_path, lambda book: None)
    assert codes(done) == [] and exact(done)


def test_hidden_rows_are_rows(tmp_path: Path) -> None:
    def edit(book: Any) -> None:
        for number in range(3, 9):
            book["Ratings"].row_dimensions[number].hidden = True
        book["Ratings"].column_dimensions["D"].hidden = True

    assert exact(brought(tmp_path, edit))


def test_a_translated_heading_is_known_by_its_place_with_a_warning(tmp_path: Path) -> None:
    def edit(book: Any) -> None:
        book["Ratings"]["E1"], book["Ratings"]["D1"] = "Sprachfluss", None

    done = brought(tmp_path, edit)
    assert codes(done) == [("warning", "header-renamed", 1, None), ("warning", "header-renamed", 1, "Sprachfluss")]
    assert "read as 'fluency', which stood in its place" in done.findings[1].message and exact(done)


def test_no_place_is_believed_once_columns_were_moved(tmp_path: Path) -> None:
    def edit(book: Any) -> None:
        page = book["Ratings"]
        page["E1"] = "Sprachfluss"
        for number in range(1, page.max_row + 1):
            six, eight = page.cell(number, 6).value, page.cell(number, 8).value
            page.cell(number, 6).value, page.cell(number, 8).value = eight, six

    assert codes(brought(tmp_path, edit)) == [("error", "header", 1, None)]


def test_merged_headings_and_cells_are_noticed(tmp_path: Path) -> None:
    def edit(book: Any) -> None:
        book["Ratings"].merge_cells("F4:F5")

    assert codes(brought(tmp_path, edit)) == [("error", "rating-missing", 5, "relevance")]


def test_other_sheets_are_told(tmp_path: Path) -> None:
    def edit(book: Any) -> None:
        book.create_sheet("Sheet2")
        book.create_sheet("Notes")["B2"] = "ask about row 4"
        book.copy_worksheet(book["Ratings"])

    done = brought(tmp_path, edit)
    assert [f.code for f in done.findings] == ["other-sheet", "other-sheet"] and exact(done)
    assert "'Notes' holds something" in done.findings[1].message + done.findings[0].message


def test_a_renamed_sheet_is_found_by_its_header(tmp_path: Path) -> None:
    def edit(book: Any) -> None:
        book["Ratings"].title = "Bewertungen"
        del book["_meta"]

    assert exact(brought(tmp_path, edit))


@pytest.mark.parametrize(
    ("value", "form", "says"),
    [
        (dt.date(2024, 2, 1), None, "'2024-02-01' is a date"),
        (dt.time(4, 0), None, "a date or time"),
        (True, None, "'TRUE' is a truth value"),
        (0.04, "0%", "'4%' is a percentage"),
        ("=E2+1", None, "'=E2+1' is a formula"),
        ("=NA()", None, "a formula"),
        (3.5, None, "between two points"),
        (3.0000001, "0", "between two points"),
        (4, "yyyy-mm-dd", "a date"),
        ("#REF!", None, "a spreadsheet's error"),
    ],
)
def test_typed_cells_that_are_no_rating(tmp_path: Path, value: object, form: str | None, says: str) -> None:
    def edit(book: Any) -> None:
        cell = book["Ratings"]["F7"]
        cell.value = value
        if form:
            cell.number_format = form

    done = brought(tmp_path, edit)
    assert codes(done) == [("error", "rating", 7, "relevance")] and says in done.errors[0].message


def test_a_number_keeps_its_value_under_any_format(tmp_path: Path) -> None:
    def edit(book: Any) -> None:
        for number, form in enumerate(("0.00", "#,##0", '0 "points"', "[$-407]0,0", "@"), 2):
            book["Ratings"].cell(number, 6).number_format = form
            book["Ratings"].cell(number, 6).value = float(book["Ratings"].cell(number, 6).value)

    assert exact(brought(tmp_path, edit))


def test_a_workbook_of_another_study_or_rubric(tmp_path: Path) -> None:
    from openpyxl import load_workbook

    done = brought(tmp_path, lambda book: book["_meta"].__setitem__("B1", "sbcdfghj"))
    assert codes(done) == [("error", "other-study", None, None)]
    rubric = MADE.rubric.model_copy(update={"task": "Rate as strictly as you can."})
    other = replace(MADE, rubric=rubric)
    book = load_workbook(io.BytesIO(xlsx_bytes(other, ANNOTATOR, other.rows)))
    book.save(tmp_path / "other.xlsx")
    done = import_ratings(tmp_path / "study", [tmp_path / "other.xlsx"], allow_missing=True)
    assert [f.code for f in done.errors] == ["other-rubric"]


def test_a_workbook_that_is_none(tmp_path: Path) -> None:
    import zipfile

    file = tmp_path / "sheet.xlsx"
    with zipfile.ZipFile(file, "w") as parts:
        parts.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
    folder = small.written(tmp_path / "study", MADE)
    assert "not a workbook of Excel" in import_ratings(folder, [file]).errors[0].message
    content = xlsx_bytes(MADE, ANNOTATOR, MADE.rows)
    file.write_bytes(content[: len(content) // 2])
    assert "the workbook is damaged" in import_ratings(folder, [file]).errors[0].message
