"""The key holds a whole study, privately, and says so when it was damaged."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from evalkit.errors import NotFound, RubricError, StoreError
from evalkit.human import digests, layout
from evalkit.human.base import Output, Row, Study
from evalkit.human.key import KEY, read_study, write_study
from evalkit.rubric.load import load_rubric
from evalkit.rubric.schema import Criterion, Rubric, Scale


def output(item: str, system: str, text: str) -> Output:
    return Output(item, system, text, input="asked", source="the source", task="news", stratum="news, short")


def study(form: str = "pointwise") -> Study:
    one, two = output("007", "alpha", "Ünïcode \ud800 text"), output("007", "beta", "another")
    rows = (
        Row("xa", "annotator_01", 1, "item", one, two if form == "pairwise" else None),
        Row("xb", "annotator_01", 2, "repeat", one, two if form == "pairwise" else None, of="xa"),
        Row(
            "xc",
            "annotator_02",
            1,
            "check",
            replace(two, system=""),
            one if form == "pairwise" else None,
            expected={"a": 2.0},
        ),
    )
    made = Study(
        id="sbcdfghj",
        form="pairwise" if form == "pairwise" else "pointwise",
        rubric=load_rubric("preference" if form == "pairwise" else "summarisation"),
        seed=7,
        created="2026-01-01T00:00:00Z",
        evalkit="0.1",
        runs=("runs/a", "runs/b"),
        systems=("alpha", "beta"),
        annotators=("annotator_01", "annotator_02"),
        rows=(),
        warnings=("slurs",),
    )
    return replace(made, rows=tuple(replace(row, digest=layout.row_digest(made, row)) for row in rows))


@pytest.mark.parametrize("form", ["pointwise", "pairwise"])
def test_a_study_comes_back_as_it_was(tmp_path: Path, form: str) -> None:
    path = write_study(study(form), tmp_path)
    assert read_study(tmp_path) == study(form)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "KEEP PRIVATE" in path.read_text("utf-8", "surrogatepass")[:60]


def test_no_study(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no study in .*human export"):
        read_study(tmp_path)


def test_damaged_keys_are_told(tmp_path: Path) -> None:
    path = write_study(study(), tmp_path)
    content = json.loads(path.read_bytes().decode("utf-8", "surrogatepass"))

    def damaged(**changes: object) -> str:
        path.write_bytes(json.dumps({**content, **changes}).encode())
        with pytest.raises(StoreError) as caught:
            read_study(tmp_path)
        return str(caught.value)

    assert "schema 99; this evalkit reads 1" in damaged(schema=99)
    assert "damaged" in damaged(rows=[{"id": "xa"}])
    assert "damaged" in damaged(rows=[{**content["rows"][0], "first": 99}])
    assert "damaged" in damaged(outputs=None)
    assert "rubric was changed" in damaged(rubric={**content["rubric"], "task": "other words"})
    (tmp_path / KEY).write_text('{"schema": 1, "ro')
    with pytest.raises(StoreError, match="damaged"):
        read_study(tmp_path)


def test_columns_of_both_forms() -> None:
    names = [column.name for column in layout.columns(study())]
    assert names == [
        "item_id", "study_id", "context", "output", "fluency", "coherence", "relevance", "factuality", "comment",
    ]  # fmt: skip
    pair = layout.columns(study("pairwise"))
    assert [(c.name, c.role, c.side) for c in pair[2:]] == [
        ("input", "text", None),
        ("output_A", "text", "A"),
        ("output_B", "text", "B"),
        ("preference", "rating", None),
        ("comment", "comment", None),
    ]


def test_a_criterion_must_not_be_called_as_another_column() -> None:
    criterion = Criterion(name="comment", definition="d", scale=Scale(low=1, high=5))
    with pytest.raises(RubricError, match="'comment' of its own"):
        layout.rubric_columns(Rubric(rubric="r", task="t", criteria=(criterion,)))


def test_the_digest_forgives_what_a_spreadsheet_does_and_nothing_else() -> None:
    text = "=1+1 \u201cis\u201d  two\r\nlines\u00e9 \n"
    same = [
        '=1+1 "is" two\nlinese\u0301',
        "'=1+1 \u201cis\u201d two\rlines\u00e9",
        ' =1+1 "is"\ttwo\x00 \nlines\u00e9\ufeff',
    ]
    assert {digests.text_digest(other, "b") for other in same} == {digests.text_digest(text, "b")}
    for other in ("=1+1 is two lines\u00e9", '=1+1 "is" two linese', ""):
        assert digests.text_digest(other, "b") != digests.text_digest(text, "b")
    assert digests.text_digest("a", "b") != digests.text_digest("b", "a")
    assert digests.text_digest("a b", "c") != digests.text_digest("a", "b c")


def test_a_text_that_no_cell_can_hold_is_cut_with_a_sign() -> None:
    long = "\U0001f600" * 20_000
    row = Row("xbcdfghj", "annotator_02", 1, "item", output("a", "alpha", long))
    cell = layout.cut(long, row)
    assert layout.units(cell) <= layout.CELL_LIMIT and layout.units(cell) > layout.CELL_LIMIT - 3
    assert cell.endswith("[... cut: the whole text is in annotator_02_texts.html under xbcdfghj]")
    assert layout.cut("short", row) == "short"
    cell.encode("utf-8")
