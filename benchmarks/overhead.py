"""What the harness itself costs, beside lm-eval's: the same task file, a model that answers at once.

    python benchmarks/overhead.py [--rows 5000] [--lm-eval PYTHON]

Runs whole commands in turn (evalkit, lm-eval, evalkit, ...), three times each, and prints medians and their ratio. Without
``--lm-eval`` the peer is installed into ``build/lm-eval`` first (PyPI, some hundred MB). Journal, report and CSVs are on for
evalkit, ``--log_samples`` for lm-eval. Needs a quiet machine; never a test.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TASK = """
task: overhead
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
"""


def peer(given: str | None) -> str:
    """The Python that has lm-eval."""
    if given:
        return given
    home = ROOT / "build" / "lm-eval"
    python = home / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        constraint = ["--constraint", str(ROOT / "constraints.txt")]
        subprocess.run([python, "-m", "pip", "install", "-q", *constraint, "lm-eval[hf]"], check=True)
    return str(python)


def task_folder(folder: Path, rows: int) -> None:
    """A multiple-choice task of ``rows`` four-choice questions of varied length."""
    draw = random.Random(1)
    words = [f"word{i}" for i in range(500)]
    with (folder / "rows.jsonl").open("w") as file:
        for _ in range(rows):
            question = " ".join(draw.choices(words, k=draw.randint(10, 60)))
            choices = [" ".join(draw.choices(words, k=draw.randint(1, 8))) for _ in range(4)]
            file.write(json.dumps({"question": question, "choices": choices, "answer": draw.randrange(4)}) + "\n")
    (folder / "overhead.yaml").write_text(TASK.format(data=folder / "rows.jsonl"))


def timed(command: list[str], folder: Path) -> float:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(folder / "hf")}
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--lm-eval", metavar="PYTHON")
    arguments = parser.parse_args()
    other = peer(arguments.lm_eval)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        task_folder(folder, arguments.rows)
        ours = [sys.executable, "-m", "evalkit", "run", "--model", "mock/uniform", "--tasks", "overhead.yaml", "--new"]
        theirs = [other, "-m", "lm_eval", "run", "--model", "dummy", "--tasks", "overhead.yaml", "--log_samples"]
        theirs += ["--output_path", "lm-eval"]
        times: dict[str, list[float]] = {"evalkit": [], "lm-eval": []}
        for _ in range(arguments.runs):
            times["evalkit"].append(timed(ours, folder))
            times["lm-eval"].append(timed(theirs, folder))
    for label, seconds in times.items():
        median = statistics.median(seconds)
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
        print(f"{label:8} {median:7.2f} s ({spread}), {1000 * median / arguments.rows:.2f} ms a sample, whole command")
    print(f"lm-eval / evalkit: {statistics.median(times['lm-eval']) / statistics.median(times['evalkit']):.1f}x")


if __name__ == "__main__":
    main()
