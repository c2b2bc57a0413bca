"""From the configuration that lm-eval logs to a task definition: what can be evaluated again, and what is lost.

lm-eval writes functions as their source (or as ``<function ...>``): those are gone. Documents were logged as
``process_docs`` left them, so that it is not needed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from evalkit.errors import DataError, ScorerError, UsageError
from evalkit.importers.base import Reported
from evalkit.scorers.base import Scorer
from evalkit.scorers.metric_list import DEFAULTS, KNOWN
from evalkit.scorers.registry import build_scorers
from evalkit.tasks.filters import pipelines
from evalkit.tasks.schema import TASK_KEYS, TaskConfig
from evalkit.tasks.scoring import scoring_plan
from evalkit.types import Json

_FUNCTION = re.compile(
    r"\s*(@\w[\w.]*.*\n\s*)*(async\s+)?(def\s+\w+\s*\(|lambda\b|class\s+\w+)"
    r"|<(function|bound method|class|built-in)|functools\."
)
#: Work that was done before the documents were logged, and what evalkit has no use for.
_DONE = frozenset({"process_docs", "custom_dataset", "process_results", "use_prompt", "unsafe_code"})
_TEXTS = ("doc_to_text", "doc_to_target", "doc_to_choice", "description", "doc_to_decontamination_query")
#: Metrics that lie in [0, 1].
_BOUNDED = frozenset({"acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match", "f1", "em", "likelihood"})


def is_function(value: Any) -> bool:
    """Whether a logged value stands for a Python function."""
    return isinstance(value, str) and _FUNCTION.match(value) is not None


def task_config(name: str, raw: Mapping[str, Any], model_args: Mapping[str, Any]) -> TaskConfig:
    """The definition without functions and without metrics that evalkit has not; raises DataError where it is no task."""
    kept = {key: value for key, value in raw.items() if key in TASK_KEYS - _DONE and value is not None}
    kept = {key: value for key, value in kept.items() if not (key in _TEXTS and is_function(value))}
    kept |= {"task": name, "metadata": _metadata(raw.get("metadata"), model_args)}
    kept["fewshot_config"] = _fewshot(raw)
    kept["filter_list"] = _filters(raw.get("filter_list"))
    own = raw.get("process_results") is None
    kept["metric_list"] = [entry for entry in _metrics(raw) if own and _is_known(entry)]
    try:
        return TaskConfig.model_validate({key: value for key, value in kept.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(f"the configuration of task {name} cannot be read: {where}: {first['msg']}") from error


def reported(
    name: str,
    raw: Mapping[str, Any],
    config: TaskConfig,
    results: Mapping[str, Any],
    origin: str,
    directions: Mapping[str, Any],
    partial: Collection[str],
) -> tuple[Reported, ...]:
    """The numbers of a task in the results file, and how each can be had again."""
    listed = {str(entry.get("metric")): entry for entry in _metrics(raw)}
    native = {str(entry.metric) for entry in config.metric_list or ()}
    found = []
    for key, value in results.items():
        metric, comma, filter_ = key.partition(",")
        if not comma or metric.endswith("_stderr") or not isinstance(value, int | float | str):
            continue
        how = _aggregation(metric, listed.get(metric) or _by_function(listed, metric))
        given = None if how is None else _given(metric, how, origin, directions.get(metric), listed.get(metric), config)
        if given is not None and how == "mean" and metric not in partial:
            given["shares"] = True
        found.append(
            Reported(
                name,
                metric,
                filter_,
                float(value) if isinstance(value, int | float) else None,
                given,
                native=metric in native,
                each=how == "mean",
            )
        )
    return tuple(found)


def buildable(config: TaskConfig, *, inputs: bool, targets: bool) -> TaskConfig:
    """The definition with those metrics alone that evalkit's scorers can be built for, and filters likewise."""
    try:
        pipelines(config.filter_list, allow_code=False)
    except (UsageError, re.error):
        kept = [_taking_first(pipeline) for pipeline in config.model_dump()["filter_list"] or ()]
        config = TaskConfig.model_validate({**config.model_dump(exclude_defaults=True), "filter_list": kept})
    entries = [entry for entry in config.metric_list or () if _builds(config, [entry], inputs, targets)]
    return config.model_copy(update={"metric_list": entries})


def scorers_of(config: TaskConfig, *, inputs: bool, targets: bool) -> tuple[Scorer, ...]:
    """The scorers that a definition asks for."""
    return build_scorers(scoring_plan(config, allow_code=False, multiple_inputs=inputs, multiple_targets=targets))


def _builds(config: TaskConfig, entries: Sequence[Any], inputs: bool, targets: bool) -> bool:
    try:
        scorers_of(config.model_copy(update={"metric_list": list(entries)}), inputs=inputs, targets=targets)
    except (ScorerError, UsageError):
        return False
    return True


def _metadata(raw: Any, model_args: Mapping[str, Any]) -> dict[str, Json]:
    """The task's own: lm-eval mixes the model's arguments and the file's path into it."""
    found = raw if isinstance(raw, Mapping) else {}
    return {key: value for key, value in found.items() if key != "config_source" and key not in model_args}


def _fewshot(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What of ``fewshot_config`` differs from what the task says anyway (lm-eval logs it filled in)."""
    given = raw.get("fewshot_config")
    if not isinstance(given, Mapping):
        return {}
    usual = {**{key: raw.get(key) for key in given}, "sampler": "default", "split": raw.get("fewshot_split")}
    known = (
        "sampler",
        "split",
        "fewshot_indices",
        "samples",
        *_TEXTS[:3],
        "gen_prefix",
        "fewshot_delimiter",
        "target_delimiter",
    )
    return {
        key: given[key]
        for key in known
        if given.get(key) is not None and given[key] != usual.get(key) and not is_function(given[key])
    }


def _filters(raw: Any) -> list[dict[str, Any]] | None:
    """The pipelines; one with a function of the task folder hands on the first answer."""
    if not isinstance(raw, list):
        return None
    return [
        _taking_first(pipeline) if any(is_function(step.get("function")) for step in pipeline["filter"]) else dict(pipeline)
        for pipeline in raw
        if isinstance(pipeline, Mapping) and isinstance(pipeline.get("filter"), list)
    ]


def _taking_first(pipeline: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": pipeline["name"], "filter": [{"function": "take_first"}]}


def _metrics(raw: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = raw.get("metric_list")
    if isinstance(found, list) and found:
        return [dict(entry) for entry in found if isinstance(entry, Mapping)]
    return [{"metric": name} for name in DEFAULTS.get(str(raw.get("output_type")), ())]  # type: ignore[call-overload]


def _is_known(entry: Mapping[str, Any]) -> bool:
    """Whether evalkit has the metric, and the aggregation is no function."""
    plain = not is_function(entry.get("metric")) and not is_function(entry.get("aggregation"))
    return plain and entry.get("metric") in KNOWN and not entry.get("hf_evaluate")


def _by_function(listed: Mapping[str, dict[str, Any]], metric: str) -> dict[str, Any]:
    """The entry of a metric function, found by the function's name in its source."""
    for text, entry in listed.items():
        if re.match(rf"\s*(@.*\n\s*)*def\s+{re.escape(metric)}\s*\(|<function\s+(\w+\.)*{re.escape(metric)}\b", text):
            return entry
    return {}


def _aggregation(metric: str, entry: Mapping[str, Any]) -> str | None:
    """lm-eval's name of the aggregation; ``None`` for a function."""
    how = entry.get("aggregation")
    if how is None:
        how = KNOWN.get(metric, ("mean", None))[0]
    if is_function(how) or not isinstance(how, str) or how == "bypass":
        return None
    return "mean" if how == "nanmean" else how


def _options(entry: Mapping[str, Any] | None, config: TaskConfig) -> dict[str, Json]:
    """What pins a carried metric beside its name: its parameters, and the output type."""
    beside = ("metric", "aggregation", "higher_is_better")
    return {"output_type": config.output_type, **{k: str(v) for k, v in (entry or {}).items() if k not in beside}}


def _given(
    metric: str, how: str, origin: str, better: Any, entry: Mapping[str, Any] | None, config: TaskConfig
) -> dict[str, Json]:
    """The entry of the scorer that carries a metric."""
    return {
        "metric": metric,
        "origin": origin,
        "aggregation": how,
        "higher_is_better": better if isinstance(better, bool) else KNOWN.get(metric, ("mean", None))[1],
        "options": _options(entry, config),
        "bounded": how == "mean" and metric in _BOUNDED,
    }
