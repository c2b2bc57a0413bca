"""``evalkit baseline``: what is written, what is shown, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "comparison"))

from comparison_runs import make_run, write_task


@pytest.fixture
def run(tmp_path, monkeypatch):
    path = make_run(tmp_path / "runs", write_task(tmp_path / "t"), "my run", [1, 2])
    monkeypatch.chdir(tmp_path)
    return path


def test_a_run_is_promoted_and_shown(evalkit, run):
    done = evalkit("baseline", "promote", "my-run")
    assert (done.code, done.out.strip()) == (0, "baselines/my-run.jsonl.gz")
    assert "my run: 40 samples of sums in" in done.err
    shown = evalkit("baseline", "show", "baselines/my-run.jsonl.gz")
    assert shown.code == 0
    assert run.name in shown.err and "complete" in shown.err
    assert shown.out.splitlines()[2].split() == ["sums", "1.0", "none", "exact_match", "↑", "0.9500", "40"]


def test_json_has_the_facts(evalkit, run):
    made = json.loads(evalkit("baseline", "promote", "latest", "--to", "b.jsonl.gz", "--json").out)
    assert made["path"] == "b.jsonl.gz" and made["bytes"] == Path("b.jsonl.gz").stat().st_size
    facts = json.loads(evalkit("baseline", "show", "b.jsonl.gz", "--json").out)
    assert (facts["run"], facts["name"], facts["status"]) == (run.name, "my run", "complete")
    assert [(m["task"], m["metric"], m["value"], m["n"]) for m in facts["metrics"]] == [("sums", "exact_match", 0.95, 40)]


def test_a_file_is_replaced_only_when_told(evalkit, run):
    assert evalkit("baseline", "promote", "--to", "b.jsonl.gz").code == 0
    done = evalkit("baseline", "promote", "--to", "b.jsonl.gz")
    assert (done.code, done.err.strip()) == (2, "evalkit: error: b.jsonl.gz is there already; --force replaces it")
    assert evalkit("baseline", "promote", "--to", "b.jsonl.gz", "--force").code == 0
    assert evalkit("baseline", "promote", "--to", "b.json").code == 2


def test_an_unfinished_run_is_refused(evalkit, run):
    manifest = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**manifest, "status": "incomplete"}))
    done = evalkit("baseline", "promote", "latest")
    assert done.code == 4 and "run my run is incomplete" in done.err
    assert not Path("baselines").exists()
    assert evalkit("baseline", "promote", "latest", "--allow-incomplete").code == 0


def test_what_is_not_there(evalkit, run):
    done = evalkit("baseline", "show", "none.jsonl.gz")
    assert (done.code, done.err.strip()) == (
        2,
        "evalkit: error: no score file none.jsonl.gz; evalkit baseline promote RUN --to none.jsonl.gz makes one",
    )
