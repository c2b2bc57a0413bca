"""What was encoded: rows by content, the latest kept in memory up to a number of bytes."""

from __future__ import annotations

import hashlib
import threading
from array import array
from collections import OrderedDict

from evalkit.encoder.base import Rows, Tokens

#: Bytes of rows that stay in memory, over all networks of the process.
MEMORY_BYTES = 1 << 30
_OVERHEAD = 200


def row_key(space: bytes, row: Tokens) -> bytes:
    """16 bytes for what a row is made from, under the name ``space``: ids, special marks, types and target."""
    total = hashlib.blake2b(space, digest_size=16)
    for part in (row.ids, row.special, row.types, row.target):
        total.update(b"-" if part is None else len(part).to_bytes(4, "little") + array("q", part).tobytes())
    return total.digest()


class Memory:
    """The rows used last, by key. Safe to use from several threads."""

    def __init__(self, limit: int = MEMORY_BYTES) -> None:
        self._limit = limit
        self._rows: OrderedDict[bytes, Rows] = OrderedDict()
        self._lock = threading.Lock()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: bytes) -> Rows | None:
        with self._lock:
            row = self._rows.get(key)
            if row is not None:
                self._rows.move_to_end(key)
            return row

    def put(self, key: bytes, row: Rows) -> None:
        with self._lock:
            before = self._rows.pop(key, None)
            self.bytes += _cost(row) - (0 if before is None else _cost(before))
            self._rows[key] = row
            while self.bytes > self._limit and self._rows:
                _, oldest = self._rows.popitem(last=False)
                self.bytes -= _cost(oldest)

    def clear(self) -> None:
        with self._lock:
            self._rows.clear()
            self.bytes = 0


def _cost(row: Rows) -> int:
    return row.nbytes + _OVERHEAD
