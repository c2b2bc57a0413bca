"""BERTScore's arithmetic (Zhang et al. 2020): inverse document frequencies and greedy matching, on plain arrays.

Every pair is one product of two matrices without padding, so that a score never depends on what else was in its batch
(the bert-score package sets padding to similarity 0, which beats a negative one: up to 9e-4 of difference). A padded batch
of products would also take four times as long on a CPU.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from evalkit.encoder.base import Rows, Tokens
from evalkit.scorers.base import Array


@dataclass(frozen=True, slots=True)
class TokenWeights:
    """How much a token id counts: ``known`` ids have their own weight, all others ``other``."""

    known: Mapping[int, float] = field(default_factory=dict)
    other: float = 1.0
    sentences: int = 0
    digest: str = ""
    """Hash of the sentences behind the weights; empty where all tokens count alike."""

    def of(self, ids: Sequence[int]) -> Array:
        """Weights (len(ids),)."""
        return np.array([self.known.get(i, self.other) for i in ids], dtype=np.float64)


def plain_weights(tokenizer: object) -> TokenWeights:
    """Every token counts 1, the separator and the class token 0, wherever they stand."""
    ids = (getattr(tokenizer, name, None) for name in ("sep_token_id", "cls_token_id"))
    return TokenWeights({i: 0.0 for i in ids if i is not None})


class Frequencies:
    """Document frequencies in the making: ``add`` sentences, then take `weights`."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._sentences = 0
        self._hash = hashlib.blake2b(digest_size=8)

    def add(self, rows: Iterable[Tokens]) -> None:
        """Count the sentences that each token id is in; equal sentences count as often as they come."""
        for row in rows:
            self._counts.update(set(row.ids))
            self._sentences += 1
            self._hash.update(np.array(row.ids, dtype=np.int64).tobytes() + b"|")

    def weights(self) -> TokenWeights:
        """idf(t) = ln((N + 1) / (df + 1)). Special tokens are in every sentence and so get 0."""
        n = self._sentences
        known = {i: math.log((n + 1) / (count + 1)) for i, count in self._counts.items()}
        return TokenWeights(known, math.log(n + 1), n, self._hash.hexdigest())


@dataclass(frozen=True, slots=True)
class Match:
    """Precision, recall and F1 of a pair, each at most 1; NaN where the weights of a side are all 0."""

    precision: float
    recall: float
    f1: float


#: A side without a token of its own scores 0.
BLANK = Match(0.0, 0.0, 0.0)


def is_blank(row: Tokens) -> bool:
    """Whether a row holds nothing but what the tokeniser adds."""
    return row.blank or all(row.special) or not row.ids


def match(candidate: Rows, reference: Rows, candidate_weights: Array, reference_weights: Array) -> Match:
    """Greedy matching of unit vectors (tokens, width): each token with the most similar one of the other side.

    Special tokens can be matched, though they have no weight of their own.
    """
    similarity = np.minimum(candidate @ reference.T, 1.0)  # rounding can put a unit vector's product with itself beyond
    precision = _weighted(similarity.max(axis=1), candidate_weights)
    recall = _weighted(similarity.max(axis=0), reference_weights)
    total = precision + recall
    return Match(precision, recall, 0.0 if total == 0 else 2 * precision * recall / total)


def _weighted(values: npt.NDArray[np.float32], weights: Array) -> float:
    total = float(weights.sum())
    return float(values @ weights) / total if total else math.nan


def best(matches: Sequence[Match]) -> Match:
    """The best precision, the best recall and the best F1 over references, each by itself; NaN only where all are."""
    columns = np.array([(m.precision, m.recall, m.f1) for m in matches])
    known = np.where(np.isnan(columns), -np.inf, columns).max(axis=0)
    return Match(*(float(x) if x > -np.inf else math.nan for x in known))
