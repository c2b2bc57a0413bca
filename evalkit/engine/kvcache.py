"""Keys and values in memory: of the sequences being continued, and of the beginnings that several of them share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: Capacities are multiples of this many tokens, and grow by at least a quarter.
_BLOCK = 64


class KVCache:
    """Room for ``rows`` sequences of ``capacity`` tokens: a pair of tensors (rows, capacity, kv heads, size) a layer.

    Layers are numbered in the order in which they attend, and get their tensors, of zeros, when they first do. Memory that
    was never written must not be seen even with a weight of zero: it could hold infinities.
    """

    def __init__(self, rows: int, capacity: int) -> None:
        self.rows, self.capacity = rows, capacity
        self._layers: list[tuple[torch.Tensor, torch.Tensor]] = []

    def write(self, layer: int, cells: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> None:
        """Store ``key`` and ``value`` (n, kv heads, size) at ``cells`` (n,), each row x capacity + position."""
        if layer == len(self._layers):
            shape = (self.rows, self.capacity)
            self._layers.append((key.new_zeros(*shape, *key.shape[1:]), value.new_zeros(*shape, *value.shape[1:])))
        for kept, new in zip(self._layers[layer], (key, value), strict=True):
            kept.view(-1, *kept.shape[2:]).index_copy_(0, cells, new)

    def read(self, layer: int, first: int, last: int, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values (rows, kv heads, tokens, size) of the rows ``first`` to ``last``: views, nothing is copied."""
        key, value = self._layers[layer]
        return key[first:last, start:stop].transpose(1, 2), value[first:last, start:stop].transpose(1, 2)

    def ensure(self, capacity: int) -> None:
        """Make room for ``capacity`` tokens a sequence, keeping what is there."""
        if capacity <= self.capacity:
            return
        self.capacity = -(-max(capacity, self.capacity * 5 // 4) // _BLOCK) * _BLOCK
        for at, (key, value) in enumerate(self._layers):
            self._layers[at] = (self._larger(key), self._larger(value))

    def _larger(self, kept: torch.Tensor) -> torch.Tensor:
        made = kept.new_zeros(self.rows, self.capacity, *kept.shape[2:])
        made[:, : kept.shape[1]] = kept
        return made

    def copy(self, sources: Sequence[int], targets: Sequence[int], length: int) -> None:
        """The first ``length`` tokens of the rows ``sources`` over those of ``targets``; no row is both."""
        for pair in self._layers:
            for kept in pair:
                for source, target in zip(sources, targets, strict=True):
                    kept[target, :length] = kept[source, :length]


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
