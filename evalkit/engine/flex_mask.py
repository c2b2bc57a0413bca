"""The mask of a flat pass for FlexAttention: lists of the blocks that are seen, made on the host from one span a key.

A key is seen by consecutive tokens (`evalkit.engine.layout.Layout.over`), so what a block of keys is seen by follows from
the least and the largest of its ends: no mask of all pairs is ever made (block masks as in FlexAttention, Dong et al. 2024).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.engine.layout import Layout
from evalkit.engine.plan import Ints

#: Tokens of a block, of queries and of keys: FlexAttention's own choice.
BLOCK = 128

#: Passes of fewer blocks of queries would be compiled anew: torch takes a size of 1 for a constant.
_FEWEST = 2


def length(count: int, least: int = _FEWEST * BLOCK) -> int:
    """``count`` tokens, filled up to one of a few lengths: multiples of an eighth of the next power of two."""
    step = _step(count)
    return max(-(-count // step) * step, least)


def fitting(tokens: int) -> int:
    """The largest of those lengths that is no more than ``tokens``, or the least of them."""
    step = _step(tokens)
    return max(tokens // step * step, _FEWEST * BLOCK)


def _step(count: int) -> int:
    return max((1 << (count - 1).bit_length()) // 8, BLOCK)


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks of keys to look at for each of q blocks of queries: ``indices`` (q, k) int32, the first ``counts`` (q,)
    of each row. Those of ``full_indices`` are seen from end to end, the others need the mask.
    """

    counts: NDArray[np.int32]
    indices: NDArray[np.int32]
    full_counts: NDArray[np.int32]
    full_indices: NDArray[np.int32]


class FlatMask:
    """Of a padded, flat ``layout``: ``front`` cells for its kept beginning (the last ones may be empty), then its tokens.

    Key k is seen by the tokens ``low[k]`` to ``high[k]`` (exclusive); an empty cell by none. ``at`` are the keys' positions
    in their text. All int32, (front + n,).
    """

    def __init__(self, layout: Layout) -> None:
        count = len(layout.ids)
        self.front = length(layout.start, BLOCK) if layout.start else 0
        empty = self.front - layout.start
        self.low = _joined(np.full(layout.start, 0), np.full(empty, count), np.arange(count))
        self.high = _joined(np.full(layout.start, count), np.full(empty, 0), layout.over)
        self.at = _joined(np.arange(self.front), layout.depth)
        self.depth = layout.depth.astype(np.int32)

    def blocks(self, window: int | None) -> Blocks:
        """Every block in which a pair is seen (with a ``window``, perhaps some more); as full none with a pair unseen."""
        first = np.arange(0, len(self.depth), BLOCK)[:, None]
        low, high, at = (array.reshape(-1, BLOCK) for array in (self.low, self.high, self.at))
        seen = (low.min(axis=1) < first + BLOCK) & (high.max(axis=1) > first)
        full = (low.max(axis=1) <= first) & (high.min(axis=1) >= first + BLOCK)
        if window is not None:
            depth = self.depth.reshape(-1, BLOCK)
            seen &= depth.min(axis=1)[:, None] - at.max(axis=1) < window
            full &= depth.max(axis=1)[:, None] - at.min(axis=1) < window
        return Blocks(*_listed(seen & ~full), *_listed(full))


def _joined(*parts: Ints) -> NDArray[np.int32]:
    return np.concatenate(parts).astype(np.int32)


def _listed(chosen: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """How many of each row are chosen, and which, in order; behind them the others."""
    return chosen.sum(axis=1).astype(np.int32), np.argsort(~chosen, axis=1, kind="stable").astype(np.int32)
