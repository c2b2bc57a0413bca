"""Metrics whose unit is a group of samples: minimal pairs that should be resolved alike, correlations over groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evalkit.scorers.base import Array, BaseScorer, MetricInfo, Unit
from evalkit.scorers.choices import RANKINGS, ranked, softmax, split_results
from evalkit.scorers.common import answers, gold_indices, one_of, references, serves, share
from evalkit.scorers.totals import TotalsScorer, ratio
from evalkit.types import Json, Record, Score


def group_of(record: Record, column: str) -> str | None:
    """The group a record belongs to: the text of a column, ``None`` where it is empty."""
    value = record.sample.doc.get(column)
    return None if value is None or value == "" else str(value)


def resolution(record: Record, ranking: str) -> tuple[Json, bool] | str:
    """What a record was answered (a choice's position, or the text) and whether that is right; or why not."""
    sample = record.sample
    if record.requests and record.requests[0].kind != "generate":
        split = split_results(record)
        if isinstance(split, str):
            return split
        if ranking == "acc_mutual_info" and split[1] is None:
            return "acc_mutual_info needs unconditional log-likelihoods, which were not requested"
        best = ranked(ranking, split[0], sample.choices or (), split[1])
        return best, best in (gold_indices(sample) or ())
    given = answers(record)
    if given is None or len(given) != 1:
        return "no single text answer"
    return given[0].strip(), given[0].strip() in references(sample)


@serves("multiple_choice", "generate_until")
class PairConsistency(BaseScorer):
    """Share of groups (minimal pairs) whose members are all answered alike, and of those all answered right.

    ``group`` names the column that says which samples belong together. ``compare: answer`` asks for the same choice (or
    text) in all members, ``compare: correctness`` for all right or all wrong. A group of one is unscored.
    """

    name = "pair_consistency"
    unit: Unit = "group"
    metrics = (share("pair_consistency"), share("all_correct", 1))

    def __init__(self, group: str, compare: str = "answer", ranking: str = "acc") -> None:
        self._column = group
        self.columns = (group,)
        self._compare = one_of("compare", compare, ("answer", "correctness"))
        self._ranking = one_of("ranking", ranking, RANKINGS)

    def parameters(self) -> Mapping[str, Json]:
        return {"group": self._column, "compare": self._compare, "ranking": self._ranking}

    def group(self, record: Record) -> str | None:
        return group_of(record, self._column)

    def score(self, records: Sequence[Record], state: Any) -> Sequence[Score]:
        if len(records) < 2:
            return [Score.unscored("a group needs at least two samples")]
        found = []
        for record in records:
            answer = resolution(record, self._ranking)
            if isinstance(answer, str):
                return [Score.unscored(f"sample {record.sample.id}: {answer}")]
            found.append(answer)
        kinds = {right if self._compare == "correctness" else given for given, right in found}
        alike, right = float(len(kinds) == 1), float(all(right for _, right in found))
        detail = {"samples": [r.sample.id for r in records], "answers": [given for given, _ in found]}
        return [Score((alike, right), alike, detail=detail)]


@serves("multiple_choice")
class GroupCorrelation(TotalsScorer):
    """Pearson correlation over groups between a column (``x``) and what the model does in the group.

    ``y``: ``probability`` is the mean probability of the choice at position ``choice``, ``accuracy`` the share of right
    answers. For example, the share of women in an occupation against the probability of "she".
    """

    name = "group_correlation"
    unit: Unit = "group"
    metrics = (MetricInfo("pearson", higher_is_better=None, low=-1.0, high=1.0),)

    def __init__(self, group: str, x: str, y: str = "probability", choice: int = 0) -> None:
        self._column, self._x, self._choice = group, x, choice
        self.columns = (group, x)
        self._y = one_of("y", y, ("probability", "accuracy"))

    def parameters(self) -> Mapping[str, Json]:
        return {"group": self._column, "x": self._x, "y": self._y, "choice": self._choice}

    def group(self, record: Record) -> str | None:
        return group_of(record, self._column)

    def score(self, records: Sequence[Record], state: Any) -> Sequence[Score]:
        xs, ys = [], []
        for record in records:
            try:
                xs.append(float(record.sample.doc[self._x]))
            except (KeyError, TypeError, ValueError):
                return [Score.unscored(f"column {self._x!r} of sample {record.sample.id} holds no number")]
            split = split_results(record)
            if isinstance(split, str) or self._choice >= len(split[0]):
                return [Score.unscored(split if isinstance(split, str) else f"there is no choice {self._choice}")]
            if self._y == "accuracy":
                ys.append(
                    float(ranked("acc", split[0], record.sample.choices or (), None) in (gold_indices(record.sample) or ()))
                )
            else:
                ys.append(softmax(split[0])[self._choice])
        x, y = sum(xs) / len(xs), sum(ys) / len(ys)
        return [Score((x, y), y, detail={"x": x, "y": y, "n": len(records)})]

    def features(self, stats: Array) -> Array:
        x, y = (stats - stats.mean(axis=0)).T  # centred first: the moments below would cancel badly otherwise
        return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)

    def finish(self, totals: Array) -> Mapping[str, Array]:
        n, x, y, xx, yy, xy = np.moveaxis(totals, -1, 0)
        spread = np.sqrt(np.maximum(n * xx - x * x, 0.0) * np.maximum(n * yy - y * y, 0.0))
        return {"pearson": np.clip(ratio(n * xy - x * y, spread), -1.0, 1.0)}
