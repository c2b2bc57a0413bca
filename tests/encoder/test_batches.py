"""How rows are packed: within the budget, with little padding, whatever their lengths."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from evalkit.encoder.batches import packed

LENGTHS = st.lists(st.integers(0, 600), max_size=200)


@given(LENGTHS, st.integers(1, 5000), st.integers(1, 5000))
def test_every_row_is_in_one_batch_within_the_budget_or_alone(lengths, budget, enough):
    batches = list(packed(lengths, budget, enough))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget
    longest = [max(lengths[i] for i in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)  # what does not fit the memory shows at once


@given(st.integers(0, 2**32), st.integers(500, 1000), st.integers(3, 60), st.integers(3, 60))
def test_little_is_padding(seed, n, one, other):
    lengths = random.Random(seed).choices(range(min(one, other), max(one, other) + 1), k=n)
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in packed(lengths, 8192, 512))
    assert padded <= 1.12 * sum(lengths) + 512
