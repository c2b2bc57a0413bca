"""A run's tasks as its manifest remembers them: enough to filter and score again, without the data or the model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from evalkit.errors import StoreError
from evalkit.runner.store import MANIFEST, RunStore
from evalkit.scorers.base import Scorer, ScorerSpec, ScoringPlan
from evalkit.scorers.registry import build_scorers
from evalkit.tasks.base import Filter
from evalkit.tasks.filters import pipelines
from evalkit.tasks.schema import TaskConfig
from evalkit.tasks.scoring import scoring_plan
from evalkit.types import Json

#: The file of a run's summaries.
SUMMARY = "summary.json"


@dataclass(frozen=True, slots=True)
class StoredTask:
    """A task of a finished run: its filters and scorers, rebuilt from its definition."""

    name: str
    n_shot: int
    filters: tuple[Filter, ...]
    scorers: tuple[Scorer, ...]


def task_entry(config: TaskConfig, plan: ScoringPlan) -> dict[str, Json]:
    """What the manifest keeps of a task so that `stored_tasks` can rebuild it."""
    return {
        "definition": config.model_dump(mode="json", exclude_defaults=True),
        "multiple_inputs": plan.multiple_inputs,
        "multiple_targets": plan.multiple_targets,
    }


def stored_tasks(store: RunStore, manifest: Mapping[str, Any], *, allow_code: bool | None = None) -> list[StoredTask]:
    """The tasks of a run. Code of a task folder is loaded again only where the run itself was allowed to.

    Raises StoreError where the run is damaged, CodeRefused or TaskError where a function of the task's folder is gone or not
    allowed.
    """
    store.require_whole()
    allowed = bool(manifest["config"].get("allow_code")) if allow_code is None else allow_code
    tasks = []
    for name, entry in manifest["tasks"].items():
        config = _definition(store, name, entry)
        plan = scoring_plan(
            config,
            allow_code=allowed,
            multiple_inputs=entry["multiple_inputs"],
            multiple_targets=entry["multiple_targets"],
            extra=tuple(ScorerSpec(item["name"], item["params"]) for item in entry.get("extra_scorers", ())),
        )
        filters = pipelines(config.filter_list, allow_code=allowed)
        tasks.append(StoredTask(name, entry["num_fewshot"], filters, build_scorers(plan)))
    _recall(store, tasks)
    return tasks


def _recall(store: RunStore, tasks: Sequence[StoredTask]) -> None:
    """Let scorers that learn their metrics only while they score know those of the stored scores."""
    learning = {(task.name, s.name): s for task in tasks for s in task.scorers if hasattr(s, "recall")}
    path = store.path / SUMMARY
    if not learning or not path.is_file():
        return
    try:
        found = json.loads(path.read_text("utf-8"))["summaries"]
        details = {(item["task"], item["scorer"]): item["detail"] for item in found if item.get("detail")}
    except (OSError, ValueError, KeyError, TypeError):
        return  # who reads the numbers is told of a damaged file; to score again, which mends it, needs nothing of it
    for key, scorer in learning.items():
        if key in details:
            scorer.recall(details[key])


def _definition(store: RunStore, name: str, entry: Mapping[str, Any]) -> TaskConfig:
    try:
        return TaskConfig.model_validate(entry["definition"])
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise StoreError(f"{store.path / MANIFEST}: the definition of task {name} is damaged ({reason})") from error
