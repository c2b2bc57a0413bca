"""Which rows a task evaluates and which it takes its few-shot examples from, with its documents processed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from evalkit.data.base import Table
from evalkit.errors import CodeRefused, DataError, EvalkitError, TaskError, nearest
from evalkit.tasks.schema import FunctionRef, TaskConfig
from evalkit.tasks.scoring import loaded
from evalkit.tasks.transforms import TRANSFORMS


class TableTools(Protocol):
    """What building a task needs of the data package (the module ``evalkit.data.load`` is one)."""

    def from_rows(self, rows: Iterable[Mapping[str, Any]]) -> Table: ...

    def from_hf(self, dataset: Any) -> Table: ...

    def to_hf(self, table: Table) -> Any: ...


@dataclass(frozen=True, slots=True)
class Split:
    """A processed split. ``raw`` is the fingerprint of what was read, before any processing."""

    name: str
    table: Table
    raw: str


def fewshot_setting(config: TaskConfig, key: str, inherited: Any) -> Any:
    """A key of ``fewshot_config`` where the file gives it (``null`` counts), else the task's own."""
    given = config.fewshot_config
    return getattr(given, key) if key in given.model_fields_set else inherited


def fewshot_split(config: TaskConfig) -> str | None:
    """The split that the file names for examples, if it names one."""
    split: str | None = fewshot_setting(config, "split", config.fewshot_split)
    return split


class SplitReader:
    """Reads and processes the splits of one task, each once."""

    def __init__(self, config: TaskConfig, splits: Mapping[str, Table], tables: TableTools, *, allow_code: bool) -> None:
        self._config = config
        self._splits = splits
        self._tables = tables
        self._allow_code = allow_code
        self._read: dict[tuple[str, str], Split] = {}

    def evaluated(self) -> Split:
        """The test split, else the validation split. Raises DataError where it is empty."""
        name = self._config.test_split or self._config.validation_split
        if name is None:
            raise TaskError(f"task {self._config.task}: names neither test_split nor validation_split: nothing to evaluate")
        return self._split(name, self._config.process_docs or self._config.transform)

    def pool(self) -> Split:
        """Where examples come from: the split or rows that ``fewshot_config`` names, else training, validation, test."""
        config = self._config
        own = config.process_docs or config.transform
        name = fewshot_split(config)
        if name is not None:
            return self._split(name, fewshot_setting(config, "process_docs", own))
        if config.fewshot_config.samples is not None:
            return self._listed(config.fewshot_config.samples)
        name = config.training_split or config.validation_split or config.test_split
        if name is None:
            raise TaskError(f"task {config.task}: names no split to take few-shot examples from")
        return self._split(name, own)

    def _listed(self, samples: list[dict[str, Any]] | FunctionRef) -> Split:
        rows = loaded(samples, allow_code=self._allow_code)() if isinstance(samples, FunctionRef) else samples
        if not rows:
            raise TaskError(f"task {self._config.task}: fewshot_config.samples is empty")
        table = self._tables.from_rows([dict(row) for row in rows])
        return Split("fewshot_config.samples", table, table.fingerprint)

    def _split(self, name: str, process: FunctionRef | str | None) -> Split:
        key = (name, str(process))
        if key not in self._read:
            raw = self._raw(name)
            table = self._processed(name, raw, process)
            if len(table) == 0:
                after = f" after {process}" if process and len(raw) else ""
                raise DataError(f"task {self._config.task}: split {name!r} has no rows{after}")
            self._read[key] = Split(name, table, raw.fingerprint)
        return self._read[key]

    def _raw(self, name: str) -> Table:
        try:
            return self._splits[name]
        except KeyError:
            known = list(self._splits)
            hint = nearest(name, known) or f"; splits: {', '.join(known)}"
            raise DataError(f"task {self._config.task}: the data has no split {name!r}{hint}") from None
        except DataError as error:
            raise DataError(f"task {self._config.task}: {error}") from error

    def _processed(self, name: str, table: Table, process: FunctionRef | str | None) -> Table:
        if process is None:
            return table
        function = TRANSFORMS.get(process) if isinstance(process, str) else loaded(process, allow_code=self._allow_code)
        try:
            if isinstance(process, str):
                return self._tables.from_rows([row for doc in table for row in function(doc)])
            rows = self._tables.to_hf(table)
            with _no_bars():
                return _as_table(function(rows), self._tables)
        except EvalkitError:
            raise
        except Exception as error:  # code of a task folder, or rows that lack what a transform reads
            what = f"column {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(
                f"task {self._config.task}, split {name!r}: {process} failed: {type(error).__name__}: {what}"
            ) from error


@contextmanager
def _no_bars() -> Iterator[None]:
    """No progress bars of ``datasets`` while a task folder's function maps rows: a run has its own. Restores them."""
    datasets = sys.modules.get("datasets")
    if datasets is None or datasets.are_progress_bars_disabled():
        yield
        return
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.enable_progress_bars()


def custom_splits(config: TaskConfig, tables: TableTools, *, allow_code: bool) -> dict[str, Table]:
    """The splits that a task's ``custom_dataset`` function makes; it is called as lm-eval calls it."""
    if config.custom_dataset is None:
        raise TaskError(f"task {config.task} has no custom_dataset")
    function = loaded(config.custom_dataset, allow_code=allow_code)
    try:
        made = function(**{**config.metadata, **config.dataset_kwargs})
    except Exception as error:  # code of a task folder
        raise DataError(f"task {config.task}: {config.custom_dataset} raised {type(error).__name__}: {error}") from error
    return {str(name): _as_table(split, tables) for name, split in made.items()}


def _as_table(made: Any, tables: TableTools) -> Table:
    """What a task folder's function made: a list of rows, or a ``datasets.Dataset``."""
    return tables.from_rows(made) if isinstance(made, list | tuple) else tables.from_hf(made)


def refuse_unsafe(config: TaskConfig, *, allow_code: bool) -> None:
    """Tasks that evalkit cannot or must not run: images and sound, legacy prompts, code that a model wrote."""
    if config.doc_to_image is not None or config.doc_to_audio is not None:
        key = "doc_to_image" if config.doc_to_image is not None else "doc_to_audio"
        raise TaskError(f"task {config.task}: {key} is set and evalkit evaluates text only; leave this task out")
    if config.use_prompt is not None:
        raise TaskError(
            f"task {config.task}: use_prompt is not supported; write the template as doc_to_text and doc_to_target"
        )
    if config.unsafe_code and not allow_code:
        raise CodeRefused(
            f"task {config.task} runs code that the model wrote (unsafe_code: true); pass --allow-code to let it"
        )
