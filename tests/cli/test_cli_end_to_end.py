"""The command line on the real API with mock models: from a task file to a run, its files, and back."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time

import pytest

TASK = """
task: metals
dataset_path: json
dataset_kwargs: {data_files: items.jsonl}
test_split: train
output_type: multiple_choice
doc_to_text: "{{question}}\\nAnswer:"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
slices: [kind]
"""
WRITTEN = """
task: written
dataset_path: json
dataset_kwargs: {data_files: items.jsonl}
test_split: train
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{question}}"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "metals.yaml").write_text(TASK)
    (tmp_path / "written.yaml").write_text(WRITTEN)
    items = [{"question": f"=Which {i}?", "choices": ["a", "b"], "answer": i % 2, "kind": "xy"[i % 2]} for i in range(30)]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, items)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path


RUN = ("run", "--model", "mock/echo", "--tasks", "metals.yaml,written.yaml")


def test_a_run_leaves_its_files_and_can_be_shown(folder, evalkit):
    done = evalkit(*RUN, "--json")
    assert done.code == 0, done.err
    summaries = json.loads(done.out)["summaries"]
    assert {(s["task"], s["metric"]) for s in summaries} >= {
        ("metals", "acc"),
        ("metals", "acc_norm"),
        ("written", "exact_match"),
    }
    latest = folder / "runs" / "latest"
    document = json.loads((latest / "results.json").read_text())
    assert document["results"]["written"]["exact_match,none"] == 1.0
    assert document["n-samples"]["metals"] == {"original": 30, "effective": 30}
    assert document["configs"]["metals"]["output_type"] == "multiple_choice"
    with gzip.open(latest / "samples.jsonl.gz", "rt") as file:
        lines = [json.loads(line) for line in file]
    assert len(lines) == 60
    assert "'=Which 3?" in (latest / "samples.csv").read_text()
    assert "metals" in (latest / "report.html").read_text()
    shown = evalkit("show", "latest", "--sample", lines[-1]["sample_id"], "--task", "written")
    assert (shown.code, "=Which 29?" in shown.out) == (0, True)
    assert evalkit("report", "latest").code == 0


def test_rescore_adds_a_metric_without_the_model(folder, evalkit):
    assert evalkit("run", "--model", "mock/echo", "--tasks", "written.yaml").code == 0
    done = evalkit("rescore", "latest", "--scorers", "contains", "--json")
    assert done.code == 0, done.err
    assert {s["scorer"] for s in json.loads(done.out)["summaries"]} == {"exact_match", "contains"}
    assert evalkit("rescore", "latest", "--scorers", "contians").code == 2


def test_dry_run_leaves_nothing(folder, evalkit):
    done = evalkit(*RUN, "--dry-run")
    assert done.code == 0, done.err
    assert done.out.splitlines()[2].split()[:5] == ["metals", "0", "30", "60", "60"]
    assert not (folder / "runs").exists()


def test_failures_that_a_resume_could_mend_are_exit_5(folder, evalkit):
    failing = ("run", "--model", "mock/failing", "-M", "rate=0.5", "-M", "retryable=true", "--tasks", "metals.yaml")
    done = evalkit(*failing)
    assert done.code == 5, done.err
    assert "Resume with: evalkit run --resume " in done.err


def test_validate_shows_the_prompt_and_the_token_split(folder, evalkit):
    done = evalkit("validate", "metals.yaml", "--model", "mock/echo")
    assert done.code == 0, done.err
    for words in ("30 samples", "=Which 0?\nAnswer:", "continuation: ' a'", "scored [' a']", "acc"):
        assert words in done.out
    (folder / "bad.yaml").write_text(TASK.replace("{{question}}", "{{quest}}").replace("metals", "bad"))
    done = evalkit("validate", "metals.yaml", "bad.yaml")
    assert done.code == 2
    assert "1 of 2 tasks have errors: task bad, " in done.err
    assert "=== metals" in done.out


def test_ls_lists_names(folder, evalkit):
    assert "\nmetals " in evalkit("ls", "tasks", "--task-dir", str(folder)).out
    assert "mock/echo" in evalkit("ls", "models").out
    assert json.loads(evalkit("ls", "scorers", "exact_match", "--json").out)[0]["name"] == "exact_match"
    done = evalkit("ls", "tasks", "no-such-thing")
    assert (done.code, "no tasks fit 'no-such-thing'" in done.err) == (2, True)


def test_unknown_names_give_the_nearest(folder, evalkit):
    assert "did you mean" in evalkit("run", "--model", "mock/ecoh", "--tasks", "metals.yaml").err
    done = evalkit("run", "--model", "mock/echo", "--tasks", "metal", "--task-dir", str(folder))
    assert (done.code, "did you mean metals" in done.err) == (2, True)


def test_ctrl_c_keeps_what_was_answered_and_the_hint_resumes(folder, evalkit):
    slow = [sys.executable, "-m", "evalkit", "run", "--model", "mock/slow", "-M", "latency=0.2", "-M", "connections=1"]
    with subprocess.Popen([*slow, "--tasks", "written.yaml"], stderr=subprocess.PIPE, text=True, env=os.environ) as process:
        deadline = time.monotonic() + 60
        while not list(folder.glob("runs/*/journal/*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        error = process.stderr.read()
        assert process.wait(60) == 130
    hint = error.splitlines()[-1]
    assert hint.startswith("evalkit: interrupted; whatever was answered is kept. Resume with: evalkit run --resume ")
    done = evalkit("run", "--resume", hint.rsplit(" ", 1)[1], "-M", "latency=0")
    assert done.code == 0, done.err
    assert "of them answered already" in done.err
