"""A run's tasks as its manifest remembers them: enough to filter and score again, without the data or the model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from pydantic import ValidationError

from evalkit.errors import StoreError
from evalkit.runner.roles import remembered
from evalkit.runner.score import Scored
from evalkit.runner.store import MANIFEST, RunStore
from evalkit.scorers.base import BaseScorer, MetricInfo, RoleInfo, Scorer, ScorerSpec, ScoringPlan, Unit, bound
from evalkit.scorers.registry import build_scorer, build_scorers, fits
from evalkit.tasks.base import Filter
from evalkit.tasks.filters import pipelines
from evalkit.tasks.schema import TaskConfig
from evalkit.tasks.scoring import scoring_plan
from evalkit.types import Json, Record

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
    infos = remembered(manifest)
    tasks = [_rebuilt(store, name, entry, allowed, infos) for name, entry in manifest["tasks"].items()]
    _recall(store, tasks)
    return tasks


def scorer_names(
    store: RunStore, manifest: Mapping[str, Any], specs: Sequence[ScorerSpec], *, allow_code: bool | None = None
) -> set[str]:
    """What the scorers that ``specs`` build are called, in the tasks of the run that they fit."""
    allowed = bool(manifest["config"].get("allow_code")) if allow_code is None else allow_code
    return {
        build_scorer(spec, _plan(store, name, entry, allowed)).name
        for name, entry in manifest["tasks"].items()
        for spec in specs
        if fits(spec, entry["output_type"])
    }


def read_tasks(store: RunStore, manifest: Mapping[str, Any]) -> Iterator[StoredTask]:
    """The tasks of a run for who only reads its scores, each with the scorers as they were when they scored.

    Unlike with `stored_tasks`, nothing that a scorer needed must be there still (the directory of a network, a package, the
    same versions of libraries), so that a finished run stays readable. Where nothing was scored yet, scorers are rebuilt.
    """
    store.require_whole()
    allowed = bool(manifest["config"].get("allow_code"))
    known, infos = _remembered(store), remembered(manifest)
    for name, entry in manifest["tasks"].items():
        if name not in known:
            task = _rebuilt(store, name, entry, allowed, infos)
            _recall(store, [task])
            yield task
            continue

        @cache
        def again(name: str = name, entry: Mapping[str, Any] = entry) -> Mapping[str, Scorer]:
            return {scorer.name: scorer for scorer in _rebuilt(store, name, entry, allowed, infos).scorers}

        scorers = tuple(PastScorer(item, again) for item in known[name])
        yield StoredTask(name, entry["num_fewshot"], _filters(store, name, entry, allowed), scorers)


class PastScorer(BaseScorer):
    """What a scorer was when it scored: enough to find and to read its scores, not to score again.

    ``again`` rebuilds the task's scorers by name; only groups ask for it, as who belongs to which is not stored.
    """

    def __init__(self, item: Mapping[str, Any], again: Callable[[], Mapping[str, Scorer]]) -> None:
        self.name = str(item["name"])
        self.unit: Unit = item["unit"]
        self.metrics = tuple(MetricInfo(**metric) for metric in item["metrics"])
        self._signature = str(item["signature"])
        self._again = again

    def signature(self) -> str:
        return self._signature

    def group(self, record: Record) -> str | None:
        return self._again()[self.name].group(record)


def scorer_entries(tasks: Sequence[Scored]) -> dict[str, Json]:
    """What the file of summaries keeps of the scorers of each task so that `read_tasks` can do without them."""
    return {task.name: [scorer_entry(scorer) for scorer in task.scorers] for task in tasks}


def scorer_entry(scorer: Scorer) -> dict[str, Json]:
    """What `PastScorer` is made from."""
    return {
        "name": scorer.name,
        "unit": scorer.unit,
        "signature": scorer.signature(),
        "metrics": [asdict(metric) for metric in scorer.metrics],
    }


def _remembered(store: RunStore) -> Mapping[str, Any]:
    """What `scorer_entries` kept; nothing where the run is not scored, or its file damaged (who reads numbers is told)."""
    with suppress(OSError, ValueError, AttributeError):
        found = json.loads((store.path / SUMMARY).read_text("utf-8")).get("scorers", {})
        if isinstance(found, dict):
            return found
    return {}


def _rebuilt(
    store: RunStore, name: str, entry: Mapping[str, Any], allowed: bool, infos: Mapping[str, RoleInfo]
) -> StoredTask:
    candidate = infos.get("model")
    scorers = tuple(
        bound(scorer, infos, candidate) if infos.keys() >= set(scorer.roles) else scorer
        for scorer in build_scorers(_plan(store, name, entry, allowed))
    )
    return StoredTask(name, entry["num_fewshot"], _filters(store, name, entry, allowed), scorers)


def _plan(store: RunStore, name: str, entry: Mapping[str, Any], allowed: bool) -> ScoringPlan:
    return scoring_plan(
        _definition(store, name, entry),
        allow_code=allowed,
        multiple_inputs=entry["multiple_inputs"],
        multiple_targets=entry["multiple_targets"],
        extra=tuple(ScorerSpec(item["name"], item["params"]) for item in entry.get("extra_scorers", ())),
    )


def _filters(store: RunStore, name: str, entry: Mapping[str, Any], allowed: bool) -> tuple[Filter, ...]:
    return pipelines(_definition(store, name, entry).filter_list, allow_code=allowed)


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
