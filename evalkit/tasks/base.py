"""The Task contract: what the run needs of a task. `tasks.task.build` makes one from a TaskConfig and its data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from evalkit.models.base import ChatModel
from evalkit.scorers.base import ScoringPlan
from evalkit.types import Json, OutputType, Request, Response, Sample


@dataclass(frozen=True, slots=True)
class PromptOptions:
    """What the command line says about prompts, for every task of a run.

    ``compat="lm-eval"`` reproduces lm-eval's few-shot draws (world size 1). ``fewshot_as_multiturn=None`` means lm-eval's
    default: True with a chat template. ``generation`` is merged over the task's ``generation_kwargs``. ``data`` points
    a task at a local copy of its data. ``sample_ids`` selects by id or by position in the split (lm-eval's --samples).
    """

    num_fewshot: int | None = None
    seed: int = 1234
    apply_chat_template: bool = False
    system_instruction: str | None = None
    fewshot_as_multiturn: bool | None = None
    compat: Literal["lm-eval"] | None = None
    generation: Mapping[str, Any] | None = None
    limit: int | float | None = None
    sample_ids: tuple[str, ...] | None = None
    data: Path | None = None
    allow_code: bool = False


class Filter(Protocol):
    """A filter pipeline: from a sample's response texts (one a repeat) to its answer, in a batch of samples."""

    name: str

    def apply(self, responses: Sequence[list[Any]], docs: Sequence[Mapping[str, Any]]) -> list[Any]: ...


class Task(Protocol):
    """A task with its data at hand. Samples and prompts depend on the task, the sample's id and the seed alone."""

    name: str
    alias: str
    version: str
    output_type: OutputType
    num_fewshot: int
    repeats: int
    filters: tuple[Filter, ...]
    scoring: ScoringPlan

    @property
    def config(self) -> Mapping[str, Json]:
        """The resolved definition as JSON, for the manifest and its hash (functions appear with a source hash)."""
        ...

    @property
    def data_hash(self) -> str: ...

    def __len__(self) -> int:
        """Number of selected samples."""
        ...

    @property
    def size(self) -> int:
        """Number of samples in the split, before any limit."""
        ...

    def samples(self) -> Iterator[Sample]:
        """The selected samples, in order of the data, made as they are asked for."""
        ...

    def requests(self, sample: Sample, chat: ChatModel | None = None) -> tuple[Request, ...]:
        """The sample's requests, ordered by repeat, then slot; keys still empty.

        ``chat`` renders messages where the options ask for a chat template; without a renderer (a remote chat model) the
        prompt stays a tuple of messages. Raises TemplateError naming the sample.
        """
        ...


def texts(responses: Sequence[Response | None]) -> list[Any]:
    """What a filter pipeline sees of a sample's responses: generated texts, or ``(logprob, is_greedy)`` pairs."""
    return [None if r is None else r.text if r.text is not None else (r.logprob, r.is_greedy) for r in responses]
