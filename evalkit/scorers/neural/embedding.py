"""Embedding similarity: how close an answer's meaning is to a reference's, as the cosine of two pooled vectors.

The way of Sentence-BERT (Reimers and Gurevych, 2019): the states of the last layer, pooled over a text's tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evalkit.encoder.base import Batch, Checkpoint, Encoder, Rows, Tokens
from evalkit.errors import ScorerError
from evalkit.scorers.base import MetricInfo
from evalkit.scorers.common import NO_REFERENCE, answers, no_answer, one_of, references, serves, whole
from evalkit.scorers.neural.base import NeuralScorer, scored
from evalkit.types import Json, Record, Score

POOLINGS = ("mean", "cls", "max")
_VERSION = 1

#: Keys of sentence-transformers' pooling configuration.
_POOLING_KEYS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
}


@dataclass(frozen=True, slots=True)
class Sentences:
    """How a text becomes one vector: the pooling of its states, most tokens, what is put before it, lower case or not."""

    pooling: str = "mean"
    max_tokens: int | None = None
    prompt: str = ""
    lower: bool = False

    def dressed(self, text: str) -> str:
        """The text as the network gets it."""
        text = self.prompt + text.strip()
        return text.lower() if self.lower else text


@serves("generate_until")
class EmbeddingSimilarity(NeuralScorer):
    """Cosine of sentence embeddings between the answer and its nearest reference.

    In [-1, 1]; several answers of a sample count with their mean. ``model`` is a folder of sentence-transformers (its own
    pooling, length, prompt and lower-casing are followed; a further module such as `Dense` is refused) or any encoder. A
    blank text has the vector of the special tokens alone.

    Args:
        pooling: ``mean`` (over all tokens, special ones too), ``cls`` or ``max``; ``None``: as the folder says, else mean.
        max_tokens: longer texts are cut, special tokens counted; ``None``: as the folder or the network says.
        model, dtype, device, batch_tokens, cache, revision: see `NeuralScorer`.
    """

    name = "embedding_similarity"
    network = "embedding"
    metrics = (MetricInfo("embedding_similarity", low=-1.0, high=1.0, ideal=1.0, mean=True),)

    def __init__(
        self,
        model: str,
        pooling: str | None = None,
        max_tokens: int | None = None,
        dtype: str = "float32",
        device: str = "auto",
        batch_tokens: int | None = None,
        cache: bool = True,
        revision: str | None = None,
    ) -> None:
        super().__init__(model, dtype=dtype, device=device, batch_tokens=batch_tokens, cache=cache, revision=revision)
        self._pooling = None if pooling is None else one_of("pooling", pooling, POOLINGS)
        self._max_tokens = None if max_tokens is None else whole("max_tokens", max_tokens)
        self._how: Sentences | None = None

    @property
    def how(self) -> Sentences:
        """The folder's own settings, with what the user asked for in their place."""
        if self._how is None:
            own = sentences(self.place)
            self._how = replace(own, pooling=self._pooling or own.pooling, max_tokens=self._max_tokens or own.max_tokens)
        return self._how

    def parameters(self) -> Mapping[str, Json]:
        how = self.how
        own = {"max_tokens": how.max_tokens, "prompt": how.prompt, "lower": how.lower}
        return {**super().parameters(), "pooling": how.pooling, **{k: v for k, v in own.items() if v}}

    def score(self, records: Sequence[Record], state: Any) -> Sequence[Score]:
        """All texts of the records are encoded in one go, equal ones once."""
        given = [answers(record) for record in records]
        golds = [references(record.sample) for record in records]
        usable = [texts is not None and bool(gold) for texts, gold in zip(given, golds, strict=True)]
        wanted = [t for texts, gold, use in zip(given, golds, usable, strict=True) if use for t in (*(texts or ()), *gold)]
        vectors, tokens = self.vectors(wanted)
        scores = []
        for record, said, gold in zip(records, given, golds, strict=True):
            if said is None:
                scores.append(Score.unscored(no_answer(record)))
            elif not gold:
                scores.append(Score.unscored(NO_REFERENCE))
            else:
                value = float(np.mean([max(cosine(vectors[a], vectors[g]) for g in gold) for a in said]))
                scores.append(scored((value,), value, [tokens[t] for t in (*said, *gold)]))
        return scores

    def vectors(self, texts: Iterable[str]) -> tuple[dict[str, Rows], dict[str, Tokens]]:
        """The vector of length 1 (see `cosine`) and the tokens of each text, all encoded in one go, equal ones once."""
        encoder = self.encoder()
        wanted = list(dict.fromkeys(texts))
        rows = encoder.tokenise([self.how.dressed(text) for text in wanted], max_tokens=self.how.max_tokens)
        rows = [replace(row, blank=not text.strip()) for row, text in zip(rows, wanted, strict=True)]
        found = embedded(encoder, rows, self.how.pooling)
        return dict(zip(wanted, found, strict=True)), dict(zip(wanted, rows, strict=True))


def embedded(encoder: Encoder, rows: Sequence[Tokens], pooling: str) -> list[Rows]:
    """One vector of length 1 a row, shape (width,): the last layer's states, pooled by ``mean``, ``cls`` or ``max``."""
    module = encoder.module
    stack = module.get_encoder() if getattr(module.config, "is_encoder_decoder", False) else module

    def forward(batch: Batch) -> Sequence[Any]:
        import torch

        types = {} if batch.types is None else {"token_type_ids": batch.types}
        states = stack(input_ids=batch.ids, attention_mask=batch.mask, **types).last_hidden_state.float()
        mask = batch.mask.unsqueeze(-1)
        if pooling == "cls":
            pooled = states[:, 0]
        elif pooling == "max":
            pooled = states.masked_fill(mask == 0, -torch.inf).amax(dim=1)
        else:
            pooled = (states * mask).sum(dim=1) / mask.sum(dim=1)
        return list(torch.nn.functional.normalize(pooled, dim=-1).unbind())

    return encoder.map(rows, forward, key=f"sentence|{pooling}|{_VERSION}", what="embedding")


def cosine(first: Rows, second: Rows) -> float:
    """Cosine of two vectors of length 1, in [-1, 1]."""
    return float(np.clip(np.dot(first.astype(np.float64), second.astype(np.float64)), -1.0, 1.0))


def sentences(place: Checkpoint) -> Sentences:
    """What a sentence-transformers folder says of its pooling and length; the defaults for any other checkpoint.

    Raises ScorerError for a pooling or a further module that is not computed here: the vectors would be other ones.
    """
    modules = _json(place, "modules.json")
    if modules is None:
        return Sentences()
    folder, pooling = "", "mean"
    for module in modules:
        kind = str(module.get("type", "")).rsplit(".", 1)[-1]
        path = str(module.get("path", ""))
        if kind == "Transformer":
            folder = f"{path}/" if path else ""
        elif kind == "Pooling":
            pooling = _pooling(place, _json(place, f"{path}/config.json") or {})
        elif kind != "Normalize":
            raise ScorerError(f"{place.source} has a {kind} module, which embedding_similarity does not compute")
    if folder:
        raise ScorerError(f"{place.source} keeps its network in {folder}: give that directory, and pooling={pooling}")
    own = _json(place, "sentence_bert_config.json") or {}
    rules = _json(place, "config_sentence_transformers.json") or {}
    prompt = (rules.get("prompts") or {}).get(rules.get("default_prompt_name"), "")
    length = own.get("max_seq_length")
    return Sentences(pooling, int(length) if length else None, str(prompt), bool(own.get("do_lower_case")))


def _pooling(place: Checkpoint, config: Mapping[str, Any]) -> str:
    if "pooling_mode" in config:
        modes = [str(config["pooling_mode"])]
    else:
        modes = [_POOLING_KEYS.get(key, key) for key, on in config.items() if key.startswith("pooling_mode_") and on is True]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise ScorerError(
            f"{place.source} pools by {' and '.join(modes) or 'nothing'}; embedding_similarity knows {', '.join(POOLINGS)}"
        )
    return modes[0]


def _json(place: Checkpoint, name: str) -> Any:
    path = place.file(name)
    if path is None:
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ScorerError(f"{path} is no JSON: {error}") from error
