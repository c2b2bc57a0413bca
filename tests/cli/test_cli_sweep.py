"""``evalkit run --model-glob`` from the command line: what is listed, run, printed, and the exit code."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import checkpoint_series as made

from evalkit.cli.sweep import share
from evalkit.errors import ConfigError


@pytest.fixture
def command(tmp_path, monkeypatch) -> tuple[str, ...]:
    """A sweep over three checkpoints: chance, better, worse again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    for step, right in ((1, 0.25), (2, 0.8), (3, 0.5)):
        made.checkpoint(tmp_path / "c" / f"step-{step}", right)
    made.task(tmp_path)
    return ("run", "--model-glob", "known/c/step-*", "--tasks", "letters.yaml")


def test_a_sweep_prints_a_line_a_curve_and_where_its_page_is(command, evalkit):
    done = evalkit(*command)
    assert done.code == 0, done.err
    assert "checkpoint step-2, step 2" in done.err
    line = next(line.split() for line in done.out.splitlines() if line.startswith("letters"))
    assert line[-2:] == ["step-2", "step-3"]
    page = Path(done.err.rpartition("sweep: ")[2].strip())
    assert page.name == "sweep.html"
    assert page.is_file()
    again = evalkit(*command)
    assert again.code == 0
    assert "checkpoint" not in again.err
    assert again.out == done.out


def test_a_dry_run_lists_what_would_run_and_writes_nothing(command, evalkit, tmp_path):
    done = evalkit(*command, "--dry-run")
    assert done.code == 0, done.err
    assert [line.split()[0] for line in done.out.splitlines()[2:]] == ["step-1", "step-2", "step-3"]
    assert not (tmp_path / "runs").exists()
    assert evalkit(*command).code == 0
    made.checkpoint(tmp_path / "c" / "step-4", 0.9)
    planned = json.loads(evalkit(*command, "--dry-run", "--json").out)["checkpoints"]
    assert [one["would"] for one in planned] == ["done", "done", "done", "run"]


def test_json_has_the_marks_and_all_values(command, evalkit):
    done = evalkit(*command, "--json")
    found = json.loads(done.out)
    assert found["status"] == "complete"
    (curve,) = found["curves"]
    assert (curve["leaves_chance_at"], curve["first_regression"]) == ("step-2", "step-3")
    assert [row["checkpoint"] for row in found["values"]] == ["step-1", "step-2", "step-3"]
    assert found["values"][1]["value"] > found["values"][2]["value"] > found["values"][0]["value"]
    assert [member["step"] for member in found["checkpoints"]] == [1, 2, 3]


def test_the_margin_is_the_commands(command, evalkit):
    (curve,) = json.loads(evalkit(*command, "--json", "--margin", "40pp").out)["curves"]
    assert curve["first_regression"] is None
    (curve,) = json.loads(evalkit(*command, "--json", "--margin", "5pp").out)["curves"]
    assert curve["first_regression"] == "step-3"


def test_a_broken_checkpoint_is_one_line_and_exit_5(command, evalkit, tmp_path):
    (tmp_path / "c" / "step-2" / "known.json").unlink()
    done = evalkit(*command)
    assert done.code == 5
    assert "warning: step-2 cannot be evaluated: ./c/step-2 has no known.json" in done.err
    assert "1 of 3 checkpoints could not be loaded (step-2)" in done.err
    assert "Traceback" not in done.err


def test_no_checkpoint_that_loads_is_exit_2(command, evalkit, tmp_path):
    for step in (1, 2, 3):
        (tmp_path / "c" / f"step-{step}" / "known.json").unlink()
    done = evalkit(*command)
    assert done.code == 2
    assert "none of 3 checkpoints could be loaded; the first, step-1: ./c/step-1 has no known.json" in done.err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--model", "mock/echo"), "--model and --model-glob exclude each other"),
        (("--resume", "latest"), "resumed by the same command"),
        (("--margin", "much"), "--margin much: expected percentage points"),
        (("--limit", "-1"), "--limit"),
    ],
)
def test_what_does_not_go_together_is_one_line_and_exit_2(command, evalkit, tmp_path, more, message):
    done = evalkit(*command, *more)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_margin_needs_a_series(evalkit):
    done = evalkit("run", "--model", "mock/echo", "--tasks", "knowledge", "--margin", "1pp")
    assert (done.code, "goes with --model-glob" in done.err) == (2, True)


def test_a_run_file_gives_the_tasks_of_a_sweep(command, evalkit, tmp_path):
    (tmp_path / "suite.yaml").write_text("model: hf/not-used\ntasks: letters.yaml\nlimit: 40\n")
    done = evalkit("run", "suite.yaml", "--model-glob", "known/c/step-*", "--json")
    assert done.code == 0, done.err
    assert {row["n"] for row in json.loads(done.out)["values"]} == {40}


@pytest.mark.parametrize(("text", "value"), [("1pp", 0.01), ("2.5 pp", 0.025), ("1%", 0.01), ("0.02", 0.02), ("0", 0.0)])
def test_margins_are_read_as_people_write_them(text, value):
    assert share(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "nan", "-1pp", "1", "100%", "1kg"])
def test_other_margins_are_refused(text):
    with pytest.raises(ConfigError, match="expected percentage points"):
        share(text)
