"""Texts to rows of token ids: stripped, in one batched call, cut where they do not fit, and counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evalkit.encoder.base import Tokens
from evalkit.quiet import quiet

#: Tokenisers without a limit of their own say 1e30 or so.
_NO_LIMIT = 10**8
_FALLBACK = 512


def most_tokens(tokenizer: Any, module: Any) -> int:
    """Most tokens of a row, special ones included: the least of what tokeniser and positions allow, else 512."""
    limits = [int(getattr(tokenizer, "model_max_length", None) or _NO_LIMIT)]
    config = getattr(module, "config", None)
    positions = getattr(config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        limits.append(positions - _position_offset(module))
    least = min(limits)
    return least if least < _NO_LIMIT else _FALLBACK


def _position_offset(module: Any) -> int:
    """Positions that no token can have: RoBERTa's family counts from the padding index on."""
    for name, part in module.named_modules():
        if name.endswith("position_embeddings") and getattr(part, "padding_idx", None) is not None:
            return int(part.padding_idx) + 1
    return 0


def tokenised(tokenizer: Any, texts: Sequence[str], *, prefix_space: bool, most: int) -> list[Tokens]:
    """One row a text; see `Encoder.tokenise`. ``most`` >= 1."""
    distinct = list(dict.fromkeys(text.strip() for text in texts))
    given = [" " + text if text and prefix_space else text for text in distinct]
    rows: dict[str, Tokens] = {}
    if distinct:
        with quiet():
            full = _encode(tokenizer, given)
            long = [i for i, ids in enumerate(full["input_ids"]) if len(ids) > most]
            short = _encode(tokenizer, [given[i] for i in long], truncation=True, max_length=most) if long else {}
        cut_at = {i: j for j, i in enumerate(long)}
        for i, text in enumerate(distinct):
            source, at = (short, cut_at[i]) if i in cut_at else (full, i)
            rows[text] = _row(tokenizer, source, at, len(full["input_ids"][i]), blank=not text)
    return [rows[text.strip()] for text in texts]


def _encode(tokenizer: Any, texts: list[str], **how: Any) -> Mapping[str, Any]:
    encoded: Mapping[str, Any] = tokenizer(
        texts, add_special_tokens=True, return_special_tokens_mask=True, return_attention_mask=False, **how
    )
    return encoded


def _row(tokenizer: Any, encoded: Mapping[str, Any], at: int, full: int, *, blank: bool) -> Tokens:
    ids = tuple(encoded["input_ids"][at])
    if not ids:  # a tokeniser without special tokens makes nothing of a blank text, and a network needs something
        return Tokens((_any_special(tokenizer),), (True,), blank=True)
    special = tuple(flag == 1 for flag in encoded["special_tokens_mask"][at])
    types = encoded.get("token_type_ids")
    return Tokens(ids, special, None if types is None else tuple(types[at]), cut=full - len(ids), blank=blank)


def _any_special(tokenizer: Any) -> int:
    names = ("bos_token_id", "cls_token_id", "eos_token_id", "unk_token_id", "pad_token_id")
    return next((int(found) for name in names if (found := getattr(tokenizer, name, None)) is not None), 0)
