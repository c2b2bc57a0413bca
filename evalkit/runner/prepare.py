"""Everything that can be known and refused before the first request: tasks, data, scorers, models, configuration."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import evalkit.data.load as tables
from evalkit.data.base import Table
from evalkit.errors import ConfigError, DataError, ModelError, ScorerError, TaskError, nearest
from evalkit.models.base import ConnectingModel, KeepingModel, Model
from evalkit.models.registry import load_model
from evalkit.runner.options import RunOptions
from evalkit.runner.plan import check_capabilities
from evalkit.runner.records import Scored
from evalkit.runner.roles import role_info, role_infos
from evalkit.scorers.base import BindingScorer, RoleInfo, Scorer, ScorerSpec, bound, scorer_named
from evalkit.scorers.judge.pointwise import related_warnings
from evalkit.scorers.registry import build_scorers, fits, misfits
from evalkit.tasks.base import Filter, Task
from evalkit.tasks.letter import in_form, left_out
from evalkit.tasks.load import Selection, TaskLibrary
from evalkit.tasks.schema import Form, GroupConfig, TaskConfig
from evalkit.tasks.splits import custom_splits
from evalkit.tasks.task import build
from evalkit.types import Json, Sample, content_hash


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

    def identity(self) -> dict[str, Json]:
        """What of the task decides the numbers."""
        return {
            "definition": content_hash(self.task.config),
            "data": self.task.data_hash,
            "version": self.task.version,
            "num_fewshot": self.task.num_fewshot,
            "scorers": [scorer.signature() for scorer in self.scorers],
            **({"form": self.definition.form} if self.definition.form else {}),
        }


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
    def infos(self) -> dict[str, RoleInfo]:
        """Every model by its role, the one under test as ``model``."""
        return role_infos({"model": self.model, **self.roles})

    @property
    def fingerprints(self) -> dict[str, str]:
        return {role: info.fingerprint for role, info in self.infos.items()}

    def config(self) -> dict[str, Json]:
        """What decides the numbers, as JSON; its hash identifies the configuration."""
        return {
            "model": {"name": self.model.name, "fingerprint": self.model.fingerprint},
            "roles": {role: {"name": m.name, "fingerprint": m.fingerprint} for role, m in self.roles.items()},
            "options": self.options.content(),
            "tasks": {ready.name: ready.identity() for ready in self.tasks},
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


def ready_task(config: TaskConfig, options: RunOptions, default: Form = "loglikelihood") -> ReadyTask:
    """One task with its data and scorers, multiple choice in the form that options, file or ``default`` name.

    Errors name the task.
    """
    try:
        return _ready(_in_form(config, options, default), options)
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
    check_scorers(task, scorers)
    return ReadyTask(task, config, scorers, extra)


def check_scorers(task: Task, scorers: Sequence[Scorer]) -> None:
    """Before anything is asked: refuse data that lacks a column which a scorer reads, and a network that cannot be used."""
    for scorer in scorers:
        check: Callable[[], None] | None = getattr(scorer, "check", None)
        if check is not None:
            check()
    if any(getattr(scorer, "columns", ()) for scorer in scorers):
        check_columns(next(iter(task.samples()), None), scorers)


def check_columns(sample: Sample | None, scorers: Sequence[Scorer]) -> None:
    """Refuse data, by its first sample, that lacks a column which a scorer reads; raises DataError."""
    needed = {column: scorer.name for scorer in scorers for column in getattr(scorer, "columns", ())}
    for column, name in needed.items():
        if sample is not None and column not in sample.doc:
            known = list(sample.doc)
            hint = nearest(column, known) or f"; columns: {', '.join(known)}"
            raise DataError(f"scorer {name!r} reads the column {column!r}, which the data has not{hint}")


def scorer_spec(item: str | Mapping[str, Any]) -> ScorerSpec:
    """``"name"``, ``"name:param=value,param=value"`` or a mapping with ``name`` and parameters.

    ``evaluate:NAME:param=value`` is a metric of the evaluate library: that name has a colon of its own.
    """
    if isinstance(item, str):
        cut = re.search(r":(?=\w+=)" if item.startswith("evaluate:") else ":", item)
        name, rest = (item, "") if cut is None else (item[: cut.start()], item[cut.end() :])
        if name == "judge" and rest and "=" not in rest.partition(",")[0]:  # judge:coherence,model=...
            rest = f"rubric={rest}"
        pairs = [pair.partition("=") for pair in re.split(r",(?=\s*[\w.-]+=)", rest) if pair]
        if any(not equals for _, equals, _ in pairs):
            raise ScorerError(f"scorer {item!r}: parameters are written name:param=value,param=value")
        return scorer_named(name, {key: _literal(value) for key, _, value in pairs})
    params = dict(item)
    if "judge" in params and "name" not in params:
        params = {"name": "judge", "rubric": params.pop("judge"), **params}
    return scorer_named(str(params.pop("name", "")), params)


def prepare(options: RunOptions, tell: Callable[[str], None] = lambda text: None, *, connect: bool = True) -> Prepared:
    """Load and check everything; the dear parts (models) last, so that a slip is told at once.

    ``connect``: ask remote models whether they answer, and what they can do.
    """
    if not options.tasks:
        raise ConfigError("no task given; name one with --tasks (evalkit ls tasks lists them)")
    if options.fewshot_as_multiturn and not options.apply_chat_template:
        raise ConfigError("--fewshot-as-multiturn needs --apply-chat-template: only a chat has turns")
    selection = select(options)
    tasks = _all_ready(selection.tasks, options)
    _refuse_misfits(options, tasks)
    forced = None
    asked = role_specs(options, tasks)
    if isinstance(options.model, str):
        tell(f"loading {options.model}")
    spec = options.model if options.tokenizer is None else (options.model, options.tokenizer)
    model = load_model(spec, options.model_options())
    roles = role_models(asked, options, model)
    if connect:
        for remote in (model, *roles.values()):
            if isinstance(remote, ConnectingModel):
                remote.connect()
    blind = options.apply_chat_template and isinstance(model, ConnectingModel)  # its template is on the other side
    if options.form == "auto" and (blind or "loglikelihood" not in model.capabilities.kinds):
        lettered = _all_ready(selection.tasks, options, "letter", tasks)
        if lettered != tasks:
            tasks, forced = lettered, model.name
    notes = [*_misfits(options, tasks), *_said(selection.tasks, tasks, forced)]
    check_capabilities([ready.task for ready in tasks], model, chat=options.apply_chat_template)
    if blind and (scored := [ready.name for ready in tasks if ready.task.output_type != "generate_until"]):
        raise ModelError(
            f"--apply-chat-template: {model.name} renders its template itself, so that it cannot score texts in it: leave "
            f"out the flag, or {scored[0]}"
        )
    notes += judge_warnings(tasks, role_infos({"model": model, **roles}))
    return Prepared(options, bound_tasks(tasks, model, roles), selection.groups, model, roles, (*selection.warnings, *notes))


def bound_tasks(tasks: Sequence[ReadyTask], model: Model, roles: Mapping[str, Model]) -> tuple[ReadyTask, ...]:
    """The tasks, their scorers told which models answer them."""
    infos, candidate = role_infos(roles), role_info("model", model)
    return tuple(
        replace(ready, scorers=tuple(bound(scorer, infos, candidate) for scorer in ready.scorers))
        if any(scorer.roles for scorer in ready.scorers)
        else ready
        for ready in tasks
    )


def role_specs(options: RunOptions, tasks: Sequence[ReadyTask]) -> dict[str, Any]:
    """The models by role: those that the run names, and for further roles the one that a scorer has for it.

    Raises ConfigError for a role without a model, and where scorers name different ones for it.
    """
    found = dict(options.roles)
    for scorer in (scorer for ready in tasks for scorer in ready.scorers):
        for role in scorer.roles:
            usual = getattr(scorer, "default_models", {}).get(role)
            if role not in found and usual is None:
                raise ConfigError(f"a scorer asks the role {role!r}; name its model with --role {role}=provider/name")
            if usual is not None and role not in options.roles and found.get(role, usual) != usual:
                raise ConfigError(
                    f"the scorers name two models for the role {role!r}, {found[role]} and {usual}: give one of them a role "
                    f"of its own (the parameter role: {role}_2), or both one model with --role {role}=provider/name"
                )
            found.setdefault(role, usual)
    return found


def judge_warnings(tasks: Sequence[Scored], infos: Mapping[str, RoleInfo]) -> list[str]:
    """A line for every judge of these tasks that is the model under test (``model``) or of its family, each once."""
    judges = {role for task in tasks for s in task.scorers if isinstance(s, BindingScorer) for role in s.roles}
    found = related_warnings((info for role, info in infos.items() if role in judges), infos.get("model"))
    return list(dict.fromkeys(found))


def _all_ready(
    configs: Sequence[TaskConfig], options: RunOptions, default: Form = "loglikelihood", found: Sequence[ReadyTask] = ()
) -> tuple[ReadyTask, ...]:
    """All tasks, multiple choice in the form that the options, the file or else ``default`` name; those of ``found`` again.

    A template that never works is told here, before the model loads.
    """
    done = {ready.name: ready for ready in found}
    tasks = []
    for config in configs:
        ready = done.get(config.task)
        if ready is None or ready.definition != _in_form(config, options, default):
            ready = ready_task(config, options, default)
            ready.task.requests(next(iter(ready.task.samples())))
        tasks.append(ready)
    return tuple(tasks)


def _in_form(config: TaskConfig, options: RunOptions, default: Form) -> TaskConfig:
    return in_form(config, (config.form or default) if options.form == "auto" else options.form)


def _refuse_misfits(options: RunOptions, tasks: Sequence[ReadyTask]) -> None:
    """Before a model loads: raises ScorerError for a scorer that fits no task in any form that it can yet be asked in."""
    kinds = {ready.name: ready.task.output_type for ready in tasks}
    if options.form == "auto":
        kinds |= {f"{name} in letters": "generate_until" for name, kind in kinds.items() if kind == "multiple_choice"}
    misfits(map(scorer_spec, options.scorers), kinds)


def _misfits(options: RunOptions, tasks: Sequence[ReadyTask]) -> list[str]:
    return misfits(map(scorer_spec, options.scorers), {ready.name: ready.task.output_type for ready in tasks})


def _said(configs: Sequence[TaskConfig], tasks: Sequence[ReadyTask], model: str | None = None) -> list[str]:
    """What a reader must know of tasks in letter form; ``model`` is the one that made it necessary."""
    pairs = [(config, ready) for config, ready in zip(configs, tasks, strict=True) if ready.definition.form]
    if not pairs:
        return []
    names = [config.task for config, _ in pairs]
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    why = f"{model} does not score given texts, so multiple choice" if model else "multiple choice"
    forms = " and ".join(sorted({str(ready.definition.form) for _, ready in pairs}))
    lines = [f"{why} is asked in the form {forms}, not comparable with log-likelihood numbers: {shown}"]
    lost = sorted({name for config, _ in pairs for name in left_out(config)})
    return [*lines, f"not measured in that form: {', '.join(lost)}"] if lost else lines


def role_models(specs: Mapping[str, Any], options: RunOptions, model: Model | None = None) -> dict[str, Model]:
    """The models by role. What two of them name in the same words is loaded once, also the ``model`` under test."""
    loaded: dict[str, Model] = {}
    as_usual = options.tokenizer is None and options.model_options() == replace(options.model_options(), args={}, flags={})
    if model is not None and isinstance(options.model, str) and as_usual:
        loaded[options.model] = model
    found = {}
    for role, spec in specs.items():
        known = loaded.get(spec) if isinstance(spec, str) else None
        if known is None or isinstance(known, KeepingModel):  # what those keep is for one role
            known = role_model(spec, options)
        if isinstance(spec, str):
            loaded[spec] = known
        found[role] = known
    return found


def role_model(spec: Any, options: RunOptions) -> Model:
    """A role's model; its own options stand behind its name: ``hf/judge,dtype=bfloat16``."""
    if not isinstance(spec, str):
        return load_model(spec, replace(options.model_options(), args={}, flags={}))
    name, *pairs = re.split(r",(?=[\w-]+=)", spec)
    return load_model(name, replace(options.model_options(), args=dict(pair.split("=", 1) for pair in pairs), flags={}))


def _literal(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ScorerError(
            f"scorer parameter {text!r} cannot be read: a list is written [a,b], and a text with signs in quotes"
        ) from error
