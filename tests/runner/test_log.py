"""The append-only log: nothing written is lost, nothing torn is read."""

from __future__ import annotations

import hashlib
import json
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import StoreError
from evalkit.runner.log import Log


def key(i: int) -> str:
    return hashlib.md5(str(i).encode()).hexdigest()


def fill(folder: Path, n: int, **options: int) -> None:
    log = Log(folder, write=True, **options)
    for i in range(n):
        log.append(key(i), json.dumps({"i": i, "text": "ü\u2028" * (i % 7)}))
    log.close()


def values(folder: Path) -> list[int]:
    log = Log(folder)
    found = [json.loads(log.read(entry.where))["i"] for entry in log.entries()]
    log.release()
    return found


def test_what_was_appended_is_read_back_in_order(tmp_path: Path) -> None:
    fill(tmp_path / "log", 100)
    assert values(tmp_path / "log") == list(range(100))


def test_sealed_segments_are_compressed_and_read_alike(tmp_path: Path) -> None:
    fill(tmp_path / "log", 500, segment_bytes=4096)
    assert len(list((tmp_path / "log").glob("*.jsonl.gz"))) > 3
    assert values(tmp_path / "log") == list(range(500))


def test_values_can_be_read_while_the_log_grows_across_segments(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", write=True, segment_bytes=2048)
    where = [log.append(key(i), json.dumps({"i": i})) for i in range(200)]
    assert [json.loads(log.read(w))["i"] for w in where] == list(range(200))
    log.release()


@pytest.mark.parametrize("cut", [1, 5, 30, 70])
def test_a_torn_tail_is_cut_off_and_writing_goes_on(tmp_path: Path, cut: int) -> None:
    fill(tmp_path / "log", 10)
    path = tmp_path / "log" / "000001.jsonl"
    os.truncate(path, path.stat().st_size - cut)
    log = Log(tmp_path / "log", write=True)
    log.append(key(99), json.dumps({"i": 99}))
    log.release()
    assert values(tmp_path / "log") == [*range(9), 99]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31))
def test_no_truncation_point_ever_yields_a_wrong_value(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    folder = tmp_path_factory.mktemp("log") / "log"
    fill(folder, 12)
    path = folder / "000001.jsonl"
    os.truncate(path, random.Random(seed).randrange(path.stat().st_size))
    found = values(folder)
    assert found == list(range(len(found)))


def test_a_damaged_line_in_the_middle_is_skipped_and_counted(tmp_path: Path) -> None:
    fill(tmp_path / "log", 5)
    path = tmp_path / "log" / "000001.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"i": 2', b'"i": 7')
    path.write_bytes(b"".join(lines))
    log = Log(tmp_path / "log")
    assert len(list(log.entries())) == 4
    assert log.damaged == 1
    log.release()


def test_a_kill_between_compression_and_removal_leaves_no_double(tmp_path: Path) -> None:
    fill(tmp_path / "log", 100, segment_bytes=4096)
    packed = sorted((tmp_path / "log").glob("*.gz"))[0]
    packed.with_suffix("").write_bytes(b"left over")
    log = Log(tmp_path / "log", write=True)
    log.release()
    assert values(tmp_path / "log") == list(range(100))


def test_a_missing_folder_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such folder"):
        Log(tmp_path / "nothing")
