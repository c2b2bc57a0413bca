"""From a task definition and its data to a task that can be run: everything between the YAML file and the model.

`build` reads what is needed of the data and decides what document 0 decides (several inputs? several targets?), as
lm-eval does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Any

from evalkit.data.base import Table
from evalkit.errors import TaskError, TemplateError, UsageError
from evalkit.scorers.base import ScoringPlan
from evalkit.tasks import ids
from evalkit.tasks.base import PromptOptions, Task
from evalkit.tasks.fewshot import make_draw
from evalkit.tasks.fields import Fields
from evalkit.tasks.filters import pipelines
from evalkit.tasks.generation import generation_params
from evalkit.tasks.letter import LetterFields, LetterShots, described, lettered, one_sided
from evalkit.tasks.prepared import Parts, PreparedTask
from evalkit.tasks.prompt import ChatOptions, PromptBuilder, Shots
from evalkit.tasks.schema import TaskConfig
from evalkit.tasks.scoring import loaded, scoring_plan
from evalkit.tasks.splits import Split, SplitReader, TableTools, fewshot_setting, fewshot_split, refuse_unsafe
from evalkit.types import EMPTY

__all__ = ["TableTools", "build"]

#: Rows that tell whether the right choice always stands in one place.
LOOKED_AT = 32


def build(config: TaskConfig, splits: Mapping[str, Table], options: PromptOptions, *, tables: TableTools) -> Task:
    """The task over ``splits`` (read lazily, by name) under the run's prompt options.

    ``tables`` converts tables (the module ``evalkit.data.load``). Raises TaskError for a definition that cannot be
    evaluated, DataError for data that lacks what it names, CodeRefused for functions without ``allow_code``.
    """
    refuse_unsafe(config, allow_code=options.allow_code)
    _check_fields(config)
    reader = SplitReader(config, splits, tables, allow_code=options.allow_code)
    split = reader.evaluated()
    columns = split.table.columns
    fields = _fields(config, frozenset(columns), options)
    scoring = _scoring(config, fields, split, options)
    if config.form:
        inputs = scoring.multiple_inputs
        shuffled = not inputs and one_sided(fields, islice(split.table, LOOKED_AT))
        fields = lettered(fields, LetterFields, inputs=inputs, shuffled=shuffled)
    id_source = ids.id_source(config.task, split.table, config.sample_id)
    positions = _positions(config, split, id_source, options)
    n_shot = _num_fewshot(config, options)
    pool = reader.pool() if n_shot else None
    shots = None if pool is None else _shots(config, options, n_shot, pool, split, positions, fields)
    return PreparedTask(
        Parts(
            config=config,
            num_fewshot=n_shot,
            split=split,
            pool=pool,
            fields=fields,
            prompts=_prompts(config, options, fields, shots, scoring.multiple_inputs and not config.form),
            filters=pipelines(config.filter_list, allow_code=options.allow_code),
            scoring=scoring,
            params=_params(config, options),
            positions=positions,
            id_source=id_source,
            slices=_slices(config, columns),
            cluster=None if config.cluster is None else ids.column_value(config.task, "cluster", config.cluster, columns),
        )
    )


def _check_fields(config: TaskConfig) -> None:
    """Refuse a definition that lacks a field its kind of request cannot do without."""
    needed = {
        "multiple_choice": ("doc_to_text", "doc_to_target", "doc_to_choice"),
        "loglikelihood": ("doc_to_text", "doc_to_target"),
        "loglikelihood_rolling": ("doc_to_target",),
        "generate_until": ("doc_to_text",),
    }["multiple_choice" if config.form else config.output_type]
    missing = [key for key in needed if getattr(config, key) is None]
    if missing:
        raise TaskError(f"task {config.task}: output_type {config.output_type} needs {' and '.join(missing)}")


def _fields(config: TaskConfig, columns: frozenset[str], options: PromptOptions) -> Fields:
    return Fields(
        text=loaded(config.doc_to_text, allow_code=options.allow_code),
        target=loaded(config.doc_to_target, allow_code=options.allow_code),
        choice=loaded(config.doc_to_choice, allow_code=options.allow_code),
        columns=columns,
        has_choices=config.doc_to_choice is not None,
    )


def _num_fewshot(config: TaskConfig, options: PromptOptions) -> int:
    """The run's number of examples, except where the task insists on 0 or its prompts have no room for any."""
    if config.num_fewshot == 0 or config.output_type == "loglikelihood_rolling":
        return 0
    asked = config.num_fewshot if options.num_fewshot is None else options.num_fewshot
    if asked is not None and asked < 0:
        raise UsageError(f"--num-fewshot must not be negative, got {asked}")
    return asked or 0


def _positions(config: TaskConfig, split: Split, id_source: ids.Value | None, options: PromptOptions) -> range | list[int]:
    if options.sample_ids is None:
        if config.limit_by is None:
            return ids.limited(len(split.table), options.limit)
        group = ids.column_value(config.task, "limit_by", config.limit_by, split.table.columns)
        return ids.limited_groups(split.table, options.limit, group)
    if options.limit is not None:
        raise UsageError("--limit and --samples both select samples: give one of them")
    return ids.selected(config.task, split.table, id_source, options.sample_ids)


def _slices(config: TaskConfig, columns: Sequence[str]) -> dict[str, ids.Value]:
    named = config.slices if isinstance(config.slices, dict) else {name: name for name in config.slices}
    return {name: ids.column_value(config.task, f"slice {name!r}", field, columns) for name, field in named.items()}


def _params(config: TaskConfig, options: PromptOptions) -> Mapping[str, Any]:
    if config.output_type != "generate_until":
        return EMPTY
    params = generation_params(config.task, config.generation_kwargs, config.fewshot_delimiter, options.generation)
    if params["do_sample"]:
        params.setdefault("seed", options.seed)  # part of the request's key: another seed draws another answer
    return MappingProxyType(params)


def _shots(
    config: TaskConfig,
    options: PromptOptions,
    n_shot: int,
    pool: Split,
    split: Split,
    positions: range | list[int],
    fields: Fields,
) -> Shots:
    given = config.fewshot_config
    draw = make_draw(
        loaded(given.sampler, allow_code=options.allow_code),
        pool.table,
        n_shot,
        task=config.task,
        seed=options.seed,
        indices=given.fewshot_indices,
        same_split=pool.table is split.table,
        lm_eval=options.compat == "lm-eval",
        lm_eval_excludes=fewshot_split(config) == config.test_split,
        doc_at=lambda ordinal: split.table[positions[ordinal]],
    )
    own = Fields(
        text=fields.text if given.doc_to_text is None else loaded(given.doc_to_text, allow_code=options.allow_code),
        target=fields.target if given.doc_to_target is None else loaded(given.doc_to_target, allow_code=options.allow_code),
        choice=loaded(fewshot_setting(config, "doc_to_choice", config.doc_to_choice), allow_code=options.allow_code),
        columns=fields.columns,
        has_choices=fields.has_choices,
    )
    if isinstance(fields, LetterFields):
        own = lettered(own, LetterShots, inputs=fields.inputs, shuffled=fields.shuffled)
    return Shots(
        pool=pool.table,
        draw=draw,
        fields=own,
        target_delimiter=fewshot_setting(config, "target_delimiter", config.target_delimiter) or "",
        fewshot_delimiter=fewshot_setting(config, "fewshot_delimiter", config.fewshot_delimiter) or "",
        gen_prefix=fewshot_setting(config, "gen_prefix", config.gen_prefix),
        name=pool.name,
    )


def _prompts(
    config: TaskConfig, options: PromptOptions, fields: Fields, shots: Shots | None, multiple_inputs: bool
) -> PromptBuilder:
    multiturn = options.fewshot_as_multiturn
    description = loaded(config.description, allow_code=options.allow_code)
    return PromptBuilder(
        fields,
        shots,
        ChatOptions(
            chat=options.apply_chat_template,
            multiturn=True if multiturn is None else multiturn,
            system_instruction=options.system_instruction,
        ),
        description=described(description) if config.form else description,
        gen_prefix=config.gen_prefix,
        target_delimiter=config.target_delimiter,
        fewshot_delimiter=config.fewshot_delimiter,
        multiple_inputs=multiple_inputs,
    )


def _scoring(config: TaskConfig, fields: Fields, split: Split, options: PromptOptions) -> ScoringPlan:
    """The scoring plan. Like lm-eval, whether a task has several inputs or targets is read off its first document."""
    doc = split.table[0]
    try:
        inputs = fields.has_choices and isinstance(fields.doc_to_text(doc), int)
        targets = isinstance(fields.doc_to_target(doc), list)
    except TemplateError as error:
        raise TemplateError(f"task {config.task}, first row of split {split.name!r}: {error}") from error
    return scoring_plan(config, allow_code=options.allow_code, multiple_inputs=inputs, multiple_targets=targets)
