"""A local model's run that is killed again and again gives the numbers of one that is not."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import evalkit
from evalkit.runner.log import Log

pytest.importorskip("torch")
pytest.importorskip("transformers")

TASKS = {
    "pick": 'output_type: multiple_choice\ndoc_to_text: "{{question}}"\ndoc_to_choice: ["red", "green", "blue"]',
    "say": 'output_type: generate_until\ndoc_to_text: "Say {{question}}"\nmetric_list: [{metric: exact_match}]\n'
    'generation_kwargs: {max_gen_toks: 8, until: ["x"]}',
}
ROWS = 120


def checkpoint(folder: Path) -> Path:
    """A random two-layer model that reads bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(3)
    letters = ["</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    raw = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>", pad_token="</s>").save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(letters), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=128, initializer_range=0.5, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "evalkit", "run", "--model", f"hf/{folder / 'model'}", "--device", "cpu"]
    command += ["--tasks", "pick.yaml,say.yaml", *options]
    environment = {**os.environ, "EVALKIT_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(folder: Path, *options: str) -> evalkit.Run:
    process = start(folder, *options)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return evalkit.open_run("latest", output_dir=folder / "runs")


def answers(folder: Path) -> list[str]:
    """The keys of all answers in the journal, once for each time that one was given."""
    found: list[str] = []
    for journal in folder.glob("runs/2*/journal"):
        log = Log(journal)
        found += [entry.key for entry in log.entries() if entry.ok]
        log.release()
    return found


def folder_of(path: Path, model: Path) -> Path:
    path.mkdir()
    rows = [{"question": f"What is {i} and {i * i}?", "answer": i % 3} for i in range(ROWS)]
    (path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, body in TASKS.items():
        head = f"task: {name}\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: data.jsonl}}}}\ntest_split: test\n"
        (path / f"{name}.yaml").write_text(f"{head}{body}\ndoc_to_target: answer\n")
    (path / "model").symlink_to(model)
    return path


@pytest.mark.slow
def test_kills_repeat_no_answer_and_change_no_number(tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "checkpoint")
    calm = folder_of(tmp_path / "calm", model)
    expected = finish(calm)
    path = folder_of(tmp_path / "killed", model)
    chance = random.Random(11)
    total = len(answers(calm))
    got: list[int] = []
    while len(got) < 5:
        # Small batches, so that there are many moments; the numbers must not depend on them.
        process = start(path, "--batch-size", "1")
        target = len(answers(path)) + chance.randrange(1, total // 8)
        while process.poll() is None and len(answers(path)) < target:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        got.append(len(answers(path)))
    assert got == sorted(set(got)) and got[-1] < total, "each start got further, and none to the end"
    run = finish(path, "--batch-size", "1")
    assert len(list(path.glob("runs/2*"))) == 1
    given = answers(path)
    assert len(given) == len(set(given)), "an answered request was asked again"
    assert sorted(given) == sorted(answers(calm))
    for mine, theirs in zip(run.summary(), expected.summary(), strict=True):
        assert (mine.task, mine.metric, mine.n, mine.errors) == (theirs.task, theirs.metric, theirs.n, theirs.errors)
        assert mine.value == pytest.approx(theirs.value, abs=1e-5)
        assert mine.stderr == pytest.approx(theirs.stderr, abs=1e-5)
    for one, other in zip(run.records(), expected.records(), strict=True):
        assert one.record.answer == other.record.answer or one.task == "pick"
        for (mine_, _), (theirs_, _) in zip(one.record.results, other.record.results, strict=True):
            assert mine_ == pytest.approx(theirs_, abs=1e-4)
