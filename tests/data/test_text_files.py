"""Files of texts: every format, exactly as the texts stand in it, and one line for whatever is wrong."""

from __future__ import annotations

import gzip
import json

import pytest

from evalkit.data.textfile import further, in_memory, read_texts, stem, systems
from evalkit.errors import DataError


def texts(path) -> list:
    return [row["text"] for row in read_texts(path).rows]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"a\nb", ["a", "b"]),
        (b"a\r\n\r\n b \r\n", ["a", "", " b "]),
        (b"\xef\xbb\xbfa\n\n", ["a", ""]),
        (b"\n", [""]),
        ("line\u2028one\ntwo\x0b\n".encode(), ["line\u2028one", "two\x0b"]),  # only line ends end a line
    ],
)
def test_plain_text_is_a_row_a_line(tmp_path, data, expected):
    path = tmp_path / "system.de"
    path.write_bytes(data)
    assert texts(path) == expected
    packed = tmp_path / "packed.txt.gz"
    packed.write_bytes(gzip.compress(data))
    assert texts(packed) == expected


def test_csv_keeps_texts_as_they_are(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('id,output\n1,NA\n2,\n3,"two\nlines, ""quoted"""\n\n4,007\n')
    file = read_texts(path)
    assert file.columns == ("id", "output")
    assert [row["output"] for row in file.rows] == ["NA", "", 'two\nlines, "quoted"', "007"]
    (tmp_path / "one.csv").write_text("output\na\n\nb\n")
    assert [row["output"] for row in read_texts(tmp_path / "one.csv").rows] == ["a", "", "b"]
    (tmp_path / "a.tsv").write_text(f"id\toutput\n1\t{'x' * 200_000}\n")
    assert len(read_texts(tmp_path / "a.tsv").rows[0]["output"]) == 200_000


def test_json_lists_and_lines(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"output": "a"}\n{"output": null, "id": 3}\n')
    assert list(read_texts(tmp_path / "a.jsonl").rows) == [{"output": "a", "id": None}, {"output": None, "id": 3}]
    (tmp_path / "a.json").write_text(json.dumps(["a", "b"]))
    assert (texts(tmp_path / "a.json"), read_texts(tmp_path / "a.json").plain) == (["a", "b"], True)
    (tmp_path / "b.json").write_text(json.dumps([["a", "b"], ["c"]]))
    assert texts(tmp_path / "b.json") == [["a", "b"], ["c"]]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.txt", b"", "a.txt is empty"),
        ("a.jsonl", b"\n", "a.jsonl is empty"),
        ("a.csv", b"id,output\n", "a.csv is empty"),
        ("a.txt", b"fine\nb\xffd\n", "line 2: not UTF-8 text (byte 2)"),
        ("a.txt", "x\n".encode("utf-16"), "UTF-16"),
        ("a.jsonl", b'{"a": 1}\n{oops\n', "line 2: not valid JSON"),
        ("a.csv", b"id,output\n1\n", "line 2: 1 fields, but the header names 2"),
        ("a.csv", b'id,output\n1,"a" b\n', "line 2: not valid CSV"),
        ("a.csv", b"a,a\n1,2\n", "names 'a' twice"),
        ("a.gz", gzip.compress(b"abc" * 100)[:-20], "a.gz: cannot be read"),
        ("a.gz", b"\x1f\x8b\x08\x00" + b"\x00" * 6 + b"\xff" * 20, "a.gz: cannot be read"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError) as error:
        read_texts(tmp_path / name)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_has_a_hint(tmp_path):
    (tmp_path / "first.txt").write_text("a\n")
    with pytest.raises(DataError, match=r"did you mean first\.txt"):
        read_texts(tmp_path / "frist.txt")


def test_systems_have_names(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "out.txt.gz").write_bytes(gzip.compress(b"a\n"))
    one, other = tmp_path / "x" / "out.txt.gz", tmp_path / "y" / "out.txt.gz"
    assert stem(one) == "out"
    assert list(systems(str(one))) == ["out"]
    assert list(systems([one, other])) == [str(one), str(other)]
    assert list(systems({"base": one, "new": ["a"]})) == ["base", "new"]
    assert list(systems(["a", "b"])) == ["predictions"]
    with pytest.raises(DataError, match="given twice"):
        systems([one, one])
    with pytest.raises(DataError, match="no texts"):
        systems([])
    with pytest.raises(DataError, match="no predictions"):
        systems({})


def test_references_are_one_file_several_or_texts(tmp_path):
    path = tmp_path / "r.txt"
    path.write_text("a\n")
    assert further("references", None) == []
    assert [f.name for f in further("references", path)] == [str(path)]
    assert len(further("references", [path, path])) == 2
    (given,) = further("references", [["a", "b"], ["c"]])
    assert given == in_memory("references", [["a", "b"], ["c"]])
