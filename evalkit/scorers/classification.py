"""Classification: accuracy, precision, recall and F1 with the confusion matrix, Matthews correlation.

One row a sample: right label, given label (indices), and the confusion totals give every value by re-weighting.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from evalkit.errors import ScorerError
from evalkit.scorers.base import Array, BaseScorer, MetricInfo
from evalkit.scorers.choices import RANKINGS
from evalkit.scorers.common import gold_indices, no_gold, one_of, serves, share
from evalkit.scorers.labels import common_labels, gold_labels, predicted
from evalkit.scorers.totals import TotalsScorer, ratio
from evalkit.types import Json, Record, Score

_UNPARSED = "the answer names no label"


@serves("multiple_choice", "generate_until")
class Accuracy(BaseScorer):
    """Share of samples given the right choice, by log-likelihood or from the generated text."""

    name = "accuracy"
    metrics = (share("accuracy"),)

    def __init__(self, ranking: str = "acc", unparsed: str = "unscored") -> None:
        self._ranking = one_of("ranking", ranking, RANKINGS)
        self._unparsed = one_of("unparsed", unparsed, ("unscored", "wrong"))

    def parameters(self) -> Mapping[str, Json]:
        return {"ranking": self._ranking, "unparsed": self._unparsed}

    def score_one(self, record: Record) -> Score:
        sample = record.sample
        choices = sample.choices
        if not choices:
            return Score.unscored("accuracy needs choices; the task defines no doc_to_choice")
        gold = gold_indices(sample)
        if gold is None:
            return Score.unscored(no_gold(sample))
        given = predicted(record, choices, self._ranking)
        if isinstance(given, str):
            return Score.unscored(given)
        parsed = [label for label in given if label is not None or self._unparsed == "wrong"]
        if not parsed:
            return Score.unscored(_UNPARSED)
        value = sum(label in gold for label in parsed) / len(parsed)
        return Score((value,), value, chance=len(set(gold)) / len(choices))


def confusion_features(stats: Array, size: int) -> Array:
    """Right, given and target indicators of each label, (n, 3 * size), from rows (right label, given label)."""
    gold = stats[:, :1] == np.arange(size)
    given = stats[:, 1:2] == np.arange(size)
    return np.concatenate([gold & given, given, gold], axis=1).astype(np.float64)


def class_counts(totals: Array) -> tuple[Array, Array, Array]:
    """True positives, given and target counts, each (..., labels), from totals of `confusion_features`."""
    size = totals.shape[-1] // 3
    return totals[..., :size], totals[..., size : 2 * size], totals[..., 2 * size :]


def matthews(totals: Array, total: Array) -> Array:
    """Multi-class Matthews correlation (Gorodkin 2004) from `confusion_features` totals; 0 where undefined, as sklearn."""
    hits, given, gold = class_counts(totals)
    cross = hits.sum(axis=-1) * total - (given * gold).sum(axis=-1)
    spread = np.sqrt(np.maximum((total**2 - (given**2).sum(axis=-1)) * (total**2 - (gold**2).sum(axis=-1)), 0.0))
    return ratio(cross, spread, 0.0)


#: More labels than this are no classification (and would make a row of three numbers a label too wide to hold).
MAX_LABELS = 256


class Labelled(TotalsScorer):
    """Rows (right label, given label); ``size`` labels, and index ``size`` where the answer names none."""

    def __init__(self, labels: Sequence[str] | None, unparsed: str, ranking: str) -> None:
        if labels is not None and (isinstance(labels, str) or len(labels) < 2):
            raise ScorerError(f"scorer parameter 'labels' must be a list of at least two labels, not {labels!r}")
        self._given_labels = None if labels is None else tuple(str(label) for label in labels)
        self._labels = self._given_labels or ()
        self._unparsed = one_of("unparsed", unparsed, ("unscored", "column"))
        self._ranking = one_of("ranking", ranking, RANKINGS)

    def parameters(self) -> Mapping[str, Json]:
        found: dict[str, Json] = {"unparsed": self._unparsed, "ranking": self._ranking}
        return found | ({"labels": list(self._given_labels)} if self._given_labels else {})

    def prepare(self, records: Iterable[Record]) -> tuple[str, ...]:
        """The labels: the parameter, else those of `common_labels`."""
        self._labels = self._given_labels or common_labels(records)
        return self._labels

    def score(self, records: Sequence[Record], state: Any) -> Sequence[Score]:
        labels = state or self._labels or common_labels(records)
        if len(labels) > MAX_LABELS:
            reason = f"{len(labels)} different labels: the samples have none in common to count by"
            return [Score.unscored(reason) for _ in records]
        return [self._one(record, labels) for record in records]

    def _one(self, record: Record, labels: Sequence[str]) -> Score:
        gold = gold_labels(record, labels)
        if not gold:
            return Score.unscored(f"target {record.sample.target!r} is not among the labels")
        given = predicted(record, labels, self._ranking)
        if isinstance(given, str):
            return Score.unscored(given)
        if len(given) > 1:
            return Score.unscored(f"{len(given)} answers for one label; reduce them in the filter (majority_vote)")
        label = given[0]
        if label is None:
            if self._unparsed == "unscored":
                return Score.unscored(_UNPARSED)
            label = len(labels)
        right = label if label in gold else gold[0]
        names = {"target": labels[right], "given": labels[label] if label < len(labels) else None}
        return Score((float(right), float(label)), float(label == right), detail=names)

    def size(self, stats: Array) -> int:
        """Number of labels; from the rows where they were not prepared."""
        return len(self._labels) or int(stats.max(initial=0)) + 1

    def features(self, stats: Array) -> Array:
        return np.concatenate([confusion_features(stats, self.size(stats)), np.ones((len(stats), 1))], axis=1)

    def detail(self, stats: Array) -> Mapping[str, Json]:
        """The confusion matrix (rows: target, columns: given, a last one for unparsed) and values by class."""
        size = self.size(stats)
        labels = list(self._labels) or [str(i) for i in range(size)]
        matrix = np.zeros((size, size + 1), dtype=np.int64)
        np.add.at(matrix, (stats[:, 0].astype(int), stats[:, 1].astype(int)), 1)
        hits, given, gold = class_counts(self.features(stats)[:, :-1].sum(axis=0))
        classes = {
            label: {
                "precision": float(ratio(hits[i], given[i], 0.0)),
                "recall": float(ratio(hits[i], gold[i], 0.0)),
                "f1": float(ratio(2 * hits[i], given[i] + gold[i], 0.0)),
                "n": int(gold[i]),
            }
            for i, label in enumerate(labels)
        }
        columns = [*labels, "unparsed"] if self._unparsed == "column" else labels
        return {"labels": labels, "columns": columns, "confusion": matrix[:, : len(columns)].tolist(), "classes": classes}


_AVERAGES = ("binary", "micro", "macro", "weighted")


@serves("multiple_choice", "generate_until")
class PrecisionRecallF1(Labelled):
    """Precision, recall and F1 (binary, micro, macro or weighted), with the confusion matrix and values by class.

    As scikit-learn with zero_division=0: macro and weighted run over the labels that occur. ``positive`` is the label that
    counts in the binary form, the second one by default. Without ``average``: binary for two labels, else macro.
    """

    name = "precision_recall_f1"
    metrics = tuple(MetricInfo(n, low=0.0, high=1.0, ideal=1.0) for n in ("f1", "precision", "recall"))

    def __init__(
        self,
        average: str | None = None,
        positive: str | None = None,
        labels: Sequence[str] | None = None,
        unparsed: str = "unscored",
        ranking: str = "acc",
    ) -> None:
        super().__init__(labels, unparsed, ranking)
        self._average = None if average is None else one_of("average", average, _AVERAGES)
        self._positive = positive

    def parameters(self) -> Mapping[str, Json]:
        own = {"average": self._average, "positive": self._positive}
        return {**super().parameters(), **{k: v for k, v in own.items() if v is not None}}

    def prepare(self, records: Iterable[Record]) -> tuple[str, ...]:
        labels = super().prepare(records)
        if self._positive is not None and self._positive not in labels:
            raise ScorerError(f"positive label {self._positive!r} is not among the labels {', '.join(labels)}")
        if self._average == "binary" and len(labels) != 2 and self._positive is None:
            raise ScorerError(f"average: binary needs two labels or 'positive'; this task has {len(labels)}")
        return labels

    def finish(self, totals: Array) -> Mapping[str, Array]:
        hits, given, gold = class_counts(totals[..., :-1])
        average = self._average or ("binary" if hits.shape[-1] == 2 or self._positive is not None else "macro")
        if average == "binary":
            positive = self._labels.index(self._positive) if self._positive is not None else 1
            hits, given, gold = hits[..., positive], given[..., positive], gold[..., positive]
        elif average == "micro":
            hits, given, gold = hits.sum(axis=-1), given.sum(axis=-1), gold.sum(axis=-1)
        values = {"precision": ratio(hits, given, 0.0), "recall": ratio(hits, gold, 0.0)}
        values["f1"] = ratio(2 * hits, given + gold, 0.0)
        if average in ("binary", "micro"):
            return values
        weights = gold if average == "weighted" else ((given + gold) > 0).astype(np.float64)
        return {name: ratio((value * weights).sum(axis=-1), weights.sum(axis=-1)) for name, value in values.items()}


@serves("multiple_choice", "generate_until")
class Matthews(Labelled):
    """Matthews correlation coefficient over the labels, in [-1, 1]."""

    name = "matthews"
    metrics = (MetricInfo("mcc", low=-1.0, high=1.0, ideal=1.0),)

    def __init__(self, labels: Sequence[str] | None = None, unparsed: str = "unscored", ranking: str = "acc") -> None:
        super().__init__(labels, unparsed, ranking)

    def finish(self, totals: Array) -> Mapping[str, Array]:
        return {"mcc": matthews(totals[..., :-1], totals[..., -1])}


class ChoicePair(TotalsScorer):
    """lm-eval's f1 and mcc on multiple choice: rows (right choice, best choice) by position.

    ``f1`` is the binary one with choice 1 as the positive class; lm-eval fails on more than two choices, evalkit leaves
    such samples unscored.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        low = -1.0 if name == "mcc" else 0.0
        self.metrics = (MetricInfo(name, low=low, high=1.0, ideal=1.0),)

    def score_one(self, record: Record) -> Score:
        sample = record.sample
        choices = sample.choices or ()
        gold = gold_indices(sample)
        if gold is None:
            return Score.unscored(no_gold(sample))
        if self.name == "f1" and len(choices) > 2:
            return Score.unscored(f"f1 is for two choices, this sample has {len(choices)}; use precision_recall_f1")
        if len(gold) > 1:
            return Score.unscored(f"{self.name} needs one right choice, this sample has {len(gold)}")
        given = predicted(record, choices)
        if isinstance(given, str) or given[0] is None:
            return Score.unscored(given if isinstance(given, str) else _UNPARSED)
        return Score((float(gold[0]), float(given[0])), float(gold[0] == given[0]))

    def features(self, stats: Array) -> Array:
        size = max(2, int(stats.max(initial=0)) + 1)
        return np.concatenate([confusion_features(stats, size), np.ones((len(stats), 1))], axis=1)

    def finish(self, totals: Array) -> Mapping[str, Array]:
        counts, total = totals[..., :-1], totals[..., -1]
        if self.name == "mcc":
            return {"mcc": matthews(counts, total)}
        hits, given, gold = class_counts(counts)
        return {"f1": ratio(2 * hits[..., 1], given[..., 1] + gold[..., 1], 0.0)}


@serves("multiple_choice")
def f1() -> ChoicePair:
    """Binary F1 over two choices, the second one positive (lm-eval's f1)."""
    return ChoicePair("f1")


@serves("multiple_choice")
def mcc() -> ChoicePair:
    """Matthews correlation of right and best choice by position (lm-eval's mcc)."""
    return ChoicePair("mcc")
