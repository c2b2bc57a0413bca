"""The two kinds of file that inspect writes, a sample at a time: ``.eval``, a zip of JSON files, and ``.json``."""

from __future__ import annotations

import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.errors import DataError

#: The number by which a zip names Zstandard; Python's own module learnt it in 3.14.
ZSTANDARD = 93
_SAMPLE = re.compile(r"samples/(.+)_epoch_(\d+)\.json")
_LOCAL_HEADER = struct.Struct("<26xHH")
_SPACE = re.compile(r"[ \t\r\n]*")

_decode = json.JSONDecoder().raw_decode

Document = Mapping[str, Any]
Read = Callable[[], dict[str, Any]]
#: Where a part of a file begins and ends, in bytes.
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Archive:
    """A log: what stands at its head, and its samples by id (as text), each with its epochs."""

    path: Path
    header: Document
    samples: Mapping[str, Mapping[int, Read]]
    reductions: Callable[[], list[dict[str, Any]]]

    def epochs(self) -> Iterator[tuple[str, dict[int, dict[str, Any]]]]:
        """Each sample with what came of its epochs, in the order of the log's data set."""
        listed = self.header["eval"].get("dataset", {}).get("sample_ids") or ()
        order = {str(name): position for position, name in enumerate(listed)}
        for name in sorted(self.samples, key=lambda name: order.get(name, len(order))):
            yield name, {epoch: read() for epoch, read in sorted(self.samples[name].items())}


def open_archive(path: Path) -> Archive:
    """The log at ``path``; raises DataError where it is damaged, or no log at all."""
    if zipfile.is_zipfile(path):
        return _zipped(path)
    if path.suffix == ".eval":
        raise DataError(f"{path} is no zip file, as .eval logs are: it is cut off or damaged")
    return _plain(path)


def _zipped(path: Path) -> Archive:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {info.filename: info for info in archive.infolist()}  # of a name that comes twice the last one counts
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path} is damaged: {error}") from error
    if "header.json" not in entries:
        unfinished = "_journal/start.json" in entries
        why = "it was never finished (inspect log recover mends it)" if unfinished else "it has no header.json"
        raise DataError(f"{path} is no whole inspect log: {why}")

    def read(name: str) -> Any:
        try:
            return json.loads(_content(path, entries[name]))
        except (ValueError, OSError, zlib.error, zipfile.BadZipFile, EOFError) as error:
            raise DataError(f"{path} is damaged: {name}: {error}") from error

    def reader(name: str) -> Read:
        return lambda: _mapping(path, name, read(name))

    samples: dict[str, dict[int, Read]] = {}
    for name in entries:
        if found := _SAMPLE.fullmatch(name):
            samples.setdefault(found[1], {})[int(found[2])] = reader(name)
    header = _mapping(path, "header.json", read("header.json"))
    return Archive(path, header, samples, lambda: read("reductions.json") if "reductions.json" in entries else [])


def _content(path: Path, info: zipfile.ZipInfo) -> bytes:
    if info.compress_type != ZSTANDARD:
        with zipfile.ZipFile(path) as archive:
            return archive.read(info)
    with path.open("rb") as file:
        file.seek(info.header_offset)
        name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        file.seek(name + extra, 1)
        packed = file.read(info.compress_size)
    content = _inflated(path, packed, info.file_size)
    if zlib.crc32(content) != info.CRC:
        raise zipfile.BadZipFile("its checksum is wrong")
    return content


def _inflated(path: Path, packed: bytes, size: int) -> bytes:
    """Zstandard, by whichever package there is."""
    try:
        import zstandard
    except ImportError:
        pass
    else:
        try:
            return bytes(zstandard.ZstdDecompressor().decompressobj().decompress(packed))
        except zstandard.ZstdError as error:
            raise zipfile.BadZipFile(str(error)) from error
    try:
        import pyarrow
    except ImportError:
        raise DataError(f"{path} is packed with Zstandard: pip install zstandard (or evalkit[data]) to read it") from None
    try:
        return bytes(pyarrow.decompress(packed, decompressed_size=size, codec="zstd"))
    except (OSError, pyarrow.ArrowException) as error:
        raise zipfile.BadZipFile(str(error)) from error


def _plain(path: Path) -> Archive:
    """A ``.json`` log: read once to find its samples, which are then read again one by one."""
    try:
        header, places, reductions = _scanned(path.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"{path} is no whole inspect log: it is cut off or damaged ({error})") from error
    if not isinstance(header.get("eval"), dict):
        raise DataError(f"{path} is no inspect log: it has no eval")
    samples = {name: {epoch: _reader(path, span) for epoch, span in epochs.items()} for name, epochs in places.items()}
    return Archive(path, header, samples, lambda: [] if reductions is None else _part(path, reductions))


def _scanned(text: str) -> tuple[dict[str, Any], dict[str, dict[int, Span]], Span | None]:
    """What stands at the top of a log, and where its samples and its reductions do. Raises ValueError, IndexError."""
    header: dict[str, Any] = {}
    samples: dict[str, dict[int, Span]] = {}
    reductions = None
    spans = _Spans(text)
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        raise ValueError("it is no JSON object")
    at = _skip(text, at + 1)
    while text[at] != "}":
        key, at = _decode(text, at)
        at = _skip(text, _skip(text, at) + 1)
        if key == "samples" and text[at] == "[":
            at = _skip(text, at + 1)
            while text[at] != "]":
                sample, end = _decode(text, at)
                samples.setdefault(str(sample["id"]), {})[int(sample["epoch"])] = spans.of(at, end)
                at = _next(text, end)
            at += 1
        else:
            value, end = _decode(text, at)
            if key == "reductions":
                reductions = spans.of(at, end)
            else:
                header[key] = value
            at = end
        at = _next(text, at)
    return header, samples, reductions


class _Spans:
    """Places in a text as places in its UTF-8, asked for from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._characters = self._bytes = 0

    def of(self, start: int, end: int) -> Span:
        return self._to(start), self._to(end)

    def _to(self, at: int) -> int:
        self._bytes += len(self._text[self._characters : at].encode("utf-8"))
        self._characters = at
        return self._bytes


def _reader(path: Path, span: Span) -> Read:
    return lambda: dict(_part(path, span))


def _part(path: Path, span: Span) -> Any:
    with path.open("rb") as file:
        file.seek(span[0])
        return json.loads(file.read(span[1] - span[0]))


def _next(text: str, at: int) -> int:
    """Past the comma, where there is one, to what follows."""
    at = _skip(text, at)
    return _skip(text, at + 1) if text[at] == "," else at


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _mapping(path: Path, name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{path} is damaged: {name} holds no mapping")
    return value
