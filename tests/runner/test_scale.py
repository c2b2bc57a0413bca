"""Memory stays flat: what a run keeps of a sample is its place on the disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TASK = """
task: large
dataset_path: json
dataset_kwargs: {data_files: {test: data.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}\\nAnswer:"
doc_to_target: answer
metric_list: [{metric: exact_match}]
"""
SCRIPT = """
import pathlib, re, sys
import evalkit
run = evalkit.run(tasks="large.yaml", model="mock/echo")
assert run.status == "complete" and run.summary()[0].n == int(sys.argv[1])
# Not ru_maxrss: a child inherits its parent's peak there.
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1]) * 1024)
"""


def peak(folder: Path, samples: int) -> int:
    """Bytes of memory that a run of so many samples takes at most: planning, asking, scoring and all exports."""
    folder.mkdir()
    with (folder / "data.jsonl").open("w") as file:
        for i in range(samples):
            question = f"What is the meaning of item number {i} among all the others in this list?"
            file.write(json.dumps({"id": f"s{i}", "question": question, "answer": str(i % 3)}) + "\n")
    (folder / "large.yaml").write_text(TASK)
    environment = {**os.environ, "EVALKIT_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(samples)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


def test_memory_grows_by_less_than_a_gigabyte_a_million_samples(tmp_path: Path) -> None:
    few, many = 5_000, 30_000
    small, large = peak(tmp_path / "few", few), peak(tmp_path / "many", many)
    a_sample = max(0, large - small) / (many - few)
    assert small + a_sample * 1e6 < 1e9, f"{small / 1e6:.0f} MB and {a_sample:.0f} bytes a sample"


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_million_samples_stay_under_a_gigabyte(tmp_path: Path) -> None:
    assert peak(tmp_path / "million", 1_000_000) < 1e9
