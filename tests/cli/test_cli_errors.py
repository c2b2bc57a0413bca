"""Every failure is one line and the exit code that its kind promises."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from evalkit.errors import ModelError, TaskError

RUN = ("run", "--model", "mock/echo", "--tasks", "metals")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (TaskError("unknown task 'metls' (did you mean metals?)"), 2, "error: unknown task 'metls' (did you mean metals?)"),
        (ModelError("two\nlines"), 2, "error: two lines"),
        (OSError(28, "No space left on device", "/runs/x"), 2, "/runs/x: No space left on device; make room"),
        (PermissionError(13, "Permission denied", "/runs"), 2, "/runs: Permission denied"),
        (KeyboardInterrupt(), 130, "interrupted; whatever was answered is kept, run the same command again to resume"),
    ],
)
def test_an_error_is_one_line_with_its_exit_code(api, evalkit, error, code, line):
    api.error = error
    done = evalkit(*RUN)
    assert (done.code, done.out) == (code, "")
    assert line in done.err
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith("evalkit: ")


def test_a_fault_of_evalkit_is_70_with_the_traceback_in_a_file(api, evalkit, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    api.error = RuntimeError("what\nnow")
    done = evalkit(*RUN)
    assert done.code == 70
    assert done.err.startswith("evalkit: error: internal error, RuntimeError: what now (traceback in ")
    (file,) = tmp_path.glob("*.traceback.txt")
    assert "RuntimeError: what" in file.read_text()


def test_debug_shows_the_traceback(api, evalkit, monkeypatch):
    monkeypatch.setenv("EVALKIT_DEBUG", "1")
    api.error = RuntimeError("what now")
    assert "Traceback (most recent call last)" in evalkit(*RUN).err


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        ("complete", 0, "report: "),
        ("incomplete", 5, "incomplete: 1 request failed (the first: timeout: no answer in 60 s). Resume with: "),
        ("interrupted", 130, "interrupted; whatever was answered is kept. Resume with: evalkit run --resume "),
    ],
)
def test_the_status_of_the_run_is_the_exit_code(api, evalkit, status, code, words):
    api.run_made.status = status
    done = evalkit(*RUN)
    assert done.code == code
    assert words in done.err
    assert bool(done.out) is (status != "interrupted")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("run", "--modle", "x"), "--model"),
        (("rnu",), "rnu"),
        (("run", "--tasks", "metals"), "no model given"),
        (("run", "--model", "mock/echo"), "no task given"),
        ((*RUN, "--limit", "2.5"), "--limit: expected a whole number of samples, or a share between 0 and 1"),
        ((*RUN, "--limit", "-1"), "--limit: expected"),
        ((*RUN, "--num-fewshot", "-1"), "--num-fewshot: expected greater than or equal to 0, got -1"),
        ((*RUN, "--batch-size", "many"), "--batch-size: "),
        ((*RUN, "-M", "dtype"), "-M: expected key=value, got 'dtype'"),
        ((*RUN, "--data", "metals"), "--data: expected NAME=VALUE, got 'metals'"),
        ((*RUN, "--samples", "absent.json"), "--samples: absent.json: No such file"),
        ((*RUN, "--samples", "{"), "--samples: not JSON"),
        ((*RUN, "--compat", "helm"), "--compat: expected 'lm-eval', got \"helm\""),
        (("ls", "dogs"), "dogs"),
        (("show", "--task", "metal"), "no task 'metal' (did you mean metals?)"),
        (("show", "--sample", "metals-99"), "no sample 'metals-99' (did you mean"),
    ],
)
def test_bad_usage_is_exit_2_and_says_what_to_do(api, evalkit, arguments, line):
    done = evalkit(*arguments)
    assert done.code == 2
    assert line in done.err
    assert len(done.err.splitlines()) == 1


def test_a_closed_pipe_is_quiet():
    script = "import sys; from evalkit.cli.app import main; main(['ls', 'scorers'])"
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        process.stdout.close()
        error = process.stderr.read().decode()
        assert process.wait() == 141
    assert "Error" not in error and "Traceback" not in error and "error:" not in error


def test_no_command_at_all_shows_the_help_as_it_is(evalkit):
    done = evalkit()
    assert done.code == 2
    assert done.err.startswith("Usage: evalkit")
    assert len(done.err.splitlines()) > 10
    assert "error" not in done.err.splitlines()[0]
