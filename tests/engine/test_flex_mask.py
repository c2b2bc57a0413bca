"""Block lists leave out no pair that is seen, and call no block full in which one is not."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.engine.base import ScoreJob
from evalkit.engine.flex_mask import BLOCK, FlatMask, fitting, length
from evalkit.engine.layout import lay_out
from evalkit.engine.plan import Limits, Trie, plan


def layouts(seed):
    """Padded passes over a few thousand tokens, with and without kept beginnings."""
    draw = np.random.default_rng(seed)

    def text(most):
        return draw.integers(0, 40, int(draw.integers(1, most))).tolist()

    jobs = []
    for _ in range(int(draw.integers(1, 4))):
        preamble = text(700)
        for _ in range(int(draw.integers(1, 25))):
            context = preamble + text(120)
            jobs += [ScoreJob(context, text(12)) for _ in range(int(draw.integers(1, 5)))]
    tokens = fitting(int(draw.integers(256, 3000)))
    trie = Trie(jobs)
    for step in plan(trie, Limits(tokens, tokens, 0, flat=True)):
        layout = lay_out(step, trie)
        yield layout.padded(length(len(layout.ids)))


def dense(layout, front, window):
    """(n, front + n): by the layout's own mask."""
    count = len(layout.ids)
    seen = np.zeros((count, front + count), dtype=bool)
    seen[:, : layout.start] = True
    seen[:, front:] = layout.sees[0]
    if window is not None:
        at = np.concatenate([np.arange(front), layout.depth])
        seen &= layout.depth[:, None] - at < window
    return seen


def listed(counts, indices):
    chosen = np.zeros(indices.shape, dtype=bool)
    for row, (count, columns) in enumerate(zip(counts, indices, strict=True)):
        assert sorted(columns) == list(range(len(columns)))
        assert list(columns[:count]) == sorted(columns[:count])
        chosen[row, columns[:count]] = True
    return chosen


@pytest.mark.parametrize("window", [None, 1, 60, 300])
def test_the_lists_of_blocks_are_those_of_the_dense_mask(window):
    starts = set()
    for layout in (layout for seed in range(12) for layout in layouts(seed)):
        mask = FlatMask(layout)
        starts.add(layout.start)
        assert mask.front % BLOCK == 0 and layout.start <= mask.front
        blocks = mask.blocks(window)
        part, full = listed(blocks.counts, blocks.indices), listed(blocks.full_counts, blocks.full_indices)
        seen = dense(layout, mask.front, window)
        tiles = seen.reshape(len(part), BLOCK, -1, BLOCK).swapaxes(1, 2)
        some, every = tiles.any(axis=(2, 3)), tiles.all(axis=(2, 3))
        assert not (part & full).any()
        assert not (some & ~(part | full)).any()
        assert not (full & ~every).any()
        if window is None:
            assert np.array_equal(part | full, some) and np.array_equal(full, every)
        assert seen.any(axis=1).all()
    assert len(starts) > 5


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("window", [None, 60])
def test_torch_makes_the_same_lists_from_the_mask_of_pairs(seed, window):
    import torch
    from torch.nn.attention.flex_attention import create_block_mask

    from evalkit.engine.flex import block_mask

    for layout in layouts(seed):
        mask = FlatMask(layout)
        ours = block_mask(mask, window, torch.device("cpu"))
        count, keys = len(layout.ids), mask.front + len(layout.ids)
        theirs = create_block_mask(ours.mask_mod, 1, 1, count, keys, device="cpu")
        assert ours.shape == theirs.shape
        needed = theirs.to_dense().bool()
        assert not (needed & ~ours.to_dense().bool()).any()
        if window is None:
            assert torch.equal(ours.to_dense(), theirs.to_dense())
            assert torch.equal(ours.full_kv_num_blocks, theirs.full_kv_num_blocks)
        index = torch.arange(keys)
        pairs = ours.mask_mod(0, 0, torch.arange(count)[:, None], index[None])
        assert np.array_equal(pairs.numpy(), dense(layout, mask.front, window))


def test_passes_have_one_of_a_few_lengths():
    lengths = {length(count) for count in range(1, 16385)}
    assert len(lengths) < 30 and min(lengths) == 256 and max(lengths) == 16384
    for count in range(1, 16385):
        assert count <= length(count) <= max(1.25 * count, 256, count + BLOCK)
        assert length(fitting(count)) == fitting(count) <= max(count, 256)
        assert length(count) % BLOCK == 0
