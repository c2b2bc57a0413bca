"""From text to the tokens that are scored or continued: exactly lm-eval 0.4's rules, batched.

Where lm-eval would crash (nothing left to score, a continuation longer than the model), the cut says so instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

#: What transformers reports as ``model_max_length`` where the tokenizer names none.
_UNSET_LENGTH = 10**20

#: Texts tokenised in one call: what comes back beside the ids (offsets, masks) is some 20 times their size.
_TOGETHER = 512


@dataclass(frozen=True, slots=True)
class Cut:
    """One stretch of tokens to score: ``continuation`` given ``context``, after truncation.

    ``truncated`` counts the context tokens dropped from the left. ``problem`` says why it cannot be scored, if so:
    ``empty-continuation`` or ``continuation-too-long``.
    """

    context: list[int]
    continuation: list[int]
    truncated: int = 0
    problem: str | None = None


def resolve_max_length(config: Any, tokenizer: Any, default: int = 2048) -> int:
    """The model's window in tokens: its (text) config, else its tokenizer, else ``default``."""
    text_config = getattr(config, "text_config", None) or config
    for name in ("n_positions", "max_position_embeddings", "n_ctx"):
        value = getattr(text_config, name, None)
        if value is not None:
            return int(value)
    limit = getattr(tokenizer, "model_max_length", None)
    return int(limit) if limit is not None and limit < _UNSET_LENGTH else default


class Tokens:
    """A tokenizer with the rules about beginnings and lengths.

    ``add_bos_token`` None leaves special tokens to the tokenizer; a text that already begins with the prefix token's text
    never gets another one. ``prefix_token_id`` stands in for an empty context: else BOS, else EOS.
    """

    def __init__(
        self, tokenizer: Any, max_length: int, add_bos_token: bool | None = None, prefix_token_id: int | None = None
    ) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.add_bos_token = add_bos_token
        known = (prefix_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
        self.prefix_id = next((int(token) for token in known if token is not None), 0)
        self._prefix_text = str(tokenizer.decode([self.prefix_id]))
        self._bos_text = str(tokenizer.bos_token) if tokenizer.bos_token is not None else None

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts to score, each distinct text encoded once."""
        return self._encode(texts, self._prefix_text)

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Cut]:
        """Each ``(context, continuation)`` cut in two and truncated from the left to ``max_length + 1`` tokens.

        The context's trailing blanks belong to the continuation, and the two are encoded as one text: what follows the
        context's own tokens is scored. A context without tokens is replaced by the prefix token.
        """
        moved = [_move_blanks(context, continuation) for context, continuation in pairs]
        contexts = self.encode([context for context, _ in moved])
        wholes = self.encode([context + continuation for context, continuation in moved])
        alone = self._encode_bare({c for (original, _), (_, c) in zip(pairs, moved, strict=True) if not original})
        cuts = []
        for (original, _), (_, continuation), context, whole in zip(pairs, moved, contexts, wholes, strict=True):
            if original == "":
                cuts.append(self._fit(*self._after_prefix(alone[continuation])))
            elif not context:
                cuts.append(self._fit(*self._after_prefix(whole)))
            else:
                cuts.append(self._fit(context, whole[len(context) :]))
        return cuts

    def windows(self, texts: Sequence[str]) -> list[list[Cut]]:
        """Each text in disjoint windows of ``max_length`` scored tokens, as rolling perplexity needs them.

        The first window is conditioned on the prefix token; the last one is filled up on the left with context.
        """
        return [list(self._windows(ids)) for ids in self.encode(texts)]

    def prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of prompts to continue, not yet truncated; an empty one is the prefix token."""
        return [ids or [self.prefix_id] for ids in self._encode(texts, self._bos_text)]

    def texts_of(self, ids: Sequence[int]) -> tuple[str, ...]:
        """Each token as the text it stands for."""
        return tuple(self.decode([token]) for token in ids)

    def decode(self, ids: Sequence[int], *, skip_special: bool = False) -> str:
        """Tokens as text, special tokens included unless ``skip_special``."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=skip_special))

    def _encode(self, texts: Sequence[str], beginning: str | None) -> list[list[int]]:
        """A text that already starts with ``beginning`` gets no special tokens."""
        bare: dict[str, list[int]] = {}
        rest: dict[str, list[int]] = {}
        for text in texts:
            (bare if beginning is not None and text.startswith(beginning) else rest).setdefault(text, [])
        self._fill(bare, False)
        self._fill(rest, self.add_bos_token)
        return [bare[text] if text in bare else rest[text] for text in texts]

    def _encode_bare(self, texts: Iterable[str]) -> dict[str, list[int]]:
        """Token ids by text, without special tokens."""
        table: dict[str, list[int]] = {text: [] for text in texts}
        self._fill(table, False)
        return table

    def _after_prefix(self, ids: list[int]) -> tuple[list[int], list[int]]:
        if ids and ids[0] == self.prefix_id:
            return ids[:1], ids[1:]
        return [self.prefix_id], ids

    def _fit(self, context: list[int], continuation: list[int]) -> Cut:
        if not continuation:
            return Cut(context, continuation, problem="empty-continuation")
        if len(continuation) > self.max_length:
            return Cut(context, continuation, problem="continuation-too-long")
        excess = max(len(context) + len(continuation) - (self.max_length + 1), 0)
        return Cut(context[excess:], continuation, truncated=excess)

    def _windows(self, ids: list[int]) -> Iterable[Cut]:
        size, done = self.max_length, min(self.max_length, len(ids))
        if ids:
            yield Cut([self.prefix_id], ids[:done])
        while done < len(ids):
            end = min(done + size, len(ids))
            yield Cut(ids[end - size - 1 : done], ids[done:end])
            done = end

    def _fill(self, table: dict[str, list[int]], special: bool | None) -> None:
        flags = {} if special is None else {"add_special_tokens": special}
        texts = list(table)
        for start in range(0, len(texts), _TOGETHER):
            some = texts[start : start + _TOGETHER]
            encoded = self.tokenizer(some, return_attention_mask=False, verbose=False, **flags)["input_ids"]
            table.update(zip(some, encoded, strict=True))


def _move_blanks(context: str, continuation: str) -> tuple[str, str]:
    stripped = context.rstrip()
    return stripped, context[len(stripped) :] + continuation
