"""What an importer makes of another program's log, before it becomes a run directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.tasks.schema import GroupConfig, TaskConfig
from evalkit.types import Json, Request, Response, Sample

#: A sample with what was asked and what came back; keys are filled when it is written.
Answered = tuple[Sample, tuple[Request, ...], tuple[Response, ...]]


@dataclass(frozen=True, slots=True)
class Reported:
    """A number of the log, to be found again: what the program made of a task (or group), metric and filter.

    ``given``: the entry of the scorer ``given`` that carries the program's own values, where they can be carried.
    ``native``: evalkit computes the metric, too.
    """

    task: str
    metric: str
    filter: str
    value: float | None
    given: Mapping[str, Json] | None = None
    native: bool = False
    each: bool = False
    """Whether the samples' values are the metric's own numbers, to be compared one by one."""


@dataclass(frozen=True, slots=True)
class TaskLog:
    """One task of a log. ``config`` names evalkit's own scorers only; `Reported` says which values came with the answers."""

    config: TaskConfig
    multiple_inputs: bool
    multiple_targets: bool
    n_shot: int
    size: int
    samples: int
    records: Callable[[], Iterator[Answered]]
    reported: tuple[Reported, ...] = ()
    resolved: Mapping[str, Json] = field(default_factory=dict)
    """Settings of the run over those of the file (shots, generation), as `tasks.definition.definition` takes them."""

    @property
    def name(self) -> str:
        return self.config.task


@dataclass(frozen=True, slots=True)
class RunLog:
    """A log as one run. ``origin`` is the program and its version; ``files`` its files and their hashes (SHA-256)."""

    origin: str
    source: Path
    files: Mapping[str, str]
    name: str
    model: Mapping[str, Json]
    options: Mapping[str, Any]
    """Fields of `RunOptions` that ask evalkit for the same."""
    tasks: tuple[TaskLog, ...]
    groups: tuple[GroupConfig, ...] = ()
    reported: tuple[Reported, ...] = ()
    """Numbers of groups."""
    created: str | None = None
    seconds: float | None = None
    warnings: tuple[str, ...] = ()
    details: Mapping[str, Json] = field(default_factory=dict)
    """Further facts for the manifest (a revision, a run id)."""
