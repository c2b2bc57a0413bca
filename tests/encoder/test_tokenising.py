"""Texts to rows: what the tokeniser itself gives, cut where it does not fit, blank texts harmless, all of it counted."""

from __future__ import annotations

import pytest
from tiny_encoders import POSITIONS

from evalkit.encoder.base import EncoderSpec, encoder


def of(folder, **more):
    return encoder(EncoderSpec(str(folder), **more))


def test_rows_are_what_the_tokenizer_gives(bert):
    enc = of(bert)
    row, same = enc.tokenise(["  The cat sat. ", "The cat sat."])
    assert list(row.ids) == enc.tokenizer("The cat sat.")["input_ids"]
    assert row == same
    assert row.special == (True, False, False, False, False, True)
    assert row.types == (0,) * 6
    assert (row.cut, row.blank) == (0, False)


def test_a_prefix_space_is_there_for_the_first_word_too(roberta):
    enc = of(roberta)
    (plain,), (spaced,) = enc.tokenise(["cat"]), enc.tokenise(["  cat "], prefix_space=True)
    assert list(plain.ids) == enc.tokenizer("cat")["input_ids"]
    assert list(spaced.ids) == enc.tokenizer(" cat")["input_ids"] != list(plain.ids)


@pytest.mark.parametrize("text", ["", "   ", "\n\t", " "])
@pytest.mark.parametrize("prefix", [False, True])
def test_a_blank_text_is_its_special_tokens(roberta, text, prefix):
    (row,) = of(roberta).tokenise([text], prefix_space=prefix)
    assert (row.ids, row.special, row.blank, row.cut) == ((0, 2), (True, True), True, 0)


def test_a_tokenizer_without_special_tokens_gives_one_for_a_blank_text(roberta):
    from tokenizers.processors import TemplateProcessing

    enc = of(roberta)
    enc.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$A")
    blank, word = enc.tokenise(["", "cat"])
    assert (len(blank.ids), blank.special, blank.blank) == (1, (True,), True)
    assert not any(word.special)


def test_no_texts_are_no_rows(bert):
    assert of(bert).tokenise([]) == []


@pytest.mark.parametrize(("name", "most"), [("bert", POSITIONS), ("roberta", POSITIONS - 2)])
def test_most_tokens_is_what_the_positions_allow(name, most, request):
    """RoBERTa's first position is the one after its padding index: two of its positions are never used."""
    enc = of(request.getfixturevalue(name))
    assert enc.max_tokens() == most
    (row,) = enc.tokenise(["the cat sat on the mat " * 30])
    assert len(row.ids) == most
    assert row.special[0] and row.special[-1] and not any(row.special[1:-1])
    assert row.cut == len(enc.tokenizer("the cat sat on the mat " * 29 + "the cat sat on the mat")["input_ids"]) - most


def test_the_tokenizers_own_limit_counts_too(bert):
    enc = of(bert)
    enc.tokenizer.model_max_length = 12
    from evalkit.encoder.tokenising import most_tokens

    assert most_tokens(enc.tokenizer, enc.module) == 12
    enc.tokenizer.model_max_length = int(1e30)
    assert most_tokens(enc.tokenizer, None) == 512


def test_fewer_tokens_can_be_asked_for_but_not_more(bert):
    enc = of(bert)
    row, other = enc.tokenise(["the cat sat on the mat"], max_tokens=5), enc.tokenise(["the cat " * 50], max_tokens=5000)
    assert (len(row[0].ids), row[0].cut) == (5, 3)
    assert len(other[0].ids) == POSITIONS


def test_distinct_texts_are_counted_once_with_what_was_cut_or_blank(bert):
    enc = of(bert)
    enc.tokenise(["a", "a", "", "the cat " * 50])
    enc.tokenise(["a", "b", "the cat " * 50])
    assert (enc.counts.texts, enc.counts.cut, enc.counts.blank) == (4, 1, 1)


def test_lone_surrogates_and_control_characters_are_texts_like_others(bert):
    rows = of(bert).tokenise(["caf\u00e9 \x00 \u200b", "\U0001f600", "東京"])
    assert all(len(row.ids) > 2 for row in rows[1:])


def test_special_tokens_in_a_text_are_not_marked_as_the_tokenizers_own(bert):
    (row,) = of(bert).tokenise(["the [SEP] cat"])
    assert row.special == (True, False, False, False, True)
