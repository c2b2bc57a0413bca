"""Rows on disk, in one SQLite file for all networks: what was encoded in any run before is not encoded again.

A cache is a convenience. A file that is damaged or another program's is set aside with one warning, a row whose checksum is
wrong is made again, and where the disk refuses (full, read-only, locked) the run goes on without. Values are raw
little-endian numbers with their shape, never pickles. Several processes may use one file at once.
"""

from __future__ import annotations

import hashlib
import sqlite3
import struct
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from evalkit.encoder.base import Rows
from evalkit.encoder.progress import warn
from evalkit.resources import user_cache_dir

FILE = "rows.sqlite"
#: Bytes of rows that are kept; then the oldest go.
LIMIT = 2 << 30
#: ``application_id`` of the file ("evec"), and the layout it is written in.
_OURS, _LAYOUT = 0x65766563, 1
_LOCK_SECONDS = 30.0
_ASK = 500
_DIGEST = 8

_CREATE = (
    f"PRAGMA application_id = {_OURS}",
    f"PRAGMA user_version = {_LAYOUT}",
    # the value last: what comes behind it can only be read through all of its pages
    "CREATE TABLE rows (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, model TEXT NOT NULL, value BLOB NOT NULL)",
)


class _Unusable(Exception):
    """Why a file is no cache of ours."""


class Contents(NamedTuple):
    """What the cache holds: rows by model, bytes on disk."""

    path: Path
    models: dict[str, int]
    bytes: int


class Disk:
    """The rows in ``folder``, made when missing; at most about ``limit`` bytes of them. Safe to use from several threads."""

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self.path = folder.expanduser() / FILE
        self._limit = limit
        self._lock = threading.Lock()
        self._told = False
        self._connection: sqlite3.Connection | None = None
        self._open()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Rows]:
        """The rows there are of ``keys``; one that is damaged counts as missing."""
        found: dict[bytes, Rows] = {}
        with self._lock:
            try:
                for start in range(0, len(keys), _ASK):
                    found.update(self._read(keys[start : start + _ASK]))
            except sqlite3.Error as error:
                self._trouble(error)
        return found

    def put(self, rows: Mapping[bytes, Rows], model: str) -> None:
        """Keep ``rows`` in one transaction; the oldest go where there are too many bytes."""
        with self._lock:
            if self._connection is None or not rows:
                return
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.executemany(
                    "INSERT OR REPLACE INTO rows (key, value, model) VALUES (?, ?, ?)",
                    ((key, to_bytes(key, row), model) for key, row in rows.items()),
                )
                self._connection.execute("COMMIT")
                self._make_room(self._connection)
            except sqlite3.Error as error:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                self._trouble(error)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _open(self) -> None:
        for attempt in range(2):
            try:
                self._connection = _opened(self.path)
                return
            except (_Unusable, sqlite3.DatabaseError) as error:
                if isinstance(error, sqlite3.OperationalError) or attempt:  # locked, full, read-only: nothing is damaged
                    self._tell(f"the encoder cache {self.path} cannot be used ({error}); texts are encoded anew")
                    return
                self._set_aside(error)
            except OSError as error:
                self._tell(f"the encoder cache {self.path} cannot be used ({error}); texts are encoded anew")
                return

    def _read(self, keys: Sequence[bytes]) -> Iterable[tuple[bytes, Rows]]:
        if self._connection is None:
            return []
        marks = ",".join("?" * len(keys))
        found, damaged = [], 0
        for key, value in self._connection.execute(f"SELECT key, value FROM rows WHERE key IN ({marks})", list(keys)):
            row = from_bytes(key, value)
            if row is None:
                damaged += 1
            else:
                found.append((key, row))
        if damaged:
            self._tell(f"rows of the encoder cache {self.path} are damaged ({damaged}); these texts are encoded anew")
        return found

    def _make_room(self, connection: sqlite3.Connection) -> None:
        """Remove the oldest rows until a tenth is free again. Pages that get free are written over later."""
        used = _used(connection)
        if used <= self._limit:
            return
        connection.execute("BEGIN IMMEDIATE")
        (count,) = connection.execute("SELECT count(*) FROM rows").fetchone()
        too_many = max(1, round(count * (1 - 0.9 * self._limit / used)))
        connection.execute("DELETE FROM rows WHERE id IN (SELECT id FROM rows ORDER BY id LIMIT ?)", (too_many,))
        connection.execute("COMMIT")

    def _trouble(self, error: sqlite3.Error) -> None:
        """A damaged file is set aside and a new one begun; with any other trouble the process goes on without."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if isinstance(error, sqlite3.OperationalError):
            self._tell(f"the encoder cache {self.path} cannot be used any more ({error}); texts are encoded anew")
        else:
            self._set_aside(error)
            self._open()

    def _set_aside(self, reason: Exception) -> None:
        aside = self.path.with_name(f"{FILE}.aside-{time.time_ns()}")
        try:
            self.path.replace(aside)
        except OSError as error:
            self._tell(f"the encoder cache {self.path} cannot be used ({reason}; {error}); texts are encoded anew")
            return
        for file in _files(self.path):  # its journal would be played into the new file
            file.unlink(missing_ok=True)
        self._tell(f"the encoder cache {self.path} cannot be read ({reason}); it was set aside as {aside.name}")

    def _tell(self, text: str) -> None:
        if not self._told:
            self._told = True
            warn(text)


def to_bytes(key: bytes, row: Rows) -> bytes:
    """Checksum (over the key too), how the numbers are written, shape, numbers."""
    bits = np.ascontiguousarray(row, dtype="<f4").view("<u4").reshape(-1)
    short = not (bits & 0xFFFF).any()  # came from bfloat16: the lower half of every number is empty
    data = (bits >> 16).astype("<u2").tobytes() if short else bits.tobytes()
    body = struct.pack(f"<BB{row.ndim}I", 2 if short else 4, row.ndim, *row.shape) + data
    return hashlib.blake2b(key + body, digest_size=_DIGEST).digest() + body


def from_bytes(key: bytes, value: bytes) -> Rows | None:
    """The row, read-only; ``None`` where the value was not written by `to_bytes` for this key."""
    body = value[_DIGEST:]
    if len(body) < 2 or hashlib.blake2b(key + body, digest_size=_DIGEST).digest() != value[:_DIGEST]:
        return None
    width, ndim = body[0], body[1]
    shape = struct.unpack_from(f"<{ndim}I", body, 2)
    data = body[2 + 4 * ndim :]
    if width == 2:
        bits = np.frombuffer(data, dtype="<u2").astype(np.uint32) << np.uint32(16)
        row: Rows = bits.view(np.float32).reshape(shape)
    else:
        row = np.frombuffer(data, dtype="<f4").reshape(shape)
    row.flags.writeable = False
    return row


def default_folder() -> Path:
    """Where rows are kept: beside the cache of answers."""
    return user_cache_dir("encodings")


def contents(folder: Path | None = None) -> Contents:
    """What the cache in ``folder`` (the default one) holds; nothing where there is none.

    Raises ValueError, in one line, where the file there is none of ours or damaged.
    """
    path = (folder or default_folder()).expanduser() / FILE
    if not path.is_file():
        return Contents(path, {}, 0)
    try:
        with closing(_opened(path)) as connection:
            models = dict(connection.execute("SELECT model, count(*) FROM rows GROUP BY model ORDER BY 2 DESC").fetchall())
    except (OSError, sqlite3.Error, _Unusable) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    return Contents(path, models, sum(file.stat().st_size for file in _files(path)))


def clear(folder: Path | None = None) -> None:
    """Remove the cache in ``folder`` (the default one), and files that were set aside. Raises OSError."""
    path = (folder or default_folder()).expanduser() / FILE
    for file in (*_files(path), *path.parent.glob(f"{FILE}.aside-*")):
        file.unlink(missing_ok=True)


def _files(path: Path) -> list[Path]:
    return [file for end in ("", "-wal", "-shm") if (file := path.with_name(path.name + end)).is_file()]


def _used(connection: sqlite3.Connection) -> int:
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _opened(path: Path) -> sqlite3.Connection:
    """A connection to the cache at ``path``, which is made when missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("BEGIN IMMEDIATE")
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        for statement in _CREATE if not tables else ():
            connection.execute(statement)
        (identity,) = connection.execute("PRAGMA application_id").fetchone()
        (layout,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute("COMMIT")
        if identity != _OURS:
            raise _Unusable("it is another program's file")
        if layout != _LAYOUT:
            raise _Unusable(f"it was written by another evalkit (layout {layout}, this one uses {_LAYOUT})")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        path.chmod(0o600)  # texts are hard to tell from encodings, but not always impossible
    except BaseException:
        connection.close()
        raise
    return connection
