"""A built task: its samples and their requests, made as they are asked for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from evalkit.errors import TaskError, TemplateError, UsageError
from evalkit.models.base import ChatModel
from evalkit.scorers.base import ScoringPlan
from evalkit.tasks import ids
from evalkit.tasks.base import Filter
from evalkit.tasks.definition import definition
from evalkit.tasks.fields import Fields
from evalkit.tasks.generation import tools_of
from evalkit.tasks.prompt import PromptBuilder
from evalkit.tasks.schema import TaskConfig
from evalkit.tasks.splits import Split
from evalkit.tasks.targets import resolve_target
from evalkit.types import EMPTY, Json, OutputType, Prompt, Request, Sample, content_hash


@dataclass(frozen=True, slots=True)
class Parts:
    """What `tasks.task.build` works out."""

    config: TaskConfig
    num_fewshot: int
    split: Split
    pool: Split | None
    fields: Fields
    prompts: PromptBuilder
    filters: tuple[Filter, ...]
    scoring: ScoringPlan
    params: Mapping[str, Any]
    positions: range | list[int]
    id_source: ids.Value | None
    slices: Mapping[str, ids.Value]
    cluster: ids.Value | None


class PreparedTask:
    """A task with its data at hand (`tasks.base.Task`)."""

    def __init__(self, parts: Parts) -> None:
        config = parts.config
        self._parts = parts
        self.name: str = config.task
        self.alias: str = config.task_alias or config.task
        self.version: str = config.version
        self.output_type: OutputType = config.output_type
        tools = parts.params.get("tools")
        self._tools = tools if isinstance(tools, str) else None
        self._target_type: OutputType = "multiple_choice" if config.form else config.output_type
        self.num_fewshot: int = parts.num_fewshot
        self.repeats: int = config.repeats if config.output_type == "generate_until" else 1
        self.filters: tuple[Filter, ...] = parts.filters
        self.scoring: ScoringPlan = parts.scoring
        self._mutual_information = any(m.metric == "acc_mutual_info" for m in parts.scoring.metrics) or any(
            s.name == "acc_mutual_info" for s in parts.scoring.scorers
        )

    @cached_property
    def config(self) -> Mapping[str, Json]:
        resolved: dict[str, Json] = {"num_fewshot": self.num_fewshot}
        resolved["generation_kwargs"] = dict(self._parts.params) or None
        return definition(self._parts.config, resolved)

    @property
    def data_hash(self) -> str:
        pool = self._parts.pool
        return content_hash([self._parts.split.raw, None if pool is None else pool.raw])

    def __len__(self) -> int:
        return len(self._parts.positions)

    @property
    def size(self) -> int:
        return len(self._parts.split.table)

    def samples(self) -> Iterator[Sample]:
        parts = self._parts
        wanted = parts.positions if isinstance(parts.positions, range) else set(parts.positions)
        last = parts.positions[-1]
        for index, sample_id, doc in ids.numbered(parts.split.table, parts.id_source):
            if index in wanted:
                try:
                    sample = self._sample(index, sample_id, doc)
                except TemplateError as error:
                    raise self._located(error, sample_id) from error
                yield sample
            if index >= last:
                return

    def requests(self, sample: Sample, chat: ChatModel | None = None) -> tuple[Request, ...]:
        try:
            return self._requests(sample, chat)
        except (TemplateError, TaskError) as error:
            raise self._located(error, sample.id) from error

    def _sample(self, index: int, sample_id: str, doc: dict[str, Any]) -> Sample:
        parts = self._parts
        choices = parts.fields.doc_to_choice(doc) if parts.fields.has_choices else None
        slices = {name: value(doc) for name, value in parts.slices.items()}
        cluster = None if parts.cluster is None else parts.cluster(doc)
        return Sample(
            task=self.name,
            id=sample_id,
            index=index,
            doc=doc,
            target=resolve_target(self._target_type, parts.fields, doc, choices, parts.scoring),
            choices=None if choices is None else tuple(choices),
            slices={name: str(value) for name, value in slices.items() if value is not None} if slices else EMPTY,
            cluster=None if cluster is None else str(cluster),
        )

    def _requests(self, sample: Sample, chat: ChatModel | None) -> tuple[Request, ...]:
        if self.output_type == "loglikelihood_rolling":
            return (Request("loglikelihood_rolling", sample.target, task=self.name, sample_id=sample.id),)
        parts = self._parts
        contexts = parts.prompts.contexts(sample, self._ordinal(sample), chat)
        if self.output_type == "multiple_choice":
            return self._choice_requests(contexts, sample)
        if self.output_type == "loglikelihood":
            return (Request("loglikelihood", contexts[0], sample.target, task=self.name, sample_id=sample.id),)
        params = parts.params if self._tools is None else {**parts.params, "tools": tools_of(sample.doc, self._tools)}
        return tuple(
            Request("generate", contexts[0], params=params, repeat=k, task=self.name, sample_id=sample.id)
            for k in range(self.repeats)
        )

    def _choice_requests(self, contexts: list[Prompt], sample: Sample) -> tuple[Request, ...]:
        choices = sample.choices or ()
        delimiter = self._parts.prompts.choice_delimiter()
        if self._parts.scoring.multiple_inputs:
            continuation = f"{delimiter}{self._parts.fields.doc_to_target(sample.doc)}"
            asked: list[tuple[Prompt, str]] = [(context, continuation) for context in contexts]
        else:
            asked = [(contexts[0], f"{delimiter}{choice}") for choice in choices]
        if self._mutual_information:
            asked += [("", f"{delimiter}{choice}") for choice in choices]
        return tuple(
            Request("loglikelihood", prompt, continuation, slot=slot, task=self.name, sample_id=sample.id)
            for slot, (prompt, continuation) in enumerate(asked)
        )

    def _ordinal(self, sample: Sample) -> int:
        positions = self._parts.positions
        return bisect_left(positions, sample.index) if isinstance(positions, list) else sample.index

    def _located(self, error: UsageError, sample_id: str) -> UsageError:
        return type(error)(f"task {self.name}, sample {sample_id}: {error}")
