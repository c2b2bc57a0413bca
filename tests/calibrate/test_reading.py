"""Rated outputs in the shapes people have them in, and one clear line for what cannot be read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from evalkit.calibrate.columns import Columns, numbers, texts
from evalkit.calibrate.reading import read_rated
from evalkit.errors import DataError, UsageError

LONG = [
    {"id": "a", "system": "x", "output": "one", "reference": "uno", "scores": {"fluency": 3, "accuracy": 4.5}},
    {"id": "a", "system": "y", "output": "two", "reference": "uno", "scores": {"fluency": 2, "accuracy": None}},
]


def test_one_row_an_output() -> None:
    found = read_rated(LONG)
    assert (found.items, found.systems, found.ratings) == (["a", "a"], ["x", "y"], ("fluency", "accuracy"))
    first, second = found.outputs
    assert first.ratings == {"fluency": 3, "accuracy": 4.5} and second.ratings == {"fluency": 2}
    assert (first.record.answer, first.record.sample.target, first.record.sample.id) == ("one", ("uno",), "a/x")


def test_one_row_an_item_with_its_systems_inside(tmp_path: Path) -> None:
    item = {"id": "a", "src": "text", "refs": ["r1", "r2"]}
    item["sys_summs"] = {
        "M1": {"sys_summ": "s1", "scores": {"coherence": 1}},
        "M2": {"sys_summ": "s2", "scores": {"coherence": 5}},
    }
    path = tmp_path / "rated.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.write(json.dumps(item) + "\n")
    found = read_rated(path)
    assert (found.systems, found.items, found.columns.systems) == (["M1", "M2"], ["a", "a"], "sys_summs")
    record = found.outputs[1].record
    assert (record.answer, record.sample.target, record.sample.doc["source"]) == ("s2", ("r1", "r2"), "text")


def test_systems_may_map_to_plain_text_when_named() -> None:
    rows = [{"id": "a", "answers": {"x": "one", "y": "two"}, "rating": 1}]
    found = read_rated(rows, Columns(systems="answers"))
    assert [(o.system, o.record.answer) for o in found.outputs] == [("x", "one"), ("y", "two")]


def test_a_csv_file_with_named_columns(tmp_path: Path) -> None:
    path = tmp_path / "rated.csv"
    path.write_text('seg,mt,ref_a,ref_b,da\n1,hello,hi,"[""hey"", ""hallo""]",70.5\n2,bye,ciao,,\n', encoding="utf-8")
    columns = Columns(item="seg", references=("ref_a", "ref_b"), human=("da",))
    found = read_rated(path, columns)
    assert [o.record.sample.target for o in found.outputs] == [("hi", "hey", "hallo"), ("ciao",)]
    assert (found.systems, found.ratings, found.outputs[1].ratings) == (None, ("da",), {})


def test_items_are_told_by_source_where_they_have_no_id() -> None:
    rows = [{"system": s, "src": src, "output": "o", "rating": 1} for src in ("p", "q") for s in ("x", "y")]
    items = read_rated(rows).items
    assert items[0] == items[1] != items[2] == items[3]


def test_several_raters_count_with_their_mean() -> None:
    assert numbers([1, 2, None, "6"]) == {"": 3.0}
    assert numbers([{"f": 1, "c": 2}, {"f": 3}]) == {"f": 2.0, "c": 2.0}
    assert numbers({"a": {"b": 1}, "text": "no"}) == {"a.b": 1.0}
    assert numbers(float("nan")) == {} and numbers(True) == {"": 1.0} and numbers(None) == {}


def test_names_stay_whole_where_their_ends_are_alike() -> None:
    rows = [{"id": 1, "expert": {"f": 1}, "turker": {"f": 2}}]
    assert read_rated(rows, Columns(human=("expert", "turker"))).ratings == ("expert.f", "turker.f")
    assert read_rated(rows, Columns(human=("expert.f",))).ratings == ("f",)


def test_computed_numbers_and_their_direction() -> None:
    rows = [{"id": 1, "rating": 1, "ter": 0.25, "rouge": {"r1": 0.5, "r2": 0.1}}]
    found = read_rated(rows, Columns(computed=("-ter", "rouge")))
    assert found.outputs[0].computed == {"ter": -0.25, "rouge.r1": 0.5, "rouge.r2": 0.1}


def test_texts_of_a_cell() -> None:
    assert texts('["a", "b"]') == ("a", "b") and texts("[not json") == ("[not json",)
    assert texts(None) == () and texts(3) == ("3",)


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (LONG, {"human": "score"}, "the data: no column 'score' (did you mean scores?)"),
        (LONG, {"systems": "sys"}, "the data: no column 'sys' (did you mean system?)"),
        (
            [{"id": 1, "grade": 2}],
            {},
            "which column holds the human ratings? Name it with --human (columns with numbers: id, grade)",
        ),
        ([], {}, "the data: no rows"),
        ([{"system": "x", "rating": 1}], {}, "Name the column of the item's id with --item"),
        ([{"id": "a", "rating": 1}, {"id": None, "rating": 1}], {}, "row 2: column 'id' (the item's id) is empty"),
        ([{"id": "a", "s": 3, "rating": 1}], {"systems": "s"}, "s must map systems to outputs, not be int"),
        ([{"id": "a", "s": {}, "rating": 1}], {"systems": "s"}, "s holds no output"),
    ],
)
def test_what_cannot_be_read_is_one_line(rows: list[dict[str, Any]], columns: dict[str, str], message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_rated(rows, Columns.of(columns))
    assert message in str(caught.value)


def test_an_unknown_role_has_a_hint() -> None:
    with pytest.raises(UsageError, match="did you mean references"):
        Columns.of({"reference": "ref"})
