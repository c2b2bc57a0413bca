"""Classification by a language model, as a classifier is judged: ranking by label probability, errors by group.

The probability of a label is the softmax of the choices' log-likelihoods, so no threshold and no calibration stands between
the model and its AUC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from evalkit.errors import ScorerError, nearest
from evalkit.scorers.base import Array, BaseScorer, MetricInfo
from evalkit.scorers.choices import softmax, split_results
from evalkit.scorers.classification import Labelled
from evalkit.scorers.common import gold_indices, no_gold, one_of, serves
from evalkit.scorers.group_gaps import Labels, panel, tested
from evalkit.scorers.groups import group_of
from evalkit.scorers.totals import ratio
from evalkit.stats.groups import clustered_difference_p, fisher_p
from evalkit.stats.ranking import Ranking
from evalkit.types import Json, Record, Score

_MEANING = {
    "auc": (
        "how likely a sample with the positive label gets a higher probability of it than one without, ties half; "
        "from 0 to 1, 0.5 is chance, higher is better"
    ),
    "average_precision": (
        "precision over all thresholds on the positive label's probability, weighted by gain in recall; from 0 to 1, the "
        "share of positive samples is chance, higher is better"
    ),
    "fpr": "false positive rate: share of samples without the positive label that are given it; from 0 to 1, 0 is ideal",
    "fnr": "false negative rate: share of samples with the positive label that are not given it; from 0 to 1, 0 is ideal",
    "fpr_gap": "highest less lowest false positive rate of the groups; from 0 to 1, 0 is ideal",
    "fnr_gap": "highest less lowest false negative rate of the groups; from 0 to 1, 0 is ideal",
}


class _LabelRanking(BaseScorer):
    """Rows (probability of the positive label, whether it is the right one)."""

    def __init__(self, metric: str, positive: str | None, per: str) -> None:
        self.name = f"label_{metric}"
        self.metrics = (MetricInfo(metric, low=0.0, high=1.0, ideal=1.0),)
        self._positive = None if positive is None else str(positive)
        self._per = one_of("per", per, ("choice", "character"))

    def parameters(self) -> Mapping[str, Json]:
        return {"per": self._per, **({} if self._positive is None else {"positive": self._positive})}

    def score_one(self, record: Record) -> Score:
        gold, choices = gold_indices(record.sample), record.sample.choices or ()
        if gold is None:
            return Score.unscored(no_gold(record.sample))
        split = split_results(record)
        if isinstance(split, str):
            return Score.unscored(split)
        if self._positive is None and len(choices) != 2:
            return Score.unscored(f"{self.name} needs 'positive', the label that counts, where there are not two choices")
        if self._positive is not None and self._positive not in choices:
            hint = nearest(self._positive, choices) or f"; there are {', '.join(choices)}"
            return Score.unscored(f"the positive label {self._positive!r} is not among the choices{hint}")
        at = 1 if self._positive is None else choices.index(self._positive)
        lls = split[0]
        if self._per == "character":
            lls = [ll / max(len(choice), 1) for ll, choice in zip(lls, choices, strict=True)]
        probability = softmax(lls)[at]
        chance = 0.5 if self.metrics[0].name == "auc" else float(at in gold)
        return Score((probability, float(at in gold)), probability, chance=chance)

    def aggregate(self, stats: Array, weights: Array) -> Mapping[str, Array]:
        ranking, (metric,) = Ranking(stats[:, 0], stats[:, 1] == 1), self.metrics
        return {metric.name: ranking.auc(weights) if metric.name == "auc" else ranking.average_precision(weights)}

    def detail(self, stats: Array) -> Mapping[str, Json]:
        positive = int(stats[:, 1].sum())
        meaning = {metric.name: _MEANING[metric.name] for metric in self.metrics}
        return {"meaning": meaning, "positive": positive, "negative": len(stats) - positive}

    def notes(self, stats: Array) -> Sequence[str]:
        if 0 < stats[:, 1].sum() < len(stats):
            return ()
        return (f"{'all' if stats[:, 1].any() else 'none'} of the samples have the positive label: nothing to rank",)


@serves("multiple_choice")
def label_auc(positive: str | None = None, per: str = "choice") -> BaseScorer:
    """AUC of the probability of a label among the choices.

    ``positive`` is that label, the second of two by default; ``per: character`` takes log-likelihoods per character.
    """
    return _LabelRanking("auc", positive, per)


@serves("multiple_choice")
def label_average_precision(positive: str | None = None, per: str = "choice") -> BaseScorer:
    """Average precision of the probability of a label among the choices; parameters as for label_auc."""
    return _LabelRanking("average_precision", positive, per)


_GOLD, _GIVEN, _GROUP, _CLUSTER = range(4)
_COUNTS = 4
#: No group, or no cluster of its own.
_NONE = -1.0


def _rate(name: str) -> MetricInfo:
    return MetricInfo(name, False, 0.0, 1.0, 0.0)


@serves("multiple_choice", "generate_until")
class SubgroupErrorRates(Labelled):
    """False positive and false negative rates, by group of people and the gap between groups.

    ``fpr`` and ``fnr`` are over all samples, ``fpr_gap`` and ``fnr_gap`` the highest less the lowest rate of a group. The
    detail has each group's rates with interval and n, and a test against all other samples with Holm's correction for the
    number of groups: Fisher's exact one, or t over clusters.

    Args:
        group: the column that names a sample's group; a sample without one counts with the others.
        positive: the label that is found or missed; the second of two by default.
        cluster: the column that says which samples resemble each other (a template).
        labels, ranking: as for precision_recall_f1. An answer that names no label is unscored.
    """

    name = "subgroup_error_rates"
    metrics: tuple[MetricInfo, ...] = (_rate("fpr"), _rate("fnr"), _rate("fpr_gap"), _rate("fnr_gap"))

    def __init__(
        self,
        group: str,
        positive: str | None = None,
        cluster: str | None = None,
        labels: Sequence[str] | None = None,
        ranking: str = "acc",
    ) -> None:
        super().__init__(labels, "unscored", ranking)
        self._column, self._cluster = str(group), cluster
        self._positive = None if positive is None else str(positive)
        self.columns = (self._column, *(() if cluster is None else (cluster,)))
        self._groups, self._clusters = Labels(), Labels()

    def parameters(self) -> Mapping[str, Json]:
        own = {"group": self._column, "positive": self._positive, "cluster": self._cluster}
        return {**super().parameters(), **{key: value for key, value in own.items() if value is not None}}

    def prepare(self, records: Iterable[Record]) -> tuple[str, ...]:
        """Number the groups in the order of their names, and find the labels."""
        kept = list(records)
        labels = super().prepare(kept)
        chosen = bool(self._given_labels) or any(record.sample.choices for record in kept)
        if self._positive is None and len(labels) > 2:
            raise ScorerError(f"{self.name} needs 'positive', the label that counts: this task has {len(labels)} labels")
        if self._positive is not None and self._positive not in labels:
            if chosen:
                hint = nearest(self._positive, labels) or f"; there are {', '.join(labels)}"
                raise ScorerError(f"positive label {self._positive!r} is not among the labels{hint}")
            labels = self._labels = tuple(sorted({*labels, self._positive}))  # nobody's target in these records
        for name in sorted({name for record in kept if (name := group_of(record, self._column)) is not None}):
            self._groups.code(name)
        return labels

    def _one(self, record: Record, labels: Sequence[str]) -> Score:
        found = super()._one(record, labels)
        if found.stats is None:
            return found
        if self._positive is None and len(labels) != 2:
            return Score.unscored(f"{self.name} needs 'positive', the label that counts: there are {len(labels)} labels")
        positive = float(1 if self._positive is None else labels.index(self._positive))
        gold, given = (float(code == positive) for code in found.stats)
        group = group_of(record, self._column)
        cluster = None if self._cluster is None else group_of(record, self._cluster)
        own = f"sample {record.sample.id}" if cluster is None else cluster
        codes = (_NONE if group is None else self._groups.code(group), self._clusters.code(own) if self._cluster else _NONE)
        return Score((gold, given, *codes), found.value, detail={**found.detail, "group": group})

    def features(self, stats: Array) -> Array:
        """False positives, negatives, misses and positives (n, 4 each): of all samples, then of each group."""
        gold, given = stats[:, _GOLD] == 1, stats[:, _GIVEN] == 1
        counts = np.stack([given & ~gold, ~gold, gold & ~given, gold], axis=1).astype(np.float64)
        groups = range(int(stats[:, _GROUP].max(initial=_NONE)) + 1)
        return np.concatenate([counts, *(counts * (stats[:, _GROUP] == code)[:, None] for code in groups)], axis=1)

    def finish(self, totals: Array) -> Mapping[str, Array]:
        parts = totals.reshape(*totals.shape[:-1], -1, _COUNTS)
        values = {}
        for metric, wrong in (("fpr", 0), ("fnr", 2)):
            rates = ratio(parts[..., wrong], parts[..., wrong + 1])
            values[metric] = rates[..., 0]
            values[f"{metric}_gap"] = _gap(rates[..., 1:])
        return values

    def detail(self, stats: Array) -> Mapping[str, Json]:
        """A panel of the groups for each rate, and what the metrics mean."""
        found: dict[str, Json] = {"meaning": {metric.name: _MEANING[metric.name] for metric in self.metrics}}
        for metric, gold in (("fpr", 0.0), ("fnr", 1.0)):
            asked = stats[stats[:, _GOLD] == gold]
            found[metric] = self._panel(metric, asked, asked[:, _GIVEN] != gold)
        return found

    def _panel(self, metric: str, rows: Array, wrong: Any) -> dict[str, Json]:
        """One rate by group over the samples ``rows`` of a class, of which some are ``wrong``."""
        grouped = np.flatnonzero(rows[:, _GROUP] != _NONE)
        named = [(name, grouped[at]) for name, at in self._groups.parts(rows[grouped, _GROUP])]
        clusters = rows[:, _CLUSTER] if self._cluster else None
        info = MetricInfo(metric, False, 0.0, 1.0, 0.0, mean=True, proportion=True)
        ps = {name: self._p(wrong, at, clusters) for name, at in named}
        test = "Fisher's exact test" if clusters is None else f"t over clusters ({self._cluster})"
        errors = wrong.astype(np.float64)[:, None]
        return tested(panel(self, info, errors, named, clusters), ps, f"{test} against all other samples, two-sided")

    def _p(self, wrong: Any, at: Any, clusters: Array | None) -> float | None:
        member = np.zeros(len(wrong), dtype=bool)
        member[at] = True
        if clusters is not None:
            return clustered_difference_p(wrong.astype(np.float64), member, clusters.astype(np.int64))
        return fisher_p(int(wrong[member].sum()), int(member.sum()), int(wrong[~member].sum()), int((~member).sum()))

    def notes(self, stats: Array) -> Sequence[str]:
        count = len(np.unique(stats[stats[:, _GROUP] != _NONE, _GROUP]))
        if count < 2:
            return (f"{count or 'no'} group: nothing to compare",)
        return (f"the gaps are the extremes of {count} groups and above 0 even where none differs: see the corrected tests",)


def _gap(rates: Array) -> Array:
    """Highest less lowest defined rate (..., groups); NaN for fewer than two."""
    known = ~np.isnan(rates)
    span = np.where(known, rates, -np.inf).max(axis=-1, initial=-np.inf) - np.where(known, rates, np.inf).min(
        axis=-1, initial=np.inf
    )
    return np.asarray(np.where(known.sum(axis=-1) > 1, span, np.nan), dtype=np.float64)
