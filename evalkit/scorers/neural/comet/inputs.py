"""Texts to a COMET network's input: one text with its special tokens, or translation, source and reference in one row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evalkit.encoder.base import Tokens


@dataclass(frozen=True, slots=True)
class Piece:
    """One tokenised text: ids between the two special ones, which are the first and the last.

    ``offsets`` are characters of the text by token, (0, 0) for special ones; ``cut`` counts tokens that did not fit.
    """

    ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]
    cut: int
    blank: bool

    def alone(self) -> Tokens:
        """The row of a text that is encoded by itself."""
        special = (True, *(False,) * (len(self.ids) - 2), True)
        return Tokens(self.ids, special, cut=self.cut, blank=self.blank)


def pieces(tokenizer: Any, texts: Sequence[str], most: int) -> dict[str, Piece]:
    """Each distinct text tokenised, in one batched call, and cut at the end to ``most`` tokens with the special ones."""
    unique = list(dict.fromkeys(texts))
    if not unique:
        return {}
    made = tokenizer(unique, return_offsets_mapping=True, return_attention_mask=False, truncation=False, verbose=False)
    found = {}
    for text, ids, offsets in zip(unique, made["input_ids"], made["offset_mapping"], strict=True):
        over = max(0, len(ids) - most)
        if over:
            ids, offsets = [*ids[: most - 1], ids[-1]], [*offsets[: most - 1], offsets[-1]]
        found[text] = Piece(tuple(ids), tuple((int(a), int(b)) for a, b in offsets), over, not text.strip())
    return found


def joint(mt: Piece, others: Sequence[Piece], separators: int, most: int, types: bool) -> Tokens:
    """``<s> mt </s></s> src </s></s> ref </s>``: the translation first, ``separators`` special tokens between two texts.

    A row over ``most`` tokens is cut, the last special token with it (as COMET does). With ``types``, the translation's
    tokens are of type 0 and all others of type 1. The second special token of the row ends the translation.
    """
    end = mt.ids[-1]
    ids, special = list(mt.ids), list(mt.alone().special)
    for piece in others:
        ids += [end] * (separators - 1) + list(piece.ids[1:])
        special += [True] * (separators - 1) + [False] * (len(piece.ids) - 2) + [True]
    over = max(0, len(ids) - most)
    kept = len(ids) - over
    kinds = ([0] * len(mt.ids) + [1] * len(ids))[:kept] if types else None
    return Tokens(
        tuple(ids[:kept]),
        tuple(special[:kept]),
        None if kinds is None else tuple(kinds),
        cut=mt.cut + sum(piece.cut for piece in others) + over,
        blank=mt.blank or any(piece.blank for piece in others),
    )


def translation_tokens(row: Tokens) -> int:
    """Tokens of a joint row that belong to the translation, its two special ones included."""
    return row.special.index(True, 1) + 1
