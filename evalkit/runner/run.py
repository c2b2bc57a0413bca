"""A run as its reader sees it: summaries, records, manifest. Everything comes from its directory."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import StoreError
from evalkit.runner.files import write_json, writing
from evalkit.runner.records import RecordView, TaskRecords, viewed
from evalkit.runner.score import Scored, read_score, score_path
from evalkit.runner.store import RunStore
from evalkit.runner.stored import SUMMARY, StoredTask, read_tasks, scorer_entries
from evalkit.runner.values import metric_names, values
from evalkit.scorers.base import Scorer
from evalkit.tasks.base import Filter
from evalkit.types import Json, Score, Summary

if TYPE_CHECKING:
    import pandas as pd


class Run:
    """One execution of tasks on a model. Made by `evalkit.run` and `evalkit.open_run`."""

    def __init__(self, store: RunStore, *, keep: Any = None) -> None:
        self._store = store
        self._keep = keep  # a temporary directory lives as long as the run that reads it

    @property
    def path(self) -> Path:
        return self._store.path

    @property
    def manifest(self) -> Mapping[str, Any]:
        """The resolved configuration, model, versions, tasks, counts and timing."""
        return self._store.manifest

    @property
    def name(self) -> str:
        return str(self.manifest["name"])

    @property
    def status(self) -> str:
        """``complete``, ``incomplete`` (resumable), ``interrupted`` (resumable) or ``running``."""
        return str(self.manifest["status"])

    @property
    def tasks(self) -> list[str]:
        return list(self.manifest["tasks"])

    def summary(self) -> list[Summary]:
        """Every metric of every task, filter and slice, then the groups. Empty while nothing is scored."""
        path = self.path / SUMMARY
        if not path.is_file():
            if self.status == "complete":
                raise StoreError(f"{path} is gone; evalkit rescore {self.path} makes it anew")
            return []
        try:
            return [read_summary(item) for item in json.loads(path.read_text("utf-8"))["summaries"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path} is damaged ({error}); evalkit rescore {self.path} makes it anew") from error

    def value(self, task: str, metric: str, filter: str | None = None) -> float | None:
        """One number: the metric's value over the whole task, from the named filter or the task's only one.

        Raises KeyError where the run has no such metric.
        """
        for s in self.summary():
            if s.task == task and s.metric == metric and s.slice is None and filter in (None, s.filter):
                return s.value
        raise KeyError(f"{task}: no metric {metric!r}")

    def records(self, task: str | None = None) -> Iterator[RecordView]:
        """Records with their scores, streamed task by task, filter by filter; memory stays flat."""
        for stored in read_tasks(self._store, self.manifest):
            if task in (None, stored.name):
                for filter_ in stored.filters:
                    yield from self._views(stored, filter_)

    def to_pandas(self, task: str | None = None) -> pd.DataFrame:
        """One row a record and filter: ids, target, answer, status and one column a metric."""
        import pandas as pd

        names = metric_names(self)
        return pd.DataFrame([_flat(view) | values(view, names) for view in self.records(task)])

    def _views(self, task: StoredTask, filter_: Filter) -> Iterator[RecordView]:
        if self.status == "complete":
            self._require_scores(task, filter_)
        by_sample = {s.name: _score_lines(self.path, task.name, filter_.name, s) for s in task.scorers if s.unit == "sample"}
        groups = [(s, _group_scores(self.path, task.name, filter_.name, s)) for s in task.scorers if s.unit == "group"]
        for record in TaskRecords(self._store, task.name, filter_):
            scores = {name: score for name, lines in by_sample.items() if (score := next(lines, None)) is not None}
            for scorer, found in groups:
                group = scorer.group(record) if record.complete else None
                if group in found:
                    scores[scorer.name] = found[group]
            yield viewed(task.name, filter_.name, record, scores)

    def _require_scores(self, task: StoredTask, filter_: Filter) -> None:
        for scorer in task.scorers:
            path = score_path(self.path, task.name, filter_.name, scorer)
            if not path.is_file():
                raise StoreError(f"{path} is gone; evalkit rescore {self.path} makes it anew")


def open_run(path: Path) -> Run:
    """The run in directory ``path``; raises StoreError where there is none."""
    return Run(RunStore.open(path))


def write_summaries(path: Path, summaries: list[Summary], tasks: Sequence[Scored] = ()) -> None:
    """Store the summaries beside the scores, and what the scorers of ``tasks`` were; strict JSON."""
    content = {"summaries": [asdict(s) for s in summaries], "scorers": scorer_entries(tasks)}
    with writing(path):
        write_json(path / SUMMARY, content, derived=True)


def read_summary(item: dict[str, Json]) -> Summary:
    """A summary from its JSON."""
    ci = item.get("ci")
    return Summary(**{**item, "ci": None if ci is None else (ci[0], ci[1]), "notes": tuple(item.get("notes", ()))})


def _score_lines(run: Path, task: str, filter_: str, scorer: Scorer) -> Iterator[Score]:
    path = score_path(run, task, filter_, scorer)
    if not path.is_file():
        return
    try:
        with gzip.open(path, "rt", encoding="utf-8", errors="surrogatepass") as file:
            for line in file:
                yield read_score(json.loads(line), scorer)
    except (OSError, EOFError, ValueError) as error:
        raise StoreError(f"{path} is damaged ({error}); evalkit rescore makes it anew") from error


def _group_scores(run: Path, task: str, filter_: str, scorer: Scorer) -> dict[str | None, Score]:
    path = score_path(run, task, filter_, scorer)
    if not path.is_file():
        return {}
    with gzip.open(path, "rt", encoding="utf-8", errors="surrogatepass") as file:
        return {line["unit"]: read_score(line, scorer) for line in map(json.loads, file)}


def _flat(view: RecordView) -> dict[str, Any]:
    sample = view.record.sample
    return {
        "task": view.task,
        "filter": view.filter,
        "id": sample.id,
        "status": view.status,
        "target": sample.target,
        "answer": view.record.answer,
        "cluster": sample.cluster,
        **{f"slice.{name}": value for name, value in sample.slices.items()},
    }
