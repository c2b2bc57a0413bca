"""Sheets as other programs read them: quoted, guarded, locked, blind, with every text whole or its cut told."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_pool import SYSTEMS, pool

from evalkit.errors import UsageError
from evalkit.human import digests, guidelines, layout
from evalkit.human.base import Output, Study
from evalkit.human.export import unblinding, write_folder
from evalkit.human.make import Settings, make_study
from evalkit.human.sheets_csv import csv_bytes, guarded, separator
from evalkit.human.sheets_xlsx import xlsx_bytes
from evalkit.rubric.load import load_rubric
from evalkit.rubric.schema import Criterion, Rubric, Scale

FORMULAS = ['=HYPERLINK("http://evil","x")', "+1", "-2+3", "@SUM(A1)", "\uff1d1+1", "\t=1", "\r=1", "{=1}", "|cmd", "#N/A"]
TYPED = ["1E5", "007", "3/4", "1-2", "TRUE", "NA", "null", "4.0", "4,0", "März 5", "", "   ", "sep=;"]
MARKS = ["a\rb\r\nc\n", "'quoted", '"a";"b",c\td', "_x0041_ and _x000D_", "<b>&amp;</b>", "http://example.org/"]
LETTERS = [
    "a\x00b\x07c",
    "\ufeffmark",
    "😀 é e\u0301",
    "\u202eright to left\u202c שלום عولم",
    "\ud83d alone",
    "a\u2028b\x0bc",
]
NASTY = [*FORMULAS, *TYPED, *MARKS, *LETTERS, "\uffff\ufffe", "x" * 40_000, "😀" * 20_000]
CASES = ["summarisation", "preference", "correctness"]


def nasty_pool(texts: list[str] = NASTY, systems: int = 2) -> Any:
    made = pool(len(texts), systems)
    items = {}
    for (item, outputs), text in zip(made.items.items(), texts, strict=True):
        items[item] = tuple(replace(output, text=text, source=text, reference=text, input=text) for output in outputs)
    return replace(made, items=items)


def study(rubric: str = "summarisation", made: Any = None, **options: Any) -> Study:
    found = make_study(
        made or pool(40, 3), load_rubric(rubric), Settings(**{"annotators": 2, "overlap": 5, "seed": 3, **options})
    )
    return replace(found, created="2026-01-01T00:00:00+00:00")


def rows_of(found: Study, who: str = "annotator_01") -> Any:
    return [row for row in found.rows if row.annotator == who]


def read_csv(data: bytes, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=delimiter, strict=True))


def read_xlsx(data: bytes) -> Any:
    return openpyxl.load_workbook(io.BytesIO(data))


def test_csv_is_what_spreadsheets_expect() -> None:
    data = csv_bytes(study(), rows_of(study()), ",")
    assert data.startswith(b'\xef\xbb\xbf"item_id","study_id","context","output","fluency"')
    header, *rows = read_csv(data)
    assert header == [column.name for column in layout.columns(study())]
    assert data.count(b"\r\n") == len(rows) + 1 and b"\n" not in data.replace(b"\r\n", b"")
    assert all(row[4:] == [""] * 5 for row in rows)
    assert [row[0] for row in rows] == [row.id for row in rows_of(study())]
    assert {row[1] for row in rows} == {study().id}


@pytest.mark.parametrize(("name", "character"), [(",", ","), (";", ";"), ("tab", "\t")])
def test_delimiters(name: str, character: str) -> None:
    assert read_csv(csv_bytes(study(), rows_of(study()), name), character) == read_csv(
        csv_bytes(study(), rows_of(study()), ",")
    )
    with pytest.raises(UsageError, match="auto, a comma, a semicolon or tab"):
        separator("|")
    assert separator("auto") in (",", ";")


def test_formulas_and_what_looks_like_a_number_are_guarded() -> None:
    for risky in (
        "=1",
        "+1",
        "-1",
        "@a",
        "\t=1",
        "\uff1d1",
        " =1",
        "1E5",
        "007",
        "3/4",
        "TRUE",
        "wahr",
        "Mai 5",
        "5 May 2020",
        "4,0",
        "$5",
    ):
        assert guarded(risky) == "'" + risky
    for plain in ("A sentence with 3 words.", "don't", "'tis", "The year 2020 was long.", "", "Paris"):
        assert guarded(plain) == plain


@pytest.mark.parametrize("rubric", CASES)
def test_every_text_comes_back_from_either_sheet(rubric: str) -> None:
    found = study(rubric, nasty_pool())
    rows = rows_of(found)
    texts = [column.name for column in layout.columns(found) if column.role == "text"]
    header, *cells = read_csv(csv_bytes(found, rows, ","))
    sheet = read_xlsx(xlsx_bytes(found, "annotator_01", rows))["Ratings"]
    first, *others = [["" if cell is None else cell for cell in line] for line in sheet.iter_rows(values_only=True)]
    assert header == first
    assert len(rows) == len(cells) == len(others)
    for row, one, other in zip(rows, cells, others, strict=True):
        for line in (one, other):
            by_name = dict(zip(header, line, strict=True))
            assert by_name["item_id"] == row.id and by_name["study_id"] == found.id
            assert all(isinstance(by_name[name], str) for name in texts)
            assert all(layout.units(by_name[name]) <= 32_767 for name in texts)
            assert digests.text_digest(*(by_name[name] for name in texts)) == row.digest


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=60), min_size=4, max_size=8))
def test_any_text_comes_back_from_a_csv(texts: list[str]) -> None:
    found = study(made=nasty_pool(texts), overlap=2)
    for row, line in zip(rows_of(found), read_csv(csv_bytes(found, rows_of(found), ";"), ";")[1:], strict=True):
        assert digests.text_digest(*line[2:4]) == row.digest
        assert not line[3].lstrip().startswith(("=", "+", "-", "@"))


@pytest.mark.parametrize("rubric", CASES)
def test_a_workbook_takes_only_what_is_on_the_scale(rubric: str) -> None:
    found = study(rubric)
    rows = rows_of(found)
    book = read_xlsx(xlsx_bytes(found, "annotator_01", rows))
    assert book.sheetnames == ["Instructions", "Ratings", "_meta"]
    assert [sheet.sheet_state for sheet in book] == ["visible", "visible", "hidden"]
    assert book.active.title == "Ratings"
    sheet = book["Ratings"]
    assert sheet.freeze_panes == "B2" and sheet.protection.sheet and sheet.auto_filter.ref
    names = [cell.value for cell in sheet[1]]
    allowed = {str(rule.sqref): rule.formula1 for rule in sheet.data_validations.dataValidation}
    for criterion in found.rubric.criteria:
        letter = sheet.cell(1, names.index(criterion.name) + 1).column_letter
        assert allowed[f"{letter}2:{letter}{len(rows) + 1}"] == f'"{",".join([*criterion.scale.points, "N/A"])}"'
    assert all(rule.errorStyle in (None, "stop") and rule.showErrorMessage for rule in sheet.data_validations.dataValidation)
    for cell in sheet[2]:
        name = names[cell.column - 1]
        free = name in found.rubric.names or name == "comment"
        assert cell.protection.locked is not free
        if not free:
            assert cell.number_format == "@"
        elif name != "comment" and not found.rubric.criterion(name).scale.labels:
            assert cell.number_format == "General"  # a number that is typed stays one
    assert not any(cell.comment or cell.hyperlink for line in sheet.iter_rows() for cell in line)


def test_the_instructions_hold_the_whole_rubric() -> None:
    found = replace(study(), warnings=("slurs and insults",))
    book = read_xlsx(xlsx_bytes(found, "annotator_01", rows_of(found)))
    told = "\n".join(str(cell.value or "") for line in book["Instructions"].iter_rows() for cell in line)
    for text in (told, guidelines.markdown(found)):
        plain = " ".join(text.split())
        assert "Content warning: slurs and insults." in plain
        assert " ".join(found.rubric.task.split()) in plain
        for criterion in found.rubric.criteria:
            for words in (criterion.name, criterion.definition, *criterion.levels.values(), *criterion.steps):
                assert " ".join(words.split()) in plain


def test_the_hidden_sheet_says_what_the_sheet_is() -> None:
    found = study()
    book = read_xlsx(xlsx_bytes(found, "annotator_01", rows_of(found)))
    facts = {line[0]: [cell for cell in line[1:] if cell] for line in book["_meta"].iter_rows(values_only=True)}
    assert facts["study_id"] == [found.id]
    assert facts["rubric"] == ["summarisation", "1", found.rubric.hash]
    assert facts["rows"] == [str(len(rows_of(found)))] and len(facts["digest"][0]) == 64
    assert facts["columns"] == [column.name for column in layout.columns(found)]


def test_labels_that_no_list_can_hold_stand_in_the_hidden_sheet() -> None:
    labels = ("no, never", *(f"a rather long label number {at}" for at in range(12)))
    rubric = Rubric(rubric="odd", task="t", criteria=(Criterion(name="odd", definition="d", scale=Scale(labels=labels)),))
    found = make_study(pool(6), rubric, Settings(annotators=1))
    book = read_xlsx(xlsx_bytes(found, "annotator_01", found.rows))
    (rule,) = book["Ratings"].data_validations.dataValidation
    place = re.fullmatch(r"'_meta'!\$B\$(\d+):\$O\$\1", rule.formula1)
    assert place, rule.formula1
    assert [cell.value for cell in book["_meta"][int(place[1])]][1:15] == [*labels, "N/A"]
    assert book["Ratings"].cell(2, 4).number_format == "@"


def test_the_same_study_gives_the_same_bytes() -> None:
    one, two = study(), study()
    for who in one.annotators:
        assert xlsx_bytes(one, who, rows_of(one, who)) == xlsx_bytes(two, who, rows_of(two, who))
        assert csv_bytes(one, rows_of(one, who)) == csv_bytes(two, rows_of(two, who))


def test_texts_that_no_cell_shows_whole_have_a_page() -> None:
    found = study(made=nasty_pool(["😀" * 20_000, "short <b>", "line\n" * 300, "also short"]), annotators=1, overlap=0)
    page = guidelines.texts_page(found, rows_of(found)) or ""
    long = [row for row in rows_of(found) if len(row.first.text) > 100]
    assert page.count("<section") == len(long) and all(row.id in page for row in long)
    assert "😀" * 20_000 in page and "short" not in page
    cells = layout.text_cells(found, next(row for row in long if "😀" in row.first.text))
    assert "annotator_01_texts.html under x" in cells["output"]
    assert guidelines.texts_page(study(), rows_of(study())) is None


def contents(path: Path) -> str:
    """Everything in a file, what is packed inside it too."""
    if path.suffix == ".xlsx":
        with zipfile.ZipFile(path) as parts:
            return "\n".join([*parts.namelist(), *(parts.read(name).decode("utf-8") for name in parts.namelist())])
    return path.read_text("utf-8")


@pytest.mark.parametrize("rubric", CASES)
def test_nothing_but_the_key_knows_who_wrote_what(tmp_path: Path, rubric: str) -> None:
    made = pool(40, 3)
    texts = {item: tuple(replace(o, text=o.text * 90) for o in outputs) for item, outputs in made.items.items()}
    found = study(rubric, replace(made, items=texts))
    files = write_folder(found, tmp_path / "study")
    assert sum(name.endswith("_texts.html") for name in files) == 2
    written = [path for path in (tmp_path / "study").rglob("*") if path.is_file()]
    assert len(written) == len(files) + 1
    told = [*SYSTEMS, "somewhere", "20260101T000000Z", *made.items, "task0", str(tmp_path), "repeat", "check", "duplicate"]
    for path in written:
        if path.name == "key.json":
            assert all(system in contents(path) for system in SYSTEMS[:3])
            continue
        text = (path.name + contents(path)).casefold()
        if path.suffix == ".xlsx":  # words of the format itself
            text = text.replace("sheetprotection", "").replace("docprops/app.xml", "")
        assert not [name for name in told if name.casefold() in text and name not in ("check", "repeat")], path
        assert SYSTEMS[0].split("-")[0] not in text


def test_the_order_of_rows_and_ids_does_not_follow_the_systems() -> None:
    found = study(n=40)
    systems = [row.first.system for row in found.rows if row.kind == "item"]
    by_id = [row.first.system for row in sorted(found.rows, key=lambda row: row.id) if row.kind == "item"]
    for order in (systems, by_id):
        share = sum(a == b for a, b in pairwise(order)) / len(order)
        assert 0.15 < share < 0.55


def test_outputs_that_name_their_system_are_told_to_the_owner() -> None:
    made = pool(10, 2)
    first = next(iter(made.items))
    one, two = made.items[first]
    named: dict[str, tuple[Output, ...]] = {
        **made.items,
        first: (replace(one, text=f"I am {SYSTEMS[0].upper()}, a model."), two),
    }
    made = replace(made, items=named)
    told = unblinding(study(made=made, annotators=1), made)
    assert len(told) == 1 and re.match(r"[12] rows show .*zephyrnaught-7b", told[0])
    assert unblinding(study(), pool(40, 3)) == []
