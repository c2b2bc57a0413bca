"""A real spreadsheet program opens our sheets and saves them in its formats and locales: the ratings stay exact."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import returned_study as small

from evalkit.human.import_ratings import ImportedRatings, import_ratings
from evalkit.human.sheets_xlsx import xlsx_bytes

SOFFICE = shutil.which("soffice") or shutil.which("libreoffice")
pytestmark = pytest.mark.skipif(SOFFICE is None, reason="LibreOffice (soffice) is not installed")

MADE = small.study(annotators=1, items=len(small.TEXTS))
(ANNOTATOR,) = MADE.annotators

#: Of the filter "Text - txt - csv": separator, quote, encoding (76 UTF-8, 1 Windows-1252, 65535 UTF-16), first line, column
#: formats, language (1031 German, 1033 English), quote all texts, numbers as shown / recognised, cells as shown, formulas,
#: blanks, sheet, formulas again, byte order mark.
CSV = "Text - txt - csv (StarCalc)"

Office = Callable[..., Path]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    """Convert a file with a profile of its own; gives the new file."""
    profile = tmp_path_factory.mktemp("profile")

    def convert(file: Path, to: str, out: Path, *options: str) -> Path:
        out.mkdir()
        command = [SOFFICE, f"-env:UserInstallation={profile.as_uri()}", "--headless", *options]
        done = subprocess.run(
            [*command, "--convert-to", to, "--outdir", str(out), str(file)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        made = list(out.iterdir())
        assert len(made) == 1, done.stdout + done.stderr
        return made[0]

    return convert


@pytest.fixture(scope="module")
def filled_xlsx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported workbook with ratings in: numbers, one column of them formatted with a German decimal comma."""
    from openpyxl import load_workbook

    rows = [row for row in MADE.rows if row.annotator == ANNOTATOR]
    book = load_workbook(io.BytesIO(xlsx_bytes(MADE, ANNOTATOR, rows)))
    page = book["Ratings"]
    for number, cells in enumerate(small.filled(MADE, ANNOTATOR)[1:], 2):
        for at, text in enumerate(cells[4:], 5):
            cell = page.cell(number, at)
            cell.value = (int(text) if text.isdecimal() else text) or None
            if at == 5:
                cell.number_format = "[$-407]0.0"
    path = tmp_path_factory.mktemp("filled") / "annotator_01.xlsx"
    book.save(path)
    return path


def brought(folder: Path, file: Path) -> ImportedRatings:
    return import_ratings(small.written(folder / "study", MADE), [file])


def exact(done: ImportedRatings, *allowed: str) -> None:
    assert [finding.line() for finding in done.findings if finding.code not in allowed] == []
    assert {(g.annotator, g.row, g.criterion): g.value for g in done.given} == small.truth(MADE)


def test_saved_as_xlsx(tmp_path: Path, office: Office, filled_xlsx: Path) -> None:
    exact(brought(tmp_path, office(filled_xlsx, "xlsx", tmp_path / "out")))


def test_saved_as_ods_and_back(tmp_path: Path, office: Office, filled_xlsx: Path) -> None:
    ods = office(filled_xlsx, "ods", tmp_path / "ods")
    exact(brought(tmp_path, office(ods, "xlsx", tmp_path / "xlsx")), "text-damaged")  # this format loses tabs
    done = brought(tmp_path / "again", ods)
    assert [finding.code for finding in done.errors] == ["file-kind"] and "save the sheet as .xlsx" in done.errors[0].message


@pytest.mark.parametrize(
    ("options", "holds", "allowed"),
    [
        pytest.param("44,34,76,1,,1033,false,true,true,false,false,2", b',"3,0",', (), id="English, comma"),
        pytest.param(
            "59,34,76,1,,1031,false,true,true,false,false,2,false,true", b";3,0;", (), id="German, semicolon, mark"
        ),
        pytest.param(
            "9,34,65535,1,,1031,false,true,true,false,false,2", "\t3,0\t".encode("utf-16-le"), (), id="tabs, UTF-16"
        ),
        pytest.param(
            "59,34,1,1,,1031,false,true,true,false,false,2", b";3,0;", ("encoding", "text-damaged"), id="Windows-1252"
        ),
        pytest.param("59,34,21,1,,1031,true,true,true,false,false,2", b"", ("encoding", "text-damaged"), id="code page 850"),
        pytest.param("124,34,76,1,,1036,true,false,false,false,false,2", b'|"3"|', (), id="bars, all quoted"),
    ],
)
def test_saved_as_csv(
    tmp_path: Path, office: Office, filled_xlsx: Path, options: str, holds: bytes, allowed: tuple[str, ...]
) -> None:
    saved = office(filled_xlsx, f"csv:{CSV}:{options}", tmp_path / "out")
    assert holds in saved.read_bytes()
    exact(brought(tmp_path, saved), *allowed)


@pytest.mark.parametrize(
    ("delimiter", "options"),
    [
        pytest.param(",", "44,34,76,1", id="English"),
        pytest.param(";", "59,34,76,1,,1031,false,true", id="German, numbers and dates recognised"),
        pytest.param(",", "44,34,76,1,,1033,false,true", id="English, numbers and dates recognised"),
    ],
)
def test_our_csv_opened_and_saved_as_xlsx(tmp_path: Path, office: Office, delimiter: str, options: str) -> None:
    sheet = small.filled(MADE, ANNOTATOR)
    file = tmp_path / "annotator_01.csv"
    file.write_bytes(small.as_csv(sheet, delimiter))
    exact(brought(tmp_path, office(file, "xlsx", tmp_path / "out", f"--infilter={CSV}:{options}")), "text-damaged")


def test_ratings_typed_as_dates_are_told(tmp_path: Path, office: Office) -> None:
    sheet = small.filled(MADE, ANNOTATOR)
    sheet[3][4], sheet[4][5], sheet[5][4] = "1-2", "TRUE", "3/4"
    file = tmp_path / "annotator_01.csv"
    file.write_bytes(small.as_csv(sheet, ","))
    saved = office(file, "xlsx", tmp_path / "out", f"--infilter={CSV}:44,34,76,1,,1033,false,true")
    done = brought(tmp_path, saved)
    assert [(f.code, f.row, f.column) for f in done.errors] == [
        ("rating", 4, "fluency"), ("rating", 5, "relevance"), ("rating", 6, "fluency"),
    ]  # fmt: skip
