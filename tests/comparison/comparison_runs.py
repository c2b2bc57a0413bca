"""Small runs for the tests of comparisons: a task of sums, answered by a function that is wrong where it is told to be."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

import evalkit
from evalkit.comparison.base import RunScores
from evalkit.comparison.load import load_scores

N = 40


def rows(n: int = N) -> list[dict[str, Any]]:
    """Questions ``What is I plus I?`` with ids, a topic (two kinds, and none for every fifth) and a passage of four."""
    return [
        {
            "id": f"q{i:03d}",
            "question": f"What is {i} plus {i}?",
            "answer": str(2 * i),
            "topic": "" if i % 5 == 4 else ("small" if i < n // 2 else "large"),
            "passage": f"p{i // 4}",
        }
        for i in range(n)
    ]


def write_task(
    folder: Path, name: str = "sums", data: list[dict[str, Any]] | None = None, shots: int = 3, **keys: Any
) -> Path:
    """The task's YAML file, with its data beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    test, train = folder / f"{name}.jsonl", folder / f"{name}_train.jsonl"
    test.write_text("".join(json.dumps(row) + "\n" for row in (rows() if data is None else data)))
    train.write_text("".join(json.dumps({**row, "id": f"t{i}"}) + "\n" for i, row in enumerate(rows(shots))))
    config = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(test), "train": str(train)}},
        "test_split": "test",
        "training_split": "train",
        "output_type": "generate_until",
        "doc_to_text": "{{question}}\nAnswer:",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8},
        "scorers": ["exact_match"],
        "slices": ["topic"],
        "sample_id": "id",
        "metadata": {"version": "1.0"},
        **keys,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


class Adder:
    """A model that adds, except for the numbers in ``wrong``; it fails for those in ``broken``."""

    def __init__(self, wrong: Collection[int] = (), broken: Collection[int] = ()) -> None:
        self.wrong, self.broken = set(wrong), set(broken)
        self.__qualname__ = "adder"

    def __call__(self, prompt: str) -> str:
        number = int(prompt.rpartition("What is ")[2].split()[0])
        if number in self.broken:
            raise ValueError("no answer")
        return str(2 * number + (number in self.wrong))


def make_run(
    folder: Path,
    task: Path | list[Path],
    name: str,
    wrong: Collection[int] = (),
    broken: Collection[int] = (),
    **settings: Any,
) -> Path:
    """The directory of a run of the `Adder`."""
    tasks = [str(path) for path in (task if isinstance(task, list) else [task])]
    settings = {"max_error_rate": 1.0, **settings}
    return evalkit.run(tasks=tasks, model=Adder(wrong, broken), name=name, output_dir=folder, new=True, **settings).path


def make_scores(folder: Path, task: Path | list[Path], name: str, *args: Any, **settings: Any) -> RunScores:
    return load_scores(make_run(folder, task, name, *args, **settings))
