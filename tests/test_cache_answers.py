"""The response cache: what is put in comes out anywhere, and whatever is wrong with it never stops anyone."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import textwrap

import pytest

from evalkit.cache import FILE, ResponseCache, clear, contents


def key(number: int) -> str:
    return f"{number:032x}"


@pytest.fixture
def told() -> list[str]:
    return []


def test_what_is_put_in_comes_out_of_another_one(tmp_path, told):
    first = ResponseCache(tmp_path, told.append)
    assert first.get(key(1)) is None
    first.put(key(1), '{"text":"ä\u2028"}', "mock/a")
    first.put(key(1), "the first one stays", "mock/a")
    first.close()
    second = ResponseCache(tmp_path, told.append)
    assert second.get(key(1)) == '{"text":"ä\u2028"}'
    assert second.get(key(2)) is None
    second.close()
    assert told == []
    assert contents(tmp_path).models == {"mock/a": 1}
    assert contents(tmp_path).bytes > 0
    clear(tmp_path)
    assert contents(tmp_path).models == {}


def test_answers_are_for_their_owner_alone(tmp_path, told):
    ResponseCache(tmp_path, told.append).close()
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from evalkit.cache import ResponseCache
    told = []
    cache = ResponseCache(Path(sys.argv[1]), told.append)
    for n in range(2000):
        cache.get(f"{n:032x}")
        cache.put(f"{n:032x}", "x" * 100, "mock/a")
        cache.put(f"{int(sys.argv[2]) * 10000 + n:032x}", "y", "mock/b")
    cache.close()
    sys.exit("; ".join(told) or 0)
""")


def test_several_processes_write_at_once(tmp_path):
    workers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(n)], stderr=subprocess.PIPE) for n in (1, 2, 3)
    ]
    for worker in workers:
        _, said = worker.communicate(timeout=60)
        assert worker.returncode == 0, said.decode()
    assert contents(tmp_path).models == {"mock/a": 2000, "mock/b": 6000}


def foreign(path):
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE notes (text)")


def from_another_layout(path):
    ResponseCache(path.parent, print).close()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 99")


def torn(path):
    cache = ResponseCache(path.parent, print)
    for n in range(3000):
        cache.put(key(n), "x" * 50, "mock/a")
    cache.close()
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"this is no database, and long enough to tell" * 20),
        foreign,
        from_another_layout,
        torn,
        lambda path: path.mkdir(),
    ],
)
def test_a_cache_that_cannot_be_used_is_told_once(tmp_path, told, spoil):
    spoil(tmp_path / FILE)
    cache = ResponseCache(tmp_path, told.append)
    for n in range(50):
        assert cache.get(key(n)) is None
        cache.put(key(n), "{}", "mock/a")
    cache.close()
    assert len(told) == 1
    assert "the run goes on without it" in told[0]
    assert "\n" not in told[0]


def test_a_folder_that_cannot_be_made_is_told_once(tmp_path, told):
    (tmp_path / "file").write_text("")
    cache = ResponseCache(tmp_path / "file" / "cache", told.append)
    cache.put(key(1), "{}", "mock/a")
    cache.close()
    assert len(told) == 1


def test_a_disk_that_is_full_is_told_once_and_what_is_there_still_serves(tmp_path, told, monkeypatch):
    import evalkit.cache as module

    cache = ResponseCache(tmp_path, told.append)
    cache.put(key(1), "{}", "mock/a")
    cache.close()
    connect = sqlite3.connect

    class Full(sqlite3.Connection):
        def executemany(self, *args):
            raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(module.sqlite3, "connect", lambda *args, **more: connect(*args, factory=Full, **more))
    cache = ResponseCache(tmp_path, told.append)
    assert cache.get(key(1)) == "{}"
    cache.put(key(2), "{}", "mock/a")
    cache._writer.join()
    assert cache.get(key(1)) == "{}"
    cache.put(key(3), "{}", "mock/a")
    cache.close()
    assert told == [f"the response cache {tmp_path / FILE} cannot be used (cannot be written: database or disk is full); "
                    "the run goes on without it"]  # fmt: skip


def test_a_locked_cache_is_waited_for_and_then_left(tmp_path, told, monkeypatch):
    import evalkit.cache as module

    monkeypatch.setattr(module, "_LOCK_SECONDS", 0.05)
    ResponseCache(tmp_path, told.append).close()
    with sqlite3.connect(tmp_path / FILE, isolation_level=None) as holder:
        holder.execute("BEGIN IMMEDIATE")
        cache = ResponseCache(tmp_path, told.append)
        cache.put(key(1), "{}", "mock/a")
        cache.close()
    assert len(told) == 1 and "locked" in told[0]
