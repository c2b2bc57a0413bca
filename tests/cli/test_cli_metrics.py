"""``evalkit metrics validate``: the table, the JSON, the CSV and one line for bad input."""

from __future__ import annotations

import csv
import io
import json

import pytest


@pytest.fixture
def rated(tmp_path):
    rows = [
        {
            "id": item,
            "sys": k,
            "mt": f"w{item} " * (k + 1) + "x " * (item % 2),
            "ref": f"w{item} " * 4,
            "rating": k + item % 2,
        }
        for item in range(5)
        for k in range(4)
    ]
    path = tmp_path / "rated.jsonl"
    path.write_text("".join(json.dumps({**row, "len": len(row["mt"])}) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_the_table_says_what_was_read_and_how_sure_it_is(evalkit, rated):
    done = evalkit("metrics", "validate", "--data", rated, "--scorers", "chrf", "--columns", "len", "--replicates", "50")
    assert done.code == 0, done.err
    assert (
        "20 outputs for 5 items by 4 systems (item: id, system: sys, output: mt, references: ref, human: rating" in done.err
    )
    lines = done.out.splitlines()
    assert lines[0].split() == ["Metric", "Rating", "Level", "Pearson", "Spearman", "Kendall", "Accuracy", "n", "Used"]
    assert len(lines) == 2 + 2 * 3
    assert "[" in lines[2] and lines[2].endswith("20 rows") and lines[4].endswith("5 items")


def test_json_csv_and_a_file(evalkit, rated, tmp_path):
    command = ("metrics", "validate", "--data", rated, "--columns", "len", "--replicates", "0", "--levels", "summary,system")
    told = json.loads(evalkit(*command, "--json", "--output", str(tmp_path / "out" / "v.csv")).out)
    assert [row["level"] for row in told["rows"]] == ["summary", "system"]
    assert told["metrics"][0]["metric"] == "len" and told["rows"][0]["pearson_low"] is None
    printed = evalkit(*command, "--csv").out
    assert printed == (tmp_path / "out" / "v.csv").read_text("utf-8")
    (first, _) = csv.DictReader(io.StringIO(printed))
    assert float(first["kendall"]) == pytest.approx(told["rows"][0]["kendall"])
    evalkit(*command, "--output", str(tmp_path / "v.json"))
    assert json.loads((tmp_path / "v.json").read_text("utf-8")) == told


def test_bad_input_is_one_line(evalkit, rated):
    done = evalkit("metrics", "validate", "--data", rated, "--columns", "lenn")
    assert (done.code, done.err.strip()) == (2, f"evalkit: error: {rated}: no column 'lenn' (did you mean len?)")
    assert evalkit("metrics", "validate", "--data", rated + "x", "--scorers", "bleu").code == 2


def test_help_names_the_command(evalkit):
    assert "validate" in evalkit("metrics", "--help").out
