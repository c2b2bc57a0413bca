"""Outputs joined with references and sources: by id or position, from one file or many."""

from __future__ import annotations

import pytest

from evalkit.data.pairs import joined
from evalkit.data.textfile import TextFile, in_memory
from evalkit.errors import DataError


def table(name: str, *rows: dict) -> TextFile:
    return TextFile(name, tuple(dict.fromkeys(key for row in rows for key in row)), rows)


def plain(name: str, *texts) -> TextFile:
    return in_memory(name, texts)


def test_texts_join_by_position():
    found = joined({"a": plain("p", "x", "y")}, [plain("r", "X", "Y")], plain("s", "1", "2"))
    assert [(row["source"], row["reference"]) for row in found.rows] == [("1", "X"), ("2", "Y")]
    assert found.systems == {"a": ["x", "y"]}
    assert (found.has_references, found.has_sources) == (True, True)
    ids = [row["id"] for row in found.rows]
    assert ids == [
        row["id"] for row in joined({"b": plain("q", "u", "v")}, [plain("r", "X", "Y")], plain("s", "1", "2")).rows
    ]


def test_rows_join_by_id_where_both_have_ids():
    predictions = table("p", {"id": 2, "output": "two"}, {"id": 1, "output": "one"})
    references = table("r", {"id": "1", "reference": "ONE", "topic": "t"}, {"id": "2", "reference": "TWO", "topic": "u"})
    found = joined({"a": predictions, "b": plain("q", "1st", "2nd")}, [references])
    assert found.systems == {"a": ["one", "two"], "b": ["1st", "2nd"]}
    assert found.rows[1] == {"id": "2", "reference": "TWO", "topic": "u"}


def test_ids_of_the_predictions_order_the_other_systems():
    first = table("p", {"id": "a", "output": "1"}, {"id": "b", "output": "2"})
    second = table("q", {"id": "b", "output": "two"}, {"id": "a", "output": "one"})
    found = joined({"p": first, "q": second}, [plain("r", "A", "B")])
    assert found.systems["q"] == ["one", "two"]
    assert [row["id"] for row in found.rows] == ["a", "b"]


def test_one_file_holds_everything():
    file = table("f", {"prediction": "x", "references": ["X", "Z"], "source": "s", "topic": "t"})
    found = joined({"a": file})
    assert {k: v for k, v in found.rows[0].items() if k != "id"} == {"source": "s", "reference": ["X", "Z"], "topic": "t"}
    other = table("g", {"prediction": "y", "reference": "another"})
    with pytest.raises(DataError, match="g and f have different references in row 1"):
        joined({"a": file, "b": other})


def test_several_files_are_further_references():
    found = joined({"a": plain("p", "x", "y")}, [plain("r", "X", "Y"), plain("r2", "X2", ["Y2", "Y3"])])
    assert [row["reference"] for row in found.rows] == [["X", "X2"], ["Y", "Y2", "Y3"]]


def test_columns_can_be_named():
    file = table("f", {"mt": "x", "gold": "X", "q": "s", "key": 7, "output": "no"})
    names = {"prediction": "mt", "reference": "gold", "source": "q", "id": "key"}
    found = joined({"a": file}, columns=names)
    assert (found.systems["a"], found.rows[0]["id"], found.rows[0]["source"], found.rows[0]["reference"]) == (
        ["x"], "7", "s", "X",
    )  # fmt: skip
    assert "mt" not in found.rows[0]


def test_a_file_of_one_column_needs_no_name():
    found = joined({"a": table("p", {"id": 1, "whatever": "x"})}, [table("r", {"id": 1, "text": "X", "n": 2})])
    assert (found.systems["a"], found.rows[0]["reference"], found.rows[0]["n"]) == (["x"], "X", 2)


def test_a_missing_prediction_stays_missing_and_numbers_are_texts():
    found = joined({"a": table("p", {"output": None}, {"output": 7}, {"output": ["x"]})}, [plain("r", "1", "2", "3")])
    assert found.systems["a"] == [None, "7", "x"]


@pytest.mark.parametrize(
    ("predictions", "references", "columns", "message"),
    [
        (plain("p", "a"), plain("r", "a", "b"), {}, "p has 1 rows, r has 2"),
        (plain("p", "a", "b"), plain("r", ["a", "b"], ["c", "d"], ["e", "f"]), {}, "look transposed"),
        (table("p", {"a": "x", "b": "y"}), plain("r", "a"), {}, "no column for the prediction"),
        (
            table("p", {"out": "x", "b": "y"}),
            plain("r", "a"),
            {"prediction": "oout"},
            "no column 'oout' (did you mean out?)",
        ),
        (plain("p", "a"), plain("r", "a"), {"prediction": "mt"}, "p has no column 'mt'; it is plain text"),
        (plain("p", "a"), plain("r", "a"), {"predictoin": "mt"}, "did you mean prediction?"),
        (plain("p", "a"), plain("r", "a"), {"id": "key"}, "r has no column 'key'"),
        (table("p", {"id": 1, "output": "a"}, {"id": 1, "output": "b"}), None, {}, "id '1' stands in rows 1 and 2"),
        (table("p", {"id": 1, "output": "a"}, {"id": None, "output": "b"}), None, {}, "p, row 2: no id"),
        (table("p", {"output": ["a", "b"]}), None, {}, "p, row 1: 2 predictions"),
        (table("p", {"output": {"a": 1}}), None, {}, "output must be text, not dict"),
        (table("p", {"output": None}), None, {}, "no prediction at all"),
        (plain("p", "a"), plain("r", None), {}, "r: there is no reference at all"),
        (table("p", {"output": "a"}), None, {"reference": "gold"}, "p has no column 'gold'"),
        (table("p", {"output": "a"}), None, {"source": "src_text"}, "p has no column 'src_text'"),
    ],
)
def test_mismatches_are_refused(predictions, references, columns, message):
    with pytest.raises(DataError) as error:
        joined({"a": predictions}, [] if references is None else [references], None, columns)
    assert message in str(error.value)


def test_ids_that_one_side_lacks_are_named():
    one = table("p", {"id": "a", "output": "x"}, {"id": "b", "output": "y"})
    with pytest.raises(DataError, match=r"p lacks 1 of the 3 ids \(c\) of r"):
        joined({"s": one}, [table("r", *({"id": i, "reference": "R"} for i in "abc"))])
    with pytest.raises(DataError, match=r"r lacks 1 of the 2 ids \(b\) of p"):
        joined({"s": one}, [table("r", {"id": "a", "reference": "R"})])
    found = joined({"s": one}, [table("r", *({"id": i, "reference": i} for i in "xy"))], columns={"id": ""})
    assert [row["reference"] for row in found.rows] == ["x", "y"]
