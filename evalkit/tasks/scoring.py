"""What a task's definition says about scoring, for the scorers package: needs neither its data nor a model."""

from __future__ import annotations

from typing import Any

from evalkit.scorers.base import MetricSpec, ScorerSpec, ScoringPlan, scorer_named
from evalkit.tasks.schema import FunctionRef, TaskConfig


def scoring_plan(
    config: TaskConfig,
    *,
    allow_code: bool,
    multiple_inputs: bool,
    multiple_targets: bool,
    extra: tuple[ScorerSpec, ...] = (),
) -> ScoringPlan:
    """The scoring plan of a definition; ``extra`` are scorers asked for from outside.

    Raises CodeRefused for functions of the task's folder without ``allow_code``.
    """
    metrics = tuple(
        MetricSpec(
            metric=loaded(entry.metric, allow_code=allow_code),
            aggregation=loaded(entry.aggregation, allow_code=allow_code),
            higher_is_better=entry.higher_is_better,
            hf_evaluate=entry.hf_evaluate,
            params=loaded(entry.params, allow_code=allow_code),
        )
        for entry in config.metric_list or ()
    )
    return ScoringPlan(
        output_type=config.output_type,
        metrics=metrics,
        scorers=tuple(scorer_named(entry.name, loaded(entry.params, allow_code=allow_code)) for entry in config.scorers),
        extra=extra,
        allow_code=allow_code,
        process_results=loaded(config.process_results, allow_code=allow_code),
        target_delimiter=config.target_delimiter,
        multiple_inputs=multiple_inputs,
        multiple_targets=multiple_targets,
    )


def loaded(value: Any, *, allow_code: bool) -> Any:
    """The value, with a ``!function`` (also inside lists and mappings) replaced by the function."""
    if isinstance(value, FunctionRef):
        from evalkit.tasks.functions import load

        return load(value, allow_code=allow_code)
    if isinstance(value, dict):
        return {key: loaded(item, allow_code=allow_code) for key, item in value.items()}
    if isinstance(value, list):
        return [loaded(item, allow_code=allow_code) for item in value]
    return value
