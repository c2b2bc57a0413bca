"""Where a text being generated ends: stop strings and end tokens, found in what is new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evalkit.engine.base import GenerateJob


class Stops:
    """The stop strings of one job: `ended` is asked once after each new token.

    A stop string may begin and end inside of tokens; before the last ``think_end`` it does not count. Only as many tokens
    are decoded as the longest of the strings has bytes, and one more that may be only partly its own; and only where the
    new token could be the one that completes a string.
    """

    def __init__(self, job: GenerateJob, pieces: Pieces) -> None:
        self._job, self._pieces = job, pieces
        strings = (*job.until, *((job.think_end,) if job.think_end else ()))
        self.look = max((len(text.encode()) for text in strings), default=0) + 1
        self._closing = frozenset(text[-1] for text in strings if text)
        self._always = any(not text for text in job.until) or job.think_end == ""
        self._found: tuple[int, int] | None = None
        """Where the tokens begin that were decoded when thinking was first found to end, and where they ended."""
        self._over = False
        """Whether no later token can change that."""

    def ended(self, tokens: Sequence[int]) -> bool:
        """Whether a stop string is complete with the last of the new ``tokens``."""
        if not self._always and not self._pieces.may_hold(tokens[-1], self._closing):
            return False
        said = self._said(tokens)
        return said is not None and any(stop in said for stop in self._job.until)

    def _said(self, tokens: Sequence[int]) -> str | None:
        """The end of the text, as far as it is behind the last end of thinking; None while there is none.

        Bytes that follow can take back what was found: those of a character that is not whole yet make the run that they
        are in unreadable.
        """
        begin = self._begin(tokens)
        end = self._job.think_end
        if end is None:
            return self._pieces.decode(tokens[begin:])
        if self._found is not None and not self._over:
            start, stop = self._found
            self._over = begin >= stop
            begin = begin if self._over else min(begin, start)
        text = self._pieces.decode(tokens[begin:])
        _, found, after = text.rpartition(end) if end else ("", "", "")
        if found:
            self._found = self._found or (begin, len(tokens))
            return after
        if self._over:
            return text
        self._found = None
        return None

    def _begin(self, tokens: Sequence[int]) -> int:
        """Where to decode from: not inside of a run of tokens that are text only together (bytes of characters)."""
        begin = max(len(tokens) - self.look, 0)
        while begin and not self._pieces.is_text(tokens[begin]):
            begin -= 1
        return begin


class Pieces:
    """Tokens as text, each looked up once."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._letters: dict[int, frozenset[str] | None] = {}

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens)))

    def may_hold(self, token: int, letters: frozenset[str]) -> bool:
        """Whether one of ``letters`` may be in the text of ``token``, or it is not a text by itself."""
        own = self._of(token)
        return own is None or not own.isdisjoint(letters)

    def is_text(self, token: int) -> bool:
        """Whether ``token`` is a text by itself."""
        return self._of(token) is not None

    def _of(self, token: int) -> frozenset[str] | None:
        if token not in self._letters:
            # Twice, since some tokenizers drop a blank at the beginning of a text.
            text = self.decode([token, token])
            whole = bool(text) and "\ufffd" not in text
            self._letters[token] = frozenset(text) if whole else None
        return self._letters[token]


def end_tokens(module: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end a text: the checkpoint's and the tokenizer's."""
    ends = getattr(getattr(module, "generation_config", None), "eos_token_id", None)
    several = ends if isinstance(ends, list | tuple) else [ends]
    return frozenset(int(token) for token in (*several, tokenizer.eos_token_id) if token is not None)
