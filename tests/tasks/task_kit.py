"""Small tables and a one-call builder for the tests of tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from evalkit.tasks.base import PromptOptions, Task
from evalkit.tasks.schema import TaskConfig
from evalkit.tasks.task import build
from evalkit.types import content_hash


class ListTable:
    """A Table over rows in memory that counts what is read of it."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self.rows = [dict(row) for row in rows]
        self.columns = tuple(self.rows[0]) if self.rows else ()
        self.reads = 0

    @property
    def fingerprint(self) -> str:
        return content_hash(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.reads += 1
        return dict(self.rows[index])

    def __iter__(self):
        for index in range(len(self.rows)):
            yield self[index]


TOOLS = SimpleNamespace(from_rows=ListTable, from_hf=ListTable, to_hf=lambda table: table)


def table(n: int, prefix: str = "q", **columns: Any) -> ListTable:
    """``n`` rows with question, choices, label and answer; further columns are functions of the position."""
    return ListTable(
        {
            "question": f"{prefix}{i}",
            "choices": [f"c{i}{letter}" for letter in "abcd"],
            "label": i % 4,
            "answer": f"a{i}",
            **{name: make(i) for name, make in columns.items()},
        }
        for i in range(n)
    )


def config(**keys: Any) -> TaskConfig:
    """A generation task over the rows of `table`, with ``keys`` over it."""
    base = {"task": "t", "test_split": "test", "doc_to_text": "Q: {{question}}\nA:", "doc_to_target": "{{answer}}"}
    return TaskConfig(**{**base, **keys})


def choice_config(**keys: Any) -> TaskConfig:
    """A multiple-choice task over the rows of `table`."""
    return config(**{"output_type": "multiple_choice", "doc_to_target": "label", "doc_to_choice": "choices", **keys})


def make(cfg: TaskConfig, splits: Mapping[str, Any] | None = None, **options: Any) -> Task:
    """The built task; ten test rows and twenty training rows where no data is given."""
    data = {"test": table(10), "train": table(20, "train")} if splits is None else splits
    return build(cfg, data, PromptOptions(**options), tables=TOOLS)


def prompts(task: Task, chat: Any = None) -> list[Any]:
    """The first prompt of every sample."""
    return [task.requests(sample, chat)[0].prompt for sample in task.samples()]
