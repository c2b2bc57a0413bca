"""What is known before the first request: configuration, seeds, refusals."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import ConfigError, ModelError, ScorerError, TaskError
from evalkit.models.mock import MockModel, echo
from evalkit.runner.options import RunOptions, redact, redact_text
from evalkit.runner.prepare import prepare, ready_task, scorer_spec, select
from evalkit.types import keyed

TASK = """
task: says
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
doc_to_text: "{{q}}"
doc_to_target: "{{a}}"
generation_kwargs: {do_sample: %s, temperature: %s}
"""


def options(folder: Path, sample: bool = False, **changes: Any) -> RunOptions:
    (folder / "rows.jsonl").write_text("".join(json.dumps({"q": f"q{i}", "a": "a"}) + "\n" for i in range(3)))
    (folder / "says.yaml").write_text(TASK % (str(sample).lower(), 0.7 if sample else 0))
    return RunOptions(**{"tasks": (str(folder / "says.yaml"),), "model": "mock/echo", **changes})


def keys(chosen: RunOptions) -> list[str]:
    (config,) = select(chosen).tasks
    task = ready_task(config, chosen).task
    return [keyed(q, "m").key for sample in task.samples() for q in task.requests(sample)]


def test_another_seed_draws_other_answers_but_not_other_greedy_ones(tmp_path: Path) -> None:
    assert keys(options(tmp_path, sample=True, seed=1)) != keys(options(tmp_path, sample=True, seed=2))
    assert keys(options(tmp_path, seed=1)) == keys(options(tmp_path, seed=2))


def test_the_configuration_knows_what_can_change_a_number_and_nothing_else(tmp_path: Path) -> None:
    base = prepare(options(tmp_path)).config()
    assert prepare(options(tmp_path, batch_size=3, output_dir="elsewhere", name="x")).config() == base
    for change in ({"limit": 2}, {"num_fewshot": 0}, {"system_instruction": "Hi"}, {"model": "mock/uniform"}):
        assert prepare(options(tmp_path, **change)).config() != base, change
    chosen = options(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"q": "other", "a": "b"}\n')
    assert prepare(chosen).config() != base, "other data"


def test_what_cannot_work_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no task given"):
        prepare(RunOptions(tasks=(), model="mock/echo"))
    with pytest.raises(ConfigError, match=r"--data names 'say'.*did you mean says"):
        prepare(options(tmp_path, data={"say": "x.jsonl"}))
    with pytest.raises(ScorerError, match="rouge"):
        prepare(options(tmp_path, scorers=("roug",)))
    with pytest.raises(ConfigError, match="--role judge="):
        prepare(options(tmp_path, scorers=("llm_judge_yes_no:question=Is it good?",)))
    with pytest.raises(ModelError, match="can only do"):
        prepare(RunOptions(tasks=("knowledge",), model=lambda prompt: "x", form="loglikelihood"))


def test_a_slip_in_a_generation_setting_is_told_and_an_unheard_of_one_passes(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"unknown generation setting 'temprature' \(did you mean temperature\?\)"):
        keys(options(tmp_path, gen_kwargs={"temprature": 1}))
    assert keys(options(tmp_path, gen_kwargs={"quantum_foam": 1})) != keys(options(tmp_path))


def test_a_roles_model_takes_options_behind_its_name(tmp_path: Path) -> None:
    asks = {"scorers": ("llm_judge_yes_no:question=Is it good?",)}
    prepared = prepare(options(tmp_path, roles={"judge": "mock/echo,text=VERDICT: YES"}, **asks))
    assert prepared.roles["judge"].fingerprint != prepared.model.fingerprint
    with pytest.raises(ModelError, match="txt"):
        prepare(options(tmp_path, roles={"judge": "mock/echo,txt=x"}, **asks))


def test_scorers_are_named_with_their_parameters() -> None:
    assert scorer_spec("exact_match:ignore_case=true").params == {"ignore_case": True}
    assert scorer_spec({"name": "rouge", "types": ["rouge1"]}).params == {"types": ["rouge1"]}
    with pytest.raises(ScorerError, match="name:param=value"):
        scorer_spec("exact_match:ignore_case")


def test_secrets_are_blanked_and_the_rest_is_not() -> None:
    assert redact({"api_key": "sk-1", "tokenizer": "gpt2", "hf_token": "x", "dtype": "float32"}) == {
        "api_key": "***", "tokenizer": "gpt2", "hf_token": "***", "dtype": "float32",
    }  # fmt: skip
    blanked = {
        "api_key=sk-1": "api_key=***",
        "--model-arg=api_key=sk-2": "--model-arg=api_key=***",
        "dtype=float32,token=a,b,max_length=5": "dtype=float32,token=***,max_length=5",
        "judge=hf/some/judge,token=x": "judge=hf/some/judge,token=***",
        '{"api_key": "s\\"k", "dtype": "x"}': '{"api_key": "***", "dtype": "x"}',
    }
    for text, shown in blanked.items():
        assert redact_text(text) == shown
    for harmless in ("tokenizer=gpt2", "max_tokens=5", "monkey=x", "What is the key to it?"):
        assert redact_text(harmless) == harmless


def test_a_roles_secret_is_blanked_in_the_manifest() -> None:
    shown = RunOptions(tasks=("x",), model="mock/echo", roles={"judge": "hf/x,token=sk-1,dtype=float32"}).public()
    assert shown["roles"] == {"judge": "hf/x,token=***,dtype=float32"}


def test_no_secret_reaches_the_run_directory(tmp_path: Path) -> None:
    import evalkit

    chosen = options(
        tmp_path,
        model=MockModel("m", echo()),
        model_args={"api_key": "sk-hidden-1"},
        roles={"judge": "mock/echo,text=VERDICT: YES"},
        output_dir=tmp_path / "runs",
        command=("evalkit", "run", "-M", "dtype=x,token=sk-hidden-2", "--role", "judge=mock/echo,api_key=sk-hidden-3"),
    )
    run = evalkit.run(options=chosen)
    for path in run.path.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert b"sk-hidden" not in (gzip.decompress(data) if path.suffix == ".gz" else data), path.name
