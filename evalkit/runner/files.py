"""Files that are whole or not there: temporary file, fsync, rename."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from evalkit.types import Json


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that takes ``path``'s place when the block ends without an error, and leaves no trace otherwise."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Json, *, indent: int | None = 1) -> None:
    """Write strict JSON (NaN is an error) atomically."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False, default=str)
    with atomic(path) as file:
        file.write(text.encode("utf-8", "surrogatepass") + b"\n")
