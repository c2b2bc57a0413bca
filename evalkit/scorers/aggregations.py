"""lm-eval's aggregations, by name or as a function of a task folder, over the items its metrics yield.

An item is whatever a metric gives for one document: a number, or a tuple such as (log-likelihood, words) or (reference,
prediction). The named aggregations turn it into numbers; items for a function are kept and handed over as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from evalkit.errors import ScorerError, nearest
from evalkit.scorers.base import Array, BaseScorer, MetricInfo
from evalkit.scorers.classification import class_counts, confusion_features, matthews
from evalkit.scorers.ngram.corpus import Corpus
from evalkit.scorers.totals import TotalsScorer, ratio


class NotAnItem(ValueError):
    """An item does not have the shape its aggregation needs."""


def number(item: Any) -> float:
    """``item`` as a float; NotAnItem where it is none."""
    try:
        return float(item)
    except (TypeError, ValueError) as error:
        raise NotAnItem(f"{item!r} is not a number") from error


def pair(item: Any) -> tuple[Any, Any]:
    """``item`` as a pair; NotAnItem where it is none."""
    if isinstance(item, tuple | list) and len(item) == 2:
        return item[0], item[1]
    raise NotAnItem(f"{item!r} is not a pair")


class Aggregation(BaseScorer):
    """One metric's aggregation: `encode` makes the row of an item, `aggregate` values from rows."""

    width = 1
    mean = False
    resampled = True
    """Whether a part or a resample of the rows has a value, too; otherwise there is no interval to be had."""

    def __init__(self, metric: str, higher_is_better: bool | None = None) -> None:
        self.name = metric
        self.metrics = (MetricInfo(metric, higher_is_better=higher_is_better, mean=self.mean),)

    def encode(self, item: Any) -> tuple[float, ...]:
        """The row of an item; raises NotAnItem."""
        return (number(item),)

    def only(self, value: Array) -> Mapping[str, Array]:
        return {self.name: value}


class Summed(TotalsScorer, Aggregation):
    """An aggregation through column totals."""


class Mean(Summed):
    """The mean of numbers; a NaN (nanmean's missing value) is left out."""

    mean = True

    def features(self, stats: Array) -> Array:
        known = np.isfinite(stats[:, :1])
        return np.concatenate([np.where(known, stats[:, :1], 0.0), known.astype(np.float64)], axis=1)

    def finish(self, totals: Array) -> Mapping[str, Array]:
        return self.only(ratio(totals[..., 0], totals[..., 1]))


class Median(Aggregation):
    """The upper median, as lm-eval takes it: element n // 2 of the sorted values."""

    def aggregate(self, stats: Array, weights: Array) -> Mapping[str, Array]:
        order = np.argsort(stats[:, 0], kind="stable")
        reached = np.cumsum(weights[..., order], axis=-1)
        total = reached[..., -1:]
        first = np.argmax(reached > np.floor(total / 2), axis=-1)
        return {self.name: np.where(total[..., 0] > 0, stats[order, 0][first], np.nan)}


class Perplexity(Summed):
    """exp(-mean)."""

    def features(self, stats: Array) -> Array:
        return np.concatenate([stats[:, :1], np.ones((len(stats), 1))], axis=1)

    def finish(self, totals: Array) -> Mapping[str, Array]:
        return self.only(np.exp(-totals[..., 0] / totals[..., 1]))


class WeightedPerplexity(Summed):
    """exp(-sum of the first / sum of the second) over pairs."""

    width = 2

    def encode(self, item: Any) -> tuple[float, ...]:
        first, second = pair(item)
        return number(first), number(second)

    def rate(self, totals: Array) -> Array:
        return -totals[..., 0] / totals[..., 1]

    def finish(self, totals: Array) -> Mapping[str, Array]:
        return self.only(np.exp(self.rate(totals)))


class BitsPerByte(WeightedPerplexity):
    """-sum of the first / sum of the second / ln 2 over pairs."""

    def finish(self, totals: Array) -> Mapping[str, Array]:
        return self.only(self.rate(totals) / math.log(2))


class F1(Summed):
    """Binary F1 over (right, given) pairs of labels 0 and 1."""

    width = 2

    def encode(self, item: Any) -> tuple[float, ...]:
        gold, given = (number(label) for label in pair(item))
        if not {gold, given} <= {0.0, 1.0}:
            raise NotAnItem(f"f1 is binary and {item!r} holds other labels than 0 and 1")
        return gold, given

    def features(self, stats: Array) -> Array:
        return confusion_features(stats, 2)

    def finish(self, totals: Array) -> Mapping[str, Array]:
        hits, given, gold = class_counts(totals)
        return self.only(ratio(2 * hits[..., 1], given[..., 1] + gold[..., 1], 0.0))


class Matthews(Summed):
    """Matthews correlation over (right, given) pairs of labels 0, 1, 2, ..."""

    width = 2

    def encode(self, item: Any) -> tuple[float, ...]:
        gold, given = (number(label) for label in pair(item))
        if gold < 0 or given < 0 or gold % 1 or given % 1:
            raise NotAnItem(f"{item!r} does not hold labels 0, 1, 2, ...")
        return gold, given

    def features(self, stats: Array) -> Array:
        size = max(2, int(stats.max(initial=0)) + 1)
        return np.concatenate([confusion_features(stats, size), np.ones((len(stats), 1))], axis=1)

    def finish(self, totals: Array) -> Mapping[str, Array]:
        return self.only(matthews(totals[..., :-1], totals[..., -1]))


class Brier(Mean):
    """Mean squared distance of (right index, probabilities) items to the one-hot target."""

    def encode(self, item: Any) -> tuple[float, ...]:
        gold, probabilities = pair(item)
        one_hot = np.zeros(len(probabilities))
        one_hot[int(gold)] = 1.0
        return (float(np.sum((np.asarray(probabilities, dtype=np.float64) - one_hot) ** 2)),)


class CorpusAggregation(Summed):
    """A sacrebleu corpus score over (reference or references, prediction) items."""

    def __init__(self, metric: str, higher_is_better: bool | None, kind: str) -> None:
        super().__init__(metric, higher_is_better)
        self._corpus = Corpus(kind)
        self.width = _CORPUS[kind]

    def encode(self, item: Any) -> tuple[float, ...]:
        golds, prediction = pair(item)
        if isinstance(prediction, list | tuple) and len(prediction) == 1:
            prediction = prediction[0]
        texts = [golds] if isinstance(golds, str) else list(golds)
        if not isinstance(prediction, str) or not all(isinstance(text, str) for text in texts):
            raise NotAnItem(f"{item!r} is not a reference and a prediction")
        return tuple(self._corpus.row(prediction, texts))

    def finish(self, totals: Array) -> Mapping[str, Array]:
        return self.only(next(iter(self._corpus.finish(totals).values())))


class Custom(Aggregation):
    """An aggregation function of a task folder; called with the list of items, as lm-eval calls it.

    A row is the position of its item in a table that lives as long as the scorer. A replicate repeats items, so weights
    must be whole numbers.
    """

    def __init__(self, metric: str, higher_is_better: bool | None, function: Callable[[list[Any]], Any]) -> None:
        super().__init__(metric, higher_is_better)
        self._function = function
        self._items: list[Any] = []

    @property
    def function_name(self) -> str:
        return getattr(self._function, "__name__", type(self._function).__name__)

    def encode(self, item: Any) -> tuple[float, ...]:
        self._items.append(item)
        return (float(len(self._items) - 1),)

    def aggregate(self, stats: Array, weights: Array) -> Mapping[str, Array]:
        positions = stats[:, 0].astype(int)
        rows = weights.reshape(-1, weights.shape[-1]).astype(int)
        plain = weights.ndim == 1
        values = [self._call([self._items[i] for i in np.repeat(positions, row)], strict=plain) for row in rows]
        return self.only(np.array(values, dtype=np.float64).reshape(weights.shape[:-1]))

    def _call(self, items: list[Any], *, strict: bool) -> float:
        try:
            return float(self._function(items))
        except Exception as error:
            if not strict:  # a resample may be degenerate (one class, no hits): that replicate is undefined
                return float("nan")
            raise ScorerError(
                f"aggregation {self.function_name!r} of metric {self.name!r} failed on {len(items)} items: "
                f"{type(error).__name__}: {error}"
            ) from error


_SIMPLE: Mapping[str, type[Aggregation]] = {
    "mean": Mean,
    "nanmean": Mean,
    "median": Median,
    "perplexity": Perplexity,
    "weighted_perplexity": WeightedPerplexity,
    "bits_per_byte": BitsPerByte,
    "f1": F1,
    "matthews_corrcoef": Matthews,
    "brier_score": Brier,
}
#: Number of sacrebleu's counts a sample.
_CORPUS: Mapping[str, int] = {"bleu": 10, "chrf": 18, "chrf++": 24, "ter": 2}


def aggregation(metric: str, how: str | Callable[..., Any], higher_is_better: bool | None = None) -> Aggregation:
    """The aggregation ``how`` (a name of lm-eval's, or a function) for a metric.

    Raises ScorerError for an unknown name, with the nearest ones.
    """
    if callable(how):
        return Custom(metric, higher_is_better, how)
    if how in _SIMPLE:
        return _SIMPLE[how](metric, higher_is_better)
    if how in _CORPUS:
        return CorpusAggregation(metric, higher_is_better, how)
    known: Sequence[str] = (*_SIMPLE, *_CORPUS, "bypass")
    raise ScorerError(
        f"metric {metric!r}: unknown aggregation {how!r}{nearest(how, known) or '; known: ' + ', '.join(known)}"
    )
