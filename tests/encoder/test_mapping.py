"""Rows in, arrays out: in order, equal ones once, the same whatever the batches, and memory that runs out is no end."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from evalkit.encoder.base import Encoder, EncoderSpec, Tokens, encoder, release, watched
from evalkit.errors import ScorerError

TEXTS = [
    "the cat sat on the mat",
    "paris",
    "",
    "a quick brown fox jumps over the lazy dog",
    "the dog",
    "12 apples and 30 pears",
]


def of(folder, **more) -> Encoder:
    return encoder(EncoderSpec(str(folder), device="cpu", **{"cache": False, **more}))


def alone(enc, text):
    """What the network says of one text by itself."""
    import torch

    with torch.inference_mode():
        given = enc.tokenizer(text, return_tensors="pt")
        return enc.module(**given).last_hidden_state[0].float().numpy()


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_every_row_is_what_the_network_says_of_that_text_alone(name, request, states):
    enc = of(request.getfixturevalue(name))
    forward = states(enc)
    found = enc.map(enc.tokenise(TEXTS), forward, key="last")
    assert len(forward.batches) == 1
    for text, row in zip(TEXTS, found, strict=True):
        assert row.dtype == np.float32
        np.testing.assert_allclose(row, alone(enc, text), atol=2e-5)


def test_the_batches_do_not_show_in_the_rows(bert, states):
    enc, narrow = of(bert), of(bert, batch_tokens=8)
    rows = enc.tokenise(TEXTS)
    wide = enc.map(rows, states(enc), key="wide")
    forward = states(enc)
    for one, other in zip(wide, narrow.map(rows, forward, key="narrow"), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)
    assert max(n * longest for n, longest in forward.batches if n > 1) <= 8


def test_equal_rows_are_computed_once_in_a_call_and_between_calls(bert, states):
    enc = of(bert)
    forward = states(enc)
    first = enc.map(enc.tokenise(["the cat", "paris", "the cat", " the cat "]), forward, key="last")
    assert forward.rows == 2
    assert first[0] is first[2] is first[3]
    again = of(bert).map(enc.tokenise(["paris", "the dog"]), forward, key="last")
    assert forward.rows == 3
    np.testing.assert_array_equal(again[0], first[1])


def test_another_key_is_another_thing(bert, states):
    enc = of(bert)
    forward = states(enc)
    rows = enc.tokenise(["the cat"])
    enc.map(rows, forward, key="one")
    enc.map(rows, forward, key="other")
    assert forward.rows == 2


def test_all_that_makes_a_row_tells_it_apart(bert):
    enc = of(bert)
    rows = [
        Tokens((2, 9, 3), (True, False, True), (0, 0, 0)),
        Tokens((2, 9, 3), (True, False, True), (0, 1, 1)),
        Tokens((2, 9, 3), (True, True, True), (0, 0, 0)),
        Tokens((2, 9, 3), (True, False, True), (0, 0, 0), target=(2, 3)),
        Tokens((2, 9, 3), (True, False, True), (0, 0, 0), target=()),
        Tokens((2, 9, 3), (True, False, True)),
    ]
    seen = []

    def forward(batch):
        seen.extend(batch.rows)
        return [np.zeros(()) for _ in batch.rows]

    found = enc.map([*rows, *rows], forward, key="k")
    assert len(seen) == len(rows)
    assert all(row.shape == () for row in found)


def test_a_row_cannot_be_changed_by_one_of_its_readers(bert, states):
    enc = of(bert)
    (row,) = enc.map(enc.tokenise(["paris"]), states(enc), key="last")
    with pytest.raises(ValueError, match="read-only"):
        row += 1


def test_targets_are_padded_and_masked_like_sources(bert):
    enc = of(bert)
    seen = []

    def forward(batch):
        seen.append((batch.target.tolist(), batch.target_mask.tolist(), list(batch.lengths)))
        return [np.zeros(1)] * 2

    enc.map([Tokens((2, 3), target=(2, 7, 3)), Tokens((2, 8, 3), target=(2,))], forward, key="k")
    assert seen == [([[2, 7, 3], [2, 0, 0]], [[1, 1, 1], [1, 0, 0]], [2, 3])]


def test_nothing_is_mapped_to_nothing(bert, states):
    enc = of(bert)
    assert enc.map([], states(enc), key="last") == []


class Small:
    """A device on which a batch of more than ``most`` tokens does not fit."""

    def __init__(self, inner, most, error=None):
        self.inner, self.most, self.error, self.failed = inner, most, error or MemoryError(), 0

    def __call__(self, batch):
        if batch.ids.numel() > self.most:
            self.failed += 1
            raise self.error
        return self.inner(batch)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("CUDA out of memory. Tried"), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
)
def test_a_batch_that_does_not_fit_is_split_and_the_rest_goes_on(bert, states, error):
    enc = of(bert, batch_tokens=4096)
    rows = enc.tokenise([f"the cat {a} {b}" for a in "abcdefgh" for b in "abcdefgh"])
    whole = enc.map(rows, states(enc), key="whole")
    small = Small(states(enc), 100, error)
    for one, other in zip(whole, enc.map(rows, small, key="small"), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)
    failed = small.failed
    assert 1 <= failed < 16
    enc.map(enc.tokenise([f"the dog {a} {b}" for a in "abcdefgh" for b in "abcdefgh"]), small, key="small")
    assert small.failed == failed  # what was learned of the memory is remembered


def test_a_single_text_that_does_not_fit_is_told(bert, states):
    enc = of(bert)
    with pytest.raises(ScorerError, match="a text of 8 tokens does not fit the memory of cpu"):
        enc.map(enc.tokenise(["the cat sat on the mat"]), Small(states(enc), 4), key="last")


def test_other_errors_of_a_forward_are_not_hidden(bert):
    enc = of(bert)

    def broken(batch):
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        enc.map(enc.tokenise(["paris"]), broken, key="last")
    with pytest.raises(ValueError, match="gave 0 rows for a batch of 1"):
        enc.map(enc.tokenise(["paris"]), lambda batch: [], key="last")


def test_a_value_that_is_no_number_is_refused_and_not_kept(bert, states):
    enc = of(bert, cache=True)
    with pytest.raises(ScorerError, match="gives values that are no numbers"):
        enc.map(enc.tokenise(["paris"]), lambda batch: [np.full(3, np.nan)], key="last")
    (row,) = enc.map(enc.tokenise(["paris"]), states(enc), key="last")
    assert np.isfinite(row).all()


def test_progress_tells_rows_done_and_rows_in_all(bert, states):
    enc = of(bert, batch_tokens=16)
    rows = enc.tokenise(TEXTS)
    enc.map(rows[:1], states(enc), key="last")
    seen = []
    with watched(lambda what, done, total: seen.append((what, done, total))):
        enc.map([*rows, *rows], states(enc), key="last", what="reading")
    assert seen[0] == ("reading", 1, 6)
    assert seen[-1] == ("reading", 6, 6)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    enc.map(rows, states(enc), key="other")
    assert len(seen) == len(set(seen))  # nobody is told outside of the block


def test_threads_can_share_an_encoder(bert, states):
    enc = of(bert)
    expected = enc.map(enc.tokenise(TEXTS), states(enc), key="first")
    found = {}

    def work(name):
        found[name] = enc.map(enc.tokenise(TEXTS), states(enc), key=f"{name}")

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for rows in found.values():
        for one, other in zip(rows, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=2e-5)
    assert len(found) == 4


def test_equal_specs_share_one_network_and_other_ones_do_not(bert, roberta):
    assert of(bert).module is of(bert, batch_tokens=99).module
    assert of(bert).module is not of(roberta).module
    assert of(bert, dtype="bfloat16").module is not of(bert).module
    assert encoder(EncoderSpec(str(bert), device="cpu"), name="other").module is not of(bert).module
    before = of(bert).module
    release()
    assert of(bert).module is not before


def test_half_precision_is_near_the_full_one(bert, states):
    full, half = of(bert), of(bert, dtype="bfloat16")
    assert {str(p.dtype) for p in half.module.parameters()} == {"torch.bfloat16"}
    (one,), (other,) = (e.map(e.tokenise(["the cat sat"]), states(e), key="last") for e in (full, half))
    assert other.dtype == np.float32
    assert 1e-4 < np.abs(one - other).max() < 0.2


def test_what_a_signature_needs(bert):
    told = of(bert).describe()
    assert told == {
        "model": bert.name, "revision": None, "dtype": "float32", "device": "cpu", "fingerprint": of(bert).fingerprint,
    }  # fmt: skip
