"""``evalkit run``: what reaches the API, from flags, environment and run file, and what is printed."""

from __future__ import annotations

import json

import pytest

from evalkit.runner.plan import TaskPlan

RUN = ("run", "--model", "mock/echo", "--tasks", "metals")


def no_constants(name):
    raise AssertionError(f"{name} is not JSON")


def test_flags_reach_the_api(api, evalkit, tmp_path):
    (tmp_path / "s.json").write_text('{"metals": [3, "x7"]}')
    done = evalkit(
        "run", "--model", "hf/gpt2", "-M", "dtype=float32,revision=main", "-M", "max_length=512", "--tasks", "a,b",
        "--tasks", "c", "--task-dir", "zoo", "--data", "a=x,y.jsonl", "--limit", "10", "--num-fewshot", "5", "--batch-size",
        "auto", "--seed", "7",
        "--apply-chat-template", "--no-fewshot-as-multiturn", "--system-instruction", "Be brief", "--gen-kwargs",
        "temperature=0.5,do_sample=true", "--compat", "lm-eval", "--allow-code", "--trust-remote-code", "--device", "cpu",
        "--role", "judge=hf/x", "--output-dir", "out", "--name", "n", "--new", "--max-error-rate", "0.2",
        "--samples", str(tmp_path / "s.json"), "--scorers", "rouge", "--retry-errors",
    )  # fmt: skip
    assert done.code == 0, done.err
    o = api.options
    assert (list(o.tasks), o.model, dict(o.data)) == (["a", "b", "c"], "hf/gpt2", {"a": "x,y.jsonl"})
    assert dict(o.model_args) == {"dtype": "float32", "revision": "main", "max_length": "512"}
    assert (o.limit, o.num_fewshot, o.batch_size, o.seed) == (10, 5, None, 7)
    assert (o.apply_chat_template, o.fewshot_as_multiturn, o.system_instruction) == (True, False, "Be brief")
    assert dict(o.gen_kwargs) == {"temperature": 0.5, "do_sample": True}
    assert (o.compat, o.allow_code, o.trust_remote_code, o.device, o.new) == ("lm-eval", True, True, "cpu", True)
    assert (dict(o.roles), o.output_dir, o.name, o.max_error_rate) == ({"judge": "hf/x"}, "out", "n", 0.2)
    assert dict(o.samples) == {"metals": [3, "x7"]}
    assert (list(o.task_dirs), list(o.scorers), o.retry_errors) == (["zoo"], ["rouge"], True)
    assert o.command[:2] == ("evalkit", "run")


@pytest.mark.parametrize(("text", "limit"), [("5", 5), ("5.0", 5), ("0.25", 0.25), ("1", 1)])
def test_limits_below_one_are_shares(api, evalkit, text, limit):
    assert evalkit(*RUN, "--limit", text).code == 0
    assert api.options.limit == limit
    assert type(api.options.limit) is type(limit)


def test_command_line_wins_over_environment_over_run_file(api, evalkit, tmp_path, monkeypatch):
    (tmp_path / "suite.yaml").write_text(
        "model: hf/from-file\ntasks: [a, b]\nseed: 1\nlimit: 10\nnum_fewshot: 2\n"
        "model_args: {dtype: bfloat16, max_length: 64}\n"
    )
    monkeypatch.setenv("EVALKIT_SEED", "2")
    monkeypatch.setenv("EVALKIT_LIMIT", "20")
    monkeypatch.setenv("EVALKIT_MODEL_ARG", "dtype=float32")
    assert evalkit("run", str(tmp_path / "suite.yaml"), "--limit", "30").code == 0
    o = api.options
    assert (o.model, list(o.tasks), o.num_fewshot, o.seed, o.limit) == ("hf/from-file", ["a", "b"], 2, 2, 30)
    assert dict(o.model_args) == {"dtype": "float32", "max_length": "64"}


def test_paths_in_a_run_file_start_from_its_folder(api, evalkit, tmp_path):
    (tmp_path / "suite.yaml").write_text(
        "model: mock/echo\ntasks: [named, own.yaml]\ndata: {named: d.jsonl}\ntask_dirs: zoo\noutput_dir: /abs\n"
    )
    assert evalkit("run", str(tmp_path / "suite.yaml")).code == 0
    o = api.options
    assert list(o.tasks) == ["named", str(tmp_path / "own.yaml")]
    assert (dict(o.data), list(o.task_dirs)) == ({"named": str(tmp_path / "d.jsonl")}, [str(tmp_path / "zoo")])
    assert o.output_dir == "/abs"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("model: a\ntasks: [b]\nnum_fewshots: 3\n", "suite.yaml:3: unknown key 'num_fewshots' (did you mean num_fewshot"),
        ("model: a\nseed: soon\n", "suite.yaml:2: seed: expected a whole number"),
        ("model: a\nsamples:\n  t: 5\n", "suite.yaml:3: samples.t: "),
        ("model: [\n", "suite.yaml:2: YAML error"),
        ("- a\n", "suite.yaml: a run file holds settings"),
        ("", "suite.yaml: a run file holds settings"),
        ("task: x\ndataset_path: json\n", "is a task file, not a run file; evaluate it with --tasks"),
    ],
)
def test_a_wrong_run_file_is_named_with_line_and_key(api, evalkit, tmp_path, text, line):
    (tmp_path / "suite.yaml").write_text(text)
    done = evalkit("run", str(tmp_path / "suite.yaml"))
    assert done.code == 2
    assert line in done.err
    assert len(done.err.splitlines()) == 1


def test_a_missing_run_file_is_said(api, evalkit):
    done = evalkit("run", "absent.yaml")
    assert (done.code, "run file absent.yaml cannot be read: No such file" in done.err) == (2, True)


def test_resuming_by_name_takes_the_settings_of_the_run(api, evalkit):
    api.run_made.manifest["config"]["model_args"] = {"dtype": "float32"}
    assert evalkit("run", "--resume", "latest").code == 0
    o = api.options
    assert (o.model, list(o.tasks), o.resume, o.limit) == ("demo/smollm2", ["science", "sums", "prose"], "latest", 100)
    assert evalkit("run", "runs/x").code == 0
    assert api.options.resume == "runs/x"


def test_resuming_asks_for_a_secret_again(api, evalkit):
    done = evalkit("run", "--resume", "latest")
    assert (done.code, "give it again: -M api_key=..." in done.err) == (2, True)
    assert evalkit("run", "--resume", "latest", "-M", "api_key=sk").code == 0
    assert dict(api.options.model_args) == {"dtype": "float32", "api_key": "sk"}


def test_the_table_has_lm_evals_columns_and_the_interval(api, evalkit):
    done = evalkit(*RUN)
    lines = done.out.splitlines()
    assert lines[0].split() == ["Task", "n-shot", "Filter", "Metric", "Value", "Stderr", "95%", "CI", "n", "Notes"]
    assert lines[2].split() == ["Science", "none", "acc", "↑", "0.6200", "±", "0.0325", "[0.5500,", "0.6900]", "100"]
    assert lines[3].startswith("  metals")
    assert lines[5].startswith("    · subject=chemistry")
    assert lines[7].endswith("cannot be told from chance (0.2500)")
    assert "word_perplexity  ↓" in lines[9]
    assert "report.html" in done.err


def test_json_is_one_strict_document_on_stdout(api, evalkit):
    done = evalkit(*RUN, "--json")
    document = json.loads(done.out, parse_constant=no_constants)
    assert (document["status"], len(document["summaries"]), document["summaries"][0]["value"]) == ("complete", 8, 0.62)


def test_dry_run_counts_and_asks_nothing(api, evalkit):
    api.plans = [TaskPlan("a", 0, 10, 40, 40, 1234, 0), TaskPlan("b", 5, 5, 5, 4, None, 1280)]
    done = evalkit(*RUN, "--dry-run")
    lines = done.out.splitlines()
    assert lines[2].split() == ["a", "0", "10", "40", "40", "1,234", "0"]
    assert lines[4].split() == ["total", "15", "45", "44", "1,234", "1,280"]
    assert api.progress is None
    assert json.loads(evalkit(*RUN, "--dry-run", "--json").out)["tasks"][1]["distinct"] == 4


def test_many_slices_are_left_to_the_report(api, evalkit):
    from evalkit.types import Summary

    api.run_made.summaries += [Summary("planets", "acc", 0.5, 3, slice=f"moon={i}") for i in range(21)]
    assert "moon=" not in evalkit(*RUN).out


def test_a_run_says_a_content_warning_once(api, evalkit):
    for task in ("metals", "sums"):
        api.run_made.manifest["tasks"][task]["definition"] = {"content_warning": "insults and threats"}
    done = evalkit("run", "-m", "mock/echo", "-t", "metals")
    assert done.err.count("evalkit: content warning (metals, sums): insults and threats\n") == 1
    assert done.err.index("content warning") < done.err.index("report.html")
