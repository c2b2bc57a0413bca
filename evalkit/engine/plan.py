"""What to compute, in which order, so that no token's state is computed twice: jobs to forward passes over a token trie.

The trie is never built: the distinct inputs, sorted, and the length of what each shares with the one before say as much.
A subtree is then a range of rows, and its number of tokens a difference of running sums.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from evalkit.engine.base import ScoreJob

Ints = NDArray[np.int64]

#: Looking at a kept beginning costs a pass about as much as this share of its tokens: one in so many.
_LOOK = 32

#: A subtree wider than a row is cut up where that repeats at most one token in so many.
_WIDE = 16

#: Bins that are tried before a new one is opened: more fill them no better, and take longer.
_OPEN = 64

#: Segments share bins up to this width: below it, comparing all tokens of a bin with all others costs next to nothing.
_BIN = 32


@dataclass(frozen=True, slots=True)
class Limits:
    """All in tokens: of one forward pass, of one bin of it, and of the work that starting a pass costs.

    ``rows`` caps the bins of a pass. ``flat``: a pass is always one bin.
    """

    tokens: int
    width: int
    launch: int
    rows: int | None = None
    flat: bool = False


@dataclass(frozen=True, slots=True)
class Segment:
    """The rows ``first`` to ``last`` (exclusive) from the position ``start`` on, each shared token once.

    ``stop`` is set where only the positions before it are meant: a stretch that all of the rows share.
    """

    first: int
    last: int
    start: int
    size: int
    stop: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One forward pass after the first ``start`` tokens of its rows, whose keys and values are at hand.

    The tokens of a bin's segments are compared with each other, and only as their texts say. ``keep``: the one segment's
    keys and values are to be kept behind those ``start`` tokens.
    """

    start: int
    bins: tuple[tuple[Segment, ...], ...]
    keep: bool = False


class Trie:
    """The distinct inputs of ``jobs`` in sorted order, as arrays.

    Row i is ``ids[at[i]:at[i + 1]]``, ``lengths[i]`` tokens, of which the first ``shared[i]`` equal those of the row before.
    ``owners[owned[i]:owned[i + 1]]`` are the indices of the jobs that end with (or just after) it. The k-th owner's
    continuation is ``targets[ends[k] - sizes[k]:ends[k]]``.
    """

    def __init__(self, jobs: Sequence[ScoreJob], wanted: Sequence[int] | None = None) -> None:
        table: dict[bytes, list[int]] = {}
        for index in range(len(jobs)) if wanted is None else wanted:
            tokens = array("I", jobs[index].context)
            tokens.extend(jobs[index].continuation[:-1])
            # Big-endian, so that bytes sort as the numbers do.
            table.setdefault(np.frombuffer(tokens, dtype=np.uintc).astype(">u4").tobytes(), []).append(index)
        keys = sorted(table)
        rows = [np.frombuffer(key, dtype=">u4") for key in keys]
        self.lengths: Ints = np.array([len(row) for row in rows], dtype=np.int64)
        self.at = offsets(self.lengths)
        self.ids: Ints = np.frombuffer(b"".join(keys), dtype=">u4").astype(np.int64)
        shared = [0, *(_common(one, other) for one, other in pairwise(rows))]
        self.shared: Ints = np.array(shared[: len(keys)], dtype=np.int64)
        self.owned = offsets(np.array([len(table[key]) for key in keys], dtype=np.int64))
        self.owners: Ints = np.array([index for key in keys for index in table[key]], dtype=np.int64)
        continuations = [jobs[index].continuation for index in self.owners.tolist()]
        self.sizes: Ints = np.array([len(tokens) for tokens in continuations], dtype=np.int64)
        self.ends: Ints = np.cumsum(self.sizes)
        self.targets: Ints = np.array([token for tokens in continuations for token in tokens], dtype=np.int64)
        self._sums = offsets(self.lengths - self.shared)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def tokens(self) -> int:
        """Distinct ones: those that are computed if no beginning is repeated."""
        return int(self._sums[-1])

    def size(self, first: int, last: int, start: int) -> int:
        """Tokens of the rows ``first`` to ``last`` from ``start`` on, each shared one counted once."""
        return int(self._sums[last] - self._sums[first + 1] + self.lengths[first] - start)

    def depth(self, first: int, last: int) -> int:
        """How many first tokens the rows ``first`` to ``last`` all share."""
        return int(self.shared[first + 1 : last].min()) if last - first > 1 else int(self.lengths[first])

    def children(self, first: int, last: int, depth: int) -> list[tuple[int, int]]:
        """The ranges of rows that part at ``depth``; a row that ends there is in none of them."""
        cuts = [first, *(np.nonzero(self.shared[first + 1 : last] == depth)[0] + first + 1).tolist(), last]
        ranges = list(pairwise(cuts))
        return ranges if self.lengths[first] > depth else ranges[1:]


def plan(trie: Trie, limits: Limits) -> Iterator[Step]:
    """Forward passes such that each one's ``start`` tokens are those kept by the passes before it.

    Whoever runs them keeps one path: what a ``keep`` step computed is valid until a step starts before its end.
    """
    left = [(0, len(trie), 0)] if len(trie) else []
    while left:
        first, last, start = left.pop()
        size = trie.size(first, last, start)
        if size <= limits.tokens:
            yield from _packed(_narrow(trie, first, last, start, limits), limits)
            continue
        depth = trie.depth(first, last)
        if not _cheap(depth, start, size, limits) or last - first == 1:
            for begin in range(start, depth, limits.tokens):
                end = min(begin + limits.tokens, depth)
                yield Step(begin, ((Segment(first, last, begin, end - begin, end),),), keep=True)
            start = depth
        children = trie.children(first, last, depth)
        small, big = _groups(trie, children, start, limits, together=start < depth)
        if start < depth == trie.lengths[first]:
            small.append(Segment(first, first + 1, start, depth - start))
        yield from _packed(small, limits)
        left.extend(reversed(big))


def _cheap(depth: int, start: int, size: int, limits: Limits) -> bool:
    """Whether each group of children may as well have its own copy of what they share from ``start`` to ``depth``.

    To keep it costs a pass of its own, and every later pass must look at what is kept.
    """
    copies = (depth - start) * -(-size // limits.width)
    return copies <= limits.launch or (start == 0 and depth * _LOOK <= limits.width)


def _groups(
    trie: Trie, children: list[tuple[int, int]], start: int, limits: Limits, *, together: bool
) -> tuple[list[Segment], list[tuple[int, int, int]]]:
    """Children that fit into a pass, and those that do not. ``together``: neighbours share tokens after ``start``."""
    small: list[Segment] = []
    big: list[tuple[int, int, int]] = []
    for first, last in children:
        size = trie.size(first, last, start)
        if size > limits.tokens:
            big.append((first, last, start))
            continue
        if together and small and small[-1].last == first:
            joint = trie.size(small[-1].first, last, start)
            if joint <= limits.width:
                small[-1] = Segment(small[-1].first, last, start, joint)
                continue
        small.extend(_narrow(trie, first, last, start, limits))
    return small, big


def _narrow(trie: Trie, first: int, last: int, start: int, limits: Limits) -> list[Segment]:
    """Rows that fit into a pass, in parts no wider than needed: in a row, all tokens are compared with all others."""
    size, depth = trie.size(first, last, start), trie.depth(first, last)
    copies = (depth - start) * -(-size // limits.width)
    if size <= limits.width or last - first == 1 or copies * _WIDE > size or limits.flat:
        return [Segment(first, last, start, size)]
    small, _ = _groups(trie, trie.children(first, last, depth), start, limits, together=start < depth)
    if start < depth == trie.lengths[first]:
        small.append(Segment(first, first + 1, start, depth - start))
    return small


def _packed(segments: list[Segment], limits: Limits) -> Iterator[Step]:
    """Steps of segments of about the same size, longest first; short ones share a bin (first fit)."""
    order = sorted(segments, key=lambda segment: -segment.size)
    at = 0
    while at < len(order):
        wide = limits.tokens if limits.flat else max(order[at].size, _BIN)
        most = 1 if limits.flat else limits.rows or len(order)
        bins: list[list[Segment]] = []
        room: list[int] = []
        left = limits.tokens
        while at < len(order) and (order[at].size <= left or not bins):
            size = order[at].size
            bin = next((bin for bin in range(max(len(bins) - _OPEN, 0), len(bins)) if room[bin] >= size), len(bins))
            if bin == most:
                break
            if bin == len(bins):
                bins.append([])
                room.append(wide)
            bins[bin].append(order[at])
            room[bin] -= size
            left -= size
            at += 1
        yield Step(bins[0][0].start, tuple(tuple(bin) for bin in bins))


def offsets(sizes: Ints) -> Ints:
    """Where each of consecutive parts begins, and after them all where the last one ends."""
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _common(one: NDArray[np.unsignedinteger], other: NDArray[np.unsignedinteger]) -> int:
    """How many first tokens two rows share."""
    size = min(len(one), len(other))
    differ = one[:size] != other[:size]
    at = int(differ.argmax()) if size else 0
    return at if size and differ[at] else size
