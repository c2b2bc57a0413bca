"""Kill a run at any moment: nothing answered is asked again, and the numbers are those of an undisturbed run."""

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

from evalkit.runner.journal import Journal
from evalkit.runner.log import Log

SCRIPT = """
import sys, time
import evalkit
from evalkit.models.base import Capabilities
from evalkit.types import Response

class Served:
    '''Answers slowly and notes every request it was given before it answers.'''
    name, fingerprint = "served", "served-1"
    capabilities = Capabilities(frozenset({"generate", "loglikelihood"}))

    def run(self, source, sink, stop):
        with open("served.log", "a", buffering=1) as log:
            while not stop.is_set() and (wave := source.take(3)):
                for q in wave:
                    log.write(q.key + "\\n")
                    time.sleep(float(sys.argv[1]))
                    n = int(q.key[:8], 16)
                    if q.kind == "generate":
                        sink(Response(q.key, text=str(n % 3), finish="stop", tokens=1))
                    else:
                        sink(Response(q.key, logprob=-(n % 1000) / 100, is_greedy=False, tokens=1))

    def describe(self):
        return {}

run = evalkit.run(tasks=["pick.yaml", "say.yaml"], model=Served())
print(run.path, run.status)
"""
PICK = """
task: pick
dataset_path: json
dataset_kwargs: {data_files: {test: data.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: ["red", "green", "blue"]
doc_to_target: answer
slices: [level]
cluster: story
"""
SAY = """
task: say
dataset_path: json
dataset_kwargs: {data_files: {test: data.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "Say {{question}}"
doc_to_target: "{{answer}}"
metric_list: [{metric: exact_match}]
"""


def folder(path: Path) -> Path:
    path.mkdir()
    rows = [
        {"question": f"q{i}", "answer": i % 3, "level": "ab"[i % 2], "story": f"s{i // 4}"} for i in range(40)
    ]  # fmt: skip
    (path / "data.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (path / "pick.yaml").write_text(PICK)
    (path / "say.yaml").write_text(SAY)
    (path / "go.py").write_text(SCRIPT)
    return path


def start(path: Path, delay: float) -> subprocess.Popen[str]:
    command = [sys.executable, "go.py", str(delay)]
    environment = {**os.environ, "EVALKIT_CACHE": str(path / "cache")}
    return subprocess.Popen(command, cwd=path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(path: Path, delay: float = 0.0) -> Path:
    process = start(path, delay)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    run, status = out.split()
    assert status == "complete"
    return Path(path / run)


def served(path: Path) -> list[str]:
    log = path / "served.log"
    return log.read_text().split() if log.exists() else []


def answered(path: Path) -> set[str]:
    """Keys with an answer in the journal, read as a stranger would."""
    found: set[str] = set()
    for journal in path.glob("runs/2*/journal"):
        log = Log(journal)
        found |= {entry.key for entry in log.entries() if entry.ok}
        log.release()
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finish(folder(tmp_path_factory.mktemp("calm") / "w"))


def test_ten_kills_repeat_nothing_and_change_nothing(tmp_path: Path, undisturbed: Path) -> None:
    path = folder(tmp_path / "w")
    chance = random.Random(7)
    for _ in range(10):
        known, before = answered(path), len(served(path))
        process = start(path, 0.01)
        # Kill after a few more requests were served, at no particular point of the work on one.
        target = before + chance.randrange(1, 12)
        deadline = time.monotonic() + 60
        while len(served(path)) < target and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        fresh = served(path)[before:]
        assert fresh, "each start got somewhere"
        assert not known & set(fresh), "an answered request was asked again"
        assert len(set(fresh) - answered(path)) <= 1, "more was lost than the one request in flight"
    run = finish(path)
    assert len(list(path.glob("runs/2*"))) == 1, "every start went on with the same run"
    assert (run / "summary.csv").read_bytes() == (undisturbed / "summary.csv").read_bytes()
    assert (run / "summary.json").read_bytes() == (undisturbed / "summary.json").read_bytes()
    assert (run / "samples.csv").read_bytes() == (undisturbed / "samples.csv").read_bytes()


def test_ctrl_c_keeps_what_was_answered_and_the_same_command_goes_on(tmp_path: Path, undisturbed: Path) -> None:
    path = folder(tmp_path / "w")
    process = start(path, 0.02)
    while len(served(path)) < 5:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert out.split()[-1] == "interrupted", err
    known = answered(path)
    assert known == set(served(path)), "what was in flight was finished"
    run = finish(path)
    assert len(served(path)) == len(set(served(path)))
    assert (run / "summary.json").read_bytes() == (undisturbed / "summary.json").read_bytes()


def test_two_processes_cannot_write_one_run(tmp_path: Path) -> None:
    path = folder(tmp_path / "w")
    first = start(path, 0.05)
    while len(served(path)) < 3:
        time.sleep(0.005)
    second = start(path, 0.05)
    _, err = second.communicate(timeout=60)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert second.returncode != 0
    assert f"in use by process {first.pid}" in err


def test_a_finished_run_is_not_resumed(tmp_path: Path) -> None:
    path = folder(tmp_path / "w")
    one = finish(path)
    two = finish(path)
    assert one != two
    journal = Journal(two / "journal")
    assert len(journal) == 40 * 4
    journal.release()
