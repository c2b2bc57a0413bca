"""``evalkit import`` as it is typed: tables on stdout, what was checked on stderr, one line for bad input."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from made_logs import choice_config, choice_lines, inspect_document, inspect_sample, lm_eval_output, quiz, write_json_log

from evalkit.cli.app import main


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def evalkit(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def call(*words: Any) -> Done:
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        return Done(int(stop.value.code or 0), *capsys.readouterr())

    return call


@pytest.fixture
def output(tmp_path):
    return lm_eval_output(tmp_path / "out", {"quiz": (choice_config(), choice_lines(*quiz()))})


def test_an_output_folder_becomes_a_run_that_can_be_shown_and_scored_again(output, evalkit):
    done = evalkit("import", "out", "--name", "old")
    assert done.code == 0, done.err
    assert "acc_norm" in done.out
    assert "quiz acc 0.5000 as in lm-eval 0.4.13's results" in done.err
    shown = evalkit("show", "latest")
    assert (shown.code, "quiz" in shown.out) == (0, True)
    again = evalkit("rescore", "latest", "--scorers", "acc_bytes")
    assert (again.code, "acc_bytes" in again.out) == (0, True)


def test_json_and_a_folder_of_several_logs(output, evalkit, tmp_path):
    write_json_log(tmp_path / "out" / "log.json", inspect_document([inspect_sample("France")], 1.0))
    done = evalkit("import", "out", "--json")
    assert [document["status"] for document in json.loads(done.out)] == ["complete", "complete"]
    assert json.loads(evalkit("import", output, "--json").out)["status"] == "complete"
    named = evalkit("import", "out", "--name", "one")
    assert (named.code, "--name is for one log, and there are 2 here" in named.err) == (2, True)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("other.json", '{"a": 1}', "is no log that can be imported"),
        ("list.json", "[1]", "is no log that can be imported"),
        ("text.txt", "hello", "cannot be read as JSON"),
        ("samples_quiz_2026.jsonl", "{}", "holds samples alone"),
    ],
)
def test_what_is_no_log_is_one_line_and_exit_2(tmp_path, evalkit, name, content, message):
    (tmp_path / name).write_text(content)
    done = evalkit("import", name)
    assert (done.code, message in done.err, done.err.count("\n")) == (2, True, 1)
    assert not (tmp_path / "runs").exists()


def test_what_is_not_there_and_what_holds_nothing(tmp_path, evalkit):
    (tmp_path / "empty").mkdir()
    assert "holds no log to import" in evalkit("import", "empty").err
    assert "there is no emtpy (did you mean empty?)" in evalkit("import", "emtpy").err
