"""What a run survives: full disks, power cuts, bad sectors, kills at awkward moments, being moved, being watched."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import evalkit
from evalkit.errors import StoreError
from evalkit.models.base import Capabilities, Sink, Source
from evalkit.report.export import export_all
from evalkit.runner.log import Log
from evalkit.types import Response

ROWS = 60
TASK = """
task: pick
dataset_path: json
dataset_kwargs: {data_files: {test: data.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: ["red", "green"]
doc_to_target: answer
"""


class Counting:
    """Answers at once, from the request's key alone, and remembers what it was asked."""

    name, fingerprint = "counting", "counting-1"
    capabilities = Capabilities(frozenset({"loglikelihood"}))

    def __init__(self) -> None:
        self.asked: list[str] = []

    def run(self, source: Source, sink: Sink, stop: threading.Event) -> None:
        while not stop.is_set() and (wave := source.take(8)):
            for q in wave:
                self.asked.append(q.key)
                sink(Response(q.key, logprob=-(int(q.key[:8], 16) % 1000) / 100, is_greedy=False, tokens=1))

    def describe(self) -> dict[str, str]:
        return {}


def task_file(folder: Path, rows: int = ROWS) -> Path:
    folder.mkdir(exist_ok=True)
    data = ({"question": f"Which colour has thing number {i}?", "answer": i % 2} for i in range(rows))
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in data))
    (folder / "pick.yaml").write_text(TASK)
    return folder / "pick.yaml"


def go(task: Path, runs: Path) -> tuple[evalkit.Run, list[str]]:
    """The same command as before: what it asked this time, and the run."""
    model = Counting()
    return evalkit.run(tasks=str(task), model=model, output_dir=runs), model.asked


def numbers(run: evalkit.Run) -> tuple[bytes, bytes]:
    assert run.status == "complete"
    return (run.path / "summary.json").read_bytes(), (run.path / "samples.csv").read_bytes()


def stopped(done: evalkit.Run, runs: Path) -> Path:
    """The finished run as it stood when all was answered and nothing yet scored."""
    path = runs / done.path.name
    shutil.copytree(done.path, path)
    for derived in [*path.glob("*.csv"), *path.glob("*.html"), *path.glob("samples.jsonl.gz"), *path.glob("*s.json")]:
        derived.unlink()
    (path / "summary.json").unlink(missing_ok=True)
    shutil.rmtree(path / "scores")
    (path / "scores").mkdir()
    manifest = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps({**manifest, "status": "running", "counts": {}}))
    return path


def answered(path: Path) -> list[str]:
    log = Log(path / "journal")
    found = [entry.key for entry in log.entries() if entry.ok]
    log.release()
    return found


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return task_file(tmp_path_factory.mktemp("task") / "t")


@pytest.fixture(scope="module")
def calm(task: Path, tmp_path_factory: pytest.TempPathFactory) -> evalkit.Run:
    run, asked = go(task, tmp_path_factory.mktemp("calm"))
    assert len(asked) == len(set(asked)) == 2 * ROWS
    return run


@pytest.mark.parametrize("seed", range(8))
def test_a_power_cut_loses_a_tail_and_nothing_else(task: Path, calm: evalkit.Run, tmp_path: Path, seed: int) -> None:
    path = stopped(calm, tmp_path)
    chance = random.Random(seed)
    for log in (path / "journal" / "000001.jsonl", path / "samples" / "pick" / "000001.jsonl"):
        os.truncate(log, chance.randrange(log.stat().st_size))
    known = answered(path)
    run, asked = go(task, tmp_path)
    assert run.path == path
    assert sorted(known + asked) == sorted(answered(calm.path)), "what was lost is asked again, and only that"
    assert numbers(run) == numbers(calm)


@pytest.mark.parametrize("seed", range(8))
def test_a_flipped_byte_costs_one_request(task: Path, calm: evalkit.Run, tmp_path: Path, seed: int) -> None:
    path = stopped(calm, tmp_path)
    flip(path / "journal" / "000001.jsonl", random.Random(seed))
    run, asked = go(task, tmp_path)
    assert run.path == path
    assert len(asked) <= 2, "one line, or two where the byte was their line end"
    assert numbers(run) == numbers(calm)


def test_spoilt_samples_are_planned_again(task: Path, calm: evalkit.Run, tmp_path: Path) -> None:
    path = stopped(calm, tmp_path)
    flip(path / "samples" / "pick" / "000001.jsonl", random.Random(3))
    run, asked = go(task, tmp_path)
    assert run.path == path
    assert not asked
    assert numbers(run) == numbers(calm)


def flip(path: Path, chance: random.Random) -> None:
    """Change one bit of a value or its head (the bits of a checksum's letters alone can be spelt in two ways)."""
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.choice([0, 1, 2, 3, 4])
    path.write_bytes(bytes(data))


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.runner.log.SEGMENT_BYTES", 2000)


@pytest.mark.usefixtures("small_segments")
def test_a_run_of_many_segments_gives_the_same_numbers(task: Path, calm: evalkit.Run, tmp_path: Path) -> None:
    run, _ = go(task, tmp_path)
    assert len(list((run.path / "journal").glob("*.gz"))) > 3
    assert len(list((run.path / "samples" / "pick").glob("*.gz"))) > 3
    assert numbers(run) == numbers(calm)
    assert [view.record.results for view in evalkit.open_run(run.path).records()] == [
        view.record.results for view in calm.records()
    ]


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("moment", ["before", "half-way", "both", "damaged"])
def test_a_kill_between_the_steps_of_compression(task: Path, calm: evalkit.Run, tmp_path: Path, moment: str) -> None:
    import gzip

    run, _ = go(task, tmp_path / "first")
    path = stopped(run, tmp_path)
    packed = path / "journal" / "000002.jsonl.gz"
    plain = gzip.decompress(packed.read_bytes())
    lines = plain.count(b"\n")
    if moment == "before":
        packed.with_suffix("").write_bytes(plain)
        packed.unlink()
    elif moment == "half-way":
        packed.with_suffix("").write_bytes(plain)
        packed.rename(packed.with_name(".000002.jsonl.gz.999999999.tmp"))
        os.truncate(packed.with_name(".000002.jsonl.gz.999999999.tmp"), 40)
    elif moment == "both":
        packed.with_suffix("").write_bytes(plain)
    else:
        os.truncate(packed, packed.stat().st_size // 2)
    again, asked = go(task, tmp_path)
    assert again.path == path
    assert 0 < len(asked) <= lines if moment == "damaged" else not asked
    assert numbers(again) == numbers(calm)
    if moment != "damaged":
        assert not list((path / "journal").glob(".*"))
        assert not packed.with_suffix("").exists() and gzip.decompress(packed.read_bytes()) == plain


def test_a_run_can_be_moved_and_scored_without_its_data(
    task: Path, calm: evalkit.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(calm.path, tmp_path / "elsewhere")
    shutil.copytree(task.parent, tmp_path / "kept")
    shutil.rmtree(task.parent)
    try:
        monkeypatch.chdir(tmp_path)
        moved = evalkit.open_run("elsewhere")
        assert moved.summary() == calm.summary()
        rescored = evalkit.rescore("elsewhere", ["acc_bytes"])
        assert rescored.value("pick", "acc") == calm.value("pick", "acc")
        assert rescored.value("pick", "acc_bytes") is not None
    finally:
        shutil.copytree(tmp_path / "kept", task.parent)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_stops_with_one_line_and_loses_nothing(tmp_path: Path, small_disk: Path) -> None:
    task = task_file(tmp_path / "large", rows=1500)
    calm, _ = go(task, tmp_path / "calm")
    model = Counting()
    with pytest.raises(StoreError, match="No space left on device"):
        evalkit.run(tasks=str(task), model=model, output_dir=small_disk)
    (path,) = small_disk.glob("2*")
    known = answered(path)
    assert len(set(model.asked) - set(known)) <= 8, "only what was in flight"
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    run, asked = go(task, small_disk)
    assert run.path == path.resolve()
    assert not set(known) & set(asked)
    assert numbers(run) == numbers(calm)


WATCHED = """
import sys, threading, time
import evalkit
sys.path.insert(0, sys.argv[3])
from test_run_survives import Counting

class Slow(Counting):
    def run(self, source, sink, stop):
        def slowly(response):
            time.sleep(0.02)
            sink(response)
        super().run(source, slowly, stop)

evalkit.run(tasks=sys.argv[1], model=Slow(), output_dir=sys.argv[2])
"""


def test_a_run_can_be_read_while_it_is_written(task: Path, calm: evalkit.Run, tmp_path: Path) -> None:
    script = tmp_path / "go.py"
    script.write_text(WATCHED)
    command = [sys.executable, str(script), str(task), str(tmp_path / "runs"), str(Path(__file__).parent)]
    with subprocess.Popen(command) as process:
        seen: list[int] = []
        while process.poll() is None:
            for path in (tmp_path / "runs").glob("2*/run.json"):
                run = evalkit.open_run(path.parent)
                seen.append(sum(view.status == "ok" for view in run.records()))
                export_all(run)
        assert process.returncode == 0
    assert seen == sorted(seen) and seen[0] < ROWS
    assert numbers(evalkit.open_run("latest", output_dir=tmp_path / "runs")) == numbers(calm)
