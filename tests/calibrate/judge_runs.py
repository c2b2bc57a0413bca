"""Runs that a made-up judge scored, and people's ratings of the same answers: the truth is in the question."""

from __future__ import annotations

import csv
import json
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import evalkit
from evalkit.runner.run import Run

_TASK = """
task: summ
dataset_path: json
dataset_kwargs: {{data_files: {data}}}
test_split: train
sample_id: "{{{{id}}}}"
slices: [part]
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: ""
generation_kwargs: {{until: ["\\n\\n"]}}
"""


def quality(item: int, system: str = "model") -> int:
    """1 to 5: what an item's answer is worth; ``better`` is a level above where there is room."""
    own = random.Random(f"quality {item}").randint(1, 5)
    return min(5, own + 1) if system == "better" else own


def data(folder: Path, n: int) -> Path:
    rows = [{"id": f"item-{i}", "question": f"Q{i}", "source": "s", "part": "ab"[i % 2]} for i in range(n)]
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = folder / "summ.yaml"
    task.write_text(_TASK.format(data=path))
    return task


def answering(system: str) -> Callable[[str], str]:
    def model(prompt: str) -> str:
        item = int(prompt.removeprefix("Q"))
        return f"quality {quality(item, system)} of {item}" + " word" * random.Random(f"length {item}").randint(0, 9)

    return model


def judging(offset: float = 1.0, noise: float = 0.8, seed: str = "") -> Callable[[Any], str]:
    """A judge that sees the truth, scores too high, and now and then says nothing that can be read."""

    def judge(prompt: Any) -> str:
        found = re.search(r"quality (\d) of (\d+)", str(prompt))
        if found is None:
            return "VERDICT: 1"
        if found.group(2) == "13":
            return "I would rather not say."
        drawn = random.Random(f"judge {seed} {found.group(2)} {found.group(1)}").gauss(int(found.group(1)) + offset, noise)
        return f"Some thoughts.\nVERDICT: {min(5, max(1, round(drawn)))}"

    return judge


def judged_run(
    folder: Path, n: int = 120, system: str = "model", judge: Callable[[Any], str] | None = None, rubric: str = "coherence"
) -> Run:
    scorer = {"judge": f"summarisation/{rubric}", "score_mode": "argmax"}
    return evalkit.run(
        str(data(folder, n)), answering(system), scorers=[scorer], roles={"judge": judge or judging()}, name=system,
        output_dir=folder / "runs",
    )  # fmt: skip


def ratings(
    path: Path, items: Sequence[int], systems: Sequence[str] = ("model",), people: str = "ABC", criterion: str = "coherence"
) -> Path:
    """A tidy table in which every person rates every output, half a level off the truth."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("annotator", "item", "system", "criterion", "value"))
        for item in items:
            for system in systems:
                for person in people:
                    drawn = random.Random(f"{person} {item} {system}").gauss(quality(item, system), 0.5)
                    writer.writerow((person, f"item-{item}", system, criterion, min(5, max(1, round(drawn)))))
    return path


def drawn(n: int, of: int, seed: int = 0) -> list[int]:
    """``n`` items at random."""
    return sorted(random.Random(seed).sample(range(of), n))
