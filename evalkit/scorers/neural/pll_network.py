"""Pseudo-log-likelihood: every token of a sentence in turn hidden from a masked language model, and how likely it finds it.

Salazar et al. (2020), "Masked Language Model Scoring"; ``within_word_l2r``: Kauf and Ivanova (2023), "A Better Way to Do
Masked Language Model Scoring", where the later pieces of the token's own word are hidden with it, as the first pieces of a
rare word else give away the last. Special tokens are neither hidden nor counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

from evalkit.encoder.base import Batch, Checkpoint, Encoder, EncoderSpec, Forward, Tokens
from evalkit.errors import ScorerError
from evalkit.scorers.neural.whole_models import load_whole, require_family

Variant = Literal["original", "within_word_l2r"]
VARIANTS: tuple[Variant, ...] = ("original", "within_word_l2r")
EXPECTED = "a masked language model (Hugging Face format, such as BERT or RoBERTa)"

#: Ids of masked copies that are made at once; a sentence of n tokens needs n copies of n.
_IDS_AT_ONCE = 1 << 23
_KEY = "pll:1"


def load(spec: EncoderSpec) -> tuple[Any, Any]:
    """The network with its vocabulary layer, and its tokeniser. Raises ScorerError where it is no masked language model."""
    from transformers import AutoModelForMaskedLM

    module, tokenizer = load_whole(spec, AutoModelForMaskedLM, _families(), EXPECTED)
    if tokenizer.mask_token_id is None:
        raise ScorerError(f"the tokeniser of {spec.model} has no mask token: expected {EXPECTED}")
    return module, tokenizer


def require_kind(place: Checkpoint) -> None:
    """Raises ScorerError for a checkpoint of another kind, by its configuration alone."""
    require_family(place, _families(), EXPECTED)


def _families() -> set[str]:
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as FAMILIES

    return set(FAMILIES) - {"bart", "mbart", "mvp"}  # transformers lists them, but they write a text anew


def sentence_scores(network: Encoder, texts: Sequence[str], variant: Variant = "original") -> list[tuple[float, int]]:
    """Sum of log-probabilities (natural log) and number of tokens of each text; ``(0.0, 0)`` for a blank one.

    A text that does not fit the network is scored as far as it fits: `Encoder.counts` and `sentence_rows` tell.
    """
    found = token_scores(network, sentence_rows(network, texts), texts, variant)
    return [(sum(values), len(values)) for values in found]


def sentence_rows(network: Encoder, texts: Sequence[str]) -> list[Tokens]:
    """The texts' tokens, stripped and cut where they do not fit."""
    return network.tokenise(texts)


def token_scores(
    network: Encoder, rows: Sequence[Tokens], texts: Sequence[str], variant: Variant = "original"
) -> list[list[float]]:
    """Log-probability of each token that is not special, for every row of `sentence_rows` of ``texts``."""
    words = _words(network, rows, texts) if variant == "within_word_l2r" else [None] * len(rows)
    mask = int(network.tokenizer.mask_token_id)
    found: list[list[float]] = [[] for _ in rows]
    for part in _parts(rows):
        copies = [(i, copy) for i in part for copy in masked_copies(rows[i], mask, words[i])]
        values = network.map([copy for _, copy in copies], _forward(network.module), key=_KEY, what="pseudo-likelihood")
        for (i, _), value in zip(copies, values, strict=True):
            found[i].append(float(value))
    return found


def masked_copies(row: Tokens, mask: int, words: Sequence[int | None] | None = None) -> Iterator[Tokens]:
    """The row once for every token that is not special, that token hidden; ``target`` is its position and its id.

    ``words`` (a word's number for each token, ``None`` for special ones): the later tokens of its word are hidden with it.
    """
    for at, (token, special) in enumerate(zip(row.ids, row.special, strict=True)):
        if special:
            continue
        ids = list(row.ids)
        ids[at] = mask
        if words is not None:
            for later in range(at + 1, len(ids)):
                if words[later] == words[at]:
                    ids[later] = mask
        yield replace(row, ids=tuple(ids), target=(at, token))


def _words(network: Encoder, rows: Sequence[Tokens], texts: Sequence[str]) -> list[Sequence[int | None] | None]:
    """Which word each token of a row belongs to, as the tokeniser's own first splitting has it."""
    if not network.tokenizer.is_fast:
        raise ScorerError(f"variant within_word_l2r needs a fast tokeniser, to know words; {network.spec.model} has none")
    stripped = [text.strip() for text in texts]
    if not stripped:
        return []
    encoded = network.tokenizer(stripped, add_special_tokens=False, verbose=False)
    found: list[Sequence[int | None] | None] = []
    for i, row in enumerate(rows):
        inner = iter(encoded.word_ids(i))
        found.append([None if special else next(inner) for special in row.special])
    return found


def _parts(rows: Sequence[Tokens]) -> Iterator[list[int]]:
    """Indices of rows in runs whose masked copies are not too many to hold."""
    part: list[int] = []
    held = 0
    for i, row in enumerate(rows):
        part.append(i)
        held += len(row.ids) ** 2
        if held >= _IDS_AT_ONCE:
            yield part
            part, held = [], 0
    if part:
        yield part


def _forward(module: Any) -> Forward:
    """The log-probability of each row's hidden token.

    The vocabulary layer is most of the work and nearly all of the memory, and only one position of a row is asked for: a
    hook cuts what goes into that layer to that position. In a network that has no such layer the logits are cut instead.
    """
    head = module.get_output_embeddings()

    def scores(batch: Batch) -> Any:
        import torch

        each = torch.arange(len(batch.rows), device=batch.ids.device)
        at, token = batch.target[:, 0], batch.target[:, 1]

        def only_asked(_: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            states = inputs[0]
            return (states[each, at][:, None], *inputs[1:]) if states.shape[:2] == batch.ids.shape else inputs

        types = {} if batch.types is None else {"token_type_ids": batch.types}
        hook = None if head is None else head.register_forward_pre_hook(only_asked)
        try:
            logits = module(input_ids=batch.ids, attention_mask=batch.mask, return_dict=True, **types).logits
        finally:
            if hook is not None:
                hook.remove()
        wanted = (logits[:, 0] if logits.shape[1] == 1 else logits[each, at]).float()
        return wanted[each, token] - wanted.logsumexp(dim=1)

    return scores
