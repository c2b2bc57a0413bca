"""How far a model agrees with itself: several answers to the same prompt, compared with each other.

No reference is read. Answers that a model makes up scatter when it is asked again, those it knows come back: Wang et al.
(2203.11171) take the vote, Farquhar et al. (Nature 2024) the entropy. Agreement is no proof: a model may repeat one error.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from evalkit.encoder.base import Tokens
from evalkit.errors import ScorerError
from evalkit.scorers.base import Array, BaseScorer, MetricInfo
from evalkit.scorers.common import one_of, serves, share
from evalkit.scorers.neural.base import scored
from evalkit.scorers.neural.embedding import EmbeddingSimilarity, cosine
from evalkit.scorers.ngram.rouge import rouge_scores
from evalkit.scorers.repeats import Extracted
from evalkit.scorers.sampled import drawn, greedy, greedy_note
from evalkit.types import Json, Record, Score

NAME = "self_consistency"

#: How alike two answers are, in [0, 1] (cosines in [-1, 1]).
Alike = Callable[[str, str], float]


@serves("generate_until")
def self_consistency(
    by: str = "exact",
    pattern: str | None = None,
    ignore_case: bool = False,
    ignore_punctuation: bool = False,
    model: str | None = None,
    device: str = "auto",
) -> BaseScorer:
    """Agreement among several answers to one prompt (``repeats`` in the task); no reference is read.

    ``by``: exact (equal answers; ``pattern``, ``ignore_case`` and ``ignore_punctuation`` as in majority_vote), rouge (mean
    pairwise ROUGE-L) or embedding (mean pairwise cosine by the encoder ``model``, as in embedding_similarity).
    """
    if one_of("by", by, ("exact", "rouge", "embedding")) == "embedding":
        if model is None:
            raise ScorerError("scorer 'self_consistency': by embedding needs model, a hub id or a directory of an encoder")
        return EmbeddingAgreement(model, device=device)
    if model is not None:
        raise ScorerError(f"scorer 'self_consistency': model is for by: embedding, not by: {by}")
    if by == "exact":
        return ExactAgreement(pattern, ignore_case, ignore_punctuation)
    if pattern is not None or ignore_case or ignore_punctuation:
        raise ScorerError("scorer 'self_consistency': pattern, ignore_case and ignore_punctuation are for by: exact")
    return RougeAgreement()


class ExactAgreement(Extracted):
    """Agreement of answers that are equal or not, after the pattern and the cleaning of `majority_vote`.

    ``self_consistency``: share of the pairs of answers that are equal; ``majority_share``: share of answers that are the
    most frequent one; ``distinct_answers``: how many there are; ``answer_entropy``: of their frequencies, in bits. An answer
    in which the pattern finds nothing equals no other one.
    """

    name = NAME
    metrics = (
        share(NAME, 0, proportion=False),
        MetricInfo("majority_share", low=0.0, high=1.0, ideal=1.0, mean=True, column=1, headline=False),
        MetricInfo("distinct_answers", False, low=1.0, ideal=1.0, mean=True, column=2, headline=False),
        MetricInfo("answer_entropy", False, low=0.0, ideal=0.0, mean=True, column=3, headline=False),
    )

    def parameters(self) -> Mapping[str, Json]:
        return {"by": "exact", **super().parameters()}

    def score_one(self, record: Record) -> Score:
        given = drawn(record)
        if isinstance(given, str):
            return Score.unscored(given)
        kept = [self.extract(answer) for answer in given]
        counts = Counter(answer for answer in kept if answer is not None)
        without = kept.count(None)
        sizes = [*counts.values(), *([1] * without)]
        n = len(given)
        pairs = sum(size * (size - 1) for size in sizes) / (n * (n - 1))
        entropy = math.log2(n) - math.fsum(size * math.log2(size) for size in sizes) / n
        shown: dict[str, Json] = {"answers": n, "votes": dict(counts.most_common(5))}
        if without:
            shown["without_match"] = without
        row = (pairs, max(sizes) / n, float(len(sizes)), max(0.0, entropy), float(without), float(greedy(record)))
        return Score(row, pairs, detail=shown)

    def notes(self, stats: Array) -> Sequence[str]:
        without = int((stats[:, 4] > 0).sum())
        told = (f"{without} with answers in which the pattern finds nothing, which count as disagreeing",) if without else ()
        return (*told, *greedy_note(int(stats[:, 5].sum())))


class RougeAgreement(BaseScorer):
    """Agreement of longer answers by their words: the mean over all pairs of ROUGE-L's F, words of every script."""

    name = NAME
    metrics = (share(NAME, proportion=False),)

    def parameters(self) -> Mapping[str, Json]:
        return {"by": "rougeL", "tokenizer": "unicode"}

    def score_one(self, record: Record) -> Score:
        given = drawn(record)
        if isinstance(given, str):
            return Score.unscored(given)
        pairs = [(first, second) for first, second in combinations(given, 2) if first != second]
        found = rouge_scores(
            [first for first, _ in pairs], [[second] for _, second in pairs], ("rougeL",), tokenizer="unicode"
        )
        values = dict(zip(pairs, (float(result["rougeL"].fmeasure) for result in found), strict=True))
        value, shown = _pairwise(given, lambda first, second: values[first, second])
        return Score((value, float(greedy(record))), value, detail=shown)

    def notes(self, stats: Array) -> Sequence[str]:
        return greedy_note(int(stats[:, 1].sum()))


class EmbeddingAgreement(BaseScorer):
    """Agreement of answers by their meaning: the mean over all pairs of the cosine of their sentence embeddings."""

    name = NAME
    live = False
    metrics = (MetricInfo(NAME, low=-1.0, high=1.0, ideal=1.0, mean=True),)

    def __init__(self, model: str, *, device: str = "auto") -> None:
        self._encoder = EmbeddingSimilarity(model, device=device)
        self.check = self._encoder.check

    def parameters(self) -> Mapping[str, Json]:
        return {"by": "embedding", **self._encoder.parameters()}

    def score(self, records: Sequence[Record], state: Any) -> Sequence[Score]:
        """All answers of the records are encoded in one go, equal ones once."""
        given = [drawn(record) for record in records]
        texts = [answer for answers in given if not isinstance(answers, str) for answer in answers]
        vectors, tokens = self._encoder.vectors(texts) if texts else ({}, dict[str, Tokens]())
        scores = []
        for record, answers in zip(records, given, strict=True):
            if isinstance(answers, str):
                scores.append(Score.unscored(answers))
                continue
            value, shown = _pairwise(answers, lambda first, second: cosine(vectors[first], vectors[second]))
            scores.append(scored((value, float(greedy(record))), value, [tokens[answer] for answer in answers], **shown))
        return scores

    def detail(self, stats: Array) -> Mapping[str, Json]:
        return self._encoder.detail(stats)

    def notes(self, stats: Array) -> Sequence[str]:
        return (*self._encoder.notes(stats), *greedy_note(int(stats[:, 1].sum())))


def _pairwise(answers: Sequence[str], alike: Alike) -> tuple[float, dict[str, Json]]:
    """The mean over all pairs, and what the report shows: how many answers, the least alike pair. Equal texts are 1."""
    values = [1.0 if first == second else alike(first, second) for first, second in combinations(answers, 2)]
    return float(np.mean(values)), {"answers": len(answers), "least_alike": round(min(values), 6)}
