"""Splits and rows from files: what a task file's data keys mean, and what a broken file says."""

import gzip
import json
import sys
import tracemalloc
from pathlib import Path

import pytest

from evalkit.data.load import from_rows, load_splits, to_hf
from evalkit.errors import DataError

SHARED = Path(__file__).resolve().parents[3] / "shared"


def lines(path: Path, *rows: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def load(tmp_path: Path, data_files, kind: str = "json", **kwargs):
    return load_splits(kind, None, {"data_files": data_files, **kwargs}, base=tmp_path)


def rows(tmp_path: Path, text: str | bytes, name: str = "x.jsonl", kind: str = "json", **kwargs):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(load(tmp_path, {"test": name}, kind, **kwargs)["test"])


def test_jsonl_rows_share_their_keys(tmp_path):
    lines(tmp_path / "x.jsonl", {"a": 1, "b": "é"}, "", {"c": [1, 2]}, '{"a": NaN}')
    table = load(tmp_path, {"test": "x.jsonl"})["test"]
    assert table.columns == ("a", "b", "c")
    assert len(table) == 3
    assert table[1] == {"a": None, "b": None, "c": [1, 2]}
    assert [row["a"] for row in table] == [1, None, None]
    assert table[-1] == table[2]
    with pytest.raises(IndexError):
        table[3]


def test_mixed_numbers_become_floats_as_in_datasets(tmp_path):
    found = rows(tmp_path, '{"a":1,"l":[1],"m":1,"b":true}\n{"a":1.5,"l":[0.5,null],"m":"x","b":false}\n{"a":null,"l":null}')
    assert repr(found[0]) == "{'a': 1.0, 'l': [1.0], 'm': 1, 'b': True}"
    assert found[1]["l"] == [0.5, None]
    assert found[2] == {"a": None, "l": None, "m": None, "b": None}


def test_dates_stay_text(tmp_path):
    assert rows(tmp_path, '{"d": "2024-01-01"}') == [{"d": "2024-01-01"}]


@pytest.mark.parametrize(
    ("text", "kwargs", "expected"),
    [
        ('[{"a": 1}, {"b": 2}]', {}, [{"a": 1, "b": None}, {"a": None, "b": 2}]),
        ('{\n "canary": "c",\n "examples": [{"a": 1}]}', {}, [{"a": 1}]),
        ('{"data": [{"a": 1}], "n": 2}', {}, [{"a": 1}]),
        ('{"rows": [{"a": 1}]}', {"field": "rows"}, [{"a": 1}]),
        ('["s", "t"]', {}, [{"text": "s"}, {"text": "t"}]),
        ('{"a": 1}\r\n{"a": 2}\r\n', {}, [{"a": 1}, {"a": 2}]),
        ('\ufeff{"a": "\\ud800x"}\n', {}, [{"a": "\ud800x"}]),
        ('[{"a": "\\ud800\\u2028\\n"}]', {}, [{"a": "\ud800\u2028\n"}]),
    ],
)
def test_json_shapes(tmp_path, text, kwargs, expected):
    assert rows(tmp_path, text, "x.json", **kwargs) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n\n{"a": \n', r"x\.jsonl, line 3: not valid JSON: Expecting value, column 6"),
        ('{"a": 1}\n[1]', r"line 2: expected a JSON object, got list"),
        ('{"a": 1} {"a": 2}\n{"a": 3}', r"line 1: not valid JSON: Extra data, column 10"),
        (b'{"a": 1}\n{"a": "\xff"}', r"line 2: not UTF-8 text \(byte 8\)"),
        ('{"a": \n{"a": 3}\n', r"line 1: not valid JSON"),
        ("", "has no rows"),
        ("\n\n", "has no rows"),
        ('{\n"a": 1,\n', r"line 3: not valid JSON"),
        ('{"a": 1}'.encode("utf-16"), "UTF-16; save it as UTF-8"),
        (b"\x1f\x8b\x08broken", "cannot be read"),
    ],
)
def test_a_broken_file_names_file_and_line(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        rows(tmp_path, text)


def test_json_field_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="no field 'rows'; it has data"):
        rows(tmp_path, '{"data": []}', field="rows")


def test_compressed_files_are_told_by_content(tmp_path):
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1}\n'))
    (tmp_path / "odd.jsonl").write_bytes(gzip.compress(b'{"a": 1}\n'))
    (tmp_path / "plain.jsonl").write_bytes(b'{"a": 1}\n')
    splits = load(tmp_path, {"a": "x.jsonl.gz", "b": "odd.jsonl", "c": "plain.jsonl"})
    assert [list(splits[name]) for name in "abc"] == [[{"a": 1}]] * 3
    assert len({splits[name].fingerprint for name in "abc"}) == 1


def test_fingerprint_follows_content(tmp_path):
    first = load(tmp_path, lines(tmp_path / "x.jsonl", {"a": 1}).name)["train"].fingerprint
    assert load(tmp_path, lines(tmp_path / "y.jsonl", {"a": 1}).name)["train"].fingerprint == first
    assert load(tmp_path, lines(tmp_path / "x.jsonl", {"a": 2}).name)["train"].fingerprint != first


def test_bare_data_files_are_the_train_split(tmp_path):
    lines(tmp_path / "a1.jsonl", {"a": 1}, {"a": 2})
    lines(tmp_path / "a2.jsonl", {"b": 3})
    for files in ("a*.jsonl", ["a1.jsonl", "a2.jsonl"]):
        splits = load(tmp_path, files)
        assert list(splits) == ["train"]
        assert [row["a"] for row in splits["train"]] == [1, 2, None]
    with pytest.raises(DataError, match="no split 'test'; it has train"):
        splits["test"]


def test_splits_are_read_only_when_asked_for(tmp_path):
    lines(tmp_path / "test.jsonl", {"a": 1})
    splits = load(tmp_path, {"test": "test.jsonl", "train": "missing.jsonl"})
    assert len(splits["test"]) == 1
    assert set(splits) == {"test", "train"}
    assert "valid" not in splits
    with pytest.raises(DataError, match=r"no data file .*missing\.jsonl"):
        splits["train"]


def test_missing_file_names_the_nearest(tmp_path):
    lines(tmp_path / "questions.jsonl", {"a": 1})
    with pytest.raises(DataError, match=r"no data file .*question\.jsonl.* \(did you mean questions\.jsonl\?\)"):
        load(tmp_path, {"test": "question.jsonl"})["test"]


def test_task_folder_goes_before_the_current_one(tmp_path, monkeypatch):
    lines(tmp_path / "task/x.jsonl", {"from": "task"})
    lines(tmp_path / "cwd/x.jsonl", {"from": "cwd"})
    lines(tmp_path / "cwd/y.jsonl", {"from": "cwd"})
    monkeypatch.chdir(tmp_path / "cwd")
    splits = load(tmp_path / "task", {"x": "x.jsonl", "y": "y.jsonl"})
    assert (splits["x"][0]["from"], splits["y"][0]["from"]) == ("task", "cwd")


def test_text_lines(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"one\r\n\ntwo \n")
    assert list(load(tmp_path, "x.txt", "text")["train"]) == [{"text": "one"}, {"text": ""}, {"text": "two "}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b,c\n1,x,True\n2,NA,false\n", [{"a": 1, "b": "x", "c": True}, {"a": 2, "b": None, "c": False}]),
        ("a,b\n1,x\n,y\n", [{"a": 1.0, "b": "x"}, {"a": None, "b": "y"}]),
        ('\ufeffa,b\n"x\ny, ""z""",07\n', [{"a": 'x\ny, "z"', "b": 7}]),
        (",a,a\nx,1,tRue\n", [{"Unnamed: 0": "x", "a": 1, "a.1": True}]),
    ],
)
def test_csv_columns_are_typed_as_in_datasets(tmp_path, text, expected):
    found = rows(tmp_path, text, "x.csv", "csv")
    assert found == expected
    assert [[type(v) for v in row.values()] for row in found] == [[type(v) for v in row.values()] for row in expected]


def test_tsv_and_reader_options(tmp_path):
    assert rows(tmp_path, "a\tb\n1\tx,y\n", "x.tsv", "tsv") == [{"a": 1, "b": "x,y"}]
    assert rows(tmp_path, "1;x\n", "x.csv", "csv", delimiter=";", column_names=["a", "b"]) == [{"a": 1, "b": "x"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n1,2,3\n", r"x\.csv: not a valid CSV file: Expected 2 fields in line 3, saw 3"),
        ("a,b\n1,2,3\n1,2,3\n", "more fields than its header"),
        ('a,b\n"x,y\n', "not a valid CSV file: EOF inside string"),
        ("", "the file is empty"),
        ("a,b\n", "has no rows"),
        (b"a\n\xff\n", "not a valid CSV file: .*utf-8"),
    ],
)
def test_broken_csv(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        rows(tmp_path, text, "x.csv", "csv")


def test_parquet_shards(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    for at in range(2):
        pq.write_table(pa.table({"q": [f"{at}a", None], "n": [[at], []]}), tmp_path / f"test-0000{at}-of-00002.parquet")
    table = load_splits(str(tmp_path), None, {}, base=None)["test"]
    assert list(table) == [{"q": "0a", "n": [0]}, {"q": None, "n": []}, {"q": "1a", "n": [1]}, {"q": None, "n": []}]
    assert table[2] == {"q": "1a", "n": [1]} and table[-1]["q"] is None
    with pytest.raises(IndexError):
        table[4]
    (tmp_path / "bad.parquet").write_bytes(b"PAR1nonsense")
    with pytest.raises(DataError, match=r"bad\.parquet: not a valid Parquet file"):
        load(tmp_path, "bad.parquet", "parquet")["train"]


def override(path: Path, **kwargs):
    return load_splits("hub/name", kwargs.pop("name", None), {}, base=None, override=path, **kwargs)


@pytest.mark.parametrize(
    "name",
    [
        "validation.jsonl",
        "val.jsonl",
        "dev.jsonl",
        "data/validation.jsonl",
        "validation/part.jsonl",
        "my_val.jsonl",
        "cfg/val.jsonl",
    ],
)
def test_override_folder_finds_a_split_by_file_name(tmp_path, name):
    lines(tmp_path / name, {"a": 1})
    lines(tmp_path / Path(name).parent / "train.jsonl", {"a": 2}) if "part" not in name else None
    splits = override(tmp_path, name="cfg", eval_split="validation")
    assert list(splits["validation"]) == [{"a": 1}]
    with pytest.raises(DataError, match="split 'test'"):
        splits["test"]


def test_override_folder_prefers_the_exact_name(tmp_path):
    lines(tmp_path / "dev.jsonl", {"from": "dev"})
    lines(tmp_path / "val.jsonl", {"from": "val"})
    splits = override(tmp_path)
    assert splits["dev"][0]["from"] == "dev"
    assert splits["validation"][0]["from"] == "val"


def test_override_folder_that_is_ambiguous_or_empty(tmp_path):
    with pytest.raises(DataError, match="no data files in this folder"):
        override(tmp_path)
    lines(tmp_path / "en_test.jsonl", {"a": 1})
    lines(tmp_path / "de_test.jsonl", {"a": 1})
    with pytest.raises(DataError, match="more than one file could be split 'test': de_test, en_test"):
        override(tmp_path)["test"]


def test_override_file_is_the_evaluated_split_alone(tmp_path):
    path = lines(tmp_path / "mine.jsonl", {"a": 1})
    assert list(override(path)["anything"]) == [{"a": 1}]
    splits = override(path, eval_split="test")
    assert list(splits["test"]) == [{"a": 1}]
    with pytest.raises(DataError, match=r"stands for split 'test' alone but split 'train' is needed .* --num-fewshot 0"):
        splits["train"]


def test_override_that_is_not_there(tmp_path):
    lines(tmp_path / "mine.jsonl", {"a": 1})
    with pytest.raises(DataError, match=r"no data file .*mime\.jsonl \(did you mean mine\.jsonl\?\)"):
        override(tmp_path / "mime.jsonl")
    (tmp_path / "x.docx").write_text("x")
    with pytest.raises(DataError, match=r"unknown data format; expected one of \.json"):
        override(tmp_path / "x.docx")["test"]


def test_override_ignores_options_for_another_format(tmp_path):
    path = lines(tmp_path / "x.csv", "a,b", "1,2")
    splits = load_splits("json", None, {"data_files": "q.json", "field": "rows"}, base=None, override=path)
    assert list(splits["train"]) == [{"a": 1, "b": 2}]


def test_without_a_path(tmp_path):
    with pytest.raises(DataError, match="names no dataset_path"):
        load_splits(None, None, {}, base=tmp_path)
    with pytest.raises(DataError, match="names no data_files"):
        load_splits("json", None, {}, base=tmp_path)
    with pytest.raises(DataError, match="no data file or folder"):
        load_splits("./nowhere", None, {}, base=tmp_path)


def test_hub_failure_is_one_line_with_a_way_out(monkeypatch, tmp_path):
    datasets = pytest.importorskip("datasets")

    def gone(*args, **kwargs):
        raise ConnectionError("Couldn't reach 'a/b' on the Hub\nlong story")

    monkeypatch.setattr(datasets, "load_dataset", gone)
    splits = load_splits("a/b", "c", {"trust_remote_code": True}, base=tmp_path)
    with pytest.raises(DataError, match=r"cannot reach the dataset 'a/b' \(c\) .* --data TASK=PATH$"):
        splits["test"]


def test_hub_dataset_is_loaded_once_on_first_access(monkeypatch, tmp_path):
    datasets = pytest.importorskip("datasets")
    calls = []

    def fake(path, name, **kwargs):
        calls.append((path, name, kwargs))
        return datasets.DatasetDict({"test": datasets.Dataset.from_list([{"a": 1}, {"a": None}])})

    monkeypatch.setattr(datasets, "load_dataset", fake)
    splits = load_splits("a/b", "c", {"trust_remote_code": True, "revision": "r"}, base=tmp_path)
    assert calls == []
    assert list(splits["test"]) == [{"a": 1}, {"a": None}]
    assert splits["test"][1] == {"a": None}
    assert len(splits["test"].fingerprint) == 32
    assert calls == [("a/b", "c", {"revision": "r"})]
    with pytest.raises(DataError, match=r"dataset 'a/b' \(c\): no split 'tset' \(did you mean test\?\)"):
        splits["tset"]


def test_to_hf_and_saved_datasets(tmp_path):
    datasets = pytest.importorskip("datasets")
    dataset = to_hf(from_rows([{"a": 1}, {"b": "x"}]))
    assert isinstance(dataset, datasets.Dataset)
    assert list(dataset) == [{"a": 1, "b": None}, {"a": None, "b": "x"}]
    datasets.DatasetDict({"dev": dataset}).save_to_disk(str(tmp_path / "saved"))
    assert list(override(tmp_path / "saved")["dev"])[1] == {"a": None, "b": "x"}


def test_local_files_do_not_import_datasets(tmp_path):
    import subprocess

    lines(tmp_path / "x.jsonl", {"a": 1})
    code = (
        "import sys; from pathlib import Path; from evalkit.data.load import load_splits\n"
        f"load_splits('json', None, {{'data_files': 'x.jsonl'}}, base=Path({str(tmp_path)!r}))['train']\n"
        "assert not {'datasets', 'pandas', 'pyarrow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_rows_stay_bytes(tmp_path):
    path = lines(tmp_path / "x.jsonl", *({"q": f"question {i}", "a": i, "c": ["x", "y"]} for i in range(20_000)))
    tracemalloc.start()
    table = load(tmp_path, {"test": "x.jsonl"})["test"]
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(table) == 20_000
    assert held < path.stat().st_size + 20_000 * 16


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("json", "gsm8k/test.jsonl.gz"),
        ("json", "arc/arc_challenge.jsonl.gz"),
        ("json", "triviaqa/*.jsonl.gz"),
        ("json", "mmlu/dev.jsonl.gz"),
        ("json", "bbq/preds_Age.jsonl.gz"),
        ("csv", "crows_pairs/crows_pairs_anonymized.csv"),
    ],
)
def test_rows_equal_those_of_datasets(tmp_path, kind, name):
    files = sorted((SHARED / "data").glob(name))
    if not files:
        pytest.skip("the shared data is not here")
    datasets = pytest.importorskip("datasets")
    theirs = datasets.load_dataset(kind, data_files={"test": [str(f) for f in files]}, cache_dir=str(tmp_path))["test"]
    ours = load_splits(kind, None, {"data_files": {"test": [str(f) for f in files]}}, base=None)["test"]
    assert set(ours.columns) == set(theirs.column_names)
    assert list(ours) == list(theirs)
