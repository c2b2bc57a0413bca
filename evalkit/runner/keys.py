"""Request keys to numbers, small enough to hold tens of millions."""

from __future__ import annotations

import struct
from array import array

_FEWEST = 1 << 10
_halves = struct.Struct(">QQ").unpack


class KeyIndex:
    """128-bit keys (32 hex digits) to whole numbers from 0 to 2**63.

    Open addressing over three flat arrays, at most two thirds full: 36 to 72 bytes a key, where a dict takes 180. Keys
    are hashes already, so their upper half says where to look.
    """

    def __init__(self) -> None:
        self._count = 0
        self._allocate(_FEWEST)

    def __len__(self) -> int:
        return self._count

    def get(self, key: str) -> int | None:
        """The number of ``key``, or ``None``."""
        found = self._numbers[self._slot(*_halves(bytes.fromhex(key)))]
        return found - 1 if found else None

    def set(self, key: str, number: int) -> None:
        """Give ``key`` a number, in place of the one it had."""
        high, low = _halves(bytes.fromhex(key))
        slot = self._slot(high, low)
        if not self._numbers[slot]:
            if 3 * self._count >= 2 * len(self._numbers):
                self._grow()
                slot = self._slot(high, low)
            self._count += 1
            self._highs[slot], self._lows[slot] = high, low
        self._numbers[slot] = number + 1

    def _slot(self, high: int, low: int) -> int:
        """Where the key stands, or the free slot where it would."""
        numbers, highs = self._numbers, self._highs
        slot = high & self._mask
        while numbers[slot] and (highs[slot] != high or self._lows[slot] != low):
            slot = (slot + 1) & self._mask
        return slot

    def _allocate(self, size: int) -> None:
        self._mask = size - 1
        self._highs, self._lows, self._numbers = (array("Q", bytes(8 * size)) for _ in range(3))

    def _grow(self) -> None:
        old = zip(self._highs, self._lows, self._numbers, strict=True)
        self._allocate(2 * len(self._numbers))
        for high, low, number in old:
            if number:
                slot = self._slot(high, low)
                self._highs[slot], self._lows[slot], self._numbers[slot] = high, low, number
