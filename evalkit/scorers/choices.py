"""lm-eval's multiple-choice metrics, from the log-likelihoods of the choices.

Ties go to the first choice. Where lm-eval counts a target that is not among the choices as wrong, evalkit leaves the
sample unscored and says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from evalkit.scorers.base import BaseScorer, MetricInfo
from evalkit.scorers.common import gold_indices, no_gold, serves, share
from evalkit.types import Json, Record, Score

#: How the choices are ranked, by metric name.
RANKINGS = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info")


def softmax(lls: Sequence[float]) -> list[float]:
    """Probabilities of the choices from their log-likelihoods."""
    top = max(lls)
    powers = [math.exp(ll - top) for ll in lls]
    total = sum(powers)
    return [power / total for power in powers]


def split_results(record: Record) -> tuple[list[float], list[float] | None] | str:
    """Log-likelihoods of the choices, and unconditional ones where they were asked for; a reason where they do not fit."""
    count = len(record.sample.choices or ())
    if count and len(record.responses) == count:  # the usual case, four times faster than sorting repeats apart
        found = [r.logprob if r is not None else None for r in record.responses]
        if None not in found:
            return found, None  # type: ignore[return-value]
    lls = [ll for ll, _ in record.results]
    if count and len(lls) == count:
        return lls, None
    if count and len(lls) == 2 * count:
        return lls[:count], lls[count:]
    return f"{len(lls)} log-likelihoods for {count} choices"


def ranked(metric: str, lls: Sequence[float], choices: Sequence[str], unconditional: Sequence[float] | None) -> int:
    """The index of the choice that ``metric`` picks; the first one on ties."""
    values: Sequence[float]
    if metric == "acc":
        values = lls
    elif metric == "acc_norm":
        values = [ll / (len(c) or 1e-9) for ll, c in zip(lls, choices)]  # noqa: B905 (checked; strict costs here)
    elif metric == "acc_bytes":
        values = [ll / (len(c.encode("utf-8", "surrogatepass")) or 1e-9) for ll, c in zip(lls, choices, strict=True)]
    else:
        values = [ll - u for ll, u in zip(lls, unconditional or (), strict=True)]
    return values.index(max(values))


class ChoiceAccuracy(BaseScorer):
    """Accuracy over choices, ranked by log-likelihood: plain, per character, per byte, or less the unconditional one."""

    name = "multiple_choice"

    def __init__(self, metrics: Sequence[str] = ("acc", "acc_norm")) -> None:
        self.metrics = tuple(share(name, column) for column, name in enumerate(metrics))
        self._rankings = tuple(metrics)
        if len(metrics) == 1:
            self.name = metrics[0]

    def parameters(self) -> Mapping[str, Json]:
        return {} if self.name in self._rankings else {"metrics": ",".join(self._rankings)}

    def score_one(self, record: Record) -> Score:
        sample = record.sample
        gold = gold_indices(sample)
        if gold is None:
            return Score.unscored(no_gold(sample))
        split = split_results(record)
        if isinstance(split, str):
            return Score.unscored(split)
        lls, unconditional = split
        choices = sample.choices or ()
        if unconditional is None and "acc_mutual_info" in self._rankings:
            return Score.unscored("acc_mutual_info needs unconditional log-likelihoods, which were not requested")
        stats = tuple([1.0 if ranked(m, lls, choices, unconditional) in gold else 0.0 for m in self._rankings])
        return Score(stats, stats[0], None, (len(gold) if len(gold) == 1 else len(set(gold))) / len(choices))


class ChoiceGreedy(BaseScorer):
    """Whether the right choice is what greedy decoding would write (lm-eval's exact_match on multiple choice)."""

    name = "exact_match"
    metrics = (share("exact_match"),)

    def score_one(self, record: Record) -> Score:
        gold = gold_indices(record.sample)
        if gold is None:
            return Score.unscored(no_gold(record.sample))
        results = record.results
        if len(results) <= max(gold):
            return Score.unscored(f"{len(results)} log-likelihoods for {len(record.sample.choices or ())} choices")
        value = float(any(results[i][1] for i in gold))
        return Score((value,), value)


class ChoiceProbability(BaseScorer):
    """The probability of the right choice among the choices, and the Brier score of that distribution.

    Brier is the multi-class form, the squared distance to the one-hot target summed over choices, in [0, 2], lm-eval's
    ``brier_score``. Several right choices share the target mass equally.
    """

    def __init__(self, metric: str, name: str | None = None) -> None:
        self.name = name or metric
        self._brier = metric != "likelihood"
        self.metrics = (
            (MetricInfo(self.name, higher_is_better=False, low=0.0, high=2.0, ideal=0.0, mean=True),)
            if self._brier
            else (share(self.name, proportion=False),)
        )

    def score_one(self, record: Record) -> Score:
        gold = gold_indices(record.sample)
        if gold is None:
            return Score.unscored(no_gold(record.sample))
        split = split_results(record)
        if isinstance(split, str):
            return Score.unscored(split)
        probabilities = softmax(split[0])
        right, count = set(gold), len(probabilities)
        if not self._brier:
            value = sum(probabilities[i] for i in right)
            return Score((value,), value, chance=len(right) / count)
        mass = 1.0 / len(right)
        value = sum((p - (mass if i in right else 0.0)) ** 2 for i, p in enumerate(probabilities))
        return Score((value,), value, chance=mass - 1.0 / count)


class TrueMass(BaseScorer):
    """Share of the probability mass that falls on true answers (TruthfulQA's mc2).

    ``labels`` names the column with one 0/1 label a choice, a dotted path for a nested one.
    """

    name = "truthfulqa_mc2"
    metrics = (share("acc", proportion=False),)

    def __init__(self, labels: str = "mc2_targets.labels") -> None:
        self._labels = labels
        self.columns = (labels.partition(".")[0],)

    def parameters(self) -> Mapping[str, Json]:
        return {"labels": self._labels}

    def score_one(self, record: Record) -> Score:
        value: Any = record.sample.doc
        for key in self._labels.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        split = split_results(record)
        if isinstance(split, str):
            return Score.unscored(split)
        if not isinstance(value, list | tuple) or len(value) != len(split[0]):
            return Score.unscored(f"column {self._labels!r} does not hold one label a choice")
        mass = sum(p for p, label in zip(softmax(split[0]), value, strict=True) if label == 1)
        return Score((mass,), mass, chance=sum(label == 1 for label in value) / len(value))


@serves("multiple_choice")
def acc() -> ChoiceAccuracy:
    """Share of samples whose right choice has the highest log-likelihood."""
    return ChoiceAccuracy(("acc",))


@serves("multiple_choice")
def acc_norm() -> ChoiceAccuracy:
    """Accuracy by log-likelihood per character of the choice."""
    return ChoiceAccuracy(("acc_norm",))


@serves("multiple_choice")
def acc_bytes() -> ChoiceAccuracy:
    """Accuracy by log-likelihood per UTF-8 byte of the choice."""
    return ChoiceAccuracy(("acc_bytes",))


@serves("multiple_choice")
def acc_mutual_info() -> ChoiceAccuracy:
    """Accuracy by log-likelihood given the context less that without it."""
    return ChoiceAccuracy(("acc_mutual_info",))


@serves("multiple_choice")
def likelihood() -> ChoiceProbability:
    """Mean probability of the right choice among the choices."""
    return ChoiceProbability("likelihood")


@serves("multiple_choice")
def brier_score() -> ChoiceProbability:
    """Multi-class Brier score of the choice probabilities, in [0, 2] (lm-eval's name)."""
    return ChoiceProbability("brier_score")


@serves("multiple_choice")
def brier() -> ChoiceProbability:
    """Multi-class Brier score of the choice probabilities, in [0, 2]."""
    return ChoiceProbability("brier_score", "brier")


@serves("multiple_choice")
def truthfulqa_mc2(labels: str = "mc2_targets.labels") -> TrueMass:
    """Share of the probability mass on true answers (TruthfulQA mc2)."""
    return TrueMass(labels)
