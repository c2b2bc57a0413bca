"""The key index does what a dict does, in a third of the memory."""

from __future__ import annotations

import random
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from evalkit.runner.keys import KeyIndex

# Few upper halves, so that keys meet; the real ones are hashes.
KEYS = st.builds(
    lambda high, low: f"{high:016x}{low:016x}", st.integers(0, 3) | st.integers(0, 2**64 - 1), st.integers(0, 9)
)


@given(st.lists(st.tuples(KEYS, st.integers(0, 2**62)), max_size=200), st.lists(KEYS))
def test_it_does_what_a_dict_does(pairs: list[tuple[str, int]], others: list[str]) -> None:
    index, expected = KeyIndex(), {}
    for key, number in pairs:
        index.set(key, number)
        expected[key] = number
    assert len(index) == len(expected)
    for key in [*expected, *others]:
        assert index.get(key) == expected.get(key)


def test_it_grows_and_stays_small() -> None:
    chance = random.Random(5)
    keys = [f"{chance.getrandbits(128):032x}" for _ in range(50_000)]
    tracemalloc.start()
    try:
        index = KeyIndex()
        for number, key in enumerate(keys):
            index.set(key, number)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used / len(keys) <= 72
    assert all(index.get(key) == number for number, key in enumerate(keys))
