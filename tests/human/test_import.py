"""Sheets come back as the ratings that were given, or with findings that say what is wrong and where."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import returned_study as small

from evalkit.errors import DataError, NotFound, StoreError
from evalkit.human.base import Study
from evalkit.human.given import read_returned
from evalkit.human.import_ratings import ImportedRatings, import_ratings
from evalkit.ratings.base import read_ratings

A, B = "annotator_01", "annotator_02"


def bring(folder: Path, made: Study, sheets: dict[str, bytes], **options) -> ImportedRatings:
    """Import files of these names and contents into a study in ``folder``."""
    study_folder = small.written(folder / "study", made)
    for name, content in sheets.items():
        (folder / name).write_bytes(content)
    return import_ratings(study_folder, [folder / name for name in sheets], **options)


def sheets(made: Study) -> dict[str, bytes]:
    return {f"{name}.csv": small.as_csv(small.filled(made, name)) for name in made.annotators}


def values(done: ImportedRatings) -> dict[tuple[str, str, str], float | None]:
    return {(g.annotator, g.row, g.criterion): g.value for g in done.given}


def told(done: ImportedRatings) -> list[str]:
    return [finding.line() for finding in done.findings]


@pytest.mark.parametrize("form", ["pointwise", "pairwise"])
def test_untouched_sheets_give_the_ratings_and_no_finding(tmp_path: Path, form: str) -> None:
    made = small.study(form)
    done = bring(tmp_path, made, sheets(made))
    assert told(done) == []
    assert values(done) == small.truth(made)
    rated = {(r.annotator, r.item, r.system, r.criterion): r.value for r in read_ratings(tmp_path / "study")}
    assert len(rated) == sum(
        1 for row in made.rows if row.kind == "item" for name in made.rubric.names if small.answer(row, name) != "N/A"
    )
    assert {system for _, _, system, _ in rated} == ({"alpha-7b vs beta-13b"} if form == "pairwise" else set(small.SYSTEMS))
    report = (tmp_path / "study" / "import_report.md").read_text("utf-8")
    assert "every rating came back" in report and made.id in report


def test_a_pair_counts_for_the_system_named_first_whichever_side_it_was_on(tmp_path: Path) -> None:
    made = small.study("pairwise")
    done = bring(tmp_path, made, sheets(made))
    rated = {(r.annotator, r.item): r.value for r in done.ratings}
    for row in made.rows:
        if row.kind == "item":
            winner = {"A": row.first, "B": row.second}.get(small.answer(row, "preference"))
            expected = 0.5 if winner is None else float(winner.system == "alpha-7b")
            assert rated[row.annotator, row.first.item] == expected


def edited(made: Study, name: str = A) -> list[list[str]]:
    return small.filled(made, name)


def column(sheet: list[list[str]], name: str) -> int:
    return sheet[0].index(name)


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("3.5", "'3.5' is between two points of the scale 1 to 5"),
        ("6", "'6' is not on the scale 1 to 5"),
        ("2024-02-01", "a date or time"),
        ("TRUE", "a truth value"),
        ("80%", "a percentage"),
        ("=B2+1", "a formula"),
        ("good", "'good' is no rating from 1 to 5"),
    ],
)
def test_a_cell_that_is_no_rating_names_file_row_column_and_value(tmp_path: Path, cell: str, says: str) -> None:
    made = small.study()
    sheet = edited(made)
    sheet[4][column(sheet, "relevance")] = cell
    done = bring(tmp_path, made, {"annotator_01.csv": small.as_csv(sheet)})
    (finding,) = done.errors
    assert (finding.code, finding.file, finding.row, finding.column, finding.value) == (
        "rating", "annotator_01.csv", 5, "relevance", cell,
    )  # fmt: skip
    assert says in finding.message
    assert not done.ratings and sorted(p.name for p in (tmp_path / "study").iterdir()) == ["key.json"]


def test_missing_ratings_are_errors_unless_allowed_and_na_is_not_missing(tmp_path: Path) -> None:
    made = small.study()
    sheet = edited(made)
    gone = sheet.pop(3)
    sheet[2][column(sheet, "fluency")] = " "
    sheet[5][column(sheet, "fluency")] = "n/a"
    done = bring(tmp_path, made, {"annotator_01.csv": small.as_csv(sheet)})
    assert [(f.code, f.row, f.column) for f in done.errors] == [
        ("row-missing", None, None),
        ("rating-missing", 3, "fluency"),
    ]
    assert f"{gone[0]} (row 4 of the sheet of annotator_01" in done.errors[0].message
    done = bring(tmp_path, made, {"annotator_01.csv": small.as_csv(sheet)}, allow_missing=True)
    assert not done.errors and len(done.warnings) == 2
    truth = small.truth(made, [A])
    assert values(done) == {
        key: (None if key == (A, sheet[5][0], "fluency") else value)
        for key, value in truth.items()
        if key[1] != gone[0] and key != (A, sheet[2][0], "fluency")
    }
    assert "rating-missing" in (tmp_path / "study" / "import_report.md").read_text("utf-8")


def test_allow_missing_lifts_nothing_else(tmp_path: Path) -> None:
    made = small.study()
    sheet = edited(made)
    sheet[4][column(sheet, "relevance")] = "9"
    assert bring(tmp_path, made, {"annotator_01.csv": small.as_csv(sheet)}, allow_missing=True).errors


def test_ids_sorted_alone_are_found_by_the_texts(tmp_path: Path) -> None:
    made = small.study()
    sheet = edited(made)
    for cells, name in zip(sheet[1:], sorted(cells[0] for cells in sheet[1:]), strict=True):
        cells[0] = name
    done = bring(tmp_path, made, {"annotator_01.csv": small.as_csv(sheet)})
    torn = [finding for finding in done.errors if finding.code == "text-torn"]
    assert len(torn) > 30 and {finding.column for finding in torn} == {"input", "output"}
    assert "does not belong to" in torn[0].message and "sorting" in torn[0].message


def test_ratings_sorted_alone_are_told(tmp_path: Path) -> None:
    made = small.study()
    sheet = edited(made)
    at = column(sheet, "fluency")
    for cells, value in zip(sheet[1:], sorted(cells[at] for cells in sheet[1:]), strict=True):
        cells[at] = value
    done = bring(tmp_path, made, {"annotator_01.csv": small.as_csv(sheet)})
    assert [(f.code, f.column) for f in done.findings if f.code == "ratings-sorted"] == [("ratings-sorted", "fluency")]
    # The whole sheet sorted by its ratings is fine: every row kept its own.
    sheet = edited(made)
    sheet[1:] = sorted(sheet[1:], key=lambda cells: cells[at])
    done = bring(tmp_path, made, {"annotator_01.csv": small.as_csv(sheet)}, replace_earlier=True)
    assert told(done) == [] and values(done) == small.truth(made, [A])


def test_ids_are_looked_up_and_suggested(tmp_path: Path) -> None:
    made = small.study()
    sheet = edited(made)
    right = sheet[1][0]
    wrong = right[:2] + ("b" if right[2] != "b" else "c") + right[3:]
    sheet[1][0] = wrong
    sheet[2][0] = ""
    sheet[3][0] = f" {sheet[3][0].upper()} "
    done = bring(tmp_path, made, {"annotator_01.csv": small.as_csv(sheet)})
    unknown, lost = (next(f for f in done.errors if f.code == code) for code in ("id-unknown", "id-missing"))
    assert (unknown.row, unknown.value) == (2, wrong) and right in unknown.message and "check letter" in unknown.message
    assert lost.row == 3 and "the id is gone; its texts are those of x" in lost.message
    assert {f.row for f in done.errors} == {2, 3, None}


def test_a_row_of_another_study_and_a_total_row(tmp_path: Path) -> None:
    made = small.study()
    sheet = edited(made)
    sheet[1][1] = "sother"
    sheet.append(["Total", "", "", "", "61", "58", "", ""])
    sheet.append(["", "", "", "", "", "", "", "thanks!"])
    sheet.append(sheet[0])
    sheet += [[""] * 8, []]
    done = bring(tmp_path, made, {"annotator_01.csv": small.as_csv(sheet)})
    assert [(f.level, f.code, f.row) for f in done.findings] == [
        ("error", "other-study", 2),
        ("warning", "no-id", 24),
        ("warning", "no-id", 25),
        ("warning", "header-again", 26),
    ]


def test_rows_twice_agree_or_not(tmp_path: Path) -> None:
    made = small.study()
    sheet = edited(made)
    sheet += [list(sheet[1]), list(sheet[2])]
    at = column(sheet, "fluency")
    sheet[-1][at] = "1" if sheet[2][at] != "1" else "2"
    done = bring(tmp_path, made, {"annotator_01.csv": small.as_csv(sheet)})
    assert [(f.level, f.code, f.row, f.column) for f in done.findings] == [
        ("error", "twice-different", 25, "fluency"),
        ("warning", "twice-same", 24, None),
    ]
    assert "in row 3" in done.errors[0].message
    sheet = edited(made)
    sheet += [list(sheet[1])]
    sheet[-1][at] = ""
    done = bring(tmp_path, made, {"annotator_01.csv": small.as_csv(sheet)})
    assert [(f.code, f.row) for f in done.findings] == [("twice-different", 24)]
    assert "and nothing here" in done.errors[0].message
    blank = [[*cells[:4], "", "", "", ""] if number else cells for number, cells in enumerate(edited(made))]
    both = {"annotator_01.csv": small.as_csv(edited(made)), "annotator_01_sent.csv": small.as_csv(blank)}
    done = bring(tmp_path, made, both)
    assert {f.code for f in done.findings} == {"twice-same"} and values(done) == small.truth(made, [A])


def test_a_sheet_under_another_annotators_name_and_rows_of_another(tmp_path: Path) -> None:
    made = small.study()
    done = bring(tmp_path, made, {"annotator_02.csv": small.as_csv(small.filled(made, A))})
    assert [f.code for f in done.errors] == ["wrong-annotator"] and "called after annotator_02" in done.errors[0].message
    mixed = small.filled(made, A) + small.filled(made, B)[1:4]
    done = bring(tmp_path, made, {"mine.csv": small.as_csv(mixed)})
    assert [(f.code, f.row) for f in done.errors] == [("wrong-annotator", row) for row in (24, 25, 26)]
    both = small.filled(made, A) + small.filled(made, B)[1:]
    done = bring(tmp_path, made, {"all.csv": small.as_csv(both)})
    assert [f.code for f in done.findings] == ["several-sheets"] and values(done) == small.truth(made)


def test_the_same_file_twice(tmp_path: Path) -> None:
    made = small.study()
    sheet = small.as_csv(small.filled(made, A))
    done = bring(tmp_path, made, {"annotator_01.csv": sheet, "annotator_01 (1).csv": sheet})
    assert [f.code for f in done.findings] == ["file-twice"] and values(done) == small.truth(made, [A])
    other = small.filled(made, A)
    other[1][column(other, "fluency")] = "1" if other[1][column(other, "fluency")] != "1" else "2"
    both = {"annotator_01.csv": sheet, "annotator_01 (1).csv": small.as_csv(other)}
    done = bring(tmp_path, made, both, replace_earlier=True)
    assert {f.code for f in done.errors} == {"twice-different"} and "annotator_01.csv, row 2" in done.errors[0].message


def test_further_files_join_and_a_second_version_needs_a_word(tmp_path: Path) -> None:
    made = small.study(annotators=3)
    all_sheets = sheets(made)
    one, two, _ = all_sheets
    bring(tmp_path, made, {one: all_sheets[one]})
    done = bring(tmp_path, made, {two: all_sheets[two]})
    assert done.kept == (A,) and values(done) == small.truth(made, [A, B])
    changed = small.filled(made, A)
    changed[1][-1] = "a second thought"
    other = {"again.csv": small.as_csv(changed)}
    done = bring(tmp_path, made, other)
    assert [f.code for f in done.errors] == ["imported-before"] and "--replace" in done.errors[0].message
    assert values(bring(tmp_path, made, {one: all_sheets[one]})) == small.truth(made, [A, B])
    done = bring(tmp_path, made, other, replace_earlier=True)
    assert done.kept == (B,) and "a second thought" in {given.comment for given in done.given}
    done = bring(tmp_path, made, all_sheets)  # everybody's: takes the place of whatever was there
    assert done.kept == () and values(done) == small.truth(made)
    assert {given.comment for given in done.given} == {"", "well said"}


def test_texts_are_forgiven_what_programs_do_and_nothing_more(tmp_path: Path) -> None:
    made = small.study()
    sheet = edited(made)
    at = column(sheet, "output")
    long = [cells for cells in sheet[1:] if len(cells[at].split()) > 15]
    long[0][at] = long[0][at][:-3] + "?"
    long[1][at] = "Something wholly different stands here now, and nobody knows where it came from at all."
    long[2][at] = ""
    done = bring(tmp_path, made, {"annotator_01.csv": small.as_csv(sheet)})
    assert {(f.code, f.level) for f in done.findings} == {
        ("text-edited", "warning"), ("text-changed", "error"), ("text-missing", "error"),
    }  # fmt: skip


def test_columns_lost_renamed_twice_and_extra(tmp_path: Path) -> None:
    made = small.study()
    sheet = edited(made)
    sheet[0] = ["ITEM ID", "study-id", " Input", "Output ", "Fluency", "RELEVANCE", "factual  truth", "comment"]
    sheet = [[*cells, "mood"] if at == 0 else [*cells, "happy" if at == 2 else ""] for at, cells in enumerate(sheet)]
    done = bring(tmp_path, made, {"annotator_01.csv": small.as_csv([cells[::-1] for cells in sheet])})
    assert told(done) == [] and values(done) == small.truth(made, [A])
    assert read_returned(tmp_path / "study").extras == ((A, sheet[2][0], {"extra_mood": "happy"}),)
    sheet[0][4] = "Flüssigkeit"
    done = bring(tmp_path, made, {"annotator_01.csv": small.as_csv(sheet)})
    (finding,) = done.errors
    assert finding.code == "header" and "no column fluency; expected item_id" in finding.message
    assert "found ITEM ID, study-id, Input, Output, Flüssigkeit" in finding.message
    sheet[0][4] = sheet[0][5] = "fluency"
    done = bring(tmp_path, made, {"annotator_01.csv": small.as_csv(sheet)})
    assert [f.code for f in done.errors] == ["header-twice"]


def test_a_table_of_another_tool_through_a_mapping(tmp_path: Path) -> None:
    made = small.study()
    ours = small.filled(made, A)
    header = [
        "HITId",
        "WorkerId",
        "WorkTimeInSeconds",
        "Input.item_id",
        "Answer.fluency",
        "Answer.relevance",
        "Answer.facts",
    ]
    rows = [["H1", worker, "31", cells[0], cells[4], cells[5], cells[6]] for worker in ("W1", "W2") for cells in ours[1:]]
    rows += [["H1", "W1", "31", cells[0], cells[4], cells[5], cells[6]] for cells in small.filled(made, B)[1:]]
    mapping = {
        "item_id": "Input.item_id", "annotator": "WorkerId", "seconds": "WorkTimeInSeconds", "fluency": "Answer.fluency",
        "relevance": "Answer.relevance", "facts": "Answer.facts",
    }  # fmt: skip
    done = bring(tmp_path, made, {"batch.csv": small.as_csv([header, *rows])}, mapping=mapping)
    assert not done.errors
    assert {given.annotator for given in done.given} == {"W1", "W2"} and {given.seconds for given in done.given} == {31.0}
    truth = small.truth(made)
    assert {(g.row, g.criterion): g.value for g in done.given if g.annotator == "W1"} == {k[1:]: v for k, v in truth.items()}
    with pytest.raises(DataError, match=r"--map fluensy=.*did you mean fluency"):
        bring(tmp_path, made, {"batch.csv": b"a,b"}, mapping={"fluensy": "x"})
    done = bring(tmp_path, made, {"batch.csv": small.as_csv([header, *rows])}, mapping={**mapping, "facts": "Answer.fact"})
    assert "no column 'Answer.fact' (named with --map) (did you mean Answer.facts" in done.errors[0].message


def test_answers_of_the_browser(tmp_path: Path) -> None:
    made = small.study()
    folder = small.written(tmp_path / "study", made)
    with pytest.raises(DataError, match="no answers from the browser; name the sheets"):
        import_ratings(folder)
    (folder / "answers").mkdir()
    lines = []
    for row in made.rows:
        if row.annotator == A:
            for name in made.rubric.names:
                for value in ("", small.answer(row, name)):
                    line = {"row": row.id, "criterion": name, "value": value, "comment": "", "seconds": 20, "at": "now"}
                    lines.append(json.dumps(line))
            lines.append(json.dumps({"row": row.id, "criterion": None, "value": "", "comment": "hm", "seconds": 44.5}))
    file = folder / "answers" / "annotator_01.jsonl"
    file.write_text("\n".join(lines) + '\n{"row": "x', "utf-8")
    done = import_ratings(folder)
    assert [(f.level, f.code) for f in done.findings] == [("warning", "answer")] and values(done) == small.truth(made, [A])
    assert {(given.comment, given.seconds) for given in done.given} == {("hm", 44.5)}
    file.write_text("\n".join([*lines, '{"row": 3}']) + "\n", "utf-8")
    assert [f.code for f in import_ratings(folder).errors] == ["answer"]
    taken_back = {"row": made.rows[0].id, "criterion": "fluency", "value": "", "comment": "", "seconds": None}
    file.write_text("\n".join([*lines, json.dumps(taken_back)]) + "\n", "utf-8")
    assert [f.code for f in import_ratings(folder).errors] == ["rating-missing"]


def test_doubtful_annotators(tmp_path: Path) -> None:
    made = small.study()
    sheet = edited(made)
    flat = [[*cells[:4], "5", "5", "right", ""] if at else cells for at, cells in enumerate(sheet)]
    done = bring(tmp_path, made, {"annotator_01.csv": small.as_csv(flat)})
    codes = {(f.code, f.column) for f in done.warnings}
    assert {("no-variance", name) for name in made.rubric.names} | {("attention", "fluency")} == codes
    last = next(cells for cells in sheet if cells[0] == next(row.id for row in made.rows if row.kind == "repeat"))
    last[4] = "1" if last[4] in "45" else "5"
    done = bring(tmp_path, made, {"annotator_01.csv": small.as_csv(sheet)}, replace_earlier=True)
    (finding,) = done.warnings if last[4] in "15" else ()
    assert finding.code == "inconsistent" and "and the same text (x" in finding.message


def test_a_repeated_pair_with_its_sides_changed_is_no_contradiction(tmp_path: Path) -> None:
    made = small.study("pairwise")
    sheet = edited(made)
    again = next(row for row in made.rows if row.kind == "repeat")
    first = next(cells for cells in sheet if cells[0] == again.of)
    last = next(cells for cells in sheet if cells[0] == again.id)
    first[-2], last[-2] = "A", "B"
    assert not bring(tmp_path, made, {"annotator_01.csv": small.as_csv(sheet)}).findings
    last[-2] = "A"
    done = bring(tmp_path, made, {"annotator_01.csv": small.as_csv(sheet)}, replace_earlier=True)
    assert [f.code for f in done.findings] == ["inconsistent"] and "its sides were changed" in done.findings[0].message


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"\xd0\xcf\x11\xe0old", "an old Excel file"),
        (b"%PDF-1.7", "not a table"),
        (b"<html><table>", "not a table"),
        (b"PK\x03\x04broken", "the workbook is damaged"),
        (b'item_id,output\n"x,y', "not valid CSV"),
        (b"caf\x81\x8d,b\n", "neither UTF-8, UTF-16 nor Windows-1252"),
        (b"a,b\n1,2\n", "no column item_id, output, fluency, relevance, facts; expected item_id"),
        (b"\n\n", "the file is empty"),
    ],
)
def test_files_that_are_no_sheets(tmp_path: Path, content: bytes, says: str) -> None:
    done = bring(tmp_path, small.study(), {"sheet.csv": content})
    assert any(says in finding.message for finding in done.errors), told(done)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no study in"):
        import_ratings(tmp_path, ["a.csv"])
    folder = small.written(tmp_path / "study", small.study())
    with pytest.raises(DataError, match=r"gone\.csv cannot be read: No such file"):
        import_ratings(folder, [tmp_path / "gone.csv"])
    (folder / "ratings.json").write_text("{}")
    made = small.study()
    with pytest.raises(StoreError, match=r"ratings\.json is damaged"):
        bring(tmp_path, made, sheets(made))


def test_what_annotators_wrote_is_no_markup_in_the_report(tmp_path: Path) -> None:
    made = small.study()
    sheet = edited(made)
    sheet.append(["", "", "", "", "", "", "", "<img src=x> **bold** [link](http://x)\n# head"])
    bring(tmp_path, made, {"annotator_01.csv": small.as_csv(sheet)})
    report = (tmp_path / "study" / "import_report.md").read_text("utf-8")
    assert "\\<img src=x\\> \\*\\*bold\\*\\* \\[link\\](http://x) \\# head" in report


def test_importing_again_gives_the_same_files(tmp_path: Path) -> None:
    made = replace(small.study())
    bring(tmp_path, made, sheets(made))
    names = ("ratings.json", "ratings_long.csv", "import_report.md")
    before = [(tmp_path / "study" / name).read_bytes() for name in names]
    bring(tmp_path, made, sheets(made))
    assert before == [(tmp_path / "study" / name).read_bytes() for name in names]
