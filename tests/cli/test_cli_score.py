"""``evalkit score``: files in, a table and runs out; bad input is one line and exit 2."""

from __future__ import annotations

import gzip
import json
import re
import shlex
from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "refs.txt").write_text("the cat sat on the mat\na dog ran away\nit rains today\n")
    (tmp_path / "base.txt").write_text("the cat sat on a mat\nthe dog ran off\nit rained\n")
    (tmp_path / "new.txt").write_text("the cat sat on the mat\na dog ran off\nit rains now\n")
    (tmp_path / "src.txt").write_text("die Katze\nein Hund\nes regnet\n")
    rows = [
        {"id": i, "prediction": p, "references": [r], "kind": "xy"[i % 2]}
        for i, (p, r) in enumerate([("a", "a"), ("b", "c")])
    ]
    (tmp_path / "all.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_system_prints_what_a_run_prints(folder, evalkit):
    done = evalkit("score", "--predictions", "base.txt", "--references", "refs.txt")
    assert done.code == 0, done.err
    assert "no --scorers given: bleu, chrf, rouge" in done.err
    for metric in ("bleu", "chrf", "rouge1"):
        assert metric in done.out
    assert "95% CI" in done.out
    shown = evalkit("show", "latest")
    assert (shown.code, "refs" in shown.out) == (0, True)
    assert evalkit("rescore", "latest", "--scorers", "token_f1").code == 0
    assert evalkit("report", "latest").code == 0
    assert "evalkit score --predictions base.txt" in (folder / "runs" / "latest" / "report.html").read_text()


def test_systems_are_rows_of_one_table(folder, evalkit):
    done = evalkit(
        "score",
        "-p",
        "base.txt",
        "-p",
        "better=new.txt",
        "-r",
        "refs.txt",
        "-s",
        "bleu",
        "-s",
        "rouge:types=[rouge1,rougeL]",
    )
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert "Difference" in lines[0]
    assert "p (bootstrap)" in lines[0]
    assert lines[2].split()[2] == "base"
    assert sum("better" in line for line in lines) == 3
    assert "differences from base" in done.err
    assert len([path for path in (folder / "runs").iterdir() if not path.is_symlink()]) == 2


def test_json_holds_systems_and_comparisons(folder, evalkit):
    call = ("score", "-p", "base.txt", "-p", "new.txt", "-r", "refs.txt", "-s", "chrf", "--baseline", "new", "--json")
    document = json.loads(evalkit(*call).out)
    assert (document["baseline"], list(document["systems"])) == ("new", ["base", "new"])
    (comparison,) = document["comparisons"]
    assert (comparison["system"], comparison["metric"]) == ("base", "chrf")
    values = {name: found["summaries"][0]["value"] for name, found in document["systems"].items()}
    assert comparison["result"]["difference"] == pytest.approx(values["base"] - values["new"])
    alone = json.loads(evalkit("score", "-p", "base.txt", "-r", "refs.txt", "-s", "chrf", "--json").out)
    assert alone["summaries"][0]["value"] == pytest.approx(values["base"])


def test_one_file_may_hold_all_and_columns_may_be_named(folder, evalkit):
    done = evalkit("score", "-p", "all.jsonl", "-s", "exact_match", "--slices", "kind", "--json")
    assert done.code == 0, done.err
    summaries = json.loads(done.out)["summaries"]
    assert {s["slice"]: s["value"] for s in summaries} == {None: 0.5, "kind=x": 1.0, "kind=y": 0.0}
    assert {s["task"] for s in summaries} == {"outputs"}
    (folder / "odd.csv").write_text("mt,gold\nNA,NA\nb,c\n")
    columns = ("--column", "prediction=mt", "--column", "reference=gold")
    named = evalkit("score", "-p", "odd.csv", *columns, "-s", "exact_match", "--task", "odd", "--json")
    assert named.code == 0, named.err
    assert [(s["task"], s["value"]) for s in json.loads(named.out)["summaries"]] == [("odd", 0.5)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-r", "refs.txt"], "no outputs given"),
        (["-p", "short.txt", "-r", "refs.txt"], "short.txt has 1 rows, refs.txt has 3"),
        (["-p", "empty.txt", "-r", "refs.txt"], "empty.txt is empty"),
        (["-p", "base.txt", "-r", "bad.txt"], "bad.txt, line 2: not UTF-8"),
        (["-p", "broken.gz", "-r", "refs.txt"], "broken.gz: cannot be read"),
        (["-p", "bse.txt", "-r", "refs.txt"], "did you mean base.txt"),
        (["-p", "base.txt", "-r", "turned.json"], "look transposed"),
        (["-p", "all.jsonl", "--column", "prediction=predction"], "did you mean prediction"),
        (["-p", "all.jsonl", "--column", "kind"], "--column: expected NAME=VALUE"),
        (["-p", "twice.jsonl"], "stands in rows 1 and 2"),
        (["-p", "all.jsonl", "-r", "ids.jsonl"], "all.jsonl lacks 1 of the 3 ids (7) of ids.jsonl"),
        (["-p", "base.txt"], "no references"),
        (["-p", "base.txt", "-r", "refs.txt", "--scorers", "comet"], "'comet' reads the source texts"),
        (["-p", "base.txt", "-r", "refs.txt", "--slices", "kind"], "names no column 'kind'"),
        (["-p", "base.txt", "-p", "base.txt", "-r", "refs.txt"], "given twice"),
        (["-p", "a=base.txt", "-p", "a=new.txt", "-r", "refs.txt"], "two systems have one name"),
        (["-p", "base.txt", "-r", "refs.txt", "--baseline", "bse"], "did you mean base"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(folder, evalkit, arguments, message):
    (folder / "short.txt").write_text("one\n")
    (folder / "empty.txt").write_text("")
    (folder / "bad.txt").write_bytes(b"a\n\xff\n")
    (folder / "broken.gz").write_bytes(gzip.compress(b"abc\n" * 50)[:-9])
    (folder / "turned.json").write_text(json.dumps([["a", "b", "c"], ["d", "e", "f"]]))
    (folder / "twice.jsonl").write_text('{"id": 1, "output": "a", "target": "a"}\n' * 2)
    (folder / "ids.jsonl").write_text("\n".join(json.dumps({"id": i, "reference": "r"}) for i in (0, 1, 7)))
    done = evalkit("score", *arguments)
    assert (done.code, done.out) == (2, "")
    (line,) = [line for line in done.err.splitlines() if "error" in line]
    assert message in line
    assert not (folder / "runs").exists()


ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "scoring-outputs.md").read_text("utf-8")


@pytest.mark.parametrize("command", re.findall(r"^\$ evalkit (score .*)$", PAGE, re.MULTILINE))
def test_the_commands_of_the_page_work(folder, evalkit, command):
    for name in ("system", "mt", "old", "new"):
        (folder / f"{name}.txt").write_text("the cat sat\na dog ran away\nit rains\n")
    (folder / "answers.jsonl").write_text('{"output": "a cat", "reference": "the cat", "topic": "animals"}\n')
    words = shlex.split(command)
    if "comet" in words:  # its checkpoint would be downloaded
        words[words.index("comet")] = "ter"
    done = evalkit(*words)
    assert done.code == 0, done.err


def test_the_python_of_the_page_works(folder, capsys):
    for name in ("old", "new"):
        (folder / f"{name}.txt").write_text("the cat sat\na dog ran away\nit rains\n")
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(example, {})
    assert capsys.readouterr().out.startswith("chrf new 0.0 None 1.0")


def test_the_page_names_the_columns_and_defaults_that_are():
    from evalkit.data.pairs import ROLES
    from evalkit.runner.given import DEFAULT_SCORERS

    for role, names in ROLES.items():
        (cell,) = re.findall(rf"^\| `{role}` \| (.*) \|$", PAGE, re.MULTILINE)
        assert tuple(re.findall(r"`(\w+)`", cell))[: len(names)] == names
    assert "it is BLEU, chrF and ROUGE;" in PAGE
    assert DEFAULT_SCORERS == ("bleu", "chrf", "rouge")
    assert "docs/scoring-outputs.md" in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("scorer", "words"),
    [
        ("rouge:types=[rouge1", "'[rouge1' cannot be read: a list is written [a,b]"),
        ("bleu:lowercase=maybe", "parameter 'lowercase' must be true or false, not 'maybe'"),
        ("rouge:types=rouge1,rougeM", "must list rouge1 to rouge9, rougeL or rougeLsum"),
    ],
)
def test_a_parameter_that_cannot_be_is_one_line(folder, evalkit, scorer, words):
    done = evalkit("score", "-p", "base.txt", "-r", "refs.txt", "-s", scorer)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert words in done.err


def test_a_list_of_names_is_written_with_brackets_or_without(folder, evalkit):
    tables = []
    for types in ("[rouge2,rougeLsum]", "rouge2,rougeLsum"):
        done = evalkit("score", "-p", "base.txt", "-r", "refs.txt", "-s", f"rouge:types={types}", "--new")
        assert done.code == 0, done.err
        tables.append(done.out)
    assert tables[0] == tables[1]
    assert "rougeLsum" in tables[0]


def test_the_report_is_called_by_the_systems_name(folder, evalkit):
    assert evalkit("score", "-p", "ours=base.txt", "-r", "refs.txt", "-s", "bleu").code == 0
    page = (folder / "runs" / "latest" / "report.html").read_text()
    assert "given/ours" in page and "GivenModel" not in page
