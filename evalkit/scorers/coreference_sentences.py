"""Coreference by models that do not continue text: masked language models and sequence-to-sequence ones.

What such a model must give is one function; `masked_records` and `seq2seq_records` turn its numbers into the records that
the coreference scorers read, as if two continuations had been asked for. Samples are those of the tasks `winogender` and
`coreference_gender` (columns ``sentence``, ``pronoun`` and ``mentions``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from evalkit.errors import ScorerError
from evalkit.types import Failure, Record, Request, Response, Sample


class SentenceScores(Protocol):
    """How natural whole sentences are: `neural.pll_network.sentence_scores` with its network bound is one."""

    def __call__(self, texts: Sequence[str], /) -> Sequence[tuple[float, int]]:
        """Sum of (pseudo-)log-probabilities (natural log) and number of tokens of each text, ``(0.0, 0)`` if blank."""
        ...


class TargetScores(Protocol):
    """How likely a target text is when a source text was read: a decoder with teacher forcing."""

    def __call__(self, sources: Sequence[str], targets: Sequence[str], /) -> Sequence[tuple[float, int]]:
        """Sum of log-probabilities (natural log) and number of tokens of each target, given the source of its place."""
        ...


def stem(sample: Sample) -> str:
    """The sentence with the question behind it, up to the mention: ``... ‘He’ refers to``."""
    return f"{sample.doc['sentence']} ‘{str(sample.doc['pronoun']).capitalize()}’ refers to"


def masked_records(samples: Sequence[Sample], scores: SentenceScores, *, per_token: bool = False) -> list[Record]:
    """A record for each sample: the (pseudo-)log-likelihoods of the sentence completed with either mention.

    The two texts differ in the mention only; ``per_token`` divides by their numbers of tokens, so that a mention of more
    tokens is no less likely for that.
    """
    asked = [[("", f"{stem(sample)} {mention}.") for mention in sample.doc["mentions"]] for sample in samples]
    found = scores([text for texts in asked for _, text in texts])
    return _records(samples, asked, found, per_token)


def seq2seq_records(samples: Sequence[Sample], scores: TargetScores, *, per_token: bool = False) -> list[Record]:
    """A record for each sample: the log-likelihoods of either mention as what is written after reading the question.

    ``per_token`` as in `masked_records`.
    """
    asked = [[(stem(sample), str(mention)) for mention in sample.doc["mentions"]] for sample in samples]
    pairs = [pair for each in asked for pair in each]
    return _records(samples, asked, scores([source for source, _ in pairs], [target for _, target in pairs]), per_token)


def _records(
    samples: Sequence[Sample],
    asked: Sequence[Sequence[tuple[str, str]]],
    found: Sequence[tuple[float, int]],
    per_token: bool,
) -> list[Record]:
    if len(found) != sum(map(len, asked)):
        raise ScorerError(f"{len(found)} scores for {sum(map(len, asked))} texts")
    scores = iter(found)
    records = []
    for sample, texts in zip(samples, asked, strict=True):
        requests = tuple(
            Request("loglikelihood", prompt, continuation, slot=slot, task=sample.task, sample_id=sample.id)
            for slot, (prompt, continuation) in enumerate(texts)
        )
        records.append(Record(sample, requests, tuple(_response(*next(scores), per_token) for _ in texts)))
    return records


def _response(total: float, tokens: int, per_token: bool) -> Response:
    if tokens < 1 or not math.isfinite(total):
        return Response("", error=Failure("no-probability", f"{tokens} tokens with log-probability {total}"))
    return Response("", logprob=total / tokens if per_token else total, is_greedy=False, tokens=tokens)
