"""lm-eval itself and evalkit on one checkpoint: the imported run and our own are the same, sample by sample.

Runs where lm-eval is: the interpreter named by EVALKIT_LM_EVAL_PYTHON, or this one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import evalkit
from evalkit.comparison.compare import compare_scores
from evalkit.comparison.load import load_scores

TINY = runpy.run_path(str(Path(__file__).resolve().parents[1] / "tiny_llama.py"))
PYTHON = os.environ.get("EVALKIT_LM_EVAL_PYTHON") or (sys.executable if importlib.util.find_spec("lm_eval") else None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        PYTHON is None, reason="lm-eval is not installed (EVALKIT_LM_EVAL_PYTHON names an interpreter with it)"
    ),
]
CHOICE = {
    "task": "quiz",
    "output_type": "multiple_choice",
    "doc_to_text": "Q: {{question}}\nA:",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "answer",
    "metric_list": [
        {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
        {"metric": "acc_norm", "aggregation": "mean", "higher_is_better": True},
    ],
}
WORDS = {
    "task": "words",
    "output_type": "loglikelihood",
    "doc_to_text": "{{question}}",
    "doc_to_target": " {{choices[0]}}",
    "metric_list": [{"metric": "perplexity"}, {"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}
WRITTEN = {
    "task": "written",
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{choices[0]}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 5},
    "filter_list": [
        {"name": "first", "filter": [{"function": "take_first"}]},
        {"name": "word", "filter": [{"function": "regex", "regex_pattern": r"(\w+)"}, {"function": "take_first"}]},
    ],
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}, {"metric": "bleu"}],
}


def test_the_imported_run_is_our_own(tmp_path: Path) -> None:
    model = TINY["checkpoint"](tmp_path / "model")
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    rows = [
        {
            "question": f"What is {i} and {i * i}?",
            "choices": [f"it is {i}", "nobody knows", "x" * (1 + i % 5)],
            "answer": i % 3,
        }
        for i in range(12)
    ]
    (tasks / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for task in (CHOICE, WORDS, WRITTEN):
        data = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(tasks / "rows.jsonl")}}}
        full = {**task, **data, "test_split": "test", "metadata": {"version": 1.0}}
        (tasks / f"{task['task']}.yaml").write_text(json.dumps(full))
    names = "quiz,words,written"
    command = [str(PYTHON), "-m", "lm_eval", "run", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32"]
    options = [
        "--tasks",
        names,
        "--include_path",
        str(tasks),
        "--limit",
        "8",
        "--log_samples",
        "--output_path",
        str(tmp_path / "out"),
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, *options, "--device", "cpu"], check=True, env=environment, cwd=tmp_path, capture_output=True)
    (there,) = evalkit.import_runs(tmp_path / "out", output_dir=tmp_path / "runs", name="there")
    assert len(there.checks) == 8
    assert all(check.equal and check.native for check in there.checks)
    ours = evalkit.run(names, f"hf/{model}", task_dirs=[tasks], limit=8, output_dir=tmp_path / "runs", name="ours")
    compared = compare_scores(load_scores(there.run.path), load_scores(ours.path))
    assert len(compared) == 8
    for comparison in compared:
        assert (comparison.n, comparison.left_out.pairs) == (8, 0)
        assert comparison.system_value == pytest.approx(comparison.baseline_value, rel=1e-5)
        if comparison.metric.name != "perplexity":
            assert (comparison.gained, comparison.lost) == (0, 0)
