"""A checksummed, append-only log in segments: the ground that the journal and the sample store stand on.

One line an entry, fixed-width head so that a million lines are indexed without parsing JSON::

    {"k":"<32 hex>","s":"ok","c":"<crc32, 8 hex>","v":{...}}

The checksum is of key, status and value. A line goes to the operating system at once (a killed process loses nothing) and
to the disk in groups of at most 50 ms (a power cut loses no more than that). A torn tail is cut off when the log is opened
for writing. Segments are sealed at 64 MB and compressed in the background; readers inflate a sealed segment once into an
unnamed temporary file.
"""

from __future__ import annotations

import gzip
import logging
import os
import shutil
import tempfile
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from evalkit.errors import StoreError
from evalkit.runner.files import atomic, clear_leftovers, sync_folder, unwritable, writing

SEGMENT_BYTES = 64 << 20
COMMIT_SECONDS = 0.05
_HEAD = len('{"k":"') + 32 + len('","s":"ok","c":"') + 8 + len('","v":')
_KEY = slice(6, 38)
_STATUS = slice(45, 47)
_CRC = slice(54, 62)
_VALUE = slice(_HEAD, -2)
_OFFSET_BITS = 40


class Entry(NamedTuple):
    """One valid line: its key, whether it is a success, and where its value stands."""

    key: str
    ok: bool
    where: int


class Log:
    """An append-only log in a folder. ``where`` packs segment and offset into one int.

    Args:
        folder: made when missing and ``write`` is set.
        write: open for appending; the last segment's torn tail is repaired.
        segment_bytes: size at which a segment is sealed; `SEGMENT_BYTES` by default.
        may_lack: for reading, a folder that is not there is an empty log.

    Raises:
        StoreError: the folder is missing (reading) or cannot be written.
    """

    def __init__(
        self, folder: Path, *, write: bool = False, segment_bytes: int | None = None, may_lack: bool = False
    ) -> None:
        self.folder = folder
        self.damaged = 0
        self._may_lack = may_lack
        self._limit = segment_bytes or SEGMENT_BYTES
        self._files: dict[int, IO[bytes]] = {}
        self._out: int | None = None
        self._lock = threading.Lock()
        self._dirty = False
        self._broken: OSError | None = None
        self._closing = threading.Event()
        self._workers: list[threading.Thread] = []
        self._current = 1
        self._size = 0
        if write:
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
                self._open_for_writing(self._segments())
        else:
            self._segments()

    # --- reading ------------------------------------------------------------------------------------------------

    def entries(self) -> Iterator[Entry]:
        """Every valid line, oldest first. Damaged ones are skipped and counted in ``damaged``.

        An unfinished last line is no damage: a writer may be at it.
        """
        self.damaged = 0
        for number, offset, line in self._lines():
            if line is None:
                self.damaged += 1
            else:
                yield Entry(line[_KEY].decode(), line[_STATUS] == b"ok", number << _OFFSET_BITS | offset)

    def values(self, since: int = 0) -> Iterator[tuple[str, bytes]]:
        """Key and JSON value of every valid line from a `position` on, oldest first."""
        for _, _, line in self._lines(since):
            if line is not None:
                yield line[_KEY].decode(), line[_VALUE]

    def _lines(self, since: int = 0) -> Iterator[tuple[int, int, bytes | None]]:
        """Segment, offset and text of every line; ``None`` stands for a damaged one."""
        segments = self._segments()
        for number in segments:
            if number < since >> _OFFSET_BITS:
                continue
            file = self._reader(number)
            offset = since & ((1 << _OFFSET_BITS) - 1) if number == since >> _OFFSET_BITS else 0
            file.seek(offset)
            for line in file:
                if _valid(line):
                    yield number, offset, line
                elif line.endswith(b"\n") or number != segments[-1]:
                    yield number, offset, None
                offset += len(line)

    def read(self, where: int) -> bytes:
        """The JSON value of the line at ``where``."""
        file = self._reader(where >> _OFFSET_BITS)
        file.seek(where & ((1 << _OFFSET_BITS) - 1))
        return file.readline()[_VALUE]

    def _segments(self) -> list[int]:
        if not self.folder.is_dir():
            if self._may_lack:
                return []
            raise StoreError(f"{self.folder}: no such folder in the run; is it a run directory?")
        return sorted({int(p.name.split(".")[0]) for p in self.folder.glob("*.jsonl*") if not p.name.endswith(".tmp")})

    def _reader(self, number: int) -> IO[bytes]:
        if number not in self._files:
            plain = self._plain(number)
            try:
                self._files[number] = plain.open("rb")
            except FileNotFoundError:
                self._files[number] = _inflated(_packed(plain))
        return self._files[number]

    # --- writing ------------------------------------------------------------------------------------------------

    def append(self, key: str, value: str, *, ok: bool = True) -> int:
        """Write one line; ``key`` is 32 hex digits, ``value`` JSON on one line. Returns where it stands.

        Raises StoreError where it cannot be written, or where what was written before cannot be forced to the disk.
        """
        if self._out is None:
            raise StoreError(f"{self.folder} was opened for reading only")
        body = value.encode("utf-8", "surrogatepass")
        status = "ok" if ok else "er"
        crc = zlib.crc32(body, zlib.crc32(f"{key}{status}".encode()))
        line = b'{"k":"%b","s":"%b","c":"%08x","v":%b}\n' % (key.encode(), status.encode(), crc, body)
        try:
            with self._lock:
                if self._broken is not None:
                    raise self._broken
                where = self._current << _OFFSET_BITS | self._size
                self._write(line)
                self._dirty = True
                if self._size >= self._limit:
                    self._seal()
        except OSError as error:
            raise unwritable(self.folder, error) from error
        return where

    def position(self) -> int:
        """Where the next line will stand, or before it."""
        return self._current << _OFFSET_BITS | self._size

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
        """Force what was written to the disk. Raises StoreError where the disk refuses."""
        with writing(self.folder):
            self._sync()

    def close(self) -> None:
        """Commit and stop the background work. Reading goes on working."""
        self._closing.set()
        for worker in self._workers:
            worker.join()
        self._workers.clear()
        try:
            self.commit()
        finally:
            if self._out is not None:
                os.close(self._out)
                self._out = None

    def rest(self) -> None:
        """Close the files that reading opened; the next read opens them again."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def release(self) -> None:
        """Close, readers too."""
        self.close()
        self.rest()

    def _open_for_writing(self, segments: list[int]) -> None:
        clear_leftovers(self.folder)
        self._current = max(segments, default=1)
        for number in segments:
            plain = self._plain(number)
            if plain.exists() and _packed(plain).exists():
                plain.unlink()  # the kill came between rename and unlink
            elif plain.exists() and number != self._current:
                self._start(lambda path=plain: _compress(path))  # the kill came before
        if _packed(self._plain(self._current)).exists():
            self._current += 1
        path = self._plain(self._current)
        self._out = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        sync_folder(self.folder)
        self._size = _sound_length(path)
        os.ftruncate(self._out, self._size)
        self._start(self._commit_regularly)

    def _commit_regularly(self) -> None:
        while not self._closing.wait(COMMIT_SECONDS):
            try:
                self._sync()
            except OSError as error:
                self._broken = error  # told by the next append: nobody waits for this thread
                return

    def _sync(self) -> None:
        """Force to the disk what was written; appending goes on meanwhile."""
        with self._lock:
            if not self._dirty or self._out is None:
                return
            self._dirty = False
            out = os.dup(self._out)
        try:
            os.fsync(out)
        finally:
            os.close(out)

    def _seal(self) -> None:
        """Start the next segment and compress this one in the background. Called with the lock held."""
        assert self._out is not None
        os.fsync(self._out)
        fresh = os.open(self._plain(self._current + 1), os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_EXCL, 0o644)
        sync_folder(self.folder)
        os.close(self._out)
        path = self._plain(self._current)
        self._reader(self._current)  # keep the plain file readable after it is unlinked
        self._out, self._current, self._size = fresh, self._current + 1, 0
        self._start(lambda: _compress(path))

    def _plain(self, number: int) -> Path:
        return self.folder / f"{number:06d}.jsonl"

    def _start(self, work: object) -> None:
        assert callable(work)
        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        self._workers.append(worker)


def _valid(line: bytes) -> bool:
    if len(line) < _HEAD + 2 or line[-2:] != b"}\n" or line[:6] != b'{"k":"':
        return False
    try:
        return zlib.crc32(line[_VALUE], zlib.crc32(line[_KEY] + line[_STATUS])) == int(line[_CRC], 16)
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


def _packed(plain: Path) -> Path:
    return plain.with_suffix(".jsonl.gz")


def _compress(path: Path) -> None:
    """Put a compressed file in the place of a sealed segment. On a full disk the plain one stays and serves as well."""
    try:
        with (
            path.open("rb") as plain,
            atomic(_packed(path)) as raw,
            gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=1, mtime=0) as out,
        ):
            shutil.copyfileobj(plain, out, 1 << 20)
        path.unlink()
    except OSError as error:
        logging.getLogger(__name__).warning("%s stays uncompressed: %s", path, error)


def _inflated(packed: Path) -> IO[bytes]:
    """A sealed segment as a plain temporary file, so that reads by offset are cheap."""
    plain = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the log)
    try:
        with gzip.open(packed) as file:
            shutil.copyfileobj(file, plain, 1 << 16)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        # Lines carry checksums of their own: what came out whole is kept, the rest is damage like any other.
        plain.write(b"\n")
    except OSError as error:
        plain.close()
        raise StoreError(f"{packed} cannot be inflated into {tempfile.gettempdir()}: {error.strerror or error}") from error
    plain.flush()
    return plain
