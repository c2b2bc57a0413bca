"""Finding data files and reading their bytes; every failure is one `DataError` that names the file."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zlib
from collections.abc import Iterable
from pathlib import Path

from evalkit.errors import DataError, nearest

#: File suffixes (before any compression suffix) and the reader each one means.
KINDS = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".txt": "text",
}
_PACKED = {".gz", ".bz2", ".xz"}
_SHARD = re.compile(r"-\d+-of-\d+(-\w+)?$")
#: The names a split goes by in file names, best first (those that ``datasets`` knows).
_ALIASES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}


def read_bytes(path: Path) -> bytes:
    """Content of a file, unpacked when it is gzip, bzip2 or xz (told by its first bytes, whatever it is called)."""
    try:
        data = path.read_bytes()
        if data.startswith(b"\x1f\x8b"):
            return gzip.decompress(data)
        if data.startswith(b"BZh"):
            return bz2.decompress(data)
        if data.startswith(b"\xfd7zXZ\x00"):
            return lzma.decompress(data)
    except (OSError, EOFError, lzma.LZMAError, zlib.error, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    return data


def _plain_name(path: Path) -> str:
    """The file's name without its compression suffix."""
    return path.stem if path.suffix.lower() in _PACKED else path.name


def kind_of(path: Path) -> str | None:
    """The reader a file's suffix asks for, or ``None``."""
    return KINDS.get(Path(_plain_name(path)).suffix.lower())


def known_kind(path: Path) -> str:
    """`kind_of`, or DataError with the suffixes that are known."""
    kind = kind_of(path)
    if kind is None:
        raise DataError(f"{path}: unknown data format; expected one of {', '.join(KINDS)} (plain or .gz)")
    return kind


def find(pattern: str, bases: Iterable[Path]) -> list[Path]:
    """Files that ``pattern`` (a path, or a glob) names, relative to the first of ``bases`` that has any.

    Raises DataError with the nearest file names of the folder where it should have been.
    """
    tried: list[Path] = []
    for base in bases:
        path = base / Path(pattern).expanduser()
        if path.is_file():
            return [path]
        if any(mark in pattern for mark in "*?["):
            anchor = Path(path.anchor)
            found = sorted(p for p in anchor.glob(str(path.relative_to(anchor))) if p.is_file())
            if found:
                return found
        if path not in tried:
            tried.append(path)
    first = tried[0]
    around = [p.name for p in first.parent.iterdir()] if first.parent.is_dir() else []
    hint = nearest(first.name, around) or (f" ({first.parent} holds no such file)" if around else "")
    also = f", nor {', nor '.join(map(str, tried[1:]))}" if tried[1:] else ""
    raise DataError(f"no data file {first}{also}{hint}")


def data_files(folder: Path) -> dict[str, list[Path]]:
    """Data files of a folder, its ``data`` folder or its one-split folders, by split-like stem, shards together.

    ``train-00000-of-00002.parquet`` and its sibling come out as ``train``, ``hellaswag_val.jsonl.gz`` as
    ``hellaswag_val``, ``test/part1.jsonl`` as ``test``.
    """
    names = {name for group in _ALIASES.values() for name in group}
    found: dict[str, list[Path]] = {}
    for place in (folder, folder / "data"):
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            if path.is_dir() and path.name in names:
                found.setdefault(path.name, []).extend(p for p in sorted(path.iterdir()) if kind_of(p))
            elif path.is_file() and kind_of(path):
                found.setdefault(_SHARD.sub("", Path(_plain_name(path)).stem), []).append(path)
    return {stem: paths for stem, paths in found.items() if paths}


def split_of(files: dict[str, list[Path]], split: str) -> list[Path] | None:
    """The files of one split: its own name first, then its other names, then a name that holds it as a word."""
    aliases = _ALIASES.get(split, (split,))
    for alias in aliases:
        if alias in files:
            return files[alias]
    for alias in aliases:
        holding = [stem for stem in files if alias in re.split(r"[-_. ]", stem.lower())]
        if len(holding) == 1:
            return files[holding[0]]
        if holding:
            raise DataError(f"more than one file could be split {split!r}: {', '.join(sorted(holding))}; name one file")
    return None
