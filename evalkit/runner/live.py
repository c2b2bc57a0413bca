"""A running value for the progress bar: the headline metric over the samples answered so far."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from evalkit.runner.journal import Journal
from evalkit.runner.records import filtered
from evalkit.runner.score import Scored
from evalkit.scorers.base import MetricInfo, Scorer
from evalkit.types import Request, Response, Sample


@dataclass(slots=True)
class _Waiting:
    """A sample in flight: its requests, and what came back so far."""

    sample: Sample
    requests: tuple[Request, ...]
    open: int
    responses: dict[str, Response] = field(default_factory=dict)


class LiveScores:
    """Means of each task's first plain-mean metric, updated as samples complete.

    For the eye only: samples that were partly answered before, or share a request with another one, are left out, and
    where the model is so fast that scoring would cost more than a twentieth of the time, some more; summaries never use
    this. Memory holds what is in flight.
    """

    def __init__(self, journal: Journal, tasks: list[Scored]) -> None:
        self._journal = journal
        self._filters = {task.name: task.filters[0] for task in tasks}
        self._headlines = {task.name: _headline(task) for task in tasks}
        self._waiting: dict[str, _Waiting] = {}
        """By request key; the requests of a sample share theirs."""
        self._sums: dict[str, tuple[float, int]] = {}
        self._begun = time.perf_counter()
        self._spent = 0.0

    def planned(self, sample: Sample, requests: tuple[Request, ...]) -> None:
        """A sample was planned: remember which requests it waits for."""
        if self._busy() or self._headlines[sample.task] is None or any(self._journal.known(q.key) for q in requests):
            return
        keys = {q.key for q in requests}
        waiting = _Waiting(sample, requests, len(keys))
        for key in keys:
            self._waiting[key] = waiting

    def answered(self, task: str, response: Response) -> None:
        """A response is in the journal; score its sample when it was the last one."""
        waiting = self._waiting.pop(response.key, None)
        if waiting is None or response.error is not None:
            return
        waiting.responses[response.key] = response
        waiting.open -= 1
        if waiting.open == 0:
            begun = time.perf_counter()
            self._score(task, waiting)
            self._spent += time.perf_counter() - begun

    def value(self, task: str) -> tuple[str, float] | None:
        """Metric name and running mean of a task, once there is one."""
        headline = self._headlines[task]
        total, n = self._sums.get(task, (0.0, 0))
        return (headline[1].name, total / n) if headline and n else None

    def _busy(self) -> bool:
        return self._spent > 0.1 + (time.perf_counter() - self._begun) / 20

    def _score(self, task: str, waiting: _Waiting) -> None:
        headline = self._headlines[task]
        if headline is None:
            return
        scorer, metric = headline
        responses = tuple([waiting.responses[q.key] for q in waiting.requests])
        (score,) = scorer.score(filtered(self._filters[task], [(waiting.sample, waiting.requests, responses)]), None)
        if score.stats is not None:
            total, n = self._sums.get(task, (0.0, 0))
            self._sums[task] = (total + score.stats[metric.column], n + 1)


def _headline(task: Scored) -> tuple[Scorer, MetricInfo] | None:
    """The first scorer that can judge a sample by itself with a plain mean, and that metric."""
    for scorer in task.scorers:
        cheap = scorer.unit == "sample" and not scorer.roles and getattr(scorer, "live", True)
        if cheap and scorer.metrics and scorer.metrics[0].mean:
            return scorer, scorer.metrics[0]
    return None
