"""A planned step as arrays: tokens, their positions in the text, which of them sees which, and what is to be scored."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from evalkit.engine.plan import Ints, Step, Trie, offsets

_ENDLESS = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Layout:
    """One forward pass over ``ids`` (n,): the tokens of all its texts side by side, each text tree depth first.

    ``depth`` (n,) are their positions in their text. Token k is seen by the tokens k to ``over[k]`` (exclusive): itself and
    those below it in its tree; and all see the ``start`` kept tokens. To attend, tokens stand in ``cells`` (bins, width),
    which hold the index of a token each (padding that of some token, seeing only itself); ``back`` (n,) is each token's
    place there, counted row by row. ``where`` (m,) are the tokens whose predictions are scored; scored token k has the id
    ``targets[k]``, is predicted at ``where[sources[k]]`` and belongs to job ``jobs[k]``.
    """

    start: int
    ids: Ints
    depth: Ints
    cells: Ints
    back: Ints
    over: Ints
    where: Ints
    sources: Ints
    targets: Ints
    jobs: Ints

    @property
    def sees(self) -> NDArray[np.bool_]:
        """(bins, width, width): which cells of its row a cell attends to. Made anew each time, and large."""
        bins, width = self.cells.shape
        columns = np.arange(width)
        until = np.tile(columns + 1, bins)
        until[self.back] = self.back % width + self.over - np.arange(len(self.over))
        after, before = columns[:, None] >= columns, columns[:, None] < until.reshape(bins, 1, width)
        sees: NDArray[np.bool_] = after & before
        return sees

    def padded(self, count: int) -> Layout:
        """The same with ``count`` tokens, in one bin: the new ones see themselves only, and nothing is scored there."""
        more = np.zeros(count - len(self.ids), dtype=np.int64)
        index = np.arange(count)
        return replace(
            self,
            ids=np.concatenate([self.ids, more]),
            depth=np.concatenate([self.depth, more]),
            cells=index[None],
            back=index,
            over=np.concatenate([self.over, index[len(self.ids) :] + 1]),
        )


def lay_out(step: Step, trie: Trie) -> Layout:
    """The arrays of ``step``. Of a row only those tokens are laid out that the row before it in its segment lacks."""
    segments = [segment for bin in step.bins for segment in bin]
    counts = np.array([segment.last - segment.first for segment in segments])
    rows = _ranges(np.array([segment.first for segment in segments]), counts)
    stop = np.repeat([_ENDLESS if segment.stop is None else segment.stop for segment in segments], counts)
    end = np.minimum(trie.lengths[rows], stop)
    begin = np.minimum(trie.shared[rows], stop)
    begin[offsets(counts)[:-1]] = step.start

    placed = offsets(end - begin)  # where each row's tokens begin in the pass
    depth = _ranges(begin, end - begin)
    of = np.repeat(np.arange(len(rows)), end - begin)
    ids = trie.ids[trie.at[rows][of] + depth]
    over = placed[_next(begin, of + 1, depth)]
    cells, back = _cells(np.array([sum(segment.size for segment in bin) for bin in step.bins]))

    owners = _ranges(trie.owned[rows], trie.owned[rows + 1] - trie.owned[rows])
    of = np.repeat(np.arange(len(rows)), trie.owned[rows + 1] - trie.owned[rows])
    zero = trie.lengths[rows][of] - trie.sizes[owners]  # the position that predicts the continuation's first token
    low = np.maximum(zero, step.start)
    sizes = np.maximum(end[of] - low, 0)
    position = _ranges(low, sizes)
    owners, of, zero = (np.repeat(array, sizes) for array in (owners, of, zero))
    # A token that the row shares stands with the last row before it that did not share it.
    holder = len(rows) - 1 - _next(begin[::-1], len(rows) - 1 - of, position)
    where, sources = np.unique(placed[holder] + position - begin[holder], return_inverse=True)
    targets = trie.targets[trie.ends[owners] - trie.sizes[owners] + position - zero]
    return Layout(step.start, ids, depth, cells, back, over, where, sources, targets, trie.owners[owners])


def _cells(sizes: Ints) -> tuple[Ints, Ints]:
    """Tokens in bins of these sizes, one after the other: ``cells`` and ``back`` of a layout."""
    width = int(sizes.max())
    back = _ranges(np.arange(len(sizes)) * width, sizes)
    cells = np.zeros(len(sizes) * width, dtype=np.int64)
    cells[back] = np.arange(len(back))
    return cells.reshape(-1, width), back


def _ranges(begins: Ints, sizes: Ints) -> Ints:
    """Consecutive numbers from each of ``begins`` on, ``sizes`` of them, all in one array."""
    before = offsets(sizes)
    return np.arange(before[-1]) + np.repeat(begins - before[:-1], sizes)


def _next(values: Ints, at: Ints, most: Ints) -> Ints:
    """For each k the first index from ``at[k]`` on where ``values`` is at most ``most[k]`` (never below 0), or their number.

    By halving steps over the minima of 1, 2, 4 and so on values, for all k together.
    """
    minima = [np.append(values, -1)]
    while 1 << len(minima) <= len(values):
        half = 1 << (len(minima) - 1)
        shifted = np.concatenate([minima[-1][half:], np.full(half, -1)])
        minima.append(np.minimum(minima[-1], shifted))
    for power in reversed(range(len(minima))):
        at = np.where(minima[power][at] > most, at + (1 << power), at)
    return at
