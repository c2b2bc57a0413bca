"""Outputs that are there already, as runs: a task made over their rows, and a model that says what was given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import evalkit.data.load as tables
from evalkit.data.pairs import Outputs
from evalkit.errors import DataError
from evalkit.models.base import ChatModel, ConnectingModel, Model
from evalkit.models.given import ROW, GivenModel
from evalkit.runner.options import RunOptions
from evalkit.runner.prepare import (
    Prepared,
    ReadyTask,
    bound_tasks,
    check_scorers,
    judge_warnings,
    role_models,
    role_specs,
    scorer_spec,
)
from evalkit.runner.roles import role_infos
from evalkit.runner.trial import try_out
from evalkit.scorers.common import NO_REFERENCE
from evalkit.scorers.registry import build_scorers
from evalkit.tasks.base import Task
from evalkit.tasks.schema import ScorerEntry, TaskConfig
from evalkit.tasks.task import build
from evalkit.types import Request, Sample

#: What measures texts against references where nobody says.
DEFAULT_SCORERS = ("bleu", "chrf", "rouge")


@dataclass(frozen=True, slots=True)
class GivenOptions:
    """What `evalkit.score` takes beside the texts.

    ``task`` is what the data is called in tables; ``slices`` are columns whose values are reported apart; ``cluster`` the
    column that says which rows are not independent. The rest is as in `RunOptions`.
    """

    task: str = "outputs"
    scorers: Sequence[str | Mapping[str, Any]] = ()
    slices: Sequence[str] = ()
    cluster: str | None = None
    name: str | None = None
    output_dir: Any = "runs"
    new: bool = False
    allow_code: bool = False
    roles: Mapping[str, Any] = field(default_factory=dict)
    retry_errors: bool = False
    max_cost: float | None = None
    max_tokens_total: int | None = None
    price: Any = None
    prices: Any = None
    cache: Any = False
    command: Sequence[str] = ()


def prepare_given(
    outputs: Outputs, origins: Mapping[str, str], options: GivenOptions, tell: Callable[[str], None] = lambda text: None
) -> dict[str, Prepared]:
    """A run for each system, over one task, with everything checked.

    ``origins`` says where each system's texts come from. Raises DataError for data that lacks what a scorer reads (the
    source, the reference, a column), ScorerError for scorers that cannot be built.
    """
    if not options.scorers and not outputs.has_references:
        raise DataError("no references: give --references FILE, or --scorers that need none")
    if not options.scorers:
        tell(f"no --scorers given: {', '.join(DEFAULT_SCORERS)} (evalkit ls scorers lists them all)")
    config = _definition(outputs, options)
    run_options = RunOptions(
        tasks=(options.task,),
        model=None,
        roles=options.roles,
        allow_code=options.allow_code,
        output_dir=options.output_dir,
        new=options.new,
        max_error_rate=1.0,  # what a file does not hold, no resuming will bring
        retry_errors=options.retry_errors,
        max_cost=options.max_cost,
        max_tokens_total=options.max_tokens_total,
        price=options.price,
        prices=options.prices,
        cache=options.cache,
        command=options.command,
    )
    task = _GivenTask(
        build(config, {"test": tables.from_rows(outputs.rows)}, run_options.prompt(options.task), tables=tables)
    )
    scorers = build_scorers(task.scoring)
    ready = ReadyTask(task, config, scorers)
    _check(ready, outputs)
    roles = role_models(role_specs(run_options, [ready]), run_options)
    for model in roles.values():
        if isinstance(model, ConnectingModel):
            model.connect()
    return {
        name: _prepared(ready, run_options, roles, options.name, name, outputs, origins[name]) for name in outputs.systems
    }


def _prepared(
    ready: ReadyTask,
    options: RunOptions,
    roles: Mapping[str, Model],
    given_name: str | None,
    system: str,
    outputs: Outputs,
    origin: str,
) -> Prepared:
    model = GivenModel(system, outputs.systems[system], origin=origin)
    alone = len(outputs.systems) == 1
    name = system if given_name is None else given_name if alone else f"{given_name}_{system}"
    tasks = bound_tasks([ready], model, roles)
    warnings = [*_odd(system, outputs), *judge_warnings(tasks, role_infos({"model": model, **roles}))]
    return Prepared(replace(options, model=model, name=name), tasks, (), model, roles, tuple(warnings))


def _odd(system: str, outputs: Outputs) -> Iterator[str]:
    """What a reader should know of the outputs before trusting any number: learned metrics forgive copies and blanks."""
    texts = outputs.systems[system]
    blank = sum(text is not None and not text.strip() for text in texts)
    sources = [row["source"] for row in outputs.rows] if outputs.has_sources else []
    copied = sum(bool(a and a.strip()) and a == b for a, b in zip(texts, sources, strict=False))
    if blank:
        yield f"{blank} of the {len(texts)} outputs of {system} are blank"
    if copied:
        yield f"{copied} of the {len(texts)} outputs of {system} are their sources, unchanged"


def _definition(outputs: Outputs, options: GivenOptions) -> TaskConfig:
    specs = [scorer_spec(item) for item in options.scorers or DEFAULT_SCORERS]
    return TaskConfig(
        task=options.task,
        test_split="test",
        sample_id="id",
        num_fewshot=0,
        output_type="generate_until",
        doc_to_text="source" if outputs.has_sources else "",
        doc_to_target="reference" if outputs.has_references else None,
        scorers=[ScorerEntry(name=spec.name, **spec.params) for spec in specs],
        slices=list(options.slices),
        cluster=options.cluster,
        summary="outputs scored as they were given",
        metadata={"version": "1.0"},
    )


def _check(ready: ReadyTask, outputs: Outputs) -> None:
    """Refuse what a scorer reads and nothing was given for."""
    for scorer in ready.scorers:
        if "source" in getattr(scorer, "columns", ()) and not outputs.has_sources:
            raise DataError(
                f"scorer {scorer.name!r} reads the source texts: give them with --sources FILE, or name their column with "
                "--column source=NAME"
            )
    check_scorers(ready.task, ready.scorers)
    if not outputs.has_references:
        sample = next(iter(ready.task.samples()))
        for trial in try_out(ready, sample, ready.task.requests(sample)):
            if trial.reason == NO_REFERENCE:
                raise DataError(f"scorer {trial.scorer!r} compares with references: give them with --references FILE")


class _GivenTask:
    """A built task whose only request asks for the row's text; its prompt is the source."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.name, self.alias, self.version = task.name, task.alias, task.version
        self.output_type, self.num_fewshot, self.repeats = task.output_type, 0, 1
        self.filters, self.scoring = task.filters, task.scoring

    @property
    def config(self) -> Mapping[str, Any]:
        return self._task.config

    @property
    def data_hash(self) -> str:
        return self._task.data_hash

    def __len__(self) -> int:
        return len(self._task)

    @property
    def size(self) -> int:
        return self._task.size

    def samples(self) -> Iterator[Sample]:
        return self._task.samples()

    def requests(self, sample: Sample, chat: ChatModel | None = None) -> tuple[Request, ...]:
        asked = str(sample.doc.get("source") or "")
        return (Request("generate", asked, params={ROW: sample.index}, task=self.name, sample_id=sample.id),)
