"""A planned step as arrays: tokens, their positions in the text, which of them sees which, and what is to be scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.engine.base import ScoreJob
from evalkit.engine.plan import Ints, Segment, Step, Trie


@dataclass(frozen=True, slots=True)
class Layout:
    """One forward pass over ``ids`` (n,): the tokens of all its texts side by side, none of them padding.

    ``depth`` (n,) are their positions in their text. To attend they stand in ``cells`` (bins, width), which hold the index
    of a token each (padding that of some token, seeing only itself); ``back`` (n,) is each token's place there, counted row
    by row. ``sees`` (bins, width, width) says which cells of its row a cell attends to, beside the ``start`` kept tokens.
    ``where`` (m,) are the tokens whose predictions are scored; scored token k has the id ``targets[k]``, is predicted at
    ``where[sources[k]]`` and belongs to job ``jobs[k]``.
    """

    start: int
    ids: Ints
    depth: Ints
    cells: Ints
    back: Ints
    sees: NDArray[np.bool_]
    where: Ints
    sources: Ints
    targets: Ints
    jobs: Ints


def lay_out(step: Step, trie: Trie, jobs: Sequence[ScoreJob]) -> Layout:
    """The arrays of ``step``."""
    width = max(sum(segment.size for segment in bin) for bin in step.bins)
    count = sum(segment.size for bin in step.bins for segment in bin)
    ids, depth, back = (np.zeros(count, dtype=np.int64) for _ in range(3))
    cells = np.zeros((len(step.bins), width), dtype=np.int64)
    sees = np.zeros((len(step.bins), width, width), dtype=np.bool_)
    sees[:, np.arange(width), np.arange(width)] = True
    sources: list[Ints] = []
    targets: list[Ints] = []
    owners: list[Ints] = []
    begin = 0
    for row, bin in enumerate(step.bins):
        column = 0
        for segment in bin:
            inside, here = slice(column, column + segment.size), slice(begin, begin + segment.size)
            for index, path in _fill(segment, trie, ids[here], depth[here], sees[row, inside, inside]):
                for job in trie.jobs[index]:
                    _mark(segment, path + begin, jobs[job], job, sources, targets, owners)
            cells[row, inside] = np.arange(here.start, here.stop)
            back[here] = np.arange(row * width + inside.start, row * width + inside.stop)
            column, begin = inside.stop, here.stop
    nothing = np.zeros(0, dtype=np.int64)
    where, at = np.unique(np.concatenate([*sources, nothing]), return_inverse=True)
    wanted, by = np.concatenate([*targets, nothing]), np.concatenate([*owners, nothing])
    return Layout(step.start, ids, depth, cells, back, sees, where, at, wanted, by)


def _fill(segment: Segment, trie: Trie, ids: Ints, depth: Ints, sees: NDArray[np.bool_]) -> list[tuple[int, Ints]]:
    """Write the segment's tokens depth first; the rows that are scored in it, with the columns of their tokens."""
    start, stop = segment.start, segment.stop
    if stop is not None:
        ids[:] = trie.rows[segment.first][start:stop]
        depth[:] = np.arange(start, stop)
        sees[:] = np.tri(stop - start, dtype=np.bool_)
        inside = np.nonzero(trie.scored[segment.first : segment.last] < stop)[0] + segment.first
        return [(int(index), np.arange(min(stop, trie.lengths[index]) - start)) for index in inside]
    paths: list[tuple[int, Ints]] = []
    path = np.zeros(0, dtype=np.int64)
    column = 0
    for index in range(segment.first, segment.last):
        tokens = trie.rows[index]
        begin = int(trie.shared[index]) if index > segment.first else start
        new = np.arange(column, column + len(tokens) - begin)
        path = np.concatenate([path[: begin - start], new])
        ids[new] = tokens[begin:]
        depth[new] = np.arange(begin, len(tokens))
        sees[np.ix_(new, path)] = np.arange(start, len(tokens)) <= depth[new][:, None]
        column += len(new)
        paths.append((index, path))
    return paths


def _mark(
    segment: Segment,
    tokens: Ints,
    job: ScoreJob,
    index: int,
    sources: list[Ints],
    targets: list[Ints],
    owners: list[Ints],
) -> None:
    """Note the scored tokens of ``job`` that are predicted at ``tokens``, those of its row from the segment's start on."""
    first = len(job.context) - 1  # the position that predicts the continuation's first token
    begin = max(first, segment.start)
    end = min(len(job.context) + len(job.continuation) - 1, segment.start + len(tokens))
    if begin < end:
        sources.append(tokens[begin - segment.start : end - segment.start])
        targets.append(np.asarray(job.continuation[begin - first : end - first], dtype=np.int64))
        owners.append(np.full(end - begin, index, dtype=np.int64))
