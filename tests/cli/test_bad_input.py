"""Bad input on the real API: one clear line that says what, where and what to do, exit 2, nothing made and nothing lost."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

TASK = {
    "task": "colours",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "items.jsonl"}},
    "test_split": "test",
    "output_type": "generate_until",
    "doc_to_text": "Q {{question}}",
    "doc_to_target": "{{answer}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8},
    "metric_list": [{"metric": "exact_match"}],
}
CHOICE = {
    **TASK,
    "task": "picks",
    "output_type": "multiple_choice",
    "doc_to_choice": ["x", "y"],
    "metric_list": [{"metric": "acc"}],
}
RUN = ("run", "--model", "mock/echo", "--tasks", "colours.yaml")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "items.jsonl").write_text("".join(f'{{"question": "{i}", "answer": "x"}}\n' for i in range(20)))
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "torn.jsonl").write_text('{"question": "1", "answer": "x"}\n{"question": 2, torn\n')
    (tmp_path / "utils.py").write_text("raise SystemExit('code ran')\n")
    write(tmp_path, TASK)
    write(tmp_path, CHOICE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path


def write(folder: Path, task: dict) -> None:
    (folder / f"{task['task']}.yaml").write_text(json.dumps(task, indent=1))


def refused(done, *words: str) -> None:
    assert done.code == 2, done.err
    line = done.err.splitlines()[-1]
    assert line.startswith("evalkit: error: ")
    assert len([x for x in done.err.splitlines() if "error" in x]) == 1
    for word in words:
        assert word in line
    assert done.out == ""


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"doc_to_text": "Q {{quetsion}}"}, ("task colours, sample ", "no column 'quetsion' (did you mean question?)")),
        ({"doc_to_text": "Q {{question.a.b}}"}, ("task colours, sample ", "has no attribute 'a'")),
        ({"doc_to_text": "Q {{question"}, ("task colours, sample ", "unexpected end of template")),
        ({"doc_to_tagret": "x"}, ("colours.yaml:", "unknown key 'doc_to_tagret' (did you mean doc_to_target")),
        ({"output_type": "generate"}, ("colours.yaml:", "output_type: expected one of multiple_choice")),
        ({"metric_list": [{"metric": "exact_mtach"}]}, ("task colours", "'exact_mtach' (did you mean exact_match?)")),
        ({"scorers": ["exact_mtach"]}, ("task colours", "unknown scorer 'exact_mtach' (did you mean exact_match")),
        ({"test_split": "tset"}, ("task colours", "no split 'tset' (did you mean test?)")),
        ({"dataset_kwargs": {"data_files": {"test": "itmes.jsonl"}}}, ("colours", "itmes.jsonl (did you mean items.jsonl")),
        ({"dataset_kwargs": {"data_files": {"test": "empty.jsonl"}}}, ("task colours", "split 'test' has no rows")),
        ({"dataset_kwargs": {"data_files": {"test": "torn.jsonl"}}}, ("task colours", "torn.jsonl, line 2: not valid JSON")),
        ({"cluster": "topic"}, ("task colours", "cluster names no column 'topic'")),
        (
            {"filter_list": [{"name": "x", "filter": [{"function": "regexx"}]}]},
            ("task colours", "unknown filter 'regexx' (did you mean regex"),
        ),
        (
            {"filter_list": [{"name": "x", "filter": [{"function": "regex", "regex_pattern": "a("}]}]},
            ("task colours", "filter 'x', step 'regex': missing )"),
        ),
    ],
)
def test_a_wrong_task_is_told_before_a_model_is_loaded(folder, evalkit, changed, words):
    write(folder, {**TASK, **changed})
    done = evalkit("run", "--model", "hf/./absent", "--tasks", "colours.yaml")
    refused(done, *words)
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("task: a\n  b: [1,\n", ("broken.yaml:2", "YAML error")),
        ("just words\n", ("broken.yaml:1", "expected a mapping of keys")),
        ("task: a\nprocess_docs: !function utils.f\n", ("output_type",)),
        ("include: gone.yaml\ntask: a\n", ("broken.yaml:1", "included file not found")),
        ("group: g\ntask: [arithmetc]\n", ("broken.yaml:2", "unknown task 'arithmetc' (did you mean arithmetic")),
    ],
)
def test_a_wrong_task_file_is_told_with_its_line(folder, evalkit, text, words):
    if "process_docs" in text:
        text = "include: colours.yaml\n" + text
        words = ("utils.py: the task needs f() from this file", "--allow-code")
    (folder / "broken.yaml").write_text(text)
    refused(evalkit("run", "--model", "mock/echo", "--tasks", "broken.yaml"), *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--tasks", "arithmetc"), ("unknown task 'arithmetc' (did you mean arithmetic?)",)),
        (("--tasks", "absent.yaml"), ("no task file or folder absent.yaml",)),
        (("--model", "mokc/echo"), ("unknown model 'mokc' (did you mean mock",)),
        (("--model", "mock/ecoh"), ("unknown model mock/ecoh (did you mean echo?)",)),
        (("--model", "gpt2"), ("'gpt2' is not provider/name: write for example hf/gpt2",)),
        (("-M", "txet=x"), ("-M txet=x", "no option 'txet' (did you mean text")),
        (("--scorers", "acuracy"), ("unknown scorer 'acuracy' (did you mean accuracy",)),
        (("--scorers", "acc"), ("scorer 'acc' scores multiple_choice tasks; here there are only generate_until ones",)),
        (("--data", "colour=items.jsonl"), ("--data names 'colour'", "did you mean colours?")),
        (("--data", "colours=itmes.jsonl"), ("task colours", "itmes.jsonl", "did you mean items.jsonl")),
        (("--limit", "-3"), ("--limit: expected a whole number of samples, or a share between 0 and 1, got -3",)),
        (("--limit", "inf"), ("--limit: expected a whole number", "got inf")),
        (("--limit", "many"), ("--limit: expected a whole number", "got many")),
        (("--samples", '{"colours": []}'), ("--samples: colours: expected at least one",)),
        (("--samples", '{"colours": 3}'), ("--samples: colours: expected a list, got 3",)),
        (("--samples", "[3]"), ("--samples: expected a mapping, got [3]",)),
        (("--samples", '{"colours": [99]}'), ("no sample '99'; positions are 0 to 19",)),
        (("--samples", '{"colour": [1]}'), ("--samples names 'colour'", "did you mean colours?")),
        (("--batch-size", "0"), ("--batch-size: expected auto or a whole number of sequences from 1, got 0",)),
        (("--batch-size", "auto:4"), ("--batch-size: expected auto or a whole number",)),
        (("--num-fewshot", "20"), ("task colours, sample ", "20 few-shot examples", "lower --num-fewshot")),
        (("--fewshot-as-multiturn",), ("--fewshot-as-multiturn needs --apply-chat-template",)),
        (("--resume", "absent"), ("no run 'absent' here, and no runs at all in runs",)),
        (("--role", "judge=nobody"), ("model 'nobody' is not provider/name",)),
        (("--task-dir", "absent"), ("task folder not found",)),
    ],
)
def test_wrong_options_are_told_with_the_nearest_right_one(folder, evalkit, arguments, words):
    refused(evalkit(*RUN, *arguments), *words)
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, ("has no config.json",)),
        ({"config.json": '{"model_type": "llama"}'}, ("no weights (*.safetensors or *.bin)",)),
    ],
)
def test_a_model_folder_without_weights(folder, evalkit, files, words):
    pytest.importorskip("torch")
    (folder / "model").mkdir()
    for name, text in files.items():
        (folder / "model" / name).write_text(text)
    refused(evalkit("run", "--model", "hf/./model", "--tasks", "colours.yaml"), *words)


def test_a_word_where_a_run_file_should_be(folder, evalkit):
    refused(evalkit("run", "colours", "--model", "mock/echo"), "no run file (*.yaml)", "a task is named with --tasks")


def test_a_changed_configuration_is_refused_with_the_difference(folder, evalkit):
    assert evalkit(*RUN, "--limit", "4").code == 0
    done = evalkit(*RUN, "--limit", "5", "--seed", "7", "--resume", "latest")
    refused(done, "options.limit was 4, is 5", "options.seed was 1234, is 7", "--new")


def _only_run(folder: Path) -> Path:
    (run,) = (p for p in (folder / "runs").iterdir() if not p.is_symlink())
    return run


DAMAGE = {
    "run.json garbled": (lambda run: (run / "run.json").write_text("{"), ("run.json cannot be read",)),
    "run.json no mapping": (lambda run: (run / "run.json").write_text("[]"), ("run.json is damaged",)),
    "run.json lacks keys": (lambda run: (run / "run.json").write_text('{"schema": 1}'), ("is damaged: it lacks name",)),
    "summary garbled": (lambda run: (run / "summary.json").write_text("{"), ("summary.json is damaged", "evalkit rescore")),
    "summary gone": (lambda run: (run / "summary.json").unlink(), ("summary.json is gone", "evalkit rescore")),
    "scores garbled": (lambda run: _garble(run / "scores"), ("is damaged", "evalkit rescore")),
    "scores gone": (lambda run: _empty(run / "scores"), ("is gone", "evalkit rescore")),
    "samples gone": (lambda run: _empty(run / "samples" / "colours"), ("20 of 20 samples of colours", "run --resume")),
    "answers gone": (lambda run: _empty(run / "journal"), ("20 of 20 answers cannot be read", "run --resume")),
    "an answer garbled": (lambda run: _garble_line(run / "journal"), ("1 of 20 answers cannot be read", "run --resume")),
}


def _garble(folder: Path) -> None:
    for path in folder.iterdir():
        path.write_bytes(b"garbage")


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def _garble_line(folder: Path) -> None:
    (path,) = folder.glob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b"Q 3", b"Q 4", 1)
    path.write_bytes(b"".join(lines))


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_says_what_is_gone_and_what_mends_it(folder, evalkit, damage):
    assert evalkit(*RUN).code == 0
    run = _only_run(folder)
    before = json.loads((run / "summary.json").read_text())
    break_it, words = DAMAGE[damage]
    break_it(run)
    for command in (("report",), ("show", "latest", "--sample", "0")):
        refused(evalkit(*command), *words)
    if "evalkit rescore" in words:
        assert evalkit("rescore", "latest").code == 0
    elif "run --resume" in words:
        assert evalkit("rescore", "latest").code == 2
        assert evalkit("run", "--resume", "latest").code == 0
    else:
        return
    assert evalkit("report").code == 0
    assert json.loads((run / "summary.json").read_text()) == before


def test_a_garbled_run_does_not_stop_a_new_one_of_the_same_configuration(folder, evalkit):
    assert evalkit(*RUN).code == 0
    (_only_run(folder) / "run.json").write_text("{")
    assert evalkit(*RUN).code == 0


def test_a_scorer_that_does_not_work_leaves_the_run_as_it_was(folder, evalkit):
    assert evalkit(*RUN).code == 0
    manifest = (_only_run(folder) / "run.json").read_bytes()
    refused(evalkit("rescore", "latest", "--scorers", "acuracy"), "unknown scorer 'acuracy'")
    refused(evalkit("rescore", "latest", "--scorers", "acc"), "here there are only generate_until ones")
    refused(evalkit("rescore", "latest", "--scorers", "rouge:stemmer=1"), "no parameter 'stemmer' (did you mean use_stemmer")
    assert (_only_run(folder) / "run.json").read_bytes() == manifest


def test_a_scorer_that_fits_some_tasks_is_left_out_for_the_others(folder, evalkit):
    both = ("run", "--model", "mock/echo", "--tasks", "colours.yaml,picks.yaml")
    assert evalkit(*both).code == 0
    done = evalkit("rescore", "latest", "--scorers", "token_f1", "--scorers", "acc_bytes", "--json")
    assert done.code == 0
    assert "warning: scorer 'token_f1' scores generate_until tasks: left out for picks" in done.err
    found = {(s["task"], s["metric"]) for s in json.loads(done.out)["summaries"]}
    assert found == {("colours", "exact_match"), ("colours", "token_f1"), ("picks", "acc"), ("picks", "acc_bytes")}
    done = evalkit(*both, "--scorers", "acc_bytes", "--new")
    assert (done.code, "left out for colours" in done.err) == (0, True)


def test_an_output_directory_that_cannot_be_written(folder, evalkit):
    refused(evalkit(*RUN, "--output-dir", "items.jsonl"), "cannot write to items.jsonl")
    refused(evalkit(*RUN, "--output-dir", "/proc/nowhere/runs"), "cannot write to /proc/nowhere/runs", "--output-dir")


def _full_disk(limit: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line where no file may grow beyond ``limit`` bytes: what a full disk is to a run."""

    def cap() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    script = (
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); from evalkit.cli.app import main; import sys; "
        f"main({list(arguments)!r})"
    )
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, preexec_fn=cap, env=environment)


def test_a_full_disk_loses_no_answer(folder, evalkit):
    waves = (*RUN, "-M", "wave=4")
    whole = evalkit(*waves, "--output-dir", "whole", "--json")
    (run,) = (p for p in (folder / "whole").iterdir() if not p.is_symlink())
    journal = sum(p.stat().st_size for p in (run / "journal").iterdir())
    samples = sum(p.stat().st_size for p in (run / "samples" / "colours").iterdir())
    assert samples > journal
    done = _full_disk(samples - 400, *waves)
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot write to " in done.stderr and "Nothing that was answered is lost" in done.stderr
    assert "Traceback" not in done.stderr
    again = evalkit(*waves, "--json")
    assert (again.code, len(list((folder / "runs").glob("2*")))) == (0, 1)
    assert "of them answered already" in again.err
    assert json.loads(again.out)["summaries"] == json.loads(whole.out)["summaries"]


def test_a_disk_full_at_the_report_keeps_the_finished_run(folder, evalkit):
    assert evalkit(*RUN, "--output-dir", "whole").code == 0
    (run,) = (p for p in (folder / "whole").iterdir() if not p.is_symlink())
    size = (run / "report.html").stat().st_size
    done = _full_disk(size - 1, *RUN)
    assert done.returncode == 2
    assert "All answers and scores are safe; make room, then: evalkit report " in done.stderr
    assert json.loads((_only_run(folder) / "run.json").read_text())["status"] == "complete"
    assert evalkit("report").code == 0
