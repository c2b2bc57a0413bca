"""Values that another program computed and that came with the answers: carried, not computed again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalkit.scorers.aggregations import aggregation as by_name
from evalkit.scorers.base import BaseScorer, MetricInfo
from evalkit.scorers.items import ItemScorer, NoItem
from evalkit.types import Json, Record, Score

#: Where a response keeps what came with it: filter -> metric -> value, in `Response.extra`.
GIVEN = "given"


def given(
    metric: str,
    origin: str,
    aggregation: str = "mean",
    higher_is_better: bool | None = None,
    options: Mapping[str, Json] | None = None,
    shares: bool = False,
    bounded: bool = False,
) -> BaseScorer:
    """A metric as the program that asked the model gave it, sample by sample (made by evalkit import).

    Args:
        metric: what it is called.
        origin: the program and its version; part of the signature, as are ``options``.
        aggregation: lm-eval's name of how samples become one number.
        higher_is_better: its direction.
        options: what else decides the values.
        shares: the values are 0 or 1, so that their mean is a proportion.
        bounded: they lie in [0, 1], with 1 the best.
    """
    pinned = {"aggregation": aggregation, **dict(options or {})}
    if aggregation == "mean":
        return GivenMean(metric, origin, higher_is_better, pinned, shares=shares, bounded=bounded)
    return GivenItems(metric, origin, aggregation, higher_is_better, pinned)


def given_values(record: Record, metric: str) -> list[Any]:
    """What came with the record's answers for a metric under the record's filter, one a response that has it."""
    found = []
    for response in record.responses:
        if response is not None:
            value = (response.extra.get(GIVEN) or {}).get(record.filter, {}).get(metric)
            if value is not None:
                found.append(value)
    return found


class _Signed(BaseScorer):
    """The signature of values from elsewhere: whose they are, and how they were made."""

    origin: str
    pinned: Mapping[str, Json]

    def signature(self) -> str:
        options = [f"{key}:{value}" for key, value in sorted(self.pinned.items())]
        program, _, version = self.origin.rpartition(" ")
        return "|".join([program or self.origin, f"metric:{self.name}", *options, f"version:{version}"])


class GivenMean(_Signed):
    """The mean over samples; a sample's value is the mean over its responses (epochs) that have one."""

    def __init__(
        self,
        metric: str,
        origin: str,
        higher_is_better: bool | None,
        pinned: Mapping[str, Json],
        *,
        shares: bool,
        bounded: bool,
    ) -> None:
        self.name, self.origin, self.pinned = metric, origin, pinned
        low, high = (0.0, 1.0) if bounded or shares else (None, None)
        ideal = None if low is None or higher_is_better is None else high if higher_is_better else low
        self.metrics = (MetricInfo(metric, higher_is_better, low=low, high=high, ideal=ideal, mean=True, proportion=shares),)

    def score_one(self, record: Record) -> Score:
        values = given_values(record, self.name)
        if not values:
            return Score.unscored(f"{self.origin} gave no value of {self.name}")
        value = sum(map(float, values)) / len(values)
        return Score((value,), value)


class GivenItems(_Signed, ItemScorer):
    """Items of another aggregation of lm-eval's, such as (log-likelihood, words)."""

    def __init__(
        self, metric: str, origin: str, how: str, higher_is_better: bool | None, pinned: Mapping[str, Json]
    ) -> None:
        def items(record: Record) -> Mapping[str, Any]:
            values = given_values(record, metric)
            if not values:
                raise NoItem(f"{origin} gave no value of {metric}")
            return {metric: values[0]}

        super().__init__(metric, items, {metric: by_name(metric, how, higher_is_better)})
        self.origin, self.pinned = origin, pinned
