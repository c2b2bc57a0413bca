"""Whether a classifier is as good for every group: subgroup AUCs and error rates, each with a corrected test."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from evalkit.calibrate.labelled_figures import Figure, bootstrapped, proportions
from evalkit.calibrate.labelled_texts import LabelledTexts
from evalkit.stats.groups import fisher_p, holm
from evalkit.stats.means import Array, Ints
from evalkit.stats.ranking import (
    SUBGROUP_AUCS,
    Flags,
    Ranking,
    SubgroupRankings,
    bias_score,
    confusion,
    power_mean,
    rates,
)
from evalkit.stats.resample import bootstrap, replicate_stderr
from evalkit.types import Json

#: What is compared between a group and all other texts.
TESTED = ("fpr", "fnr", "subgroup_auc")


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The scored texts: ``scores``, ``positive`` and ``flagged`` (n,), members of each group (n,), cluster codes (n,)."""

    scores: Array
    positive: Flags
    flagged: Flags
    groups: Mapping[str, Flags]
    clusters: Ints | None
    threshold: float

    @classmethod
    def of(cls, data: LabelledTexts, known: Ints, scores: Array, threshold: float) -> Evaluated:
        """The rows ``known`` of the data; groups without a scored text stay, and are empty."""
        clusters = None if data.clusters is None else np.unique(data.clusters[known], return_inverse=True)[1]
        return cls(
            scores,
            data.positive[known],
            scores >= threshold,
            {name: member[known] for name, member in data.groups.items()},
            None if clusters is None else clusters.astype(np.int64).reshape(-1),
            threshold,
        )


@dataclass(frozen=True, slots=True)
class GroupTest:
    """A group's ``metric`` against that of all other texts (``others``). ``adjusted`` is Holm's p over the groups."""

    metric: str
    others: float | None
    p: float | None
    adjusted: float | None
    test: str

    def to_dict(self) -> dict[str, Json]:
        return {"metric": self.metric, "others": self.others, "p": self.p, "p_holm": self.adjusted, "test": self.test}


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One group of ``n`` texts: its AUCs and error rates, and tests against all other texts."""

    group: str
    n: int
    positives: int
    figures: tuple[Figure, ...]
    tests: tuple[GroupTest, ...]

    def to_dict(self) -> dict[str, Json]:
        return {
            "group": self.group,
            "n": self.n,
            "positive": self.positives,
            "figures": [figure.to_dict() for figure in self.figures],
            "tests": [test.to_dict() for test in self.tests],
        }


class _Weighted:
    """Every value that needs the bootstrap, from weights: by ``metric``, and by ``group/metric`` and ``group/others``."""

    def __init__(self, rows: Evaluated) -> None:
        self._rows = rows
        self._whole = Ranking(rows.scores, rows.positive)
        self._confusion = confusion(rows.flagged, rows.positive)
        self._inside = {name: SubgroupRankings(rows.scores, rows.positive, own) for name, own in rows.groups.items()}
        self._others = {name: Ranking(rows.scores[~own], rows.positive[~own]) for name, own in rows.groups.items()}

    def __call__(self, weights: Array) -> dict[str, Array]:
        totals = weights @ self._confusion
        found = {"auc": self._whole.auc(weights), "average_precision": self._whole.average_precision(weights)}
        found["f1"] = rates(totals)["f1"]
        for name, member in self._rows.groups.items():
            aucs = self._inside[name].aucs(weights)
            found |= {f"{name}/{metric}": value for metric, value in aucs.items()}
            found[f"{name}/others/subgroup_auc"] = self._others[name].auc(weights[..., ~member])
            inside = weights[..., member] @ self._confusion[member]
            own, rest = rates(inside), rates(totals - inside)
            for metric in ("fpr", "fnr"):
                found[f"{name}/{metric}"], found[f"{name}/others/{metric}"] = own[metric], rest[metric]
        if self._rows.groups:
            means = {m: power_mean([found[f"{name}/{m}"] for name in self._rows.groups]) for m in SUBGROUP_AUCS}
            found |= {f"{metric}_mean": value for metric, value in means.items()}
            found["bias_score"] = bias_score(found["auc"], means)
        return found


def drawn_values(rows: Evaluated, replicates: int, seed: int) -> dict[str, Array]:
    """Bootstrap replicates of all values; whole clusters are drawn where there are some. None for no replicates."""
    if not replicates:
        return {}
    return bootstrap(_Weighted(rows), len(rows.scores), clusters=rows.clusters, replicates=replicates, seed=seed)


def group_rows(rows: Evaluated, drawn: Mapping[str, Array]) -> tuple[tuple[GroupRow, ...], tuple[Figure, ...]]:
    """A row for each group, and the generalised means over groups with the final score."""
    if not rows.groups:
        return (), ()
    values = {name: float(value) for name, value in _Weighted(rows)(np.ones(len(rows.scores))).items()}
    made = [_row(rows, group, values, drawn) for group in rows.groups]
    for metric in TESTED:
        adjusted = holm([_test(row, metric).p for row in made])
        made = [_with(row, metric, p) for row, p in zip(made, adjusted, strict=True)]
    names = (*(f"{metric}_mean" for metric in SUBGROUP_AUCS), "bias_score")
    why = "no group has both classes"
    whole = (bootstrapped(name, values[name], drawn.get(name), len(rows.scores), why) for name in names)
    return tuple(made), tuple(whole)


def _row(rows: Evaluated, group: str, values: Mapping[str, float], drawn: Mapping[str, Array]) -> GroupRow:
    member = rows.groups[group]
    clusters = None if rows.clusters is None else rows.clusters[member]
    errors = proportions(rows.flagged[member], rows.positive[member], clusters)
    sizes = SubgroupRankings(rows.scores, rows.positive, member).sizes
    aucs = [bootstrapped(m, values[f"{group}/{m}"], drawn.get(f"{group}/{m}"), sizes[m]) for m in SUBGROUP_AUCS]
    tests = [_tested(rows, group, metric, values, drawn) for metric in TESTED]
    positives = int(rows.positive[member].sum())
    return GroupRow(group, int(member.sum()), positives, (*aucs, errors["fpr"], errors["fnr"]), tuple(tests))


def _tested(rows: Evaluated, group: str, metric: str, values: Mapping[str, float], drawn: Mapping[str, Array]) -> GroupTest:
    """Fisher's exact test of two error rates of independent texts; else the difference against its bootstrap error."""
    own, others = values[f"{group}/{metric}"], values[f"{group}/others/{metric}"]
    told = others if math.isfinite(others) else None
    if metric != "subgroup_auc" and rows.clusters is None:
        wrong = rows.flagged if metric == "fpr" else ~rows.flagged
        asked = ~rows.positive if metric == "fpr" else rows.positive
        inside, outside = wrong[asked & rows.groups[group]], wrong[asked & ~rows.groups[group]]
        p = fisher_p(int(inside.sum()), len(inside), int(outside.sum()), len(outside))
        return GroupTest(metric, told, p, None, "Fisher's exact test, two-sided")
    p = None
    if drawn and math.isfinite(own) and math.isfinite(others):
        spread = replicate_stderr(drawn[f"{group}/{metric}"] - drawn[f"{group}/others/{metric}"])
        p = math.erfc(abs(own - others) / spread / math.sqrt(2)) if spread else None
    return GroupTest(metric, told, p, None, "normal, standard error from the bootstrap, two-sided")


def _test(row: GroupRow, metric: str) -> GroupTest:
    return next(test for test in row.tests if test.metric == metric)


def _with(row: GroupRow, metric: str, adjusted: float | None) -> GroupRow:
    return replace(row, tests=tuple(replace(t, adjusted=adjusted) if t.metric == metric else t for t in row.tests))
