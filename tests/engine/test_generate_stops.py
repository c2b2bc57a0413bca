"""Stop strings are found as a search of the whole text would find them, with the token that completes them."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.engine.base import GenerateJob
from evalkit.engine.stops import Pieces, Stops

TEXT = "aab aba b.\n\nbab é aé日 本 ba: b\n a</s> ab é日 " * 3


@functools.cache
def byte_level():
    """Tokens may end inside of a character."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=290, special_tokens=["</s>"], initial_alphabet=alphabet, show_progress=False)
    raw.train_from_iterator([TEXT], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>")


@functools.cache
def metaspace():
    """Blanks belong to the word that follows; the first one of a text is dropped; rare characters are bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁ab.:", "▁a", "▁b", "ab", "ba", "▁ab", "\n"]
    vocabulary = {word: at for at, word in enumerate(words)}
    merges = [("▁", "a"), ("▁", "b"), ("a", "b"), ("b", "a"), ("▁", "ab")]
    raw = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True))
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>")


TOKENIZERS = {"byte level": byte_level, "metaspace": metaspace}
STRINGS = st.text("ab .:\né日", min_size=1, max_size=4)


def naive(tokenizer, job, tokens):
    """How many tokens there are when the whole text first holds a stop string, after the last end of thinking."""
    for count in range(1, len(tokens) + 1):
        text = tokenizer.decode(tokens[:count])
        if job.think_end is not None:
            _, found, text = text.rpartition(job.think_end)
            if not found:
                continue
        if any(stop in text for stop in job.until):
            return count
    return None


def found(tokenizer, job, tokens):
    stops = Stops(job, Pieces(tokenizer))
    return next((count for count in range(1, len(tokens) + 1) if stops.ended(tokens[:count])), None)


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=400, deadline=None)
@given(st.data())
def test_as_a_search_of_the_whole_text(name, data):
    tokenizer = TOKENIZERS[name]()
    until = tuple(data.draw(st.lists(STRINGS, max_size=3)))
    think = data.draw(st.one_of(st.none(), STRINGS))
    whole = st.integers(0, len(tokenizer) - 1)
    words = st.text("ab .:\né日", max_size=12).map(lambda text: tokenizer.encode(text, add_special_tokens=False))
    parts = data.draw(st.lists(st.one_of(words, st.lists(whole, max_size=3)), max_size=6))
    tokens = [token for part in parts for token in part]
    job = GenerateJob([1], 99, until, think_end=think)
    if name == "metaspace" and any(text.startswith(" ") for text in (*until, think or "")):
        tokens = [tokenizer.convert_tokens_to_ids("."), *tokens]  # the text's own first blank is not in its tail either
    assert found(tokenizer, job, tokens) == naive(tokenizer, job, tokens)


def test_a_character_of_several_tokens_completes_its_stop_string():
    tokenizer = byte_level()
    tokens = [*tokenizer.encode("ab"), *(tokenizer.convert_tokens_to_ids(letter) for letter in "ðŁĺĢ")]
    assert tokenizer.decode(tokens) == "ab😀"
    assert found(tokenizer, GenerateJob([1], 9, ("b😀",)), tokens) == len(tokens)


def test_half_a_character_behind_the_end_of_thinking_does_not_bring_back_what_was_thought():
    tokenizer = metaspace()
    job = GenerateJob([1], 99, (":",), think_end="é")
    tokens = tokenizer.encode(":éé", add_special_tokens=False)
    assert found(tokenizer, job, tokens) is None, "although the first byte of the second é makes the first unreadable"
    assert found(tokenizer, job, [*tokens, *tokenizer.encode(":", add_special_tokens=False)]) is not None


def test_most_tokens_are_not_decoded_again():
    tokenizer, calls = byte_level(), []
    pieces = Pieces(tokenizer)
    plain, pieces.decode = pieces.decode, lambda tokens: calls.append(len(tokens)) or plain(tokens)
    tokens = tokenizer.encode("ab ab ba b a b ab a b ba ab b a" * 20)
    stops = Stops(GenerateJob([1], 9999, ("Question:", "\n\n", "</s>")), pieces)
    assert not any(stops.ended(tokens[: count + 1]) for count in range(len(tokens)))
    assert len(calls) <= len(set(tokens)) < len(tokens) / 5
