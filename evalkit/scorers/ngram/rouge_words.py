"""The words that ROUGE compares: as the ``rouge-score`` package splits text, or as Unicode knows letters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any

#: From a text to its words.
Tokenizer = Callable[[str], list[str]]

TOKENIZERS = ("default", "unicode")
_ASCII_WORDS = re.compile(r"[a-z0-9]+")
_MAX_STEMS = 1_000_000
#: Scripts written without spaces between words: each of their characters is a token.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+")
_WIDE_SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])\s*")


class Stems(dict[str, str]):
    """Porter stems by word (nltk's, as rouge-score uses), of ASCII words of more than three characters; learnt on use."""

    def __init__(self) -> None:
        super().__init__()
        from nltk.stem.porter import PorterStemmer

        self._stem = PorterStemmer().stem

    def __missing__(self, word: str) -> str:
        if len(self) >= _MAX_STEMS:  # a vocabulary never gets here; random strings may
            self.clear()
        stem = str(self._stem(word)) if len(word) > 3 and word.isascii() else word
        self[word] = stem
        return stem


@cache
def stems() -> Stems:
    """The stems this process has learnt."""
    return Stems()


@cache
def _unicode_words() -> Any:
    import regex

    return regex.compile(
        rf"(?V1)[[{_UNSPACED}]&&[\p{{L}}\p{{N}}]][\p{{M}}ー]*"
        rf"|[[\p{{L}}\p{{N}}]--[{_UNSPACED}]][[\p{{L}}\p{{M}}\p{{N}}]--[{_UNSPACED}]]*"
    )


def default_words(text: str) -> list[str]:
    """Runs of a-z and 0-9 of the lower-cased text: rouge-score's tokens, in which other scripts vanish."""
    return _ASCII_WORDS.findall(text.lower())


def unicode_words(text: str) -> list[str]:
    """Letters, marks and digits of every script, compatibility forms and case folded.

    Chinese, Japanese, Thai, Lao, Khmer and Burmese, which put no spaces between words, give one token a character.
    """
    words: list[str] = _unicode_words().findall(_folded(text))
    return words


def has_words(text: str, tokenizer_name: str) -> bool:
    """Whether the tokenizer finds anything in ``text``."""
    if tokenizer_name == "default":
        return _ASCII_WORDS.search(text.lower()) is not None
    return _unicode_words().search(_folded(text)) is not None


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def tokenizer(name: str, use_stemmer: bool) -> Tokenizer:
    """The tokenizer called ``name`` (one of `TOKENIZERS`), with stemming where asked for."""
    words = default_words if name == "default" else unicode_words
    if not use_stemmer:
        return words
    stem = stems().__getitem__
    # rouge-score drops a token that stemming left empty
    return lambda text: list(filter(None, map(stem, words(text))))


def one_sentence_a_line(text: str, tokenizer_name: str = "default") -> str:
    """``text`` with a line break after each ``.``, ``!`` or ``?`` before white space; with ``unicode`` after 。！？ too."""
    return (_SENTENCE_ENDS if tokenizer_name == "default" else _WIDE_SENTENCE_ENDS).sub("\n", text)
