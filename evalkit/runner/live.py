"""A running value for the progress bar: the headline metric over the samples answered so far."""

from __future__ import annotations

from evalkit.runner.records import TaskRecords
from evalkit.runner.score import Scored
from evalkit.runner.store import RunStore
from evalkit.scorers.base import MetricInfo, Scorer
from evalkit.types import Request, Response


class LiveScores:
    """Means of each task's first plain-mean metric, updated as samples complete.

    For the eye only: samples that share a request with another one are left out, summaries never use this.
    """

    def __init__(self, store: RunStore, tasks: list[Scored]) -> None:
        self._store = store
        self._tasks = {task.name: task for task in tasks}
        self._waiting: dict[str, list[int]] = {}
        """Request key -> [position, requests still open], shared by the requests of a sample."""
        self._sums: dict[str, tuple[float, int]] = {}

    def planned(self, position: int, requests: tuple[Request, ...]) -> None:
        """A sample was planned: remember which requests it waits for."""
        keys = {q.key for q in requests if q.key not in self._store.journal}
        cell = [position, len(keys)]
        for key in keys:
            self._waiting[key] = cell

    def answered(self, task: str, response: Response) -> None:
        """A response is in the journal; score its sample when it was the last one."""
        cell = self._waiting.pop(response.key, None)
        if cell is None or response.error is not None:
            return
        cell[1] -= 1
        if cell[1] == 0:
            self._score(task, cell[0])

    def value(self, task: str) -> tuple[str, float] | None:
        """Metric name and running mean of a task, once there is one."""
        headline = self._headline(task)
        total, n = self._sums.get(task, (0.0, 0))
        return (headline[1].name, total / n) if headline and n else None

    def _score(self, task: str, position: int) -> None:
        headline = self._headline(task)
        if headline is None:
            return
        scorer, metric = headline
        (record,) = TaskRecords(self._store, task, self._tasks[task].filters[0]).at([position])
        if not record.complete:
            return
        (score,) = scorer.score([record], None)
        if score.stats is not None:
            total, n = self._sums.get(task, (0.0, 0))
            self._sums[task] = (total + score.stats[metric.column], n + 1)

    def _headline(self, task: str) -> tuple[Scorer, MetricInfo] | None:
        for scorer in self._tasks[task].scorers:
            if scorer.unit == "sample" and not scorer.roles and scorer.metrics and scorer.metrics[0].mean:
                return scorer, scorer.metrics[0]
        return None
