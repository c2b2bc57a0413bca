"""What a comparison needs of a run's manifest: no prompt, no example, no text of the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalkit.types import Json

#: Of `run.json`, in its order.
_KEYS = (
    "id", "name", "status", "created", "evalkit", "config", "config_hash", "identity", "model", "fingerprints", "groups",
    "usage", "tasks", "judges",
)  # fmt: skip
#: Of a task's entry.
_TASK_KEYS = (
    "alias", "version", "output_type", "num_fewshot", "repeats", "samples", "size", "hash", "data_hash", "tags",
    "extra_scorers", "multiple_inputs", "multiple_targets",
)  # fmt: skip
#: Of a task's definition: what says how answers are filtered and scored. Templates and examples are texts.
_DEFINITION_KEYS = (
    "task", "output_type", "metric_list", "scorers", "process_results", "filter_list", "target_delimiter", "form", "cluster",
    "slices", "metadata",
)  # fmt: skip
_GROUP_KEYS = ("group", "group_alias", "children", "leaves", "aggregate_metric_list")


def without_texts(manifest: Mapping[str, Any]) -> dict[str, Json]:
    """The manifest for `RunScores`: the same whether it comes from a directory or from a score file."""
    found = _only(manifest, _KEYS)
    found["tasks"] = {name: _task(entry) for name, entry in manifest["tasks"].items()}
    found["groups"] = [_only(group, _GROUP_KEYS) for group in manifest["groups"]]
    return found


def _task(entry: Mapping[str, Any]) -> dict[str, Json]:
    return {**_only(entry, _TASK_KEYS), "definition": named_functions(_only(entry.get("definition", {}), _DEFINITION_KEYS))}


def named_functions(value: Json) -> Json:
    """The value with each function of a task folder as its name: where the folder lies differs between machines."""
    if isinstance(value, dict):
        if value.keys() == {"module", "name", "folder"}:
            return f"!function {value['module']}.{value['name']}"
        return {key: named_functions(item) for key, item in value.items()}
    if isinstance(value, list):
        return [named_functions(item) for item in value]
    return value


def _only(mapping: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Json]:
    return {key: mapping[key] for key in keys if key in mapping}
