"""Rows on disk: found again by the next process, bounded, safe with several writers, and never a wrong number."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from evalkit.encoder import disk
from evalkit.encoder.base import EncoderSpec, encoder, release, watched
from evalkit.encoder.disk import Disk, from_bytes, to_bytes
from evalkit.errors import ScorerError

KEY = bytes(range(16))


def key(i):
    return i.to_bytes(16, "little")


def row(i, width=8):
    return np.full((2, width), i, dtype=np.float32)


@given(
    arrays.arrays(
        np.float32, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0), elements=st.floats(width=32, allow_nan=False)
    )
)
def test_a_row_comes_back_to_the_last_bit(array):
    back = from_bytes(KEY, to_bytes(KEY, array))
    assert back.dtype == np.float32 and back.shape == array.shape and not back.flags.writeable
    assert back.tobytes() == array.tobytes()


def test_rows_from_bfloat16_take_half_the_room():
    exact, other = np.array([1.5, -0.25, 3e38 * 0], dtype=np.float32), np.array([0.1, 0.2, 0.3], dtype=np.float32)
    assert len(to_bytes(KEY, other)) - len(to_bytes(KEY, exact)) == 6


@pytest.mark.parametrize("at", [0, 7, 8, 9, 12, -1])
def test_a_changed_byte_is_noticed(at):
    value = bytearray(to_bytes(KEY, row(3)))
    value[at] ^= 1
    assert from_bytes(KEY, bytes(value)) is None
    assert from_bytes(KEY, to_bytes(KEY, row(3))[:-1]) is None
    assert from_bytes(KEY, b"") is None
    assert from_bytes(key(5), to_bytes(KEY, row(3))) is None  # another row's value


def test_rows_are_there_for_the_next_one(tmp_path):
    one = Disk(tmp_path)
    one.put({key(i): row(i) for i in range(1200)}, "tiny")
    one.close()
    found = Disk(tmp_path).get([key(i) for i in range(1300)])
    assert len(found) == 1200
    assert all((found[key(i)] == i).all() for i in range(1200))
    held = disk.contents(tmp_path)
    assert held.models == {"tiny": 1200} and held.bytes > 1200 * 64
    assert (tmp_path / disk.FILE).stat().st_mode & 0o077 == 0


def test_the_oldest_go_when_there_is_no_more_room(tmp_path):
    small = Disk(tmp_path, limit=1_000_000)
    for start in range(0, 1000, 50):
        small.put({key(i): row(i, 1000) for i in range(start, start + 50)}, "tiny")  # 8 kB each
    kept = sorted(int.from_bytes(k, "little") for k in small.get([key(i) for i in range(1000)]))
    assert kept == list(range(1000 - len(kept), 1000))
    assert 60 <= len(kept) <= 130
    small.close()
    assert disk.contents(tmp_path).bytes < 3_000_000


@pytest.mark.parametrize("content", [b"this is no database, but a text of some length" * 50, b""])
def test_a_file_that_is_no_database_is_set_aside_with_one_warning(tmp_path, content):
    (tmp_path / disk.FILE).write_bytes(content)
    if content:
        with pytest.warns(
            RuntimeWarning, match=r"cannot be read \(file is not a database\); it was set aside as rows.sqlite.aside"
        ):
            store = Disk(tmp_path)
        assert [p.read_bytes() for p in tmp_path.glob("*.aside-*")] == [content]
    else:
        store = Disk(tmp_path)  # an empty file is a new one
    store.put({KEY: row(1)}, "tiny")
    assert (Disk(tmp_path).get([KEY])[KEY] == 1).all()
    store.close()
    disk.clear(tmp_path)
    assert not list(tmp_path.iterdir())


def test_another_programs_file_and_another_layout_are_set_aside(tmp_path):
    for statement, reason in (("CREATE TABLE notes (a)", "another program"), ("PRAGMA user_version = 9", "another evalkit")):
        folder = tmp_path / reason.split()[1]
        folder.mkdir()
        if "evalkit" in reason:
            Disk(folder).close()
        with sqlite3.connect(folder / disk.FILE) as connection:
            connection.execute(statement)
        connection.close()
        with pytest.raises(ValueError, match=reason):
            disk.contents(folder)
        with pytest.warns(RuntimeWarning, match=reason):
            store = Disk(folder)
        assert len(list(folder.glob("*.aside-*"))) == 1
        store.put({KEY: row(1)}, "tiny")
        assert len(store.get([KEY])) == 1
        store.close()


def test_a_file_that_breaks_while_it_is_used_costs_nothing_but_time(tmp_path):
    store = Disk(tmp_path)
    store.put({key(i): row(i, 500) for i in range(200)}, "tiny")
    with sqlite3.connect(tmp_path / disk.FILE) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    with (tmp_path / disk.FILE).open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 600_000)
    told = []
    with watched(None, told.append):
        fresh = Disk(tmp_path)
        found = fresh.get([key(i) for i in range(200)])
        assert all((found[k] == row(int.from_bytes(k, "little"), 500)).all() for k in found)
        fresh.put({KEY: row(7)}, "tiny")
        fresh.put({key(9): row(7)}, "tiny")
        fresh.get([KEY])
    assert len(told) == 1


def test_a_damaged_row_is_made_again(tmp_path):
    store = Disk(tmp_path)
    store.put({key(1): row(1), key(2): row(2)}, "tiny")
    with sqlite3.connect(tmp_path / disk.FILE) as other:
        other.execute("UPDATE rows SET value = x'00112233445566778899' WHERE key = ?", (key(1),))
    other.close()
    with pytest.warns(RuntimeWarning, match=r"are damaged \(1\)"):
        assert list(store.get([key(1), key(2)])) == [key(2)]
    store.put({key(1): row(1)}, "tiny")
    assert (store.get([key(1)])[key(1)] == 1).all()


def test_a_folder_that_cannot_be_written_is_told_once_and_gone_without(tmp_path):
    (tmp_path / "file").write_text("")
    told = []
    with watched(None, told.append):
        store = Disk(tmp_path / "file" / "below")
        store.put({KEY: row(1)}, "tiny")
        assert store.get([KEY]) == {}
    assert len(told) == 1 and "cannot be used" in told[0]


_WRITER = """
import sys, numpy as np
from pathlib import Path
from evalkit.encoder.disk import Disk
store = Disk(Path(sys.argv[1]), limit=400_000)
for start in range(0, 400, 20):
    keys = [(int(sys.argv[2]) * 10**6 + i).to_bytes(16, "little") for i in range(start, start + 20)]
    store.put({k: np.full(500, int.from_bytes(k, "little") % 1000, dtype=np.float32) for k in keys}, "tiny")
    for k, value in store.get(keys).items():
        assert (value == int.from_bytes(k, "little") % 1000).all()
"""


def test_several_processes_write_one_file_at_once(tmp_path):
    command = [sys.executable, "-W", "error", "-c", _WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*command, str(i)], stderr=subprocess.PIPE) for i in range(3)]
    assert [(w.communicate()[1], w.returncode) for w in writers] == [(b"", 0)] * 3
    assert not list(tmp_path.glob("*.aside-*"))
    assert disk.contents(tmp_path).models["tiny"] > 50


TEXTS = ["the cat", "paris", ""]


def encode(folder, states, **more):
    """What a process that has just begun computes and gets."""
    release()
    enc = encoder(EncoderSpec(str(folder), device="cpu", **more))
    forward = states(enc)
    return enc.map(enc.tokenise(TEXTS), forward, key="last"), forward.rows


def test_what_one_process_encoded_the_next_one_reads(bert, states):
    first, computed = encode(bert, states)
    again, anew = encode(bert, states)
    assert (computed, anew) == (3, 0)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("value", ["off", "0", "OFF"])
def test_it_can_be_turned_off(bert, states, monkeypatch, tmp_path, value):
    monkeypatch.setenv("EVALKIT_ENCODER_CACHE", value)
    encode(bert, states)
    assert encode(bert, states)[1] == 3
    monkeypatch.delenv("EVALKIT_ENCODER_CACHE")
    encode(bert, states, cache=False)
    assert not (tmp_path / "cache" / "encodings").exists()


def test_its_size_can_be_named(bert, states, monkeypatch):
    monkeypatch.setenv("EVALKIT_ENCODER_CACHE", "1.5MB")
    assert encode(bert, states)[1] == 3
    assert encode(bert, states)[1] == 0
    monkeypatch.setenv("EVALKIT_ENCODER_CACHE", "plenty")
    with pytest.raises(ScorerError, match="'plenty': use off, or a size such as 500MB or 8GB"):
        encode(bert, states)


def test_rows_hang_on_dtype_and_weights(bert, states, tmp_path):
    import shutil

    encode(bert, states)
    assert encode(bert, states, dtype="bfloat16")[1] == 3
    copy = shutil.copytree(bert, tmp_path / "copy")
    assert encode(copy, states)[1] == 0  # the same network elsewhere
    import safetensors.torch as weights

    tensors = weights.load_file(copy / "model.safetensors")
    weights.save_file(
        {name: tensor * 1.01 for name, tensor in tensors.items()}, copy / "model.safetensors", {"format": "pt"}
    )
    assert encode(copy, states)[1] == 3


def test_what_was_encoded_before_an_error_is_kept(bert, states):
    release()
    enc = encoder(EncoderSpec(str(bert), device="cpu", batch_tokens=4))
    good = states(enc)

    def broken(batch):
        if good.batches:
            raise KeyboardInterrupt
        return good(batch)

    with pytest.raises(KeyboardInterrupt):
        enc.map(enc.tokenise(TEXTS), broken, key="last")
    assert encode(bert, states)[1] == 2


def test_no_warning_where_all_is_well(bert, states):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encode(bert, states)
