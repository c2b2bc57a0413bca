"""Everything that can be known and refused before the first request: tasks, data, scorers, models, configuration."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import evalkit.data.load as tables
from evalkit.data.base import Table
from evalkit.errors import ConfigError, DataError, ScorerError, TaskError, nearest
from evalkit.models.base import ConnectingModel, Model
from evalkit.models.registry import load_model
from evalkit.runner.options import RunOptions
from evalkit.runner.plan import check_capabilities
from evalkit.scorers.base import Scorer, ScorerSpec
from evalkit.scorers.registry import build_scorers, fits, misfits
from evalkit.tasks.base import Filter, Task
from evalkit.tasks.load import Selection, TaskLibrary
from evalkit.tasks.schema import GroupConfig, TaskConfig
from evalkit.tasks.splits import custom_splits
from evalkit.tasks.task import build
from evalkit.types import Json, content_hash


@dataclass(frozen=True, slots=True)
class ReadyTask:
    """A task with the scorers it is measured by."""

    task: Task
    definition: TaskConfig
    scorers: tuple[Scorer, ...]
    extra: tuple[ScorerSpec, ...] = ()

    @property
    def name(self) -> str:
        return self.task.name

    @property
    def filters(self) -> tuple[Filter, ...]:
        return self.task.filters


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that a run needs, checked."""

    options: RunOptions
    tasks: tuple[ReadyTask, ...]
    groups: tuple[GroupConfig, ...]
    model: Model
    roles: Mapping[str, Model]
    warnings: tuple[str, ...] = ()

    @property
    def fingerprints(self) -> dict[str, str]:
        return {"model": self.model.fingerprint, **{role: model.fingerprint for role, model in self.roles.items()}}

    def config(self) -> dict[str, Json]:
        """What decides the numbers, as JSON; its hash identifies the configuration."""
        return {
            "model": {"name": self.model.name, "fingerprint": self.model.fingerprint},
            "roles": {role: {"name": m.name, "fingerprint": m.fingerprint} for role, m in self.roles.items()},
            "options": self.options.content(),
            "tasks": {
                ready.name: {
                    "definition": content_hash(ready.task.config),
                    "data": ready.task.data_hash,
                    "version": ready.task.version,
                    "num_fewshot": ready.task.num_fewshot,
                    "scorers": [scorer.signature() for scorer in ready.scorers],
                }
                for ready in self.tasks
            },
        }


def select(options: RunOptions) -> Selection:
    """The task definitions that the options name."""
    library = TaskLibrary([Path(d) for d in options.task_dirs])
    selection = library.resolve(list(options.tasks))
    known = [config.task for config in selection.tasks]
    for kind, names in (("data", options.data), ("samples", options.samples or {})):
        for name in names:
            if name not in known:
                raise ConfigError(f"--{kind} names {name!r}, which is not among the tasks of this run{nearest(name, known)}")
    return selection


def ready_task(config: TaskConfig, options: RunOptions) -> ReadyTask:
    """One task with its data and scorers. Errors name the task."""
    try:
        return _ready(config, options)
    except (TaskError, DataError, ScorerError) as error:
        if f"task {config.task}" in str(error):
            raise
        raise type(error)(f"task {config.task}: {error}") from error


def _ready(config: TaskConfig, options: RunOptions) -> ReadyTask:
    prompt = options.prompt(config.task)
    splits: Mapping[str, Table]
    if config.custom_dataset is not None and prompt.data is None:
        splits = custom_splits(config, tables, allow_code=options.allow_code)
    else:
        splits = tables.load_splits(
            config.dataset_path,
            config.dataset_name,
            config.dataset_kwargs,
            base=config.source.parent if config.source else None,
            override=prompt.data,
            eval_split=config.test_split or config.validation_split,
        )
    task = build(config, splits, prompt, tables=tables)
    extra = tuple(spec for spec in map(scorer_spec, options.scorers) if fits(spec, task.output_type))
    scorers = build_scorers(replace(task.scoring, extra=extra))
    _check_columns(task, scorers)
    return ReadyTask(task, config, scorers, extra)


def _check_columns(task: Task, scorers: Sequence[Scorer]) -> None:
    """Refuse data that lacks a column which a scorer reads, before anything is asked."""
    needed = {column: scorer.name for scorer in scorers for column in getattr(scorer, "columns", ())}
    sample = next(iter(task.samples()), None) if needed else None
    for column, name in needed.items():
        if sample is not None and column not in sample.doc:
            known = list(sample.doc)
            hint = nearest(column, known) or f"; columns: {', '.join(known)}"
            raise DataError(f"scorer {name!r} reads the column {column!r}, which the data has not{hint}")


def scorer_spec(item: str | Mapping[str, Any]) -> ScorerSpec:
    """``"name"``, ``"name:param=value,param=value"`` or a mapping with ``name`` and parameters."""
    if isinstance(item, str):
        name, _, rest = item.partition(":")
        pairs = [pair.partition("=") for pair in rest.split(",") if pair]
        if any(not equals for _, equals, _ in pairs):
            raise ScorerError(f"scorer {item!r}: parameters are written name:param=value,param=value")
        return ScorerSpec(name, {key: _literal(value) for key, _, value in pairs})
    params = dict(item)
    return ScorerSpec(str(params.pop("name", "")), params)


def prepare(options: RunOptions, tell: Callable[[str], None] = lambda text: None, *, connect: bool = True) -> Prepared:
    """Load and check everything; the dear parts (models) last, so that a slip is told at once.

    ``connect``: ask remote models whether they answer, and what they can do.
    """
    if not options.tasks:
        raise ConfigError("no task given; name one with --tasks (evalkit ls tasks lists them)")
    if options.fewshot_as_multiturn and not options.apply_chat_template:
        raise ConfigError("--fewshot-as-multiturn needs --apply-chat-template: only a chat has turns")
    selection = select(options)
    left_out = misfits(map(scorer_spec, options.scorers), {config.task: config.output_type for config in selection.tasks})
    tasks = tuple(ready_task(config, options) for config in selection.tasks)
    for ready in tasks:
        ready.task.requests(next(iter(ready.task.samples())))  # a template that never works is told before the model loads
    asked = _roles(options, tasks)
    if isinstance(options.model, str):
        tell(f"loading {options.model}")
    spec = options.model if options.tokenizer is None else (options.model, options.tokenizer)
    model = load_model(spec, options.model_options())
    roles = {role: _role_model(spec, options) for role, spec in asked.items()}
    if connect:
        for remote in (model, *roles.values()):
            if isinstance(remote, ConnectingModel):
                remote.connect()
    check_capabilities([ready.task for ready in tasks], model, chat=options.apply_chat_template)
    return Prepared(options, tasks, selection.groups, model, roles, (*selection.warnings, *left_out))


def _roles(options: RunOptions, tasks: Sequence[ReadyTask]) -> dict[str, Any]:
    """The models by role: those that the run names, and for further roles the one that a scorer has for it."""
    found = dict(options.roles)
    for scorer in (scorer for ready in tasks for scorer in ready.scorers):
        for role in scorer.roles:
            usual = getattr(scorer, "default_models", {}).get(role)
            if role not in found and usual is None:
                raise ConfigError(f"a scorer asks the role {role!r}; name its model with --role {role}=provider/name")
            found.setdefault(role, usual)
    return found


def _role_model(spec: Any, options: RunOptions) -> Model:
    """A role's model; its own options stand behind its name: ``hf/judge,dtype=bfloat16``."""
    if not isinstance(spec, str):
        return load_model(spec, replace(options.model_options(), args={}, flags={}))
    name, *pairs = re.split(r",(?=[\w-]+=)", spec)
    return load_model(name, replace(options.model_options(), args=dict(pair.split("=", 1) for pair in pairs), flags={}))


def _literal(text: str) -> Any:
    import yaml

    return yaml.safe_load(text)
