"""Answers of all runs by request key, in one SQLite file: what is asked again anywhere is not paid for twice.

A cache is a convenience. Whatever is wrong with it (damaged, locked, read-only, full, another program's file) is told once,
and the run goes on without it. Values are JSON text. Several processes may use one file at once.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from evalkit.resources import user_cache_dir

FILE = "answers.sqlite"
#: ``application_id`` of the file ("eval"), and the layout it is written in.
_OURS, _LAYOUT = 0x6576616C, 1
_BATCH, _WAIT_SECONDS, _LOCK_SECONDS = 500, 0.5, 30.0
#: Answers that wait to be written; more are not kept, so that a slow disk never slows a run down.
_WAITING = 20_000

_CREATE = (
    f"PRAGMA application_id = {_OURS}",
    f"PRAGMA user_version = {_LAYOUT}",
    "CREATE TABLE answers (key BLOB PRIMARY KEY, value TEXT NOT NULL, model TEXT NOT NULL, at INTEGER NOT NULL)"
    " WITHOUT ROWID",
)

_Row = tuple[bytes, str, str, int]


class _Unusable(Exception):
    """Why a file is no cache of ours."""


class Contents(NamedTuple):
    """What a cache holds: entries by model, bytes on disk."""

    path: Path
    models: dict[str, int]
    bytes: int


class ResponseCache:
    """A cache in ``folder``, made when missing. Read on the thread that made it, written on one of its own.

    Args:
        folder: where ``answers.sqlite`` is.
        warn: told once, in one line, when the cache cannot be used (any more).
    """

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self.path = folder.expanduser() / FILE
        self._warn = warn
        self._told = False
        self._trouble: str | None = None
        self._reader: sqlite3.Connection | None = None
        self._queue: queue.SimpleQueue[_Row | None] = queue.SimpleQueue()
        self._dropped = 0
        self._writer: threading.Thread | None = None
        try:
            self._reader = _opened(self.path)
        except (OSError, sqlite3.Error, _Unusable) as error:
            self.give_up(str(error))
            return
        self._writer = threading.Thread(target=self._write, name="evalkit-cache", daemon=True)
        self._writer.start()

    def get(self, key: str) -> str | None:
        """The value of ``key`` (32 hex digits), or None."""
        if self._trouble is not None:
            self._tell()
        if self._reader is None:
            return None
        try:
            row = self._reader.execute("SELECT value FROM answers WHERE key = ?", (bytes.fromhex(key),)).fetchone()
        except sqlite3.Error as error:
            self.give_up(str(error))
            return None
        return None if row is None else str(row[0])

    def put(self, key: str, value: str, model: str) -> None:
        """Keep ``value``; soon on the disk. The first value of a key stays."""
        if self._writer is None or self._trouble is not None:
            return
        if self._queue.qsize() >= _WAITING:
            self._dropped += 1
            return
        self._queue.put((bytes.fromhex(key), value, model, int(time.time())))

    def give_up(self, reason: str) -> None:
        """Go on without the cache, and say why."""
        self._trouble = self._trouble or reason
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._tell()

    def close(self) -> None:
        """Write what waits and let go of the file."""
        if self._writer is not None:
            self._queue.put(None)
            self._writer.join()
            self._writer = None
        if self._trouble is not None:
            self._tell()
        elif self._dropped:
            self._warn(f"{self._dropped} answers were not kept in the cache {self.path}: its disk is too slow")
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            self._warn(f"the response cache {self.path} cannot be used ({self._trouble}); the run goes on without it")

    def _write(self) -> None:
        """The writing thread: rows in transactions of at most `_BATCH`, or of what came within `_WAIT_SECONDS`."""
        try:
            with closing(sqlite3.connect(self.path, timeout=_LOCK_SECONDS, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous = NORMAL")
                going_on = True
                while going_on:
                    rows, going_on = self._batch()
                    if rows:
                        connection.execute("BEGIN IMMEDIATE")
                        connection.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)", rows)
                        connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._trouble = f"cannot be written: {error}"  # told by the thread that reads

    def _batch(self) -> tuple[list[_Row], bool]:
        rows: list[_Row] = []
        until = None
        while len(rows) < _BATCH:
            try:
                row = self._queue.get(timeout=None if until is None else max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if row is None:
                return rows, False
            rows.append(row)
            until = until or time.monotonic() + _WAIT_SECONDS
        return rows, True


def default_folder() -> Path:
    """Where answers are kept unless the user names another folder."""
    return user_cache_dir("answers")


def contents(folder: Path) -> Contents:
    """What the cache in ``folder`` holds; nothing where there is none.

    Raises ValueError, in one line, where the file there is none of ours or damaged.
    """
    path = folder.expanduser() / FILE
    if not path.is_file():
        return Contents(path, {}, 0)
    try:
        with closing(_opened(path)) as connection:
            models = dict(
                connection.execute("SELECT model, count(*) FROM answers GROUP BY model ORDER BY 2 DESC").fetchall()
            )
    except (OSError, sqlite3.Error, _Unusable) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    return Contents(path, models, sum(file.stat().st_size for file in _files(path)))


def clear(folder: Path) -> None:
    """Remove the cache in ``folder``. Raises OSError."""
    for file in _files(folder.expanduser() / FILE):
        file.unlink(missing_ok=True)


def _files(path: Path) -> list[Path]:
    return [file for end in ("", "-wal", "-shm") if (file := path.with_name(path.name + end)).is_file()]


def _opened(path: Path) -> sqlite3.Connection:
    """A connection to the cache at ``path``, which is made when missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=_LOCK_SECONDS, isolation_level=None)
    try:
        identity, layout, tables = _identity(connection, "BEGIN")
        if not tables:
            path.chmod(0o600)  # answers may be private
            identity, layout, _ = _identity(connection, "BEGIN IMMEDIATE", _CREATE)
        if identity != _OURS:
            raise _Unusable("it is another program's file")
        if layout != _LAYOUT:
            raise _Unusable(f"it was written by another evalkit (layout {layout}, this one uses {_LAYOUT})")
        connection.execute("PRAGMA journal_mode = WAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _identity(connection: sqlite3.Connection, begin: str, create: Sequence[str] = ()) -> tuple[int, int, int]:
    """Whose file it is, its layout and how many tables it has, all at one moment; an empty one is first made ours."""
    connection.execute(begin)
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    for statement in create if not tables else ():
        connection.execute(statement)
    (identity,) = connection.execute("PRAGMA application_id").fetchone()
    (layout,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute("COMMIT")
    return identity, layout, tables
