"""What was measured, one JSON line a run, kept so that an interrupted benchmark goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]

#: What makes two runs the same measurement.
KEY = ("cell", "dtype", "kind", "samples", "threads", "code", "batch")


class Book:
    """The lines of a file. A torn last line (a kill) is left out and cut off."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if fresh:
            path.unlink(missing_ok=True)
        self.rows = list(self._read())
        if path.is_file():
            path.write_text("".join(json.dumps(row) + "\n" for row in self.rows), encoding="utf-8")

    def _read(self) -> Iterator[Row]:
        if not self._path.is_file():
            return
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                return

    def add(self, row: Row) -> None:
        self.rows.append(row)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def found(self, **wanted: Any) -> list[Row]:
        """The rows that have all of ``wanted``."""
        return [row for row in self.rows if all(row.get(name) == value for name, value in wanted.items())]

    def latest(self, **wanted: Any) -> list[Row]:
        """Of those, the runs measured as the newest one was: the same code, samples, threads and batch size."""
        rows = self.found(**wanted)
        return [row for row in rows if all(row.get(name) == rows[-1].get(name) for name in KEY)]


def source_hash(folder: Path) -> str:
    """Short hash of all Python files below ``folder``: runs of other code are not mixed with these."""
    digest = hashlib.blake2b(digest_size=4)
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
