"""A scorer under a name of its own, so that one task can have it twice: two judges' questions, two ways to clean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from evalkit.scorers.base import (
    Array,
    AskingAgain,
    MetricInfo,
    RoleInfo,
    Scorer,
    StandingScorer,
    Unit,
    bound,
    pinned,
)
from evalkit.types import Json, Record, Request, Response, Score


class Labelled:
    """``inner`` with ``label`` for its name. Its metric is called ``label`` too; several are called ``label:metric``."""

    def __init__(self, inner: Scorer, label: str) -> None:
        self.inner = inner
        self.name = label
        self.unit: Unit = inner.unit
        self.roles = inner.roles
        self.live: bool = getattr(inner, "live", True)
        self.default_models: Mapping[str, str] = getattr(inner, "default_models", {})
        self.columns: tuple[str, ...] = tuple(getattr(inner, "columns", ()))
        self.check: Callable[[], None] = getattr(inner, "check", lambda: None)
        self.metrics = tuple(replace(metric, name=self._outer(metric.name)) for metric in inner.metrics)

    def original(self, metric: MetricInfo) -> MetricInfo:
        """The inner scorer's metric that is reported as ``metric``."""
        return next(own for own in self.inner.metrics if self._outer(own.name) == metric.name)

    def signature(self) -> str:
        return f"{self.inner.signature()}|label:{self.name}"

    def signature_of(self, stats: Array) -> str:
        return f"{pinned(self.inner, stats)}|label:{self.name}"

    def requests(self, record: Record) -> Sequence[Request]:
        return self.inner.requests(record)

    def group(self, record: Record) -> str | None:
        return self.inner.group(record)

    def prepare(self, records: Iterable[Record]) -> Any:
        return self.inner.prepare(records)

    def bind(self, roles: Mapping[str, RoleInfo], candidate: RoleInfo | None) -> Scorer:
        return Labelled(bound(self.inner, roles, candidate), self.name)

    def standing(self) -> Sequence[Request]:
        return self.inner.standing() if isinstance(self.inner, StandingScorer) else ()

    def hear(self, answers: Sequence[Response | None]) -> None:
        if isinstance(self.inner, StandingScorer):
            self.inner.hear(answers)

    def more(self, record: Record) -> Sequence[Request]:
        return self.inner.more(self._known(record)) if isinstance(self.inner, AskingAgain) else ()

    def acceptable(self, request: Request, response: Response) -> bool:
        return not isinstance(self.inner, AskingAgain) or self.inner.acceptable(request, response)

    def score(self, records: Sequence[Record], state: Any) -> Sequence[Score]:
        return self.inner.score([self._known(record) for record in records], state)

    def aggregate(self, stats: Array, weights: Array) -> Mapping[str, Array]:
        return {self._outer(name): value for name, value in self.inner.aggregate(stats, weights).items()}

    def detail(self, stats: Array) -> Mapping[str, Json]:
        return self.inner.detail(stats)

    def notes(self, stats: Array) -> Sequence[str]:
        return self.inner.notes(stats)

    def _known(self, record: Record) -> Record:
        """The record as the inner scorer finds its answers in it."""
        return replace(record, judged={self.inner.name: record.judged[self.name]}) if self.name in record.judged else record

    def _outer(self, metric: str) -> str:
        return self.name if len(self.inner.metrics) == 1 else f"{self.name}:{metric}"
