"""A checksummed, append-only log in segments: the ground that the journal and the sample store stand on.

One line an entry, fixed-width head so that a million lines are indexed without parsing JSON::

    {"k":"<32 hex>","s":"ok","c":"<crc32, 8 hex>","v":{...}}

A line goes to the operating system at once (a killed process loses nothing) and to the disk in groups of at most 50 ms
(a power cut loses no more than that). A torn tail is cut off when the log is opened for writing. Segments are sealed at
64 MB and compressed in the background; readers inflate a sealed segment once into an unnamed temporary file.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from evalkit.errors import StoreError

SEGMENT_BYTES = 64 << 20
COMMIT_SECONDS = 0.05
_HEAD = len('{"k":"') + 32 + len('","s":"ok","c":"') + 8 + len('","v":')
_KEY = slice(6, 38)
_STATUS = slice(45, 47)
_CRC = slice(54, 62)
_OFFSET_BITS = 40


class Entry(NamedTuple):
    """One valid line: its key, whether it is a success, and where its value stands."""

    key: bytes
    ok: bool
    where: int


class Log:
    """An append-only log in a folder. ``where`` packs segment and offset into one int.

    Args:
        folder: made when missing and ``write`` is set.
        write: open for appending; the last segment's torn tail is repaired.
        segment_bytes: size at which a segment is sealed.

    Raises:
        StoreError: the folder is missing (reading) or cannot be written.
    """

    def __init__(self, folder: Path, *, write: bool = False, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = folder
        self.damaged = 0
        self._limit = segment_bytes
        self._files: dict[int, IO[bytes]] = {}
        self._out: int | None = None
        self._lock = threading.Lock()
        self._dirty = False
        self._closing = threading.Event()
        self._workers: list[threading.Thread] = []
        if write:
            folder.mkdir(parents=True, exist_ok=True)
        segments = self._segments()
        self._current = max(segments, default=1)
        self._size = 0
        if write:
            self._open_for_writing(segments)

    # --- reading ------------------------------------------------------------------------------------------------

    def entries(self) -> Iterator[Entry]:
        """Every valid line, oldest first. Damaged lines in the middle are skipped and counted in ``damaged``."""
        self.damaged = 0
        for number in self._segments():
            file = self._reader(number)
            file.seek(0)
            offset = 0
            for line in file:
                if _valid(line):
                    yield Entry(bytes.fromhex(line[_KEY].decode()), line[_STATUS] == b"ok", number << _OFFSET_BITS | offset)
                else:
                    self.damaged += 1
                offset += len(line)

    def read(self, where: int) -> bytes:
        """The JSON value of the line at ``where``."""
        file = self._reader(where >> _OFFSET_BITS)
        file.seek(where & ((1 << _OFFSET_BITS) - 1))
        return file.readline()[_HEAD:-2]

    def _segments(self) -> list[int]:
        if not self.folder.is_dir():
            raise StoreError(f"{self.folder}: no such folder in the run; is it a run directory?")
        return sorted({int(p.name.split(".")[0]) for p in self.folder.glob("*.jsonl*") if not p.name.endswith(".tmp")})

    def _reader(self, number: int) -> IO[bytes]:
        if number not in self._files:
            plain = self.folder / f"{number:06d}.jsonl"
            try:
                self._files[number] = plain.open("rb")
            except FileNotFoundError:
                # Sealed: inflate once, so that reads by offset stay cheap.
                inflated = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the log)
                with gzip.open(plain.with_suffix(".jsonl.gz")) as packed:
                    shutil.copyfileobj(packed, inflated, 1 << 20)
                inflated.flush()
                self._files[number] = inflated
        return self._files[number]

    # --- writing ------------------------------------------------------------------------------------------------

    def append(self, key: str, value: str, *, ok: bool = True) -> int:
        """Write one line; ``key`` is 32 hex digits, ``value`` JSON on one line. Returns where it stands."""
        if self._out is None:
            raise StoreError(f"{self.folder} was opened for reading only")
        body = value.encode("utf-8", "surrogatepass")
        crc = zlib.crc32(body, zlib.crc32(key.encode()))
        line = f'{{"k":"{key}","s":"{"ok" if ok else "er"}","c":"{crc:08x}","v":'.encode() + body + b"}\n"
        with self._lock:
            where = self._current << _OFFSET_BITS | self._size
            self._write(line)
            self._dirty = True
            if self._size >= self._limit:
                self._seal()
        return where

    def _write(self, line: bytes) -> None:
        assert self._out is not None
        try:
            done = os.write(self._out, line)
            while done < len(line):
                done += os.write(self._out, line[done:])
        except OSError:
            # A half-written line (full disk) must not spoil the next one.
            os.ftruncate(self._out, self._size)
            raise
        self._size += len(line)

    def commit(self) -> None:
        """Force what was written to the disk."""
        with self._lock:
            if self._dirty and self._out is not None:
                os.fsync(self._out)
                self._dirty = False

    def close(self) -> None:
        """Commit and stop the background work. Reading goes on working."""
        self._closing.set()
        for worker in self._workers:
            worker.join()
        self._workers.clear()
        self.commit()
        if self._out is not None:
            os.close(self._out)
            self._out = None

    def release(self) -> None:
        """Close, readers too."""
        self.close()
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _open_for_writing(self, segments: list[int]) -> None:
        for number in segments:
            packed = self.folder / f"{number:06d}.jsonl.gz"
            if packed.exists() and packed.with_suffix("").exists():
                packed.with_suffix("").unlink()  # the kill came between rename and unlink
        path = self.folder / f"{self._current:06d}.jsonl"
        if path.with_suffix(".jsonl.gz").exists():
            self._current += 1
            path = self.folder / f"{self._current:06d}.jsonl"
        self._out = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._size = _sound_length(path)
        os.ftruncate(self._out, self._size)
        self._start(self._commit_regularly)

    def _commit_regularly(self) -> None:
        while not self._closing.wait(COMMIT_SECONDS):
            self.commit()

    def _seal(self) -> None:
        """Start the next segment and compress this one in the background. Called with the lock held."""
        assert self._out is not None
        os.fsync(self._out)
        os.close(self._out)
        path = self.folder / f"{self._current:06d}.jsonl"
        self._reader(self._current)  # keep the plain file readable after it is unlinked
        self._current += 1
        self._size = 0
        self._out = os.open(
            self.folder / f"{self._current:06d}.jsonl", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_EXCL, 0o644
        )
        self._start(lambda: _compress(path))

    def _start(self, work: object) -> None:
        assert callable(work)
        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        self._workers.append(worker)


def _valid(line: bytes) -> bool:
    if len(line) < _HEAD + 2 or line[-2:] != b"}\n" or line[:6] != b'{"k":"':
        return False
    try:
        return zlib.crc32(line[_HEAD:-2], zlib.crc32(line[_KEY])) == int(line[_CRC], 16)
    except ValueError:
        return False


def _sound_length(path: Path) -> int:
    """Length of the file without a torn tail: everything after the last valid line goes."""
    offset = sound = 0
    with path.open("rb") as file:
        for line in file:
            offset += len(line)
            if _valid(line):
                sound = offset
    return sound


def _compress(path: Path) -> None:
    packed = path.with_suffix(".jsonl.gz")
    temporary = packed.with_suffix(".gz.tmp")
    with (
        path.open("rb") as plain,
        temporary.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1) as out,
    ):
        shutil.copyfileobj(plain, out, 1 << 20)
    with temporary.open("rb") as done:
        os.fsync(done.fileno())
    temporary.replace(packed)
    path.unlink()
