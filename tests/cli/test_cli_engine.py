"""The flags about how a local model computes, and what is said where they cannot be."""

from __future__ import annotations

import pytest

RUN = ("run", "--model", "mock/echo", "--tasks", "knowledge", "--limit", "2")


def test_the_flags_reach_the_api(api, evalkit):
    done = evalkit(
        "run", "--model", "hf/gpt2", "--tasks", "a", "--engine", "plain", "--attn-implementation", "eager", "--threads", "3",
        "--device", "cpu",
    )  # fmt: skip
    assert done.code == 0, done.err
    o = api.options
    assert (o.engine, o.attn_implementation, o.threads) == ("plain", "eager", 3)
    flags = o.model_options().flags
    assert flags == {"device": "cpu", "engine": "plain", "attn_implementation": "eager", "threads": "3"}
    assert not {"engine", "attn_implementation", "threads", "device"} & o.content().keys(), "they change no number"


def test_the_flags_of_remote_models_reach_the_api(api, evalkit):
    done = evalkit(
        "run", "--model", "openai/gpt-x", "--tasks", "a", "--max-connections", "8", "--max-retries", "0", "--timeout", "30",
        "--rpm", "60", "--tpm", "9000", "--batch-api",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert api.options.model_options().flags == {
        "max_connections": "8", "max_retries": "0", "timeout": "30.0", "rpm": "60", "tpm": "9000", "batch_api": "True",
    }  # fmt: skip
    assert not {"max_connections", "timeout", "batch_api"} & api.options.content().keys(), "they change no number"


def test_a_run_file_and_the_environment_name_them_too(api, evalkit, tmp_path, monkeypatch):
    (tmp_path / "suite.yaml").write_text("model: hf/x\ntasks: [a]\nengine: prefix\nthreads: 2\n")
    monkeypatch.setenv("EVALKIT_ENGINE", "plain")
    assert evalkit("run", str(tmp_path / "suite.yaml")).code == 0
    assert (api.options.engine, api.options.threads, api.options.attn_implementation) == ("plain", 2, None)


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--engine", "fast"), "--engine: expected 'auto', 'prefix' or 'plain', got \"fast\""),
        (("--threads", "0"), "--threads: expected greater than or equal to 1, got 0"),
        (("--engine", "plain"), "--engine plain: mock/echo has no option 'engine'"),
        (("--threads", "2"), "--threads 2: mock/echo has no option 'threads'"),
        (("--rpm", "0"), "--rpm: expected greater than or equal to 1, got 0"),
        (("--batch-api",), "--batch-api True: mock/echo has no option 'batch_api'"),
        (("--device", "cpu"), "--device cpu: mock/echo has no option 'device'"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_2(evalkit, tmp_path, flags, line):
    done = evalkit(*RUN, "--output-dir", str(tmp_path / "runs"), *flags)
    assert done.code == 2
    errors = [said for said in done.err.splitlines() if "error" in said]
    assert len(errors) == 1
    assert line in errors[0]
    assert not (tmp_path / "runs").exists()


def test_a_flag_that_contradicts_a_model_option_is_told(evalkit, tmp_path):
    done = evalkit("run", "--model", "hf/./nowhere", "--tasks", "knowledge", "--engine", "prefix", "-M", "engine=plain")
    assert done.code == 2
    assert "--engine prefix contradicts -M engine=plain: give one of them" in done.err
