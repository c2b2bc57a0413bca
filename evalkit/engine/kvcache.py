"""Keys and values in memory: of the sequences being continued, and of the beginnings that several of them share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evalkit.engine.transfer import to_device

if TYPE_CHECKING:
    import torch

Ints = NDArray[np.int64]

#: Capacities are multiples of this many tokens, and grow by at least a quarter.
_BLOCK = 64


def blocks(tokens: int) -> int:
    """The least capacity for so many tokens."""
    return -(-tokens // _BLOCK) * _BLOCK


class KVCache:
    """Room for ``rows`` sequences of ``capacity`` tokens: a pair of tensors (rows, kv heads, capacity, size) a layer.

    Layers are numbered in the order in which they attend, and get their tensors, of zeros, when they first do. Memory that
    was never written must not be seen even with a weight of zero: it could hold infinities.
    """

    def __init__(self, rows: int, capacity: int) -> None:
        self.rows, self.capacity = rows, capacity
        self._layers: list[tuple[torch.Tensor, torch.Tensor]] = []

    def write(self, layer: int, cells: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> None:
        """Store ``key`` and ``value`` (n, kv heads, size) at ``cells`` (n x kv heads,), as `cells` numbers them."""
        if layer == len(self._layers):
            shape = (self.rows, key.shape[1], self.capacity)
            self._layers.append((key.new_zeros(*shape, key.shape[2]), value.new_zeros(*shape, value.shape[2])))
        for kept, new in zip(self._layers[layer], (key, value), strict=True):
            kept.view(-1, kept.shape[3]).index_copy_(0, cells, new.reshape(-1, new.shape[2]))

    def cells(self, rows: Ints, positions: Ints, heads: int) -> Ints:
        """Where the tokens at ``positions`` of ``rows`` are stored, a number for each of the ``heads``."""
        return ((rows[:, None] * heads + np.arange(heads)) * self.capacity + positions[:, None]).reshape(-1)

    def read(self, layer: int, first: int, last: int, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values (rows, kv heads, tokens, size) of the rows ``first`` to ``last``: views, nothing is copied."""
        key, value = self._layers[layer]
        return key[first:last, :, start:stop], value[first:last, :, start:stop]

    def ensure(self, capacity: int) -> None:
        """Make room for ``capacity`` tokens a sequence, keeping what is there."""
        larger = self.larger(capacity)
        if larger != self.capacity:
            self.resize(self.rows, larger)

    def resize(self, rows: int, capacity: int) -> None:
        """Make room for ``rows`` sequences of ``capacity`` tokens, keeping what of the first ones has its place in it."""
        self.rows, self.capacity = rows, capacity
        for at, (key, value) in enumerate(self._layers):
            self._layers[at] = (self._resized(key), self._resized(value))

    def larger(self, capacity: int) -> int:
        """The capacity after `ensure`."""
        return self.capacity if capacity <= self.capacity else blocks(max(capacity, self.capacity * 5 // 4))

    def _resized(self, kept: torch.Tensor) -> torch.Tensor:
        made = kept.new_zeros(self.rows, kept.shape[1], self.capacity, kept.shape[3])
        rows, tokens = min(self.rows, kept.shape[0]), min(self.capacity, kept.shape[2])
        made[:rows, :, :tokens] = kept[:rows, :, :tokens]
        return made

    def copy(self, sources: Sequence[int], targets: Sequence[int], length: int) -> None:
        """The first ``length`` tokens of the rows ``sources`` over those of ``targets``; no row is both."""
        device = self._layers[0][0].device
        if device.type != "cpu":
            rows = to_device(np.array([sources, targets]), device)
            self._copy_at_once(rows[0], rows[1], length)
            return
        for pair in self._layers:
            for kept in pair:
                for source, target in zip(sources, targets, strict=True):
                    kept[target, :, :length] = kept[source, :, :length]

    def _copy_at_once(self, sources: torch.Tensor, targets: torch.Tensor, length: int) -> None:
        """`copy` in few operations, since each costs about as much to launch as to do."""
        for pair in self._layers:
            for kept in pair:
                source, target = sources.to(kept.device), targets.to(kept.device)
                kept[:, :, :length].index_copy_(0, target, kept[:, :, :length].index_select(0, source))


@dataclass(eq=False, slots=True)
class Stem:
    """A shared beginning: ``tokens`` from the position ``start`` on, behind those of ``parent``.

    ``uses`` counts the sequences, waiting or running, that begin with it; ``cache`` is there while it is in use.
    """

    tokens: list[int]
    start: int
    parent: Stem | None = None
    uses: int = 0
    cache: KVCache | None = field(default=None, repr=False)

    @property
    def end(self) -> int:
        return self.start + len(self.tokens)

    def line(self) -> list[Stem]:
        """Itself and the stems before it, the first one first."""
        return [*(self.parent.line() if self.parent else ()), self]
