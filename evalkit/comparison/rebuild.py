"""Scorers built again from what a run remembers of its tasks, for metrics that are more than means of statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from evalkit.errors import EvalkitError
from evalkit.runner.stored import PastScorer
from evalkit.scorers.base import Scorer, ScorerSpec, ScoringPlan
from evalkit.scorers.metric_list import metric_scorers
from evalkit.scorers.registry import build_scorer
from evalkit.tasks.schema import TaskConfig
from evalkit.tasks.scoring import scoring_plan


class Rebuilt:
    """The scorers of a task's manifest entry, each built only where it is needed and can be.

    A scorer whose network, package or folder is gone stays what the run remembers of it; its means can be compared.
    """

    def __init__(self, entry: Mapping[str, Any], *, allow_code: bool) -> None:
        self._entry = entry
        self._allow_code = allow_code

    def live(self, scorer: Scorer) -> Scorer:
        """``scorer`` built again where a metric of it is no mean, and what is built computes the same; else itself."""
        if not isinstance(scorer, PastScorer) or all(metric.mean for metric in scorer.metrics):
            return scorer
        found = self._scorers.get(scorer.name)
        if found is None or found.signature() != scorer.signature():
            return scorer
        return found if {m.name for m in scorer.metrics} <= {m.name for m in found.metrics} else scorer

    @cached_property
    def _scorers(self) -> Mapping[str, Scorer]:
        plan = self._plan()
        if plan is None:
            return {}
        found = {scorer.name: scorer for scorer in _built(lambda: metric_scorers(plan))}
        for spec in (*plan.scorers, *plan.extra):
            found |= {scorer.name: scorer for scorer in _one(spec, plan)}
        return found

    def _plan(self) -> ScoringPlan | None:
        entry = self._entry
        extra = tuple(ScorerSpec(item["name"], item["params"]) for item in entry.get("extra_scorers", ()))
        try:
            return scoring_plan(
                TaskConfig.model_validate(entry["definition"]),
                allow_code=self._allow_code,
                multiple_inputs=bool(entry.get("multiple_inputs")),
                multiple_targets=bool(entry.get("multiple_targets")),
                extra=extra,
            )
        except (EvalkitError, ValidationError, KeyError):  # code of a folder that is not here, or not to be run
            return None


def _one(spec: ScorerSpec, plan: ScoringPlan) -> Iterable[Scorer]:
    return _built(lambda: [build_scorer(spec, plan)])


def _built(build: Callable[[], Iterable[Scorer]]) -> list[Scorer]:
    try:
        return list(build())
    except (EvalkitError, ImportError, OSError):  # what it needs is not on this machine
        return []
