"""The task file: lm-eval 0.4's YAML schema plus evalkit's own keys, as pydantic models.

Every key is declared once, here. Semantics of the lm-eval part follow lm_eval/config/task.py of 0.4.x.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from evalkit.types import OutputType

#: How the choices of a multiple-choice task are asked for.
Form = Literal["loglikelihood", "letter", "letter-logprobs"]


class FunctionRef(BaseModel):
    """A ``!function module.name`` of a task file: where it is, not yet imported (``tasks.functions.load`` does that)."""

    model_config = ConfigDict(frozen=True)

    module: str
    name: str
    folder: Path
    """Folder of the file that holds the tag (an included file's own folder)."""

    def __str__(self) -> str:
        return f"!function {self.module}.{self.name}"

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "title": "!function", "description": "!function module.name"}


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) or value is None else [value]


Strings = Annotated[list[str], BeforeValidator(_as_list)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class FilterStep(BaseModel):
    """One step of a filter pipeline; further keys are the filter's parameters."""

    model_config = ConfigDict(extra="allow", frozen=True, coerce_numbers_to_str=True)

    function: str | FunctionRef

    @property
    def params(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class FilterPipeline(BaseModel):
    """A named filter pipeline. ``metric_list`` (a 0.5 key) is tolerated."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)

    name: str
    filter: list[FilterStep]


class MetricEntry(BaseModel):
    """One entry of ``metric_list``; further keys are passed to the metric."""

    model_config = ConfigDict(extra="allow", frozen=True, coerce_numbers_to_str=True)

    metric: str | FunctionRef
    aggregation: str | FunctionRef | None = None
    higher_is_better: bool | None = None
    hf_evaluate: bool = False

    @property
    def params(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class ScorerEntry(BaseModel):
    """One entry of ``scorers``: ``name`` and parameters, or just the name."""

    model_config = ConfigDict(extra="allow", frozen=True, coerce_numbers_to_str=True)

    name: str

    @property
    def params(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


def _scorer_entry(value: Any) -> Any:
    if isinstance(value, dict) and "judge" in value and "name" not in value:  # {judge: coherence, model: ...}
        return {"name": "judge", "rubric": value["judge"], **{k: v for k, v in value.items() if k != "judge"}}
    return {"name": value} if isinstance(value, str) else value


Field_ = str | int | list[Any] | dict[str, Any] | FunctionRef | None


class FewshotConfig(_Strict):
    """Overrides for few-shot examples; what is not given is inherited from the task."""

    sampler: str | FunctionRef = "default"
    split: str | None = None
    process_docs: FunctionRef | str | None = None
    fewshot_indices: list[int] | None = None
    samples: list[dict[str, Any]] | FunctionRef | None = None
    doc_to_text: Field_ = None
    doc_to_choice: Field_ = None
    doc_to_target: Field_ = None
    gen_prefix: str | None = None
    fewshot_delimiter: str | None = None
    target_delimiter: str | None = None


class TaskConfig(_Strict):
    """One task, with ``include`` and group overrides already merged in."""

    # --- lm-eval's keys -------------------------------------------------------------------------------------------
    task: str
    task_alias: str | None = None
    dataset_path: str | None = None
    dataset_name: str | None = None
    dataset_kwargs: dict[str, Any] = Field(default_factory=dict)
    custom_dataset: FunctionRef | None = None
    training_split: str | None = None
    validation_split: str | None = None
    test_split: str | None = None
    fewshot_split: str | None = None
    process_docs: FunctionRef | None = None
    doc_to_text: Field_ = None
    doc_to_target: Field_ = None
    doc_to_choice: Field_ = None
    doc_to_image: Any = None
    doc_to_audio: Any = None
    process_results: FunctionRef | None = None
    use_prompt: str | None = None
    description: str | FunctionRef = ""
    target_delimiter: str = " "
    fewshot_delimiter: str = "\n\n"
    fewshot_config: FewshotConfig = Field(default_factory=FewshotConfig)
    num_fewshot: int | None = None
    output_type: OutputType = "generate_until"
    generation_kwargs: dict[str, Any] | None = None
    repeats: int = Field(default=1, ge=1)
    filter_list: list[FilterPipeline] | None = None
    metric_list: list[MetricEntry] | None = None
    gen_prefix: str | None = None
    should_decontaminate: bool = False
    doc_to_decontamination_query: Any = None
    unsafe_code: bool = False
    metadata: dict[str, Any] = Field(default_factory=dict)

    # --- evalkit's own keys ---------------------------------------------------------------------------------------
    scorers: list[Annotated[ScorerEntry, BeforeValidator(_scorer_entry)]] = Field(default_factory=list)
    """Scorers by registered name, beside (or instead of) ``metric_list``."""
    transform: str | None = None
    """Named document transform shipped with evalkit, applied where ``process_docs`` would be."""
    sample_id: str | None = None
    """Column (or template) with a stable id; without it ``id`` where unique, else a hash of the content."""
    slices: dict[str, str] | Strings = Field(default_factory=dict)
    """Subsets reported apart: columns, or name -> column or template."""
    form: Form | None = None
    """How a multiple-choice task is asked; without it as the run says."""
    cluster: str | None = None
    """Column or template that says which samples are not independent (same passage, same template)."""
    limit_by: str | None = None
    """Column or template that says which samples ``--limit`` takes together or not at all (minimal pairs)."""
    ability: str | None = None
    rubric: str | None = None
    summary: str | None = None
    """One line for ``evalkit ls tasks``."""
    licence: str | None = None
    content_warning: str | None = None
    """What readers should be warned of before they see the data ("insults and threats"); reports hide it until asked."""

    # --- where it came from (filled by the loader, not by files) ---------------------------------------------------
    source: Path | None = None
    """The YAML file; data files and functions are relative to its folder."""
    tags: list[str] = Field(default_factory=list)

    @property
    def version(self) -> str:
        return str(self.metadata.get("version", "Yaml"))


class GroupMetric(_Strict):
    """How a group's number is made from its leaf tasks."""

    metric: str
    aggregation: str | FunctionRef = "mean"
    weight_by_size: bool = True
    filter_list: Annotated[list[str] | None, BeforeValidator(_as_list)] = None


class GroupConfig(_Strict):
    """A group: its leaf tasks (already resolved to names, in order), direct children and aggregates."""

    group: str
    group_alias: str | None = None
    children: list[str] = Field(default_factory=list)
    """Direct members in file order: task or group names."""
    leaves: list[str] = Field(default_factory=list)
    aggregate_metric_list: list[GroupMetric] = Field(default_factory=list)
    metadata: dict[str, Any] = Field(default_factory=dict)
    source: Path | None = None


#: What a task file may hold: every field but those that the loader fills in.
TASK_KEYS = frozenset(TaskConfig.model_fields) - {"source", "tags"}
#: Keys about the file or its place among others, which the loader uses up.
STRUCTURE_KEYS = frozenset({"include", "tag", "group", "task_list", "class"})
GROUP_KEYS = frozenset({"group", "group_alias", "task", "aggregate_metric_list", "metadata"})
#: New in lm-eval 0.5; tolerated with a warning.
LATER_KEYS = frozenset({"formats", "scorer", "multiple_inputs", "multiple_targets"})


def json_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a task file: one task, or a group of them. For editors and validators.

    A ``!function module.name`` is a string to a YAML parser that does not know the tag, and so it is here. With an
    ``include`` any key may come from the included file, so that nothing is required.
    """
    task = TaskConfig.model_json_schema()
    group = GroupConfig.model_json_schema()
    definitions = {**task.pop("$defs", {}), **group.pop("$defs", {})}
    names: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    structure = {"include": names, "tag": names, "task_list": {}}
    keys = {key: _nullable(task["properties"][key]) for key in sorted(TASK_KEYS)}
    keys["scorers"]["anyOf"][0]["items"] = {"anyOf": [{"type": "string"}, task["properties"]["scorers"]["items"]]}
    later = {key: {"deprecated": True, "description": "A key of lm-eval 0.5: not used"} for key in sorted(LATER_KEYS)}
    member = {"anyOf": [{"type": "string"}, {"type": "object", "anyOf": [{"required": ["task"]}, {"required": ["group"]}]}]}
    own = {key: _nullable(value) for key, value in group["properties"].items() if key in GROUP_KEYS}
    own["aggregate_metric_list"]["anyOf"].append(group["properties"]["aggregate_metric_list"]["items"])
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "evalkit task file",
        "description": "A task, or a group of tasks: lm-eval 0.4's YAML schema and evalkit's own keys.",
        "if": {"required": ["group"]},
        "then": {
            "properties": {**structure, **keys, **own, "task": {"type": ["string", "array"], "items": member}},
            "required": ["group", "task"],
            "additionalProperties": False,
        },
        "else": {
            "properties": {**structure, **keys, **later, "class": {"type": "string"}},
            "anyOf": [{"required": ["task"]}, {"required": ["include"]}],
            "additionalProperties": False,
        },
        "$defs": definitions,
    }
    lenient: dict[str, Any] = _lenient(schema)
    return lenient


def _lenient(schema: Any) -> Any:
    """As the loader reads it: a number where text is meant is that text, and one text stands for a list of one."""
    if isinstance(schema, list):
        return [_lenient(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "string" and "enum" not in schema:
        return {**schema, "type": ["string", "number"]}
    lenient = {key: _lenient(value) for key, value in schema.items()}
    if schema.get("type") == "array" and schema.get("items") == {"type": "string"}:
        return {"anyOf": [lenient, {"type": "string"}]}
    return lenient


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """The loader reads ``key: null`` as "not given", whatever the key."""
    return {"anyOf": [schema, {"type": "null"}]}
