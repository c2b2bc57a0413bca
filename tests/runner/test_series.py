"""A series of checkpoints: how far along each one is, what is run again and what is not, and what it costs in memory."""

from __future__ import annotations

import gc
import json
import os
import signal
import struct
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import checkpoint_series as made

import evalkit
from evalkit.errors import ConfigError, StoreError, TaskError
from evalkit.runner.checkpoints import compute, count_parameters, find_checkpoints, step_of, tokens_of
from evalkit.runner.options import RunOptions
from evalkit.runner.series import open_series, read_series
from evalkit.runner.session import Silent


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "state", "step"),
    [
        ("step-1000", {}, 1000),
        ("checkpoint-500", {"global_step": 7}, 500),
        ("global_step1000", {}, 1000),
        ("iter_0001000", {}, 1000),
        ("step1000-tokens4B", {}, 1000),
        ("ckpt10k", {}, 10_000),
        ("llama-7b/checkpoint-20/hf", {}, 20),
        ("final", {"global_step": 321}, 321),
        ("run2/final", {"global_step": 321}, 321),
        ("epoch-3", {}, 3),
        ("step-0", {}, 0),
        ("model-step-300.gguf", {}, 300),
        ("pythia-160m", {}, None),
        ("best", {}, None),
        ("best", {"global_step": "many"}, None),
    ],
)
def test_the_step_is_read_from_the_name_or_the_trainers_state(name, state, step):
    assert step_of(name, state) == step


def test_tokens_in_a_name_and_training_compute():
    assert tokens_of("step1000-tokens4B") == 4e9
    assert tokens_of("step-1000") is None
    assert compute(3e18, 10, 5.0) == (3e18, "total_flos"), "what the trainer counted comes first"
    assert compute(None, 1_000_000, 2e7) == (6 * 1e6 * 2e7, "6ND")
    assert compute(None, 1_000_000, None) is None


def safetensors(path: Path, shapes: dict[str, list[int]]) -> None:
    header = {name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()}
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)


def test_parameters_are_counted_in_the_headers_of_all_shards(work):
    safetensors(work / "model-1.safetensors", {"a": [10, 20], "b": [7]})
    safetensors(work / "model-2.safetensors", {"c": [3, 3, 3], "scalar": []})
    assert count_parameters(work) == 200 + 7 + 27 + 1


def test_parameters_agree_with_the_loaded_model(work):
    pytest.importorskip("transformers")
    import tiny_llama

    model = tiny_llama.llama(tiny_llama.byte_tokenizer())
    model.save_pretrained(work / "m", max_shard_size="50KB")
    assert count_parameters(work / "m") == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("content", [b"", b"xx", struct.pack("<Q", 1 << 60) + b"{}", struct.pack("<Q", 2) + b"[]"])
def test_a_damaged_header_is_no_count_and_no_error(work, content):
    (work / "model.safetensors").write_bytes(content)
    assert count_parameters(work) is None


def test_checkpoints_come_in_order_of_step_then_size_then_name(work):
    for name in ("step-1000", "step-200", "step-30", "final", "best-b", "best-a"):
        made.checkpoint(work / "c" / name, 0.5, state={"global_step": 2000} if name == "final" else None)
    (work / "c" / "step-5.log").write_text("no checkpoint")
    found = find_checkpoints("known/c/*")
    assert [one.name for one in found] == ["step-30", "step-200", "step-1000", "final", "best-a", "best-b"]
    assert found[0].model == "known/./c/step-30"


def test_names_tell_nested_checkpoints_apart(work):
    for run in ("a", "b"):
        made.checkpoint(work / "runs" / run / "step-10" / "hf", 0.5)
    found = find_checkpoints("known/runs/*/step-*/hf")
    assert [(one.name, one.step) for one in found] == [("a/step-10/hf", 10), ("b/step-10/hf", 10)]


def test_a_trainers_state_gives_tokens_and_operations(work):
    made.checkpoint(work / "step-0", 0.2, state={"global_step": 0, "total_flos": 0, "num_input_tokens_seen": 0})
    made.checkpoint(work / "step-5", 0.2, state={"global_step": 5, "total_flos": 0, "num_input_tokens_seen": 4096})
    made.checkpoint(work / "step-9", 0.2, state={"global_step": 9, "total_flos": 1.5e15})
    (work / "step-9" / "trainer_state.json").write_text("{")
    (work / "step-12").mkdir()
    facts = [(one.step, one.flops, one.tokens) for one in find_checkpoints("known/step-*")]
    assert facts == [(0, 0.0, 0.0), (5, None, 4096.0), (9, None, None), (12, None, None)]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("nowhere/step-*", "fits no checkpoint"),
        ("*.txt", "fits 1 files, and checkpoints are folders or .gguf files"),
        ("", "is empty"),
        ("mock/*", "has models by name"),
    ],
)
def test_a_pattern_without_checkpoints_is_refused(work, pattern, message):
    (work / "notes.txt").write_text("")
    with pytest.raises(ConfigError, match=message):
        find_checkpoints(pattern)


def series(work: Path, shares: dict[int, float]) -> str:
    for step, right in shares.items():
        made.checkpoint(work / "c" / f"step-{step}", right, parameters=1000)
    return made.task(work)


def runs(work: Path) -> set[str]:
    return {path.parent.name for path in (work / "runs").glob("2*/run.json")}


def evaluated(work: Path, task: str, **more: object) -> list[str]:
    """The names of the checkpoints that a sweep looks at."""
    seen = []

    @contextmanager
    def watching(member):
        seen.append(member.name)
        yield Silent()

    assert evalkit.sweep(task, "known/c/step-*", watching=watching, **more).status == "complete"
    return seen


def test_each_checkpoint_is_a_run_and_the_same_again_runs_nothing(work):
    task = series(work, {10: 0.3, 200: 0.6})
    assert evaluated(work, task) == ["step-10", "step-200"]
    assert len(runs(work)) == 2
    (folder,) = (work / "runs").glob("*_c_sweep_*")
    stored = read_series(folder)
    assert [(m["name"], m["step"], m["status"], m["parameters"]) for m in stored["checkpoints"]] == [
        ("step-10", 10, "complete", 1000),
        ("step-200", 200, "complete", 1000),
    ]
    assert {m["run"] for m in stored["checkpoints"]} == runs(work)
    assert {p.name for p in folder.iterdir()} == {"sweep.json", "sweep.html", "sweep.csv", "lock"}
    assert evaluated(work, task) == []
    assert list((work / "runs").glob("*_sweep_*")) == [folder]


def test_new_checkpoints_are_added_and_deleted_ones_stay(work):
    task = series(work, {10: 0.3, 20: 0.4})
    evaluated(work, task)
    (work / "c" / "step-10" / "known.json").unlink()
    (work / "c" / "step-10").rmdir()
    series(work, {15: 0.3, 30: 0.5})
    assert evaluated(work, task) == ["step-15", "step-30"]
    (folder,) = (work / "runs").glob("*_sweep_*")
    assert [m["name"] for m in read_series(folder)["checkpoints"]] == ["step-10", "step-15", "step-20", "step-30"]


def test_a_checkpoint_that_changed_is_run_again_and_one_that_was_only_touched_is_not(work):
    task = series(work, {10: 0.3, 20: 0.4, 30: 0.5})
    evaluated(work, task)
    made.checkpoint(work / "c" / "step-20", 0.9, parameters=1000)
    os.utime(work / "c" / "step-30" / "known.json", (1, 1))
    assert evaluated(work, task) == ["step-20", "step-30"], "both are looked at"
    assert len(runs(work)) == 4, "and one of them is the same model as before"


def test_other_tasks_options_or_data_make_other_runs(work):
    task = series(work, {10: 0.3})
    evaluated(work, task)
    assert evaluated(work, task, limit=50) == ["step-10"]
    made.task(work, items=100)
    assert evaluated(work, task) == ["step-10"], "the file has other data now"
    assert evaluated(work, task, new=True) == ["step-10"]
    assert len(runs(work)) == 4
    assert len(list((work / "runs").glob("*_sweep_*"))) == 3, "with --new a further series"


def test_a_run_that_was_made_by_itself_is_taken_over(work):
    task = series(work, {10: 0.3, 20: 0.4})
    one = evalkit.run(task, "known/./c/step-10")
    done = evalkit.sweep(task, "known/c/step-*")
    assert done.series.members[0].run == one.path.name
    assert len(runs(work)) == 2


def test_one_checkpoint_that_cannot_be_loaded_does_not_stop_the_others(work):
    task = series(work, {10: 0.3, 30: 0.4})
    (work / "c" / "step-20").mkdir()
    done = evalkit.sweep(task, "known/c/step-*")
    assert done.status == "incomplete"
    assert [m.status for m in done.series.members] == ["complete", "failed", "complete"]
    assert done.series.members[1].error == "./c/step-20 has no known.json"
    made.checkpoint(work / "c" / "step-20", 0.35)
    assert evaluated(work, task) == ["step-20"]


def test_a_mistake_in_the_tasks_is_told_before_any_checkpoint_loads(work):
    series(work, {10: 0.3})
    with pytest.raises(TaskError):
        evalkit.sweep("no_such_task", "known/c/step-*")
    assert not (work / "runs").exists()


@pytest.mark.parametrize(
    ("more", "message"), [({"model": "mock/echo"}, "exclude each other"), ({"resume": "latest"}, "same command")]
)
def test_what_a_sweep_cannot_do_is_refused(work, more, message):
    task = series(work, {10: 0.3})
    with pytest.raises(ConfigError, match=message):
        evalkit.sweep(checkpoints="known/c/step-*", options=RunOptions(tasks=(task,), **{"model": None, **more}))


def test_a_killed_sweep_goes_on_where_it_was(work):
    """The series' file is older than the runs it is about: what their own directories say counts."""
    task = series(work, {10: 0.3, 20: 0.4})
    evaluated(work, task)
    (folder,) = (work / "runs").glob("*_sweep_*")
    stored = read_series(folder)
    stored["status"] = "running"
    stored["checkpoints"][1] |= {"run": None, "status": "waiting"}
    (folder / "sweep.json").write_text(json.dumps(stored))
    assert evaluated(work, task) == ["step-20"]
    assert len(runs(work)) == 2, "its run was complete already, and is found by its configuration"


def test_two_processes_do_not_write_one_series(work):
    task = series(work, {10: 0.3})
    options = RunOptions(tasks=(task,), model=None)
    held = open_series("known/c/step-*", find_checkpoints("known/c/step-*"), options)
    with pytest.raises(StoreError, match="in use by process"):
        evalkit.sweep(task, "known/c/step-*")
    held.close()
    assert evaluated(work, task) == ["step-10"]


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft asks transformers for what it has deprecated
def test_a_series_of_adapters_is_evaluated_on_their_base_model(work):
    peft = pytest.importorskip("peft")
    import tiny_llama
    import torch
    from transformers import AutoModelForCausalLM

    base = tiny_llama.checkpoint(work / "base")
    for step in (5, 10):
        torch.manual_seed(step)
        lora = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
        peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), lora).save_pretrained(
            work / "c" / f"checkpoint-{step}"
        )
    done = evalkit.sweep(task := made.task(work, items=20), "c/checkpoint-*")
    assert done.status == "complete"
    found = [done.series.run_of(member).manifest for member in done.series.members]
    assert [run["config"]["model_args"] for run in found] == [{"peft": f"./c/checkpoint-{step}"} for step in (5, 10)]
    assert len({run["fingerprints"]["model"] for run in found}) == 2
    assert [run["name"] for run in found] == ["checkpoint-5", "checkpoint-10"]
    with pytest.raises(ConfigError, match="checkpoint-5 is an adapter"):
        evalkit.sweep(task, "c/checkpoint-*", model_args={"peft": "other"})


def test_an_interrupted_sweep_stops_there_and_the_same_again_goes_on(work):
    task = series(work, {10: 0.3, 20: 0.4, 30: 0.5})

    class Stopping(Silent):
        def started(self, run, samples, requests, resumed):
            signal.raise_signal(signal.SIGINT)

    done = evalkit.sweep(
        task, "known/c/step-*", watching=lambda member: nullcontext(Stopping() if member.step == 20 else Silent())
    )
    assert done.status == "interrupted"
    assert [m.status for m in done.series.members] == ["complete", "interrupted", "waiting"]
    assert evaluated(work, task) == ["step-20", "step-30"]
    assert len(runs(work)) == 3, "the run that was begun was gone on with"


def test_of_local_models_one_at_a_time_is_in_memory(work):
    pytest.importorskip("transformers")
    import tiny_llama
    from transformers import LlamaForCausalLM

    for step in (1, 2, 3):
        tokenizer = tiny_llama.byte_tokenizer()
        tiny_llama.llama(tokenizer, seed=step).eval().save_pretrained(work / "m" / f"step-{step}")
        tokenizer.save_pretrained(work / "m" / f"step-{step}")
    broken = work / "m" / "step-2" / "config.json"
    broken.write_text(broken.read_text().replace('"hidden_size": 32', '"hidden_size": 48'))
    gc.collect()
    before = sum(type(thing) is LlamaForCausalLM for thing in gc.get_objects())
    alive = []

    @contextmanager
    def watching(member):
        alive.append(sum(type(thing) is LlamaForCausalLM for thing in gc.get_objects()) - before)
        yield Silent()

    done = evalkit.sweep(made.task(work, items=8), "m/step-*", watching=watching)
    assert [m.status for m in done.series.members] == ["complete", "failed", "complete"]
    assert alive == [0, 0, 0]
    assert done.series.members[0].parameters == count_parameters(work / "m" / "step-1")
