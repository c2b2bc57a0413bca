"""``evalkit human import`` from the command line: exit codes, what is said, and a whole way from export to table."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import returned_study as small

from evalkit.cli.app import main
from evalkit.ratings.base import read_ratings

ANNOTATOR = "annotator_01"


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: object) -> SimpleNamespace:
        with pytest.raises(SystemExit) as stop:
            main(["human", *map(str, arguments)])
        out, err = capsys.readouterr()
        return SimpleNamespace(code=stop.value.code or 0, out=out, err=err)

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = small.study()
    for name in made.annotators:
        (tmp_path / f"{name}.csv").write_bytes(small.as_csv(small.filled(made, name), ";"))
    return small.written(tmp_path / "study", made)


def test_good_sheets_are_taken(call: Any, folder: Path, tmp_path: Path) -> None:
    done = call("import", folder, tmp_path / "annotator_01.csv")
    assert done.code == 0 and "annotator_01    22       59    7  now" in done.out
    assert "nothing yet from annotator_02" in done.err and "import_report.md" in done.err
    done = call("import", folder, tmp_path / "annotator_02.csv")
    assert done.code == 0 and "earlier" in done.out and "now" in done.out
    assert {rating.annotator for rating in read_ratings(folder)} == {"annotator_01", "annotator_02"}


def test_errors_name_the_cell_and_write_nothing(call: Any, folder: Path, tmp_path: Path) -> None:
    made = small.study()
    sheet = small.filled(made, ANNOTATOR)
    sheet[3][4], sheet[5][5] = "3,5", ""
    (tmp_path / "bad.csv").write_bytes(small.as_csv(sheet))
    done = call("import", folder, tmp_path / "bad.csv")
    assert done.code == 2 and not (folder / "ratings_long.csv").exists()
    assert "evalkit: error: bad.csv, row 4, column fluency: '3,5' is between two points" in done.err
    assert "2 errors (rating, rating-missing); nothing was written" in done.err
    document = json.loads(call("import", folder, tmp_path / "bad.csv", "--json").out)
    assert document["written"] is False and [f["row"] for f in document["findings"]] == [4, 6]


def test_an_unfinished_sheet_is_offered_to_be_taken_as_it_is(call: Any, folder: Path, tmp_path: Path) -> None:
    made = small.study()
    sheet = [[*cells[:4], "", "", "", ""] if at > 2 else cells for at, cells in enumerate(small.filled(made, ANNOTATOR))]
    (tmp_path / "half.csv").write_bytes(small.as_csv(sheet))
    done = call("import", folder, tmp_path / "half.csv")
    assert done.code == 2 and "nothing was written; --allow-missing takes what is there" in done.err
    done = call("import", folder, tmp_path / "half.csv", "--allow-missing")
    assert done.code == 0 and "annotator_01     2        6    0  now" in done.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--map", "item_id"], "write it as OURS=THEIRS"),
        (["--map", "item=x", "key.json"], "no column 'item' (did you mean item_id?)"),
        (["gone.csv"], "gone.csv cannot be read: No such file"),
        ([], "no answers from the browser; name the sheets"),
    ],
)
def test_bad_input_is_one_line(call: Any, folder: Path, arguments: list[str], says: str) -> None:
    done = call("import", folder, *(folder / word if word == "key.json" else word for word in arguments))
    assert done.code == 2 and says in done.err and done.err.count("\n") == 1


def test_from_files_of_outputs_to_the_table(call: Any, tmp_path: Path) -> None:
    """Export by the command line, fill in the CSV as people do, import, and find the systems' names again."""
    for name in ("one", "two"):
        lines = [
            {"id": f"d{at}", "prediction": f"{name} says: " + " ".join(small.TEXTS[at].split()) + " and more"}
            for at in range(8)
        ]
        lines = [{**line, "source": f"Source text {line['id']} about a bridge."} for line in lines]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    study = tmp_path / "study"
    done = call(
        "export", "-p", f"one={tmp_path / 'one.jsonl'}", "-p", f"two={tmp_path / 'two.jsonl'}", "--rubric", "summarisation",
        "--annotators", 2, "--overlap", 4, "--seed", 3, "--out", study, "--column", "source=source", "--delimiter", ";",
    )  # fmt: skip
    assert done.code == 0, done.err
    for file in sorted(study.glob("annotator_*.csv")):
        with file.open(encoding="utf-8-sig", newline="") as opened:
            sheet = list(csv.reader(opened, delimiter=";"))
        for row, cells in enumerate(sheet[1:]):
            for at, name in enumerate(sheet[0]):
                if name in ("fluency", "coherence", "relevance", "factuality"):
                    cells[at] = str(1 + (row * 7 + at) % 5)
        (tmp_path / file.name).write_bytes(small.as_csv(sheet, "\t", "utf-16"))
    done = call("import", study, *sorted(tmp_path.glob("annotator_*.csv")))
    assert done.code == 0, done.err
    rated = read_ratings(study)
    assert {rating.system for rating in rated} == {"one", "two"} and {rating.annotator for rating in rated} == {
        "annotator_01", "annotator_02",
    }  # fmt: skip
    assert len({rating.item for rating in rated}) == 8
