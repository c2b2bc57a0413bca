"""Log-likelihood metrics: greedy accuracy and perplexity a document, a word, a byte."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evalkit.scorers.base import Array, BaseScorer, MetricInfo
from evalkit.scorers.common import references, serves, share
from evalkit.scorers.totals import TotalsScorer
from evalkit.types import Json, Record, Score

_SPACES = re.compile(r"\s+")


def count_words(text: str) -> int:
    """Number of words as lm-eval counts them: pieces between runs of white space, empty ends included."""
    return len(_SPACES.split(text))


class GreedyAccuracy(BaseScorer):
    """Whether greedy decoding would write the whole continuation (lm-eval's acc on output_type loglikelihood)."""

    name = "acc"
    metrics = (share("acc"),)

    def score(self, records: Sequence[Record], state: Any) -> Sequence[Score]:
        return [self._one(record.results) for record in records]

    def _one(self, results: tuple[tuple[float, bool], ...]) -> Score:
        if not results:
            return Score.unscored("no log-likelihood")
        value = float(results[0][1])
        return Score((value,), value)


class Perplexity(TotalsScorer):
    """exp of minus the mean log-likelihood of the continuations, one term a document."""

    name = "perplexity"
    metrics = (MetricInfo("perplexity", higher_is_better=False, low=1.0, ideal=1.0),)

    def score(self, records: Sequence[Record], state: Any) -> Sequence[Score]:
        return [self._one(record.results) for record in records]

    def _one(self, results: tuple[tuple[float, bool], ...]) -> Score:
        if not results:
            return Score.unscored("no log-likelihood")
        return Score((results[0][0],), results[0][0])

    def features(self, stats: Array) -> Array:
        return np.concatenate([stats, np.ones((len(stats), 1))], axis=1)

    def finish(self, totals: Array) -> Mapping[str, Array]:
        return {"perplexity": np.exp(-totals[..., 0] / totals[..., 1])}


#: Divisor column and base of each metric of a rolling log-likelihood.
_ROLLING = {"word_perplexity": 1, "byte_perplexity": 2, "bits_per_byte": 2}


@serves("loglikelihood_rolling")
class RollingPerplexity(TotalsScorer):
    """Perplexity of whole documents over all words or bytes, and bits per byte.

    Statistics a document: log-likelihood, words, bytes. Long documents weigh more, as in lm-eval. Words and bytes are
    those of the scored text, or of ``column`` where the text was made from it (WikiText's page before detokenising).
    """

    name = "rolling"

    def __init__(self, metrics: Sequence[str] = tuple(_ROLLING), column: str | None = None) -> None:
        self._column = column
        self.metrics = tuple(
            MetricInfo(name, higher_is_better=False, low=0.0 if name == "bits_per_byte" else 1.0) for name in metrics
        )
        if len(metrics) == 1:
            self.name = metrics[0]

    def parameters(self) -> Mapping[str, Json]:
        parameters: dict[str, Json] = {"column": self._column} if self._column else {}
        return parameters if len(self.metrics) == 1 else {**parameters, "metrics": ",".join(m.name for m in self.metrics)}

    def score_one(self, record: Record) -> Score:
        results = record.results
        if not results:
            return Score.unscored("no log-likelihood")
        text = str(record.sample.doc.get(self._column, "")) if self._column else references(record.sample)[0]
        size = len(text.encode("utf-8", "surrogatepass"))
        if not size:
            return Score.unscored("the document is empty")
        ll = results[0][0]
        return Score((ll, float(count_words(text)), float(size)), -ll / size / math.log(2))

    def finish(self, totals: Array) -> Mapping[str, Array]:
        values: dict[str, Array] = {}
        for metric in self.metrics:
            rate = -totals[..., 0] / totals[..., _ROLLING[metric.name]]
            values[metric.name] = rate / math.log(2) if metric.name == "bits_per_byte" else np.exp(rate)
        return values


@serves("loglikelihood")
def perplexity() -> Perplexity:
    """Perplexity of the continuations: exp of minus the mean log-likelihood, one term a document."""
    return Perplexity()


@serves("loglikelihood_rolling")
def word_perplexity() -> RollingPerplexity:
    """Perplexity per word of whole documents."""
    return RollingPerplexity(("word_perplexity",))


@serves("loglikelihood_rolling")
def byte_perplexity() -> RollingPerplexity:
    """Perplexity per byte of whole documents."""
    return RollingPerplexity(("byte_perplexity",))


@serves("loglikelihood_rolling")
def bits_per_byte() -> RollingPerplexity:
    """Bits per byte of whole documents."""
    return RollingPerplexity(("bits_per_byte",))
