"""The Scorer contract: statistics first, values second.

A scorer turns each record (or group of records) into a row of fixed-width numbers, and rows into values by weighting.
Means, corpus metrics, pairs and correlations are then one thing, and every metric gets its interval and its paired
tests by re-weighting rows, never by scoring again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from evalkit.types import Json, OutputType, Record, Request, RequestKind, Response, Score

Array = npt.NDArray[np.float64]
Unit = Literal["sample", "group"]


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """What a metric is, for summaries and gates.

    ``proportion``: the value is a mean of 0/1 rows (Wilson interval applies). ``mean``: the value is the plain mean of
    statistics column ``column`` (closed-form standard error applies); otherwise intervals come from re-weighting.
    ``low``/``high``/``ideal`` bound and rank the value where that is known. ``headline`` metrics are in the tables.
    """

    name: str
    higher_is_better: bool | None = True
    low: float | None = None
    high: float | None = None
    ideal: float | None = None
    mean: bool = False
    proportion: bool = False
    column: int = 0
    headline: bool = True


@dataclass(frozen=True, slots=True)
class RoleInfo:
    """What a scorer may know of the model that answers for a role: enough to choose how it asks."""

    role: str
    name: str
    fingerprint: str
    kinds: frozenset[RequestKind]
    chat: bool = False
    family: str | None = None
    """Whose model it is as far as its name tells (``gpt``, ``llama``, ``smollm``); judges favour their own family."""


@runtime_checkable
class BindingScorer(Protocol):
    """A scorer that asks models and must know them before its first request."""

    def bind(self, roles: Mapping[str, RoleInfo], candidate: RoleInfo | None) -> Scorer:
        """The same scorer for these models: its signature and requests may depend on them from now on.

        Called once when the run's models are there, and again from the run's memory when it is scored anew. ``candidate`` is
        the model under test, where there is one. Raises ScorerError where a model cannot do what is asked of it.
        """
        ...

    default_models: Mapping[str, str]
    """Role -> model that the scorer itself names; ``--role`` overrides it."""


@runtime_checkable
class StandingScorer(Protocol):
    """A scorer with requests that belong to the run, not to a sample (canaries)."""

    def standing(self) -> Sequence[Request]:
        """Asked once a task, with an empty ``sample_id``."""
        ...

    def hear(self, answers: Sequence[Response | None]) -> None:
        """Their answers, in order, before `Scorer.prepare`; what is learned shows in `Scorer.detail` and `Scorer.notes`."""
        ...


@runtime_checkable
class AskingAgain(Protocol):
    """A scorer that may ask again once it has seen what came back (an unreadable verdict, a claim to be checked)."""

    def more(self, record: Record) -> Sequence[Request]:
        """Further requests after those in ``record.judged[name]`` (in the order asked); empty when there are none left.

        Must depend on the record only, and end after a bounded number of rounds.
        """
        ...

    def acceptable(self, request: Request, response: Response) -> bool:
        """Whether an answer may be kept for other runs: never one that could not be read."""
        ...


class Scorer(Protocol):
    """How one aspect of a task's records is measured. Stateless: parameters in the constructor, state through `prepare`.

    Subclass `BaseScorer` for the defaults.
    """

    name: str
    unit: Unit
    metrics: tuple[MetricInfo, ...]
    roles: tuple[str, ...]
    """Models that `requests` asks (``("judge",)``); empty for a scorer without model calls."""

    def signature(self) -> str:
        """One line that pins how the number is computed: ``name|param:value|...|version:...``."""
        ...

    def requests(self, record: Record) -> Sequence[Request]:
        """Model calls this scorer needs for a record (a judge, a classifier); their answers come in ``record.judged``.

        Each names the ``role`` of the model that must answer. Keys are filled by the run.
        """
        ...

    def group(self, record: Record) -> str | None:
        """For ``unit == "group"``: the group a record belongs to; ``None`` leaves it out, counted as unscored."""
        ...

    def prepare(self, records: Iterable[Record]) -> Any:
        """State over all records (idf weights, loaded encoders), made once before `score`."""
        ...

    def score(self, records: Sequence[Record], state: Any) -> Sequence[Score]:
        """One score a record, in order; for ``unit == "group"`` the records are those of one group, one score in all.

        Only complete records arrive here: failures are counted by the run. A NaN among the statistics means that the
        unit has no value for the metrics that read that column; in a file it is null.
        """
        ...

    def aggregate(self, stats: Array, weights: Array) -> Mapping[str, Array]:
        """Metric values by name from ``stats`` (n, width) and ``weights`` (..., n), each value of shape (...).

        Weights are non-negative and count a row so many times: all ones give the value itself, resampling counts give
        bootstrap replicates. Undefined values are NaN here and ``None`` in the summary.
        """
        ...

    def detail(self, stats: Array) -> Mapping[str, Json]:
        """Further facts for the report (a confusion matrix, per-class values); JSON, no NaN."""
        ...

    def notes(self, stats: Array) -> Sequence[str]:
        """What a reader must know before trusting the value, one short phrase each (``3 with text cut ...``)."""
        ...


class BaseScorer:
    """Defaults for a scorer over samples; subclasses set ``metrics`` and write `score_one` (and `aggregate` if no mean)."""

    name: str = ""
    unit: Unit = "sample"
    metrics: tuple[MetricInfo, ...] = ()
    roles: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    """Columns of the data that the scorer reads beside target and choices; the run refuses data that lacks one."""
    live: bool = True
    """Whether a sample is cheap to score by itself, while the run still goes on."""
    version: int = 1

    def parameters(self) -> Mapping[str, Json]:
        """What the signature pins beside name and version."""
        return {}

    def signature(self) -> str:
        parts = [self.name, *(f"{k}:{v}" for k, v in sorted(self.parameters().items())), f"version:{self.version}"]
        return "|".join(parts)

    def signature_of(self, stats: Array) -> str:
        """The signature with what only the scored data tells (the number of references), for a summary of ``stats``.

        `signature` itself never depends on data: it names score files and identifies a run's configuration.
        """
        return self.signature()

    def requests(self, record: Record) -> Sequence[Request]:
        return ()

    def group(self, record: Record) -> str | None:
        return None

    def prepare(self, records: Iterable[Record]) -> Any:
        return None

    def score(self, records: Sequence[Record], state: Any) -> Sequence[Score]:
        return [self.score_one(record) for record in records]

    def score_one(self, record: Record) -> Score:
        """The score of one record; what a scorer without state across records writes instead of `score`."""
        raise NotImplementedError(f"{type(self).__name__} must define score() or score_one()")

    def aggregate(self, stats: Array, weights: Array) -> Mapping[str, Array]:
        """Weighted means of the columns that the metrics name."""
        total = weights.sum(axis=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return {m.name: (weights @ stats[:, m.column]) / total for m in self.metrics}

    def detail(self, stats: Array) -> Mapping[str, Json]:
        return {}

    def notes(self, stats: Array) -> Sequence[str]:
        return ()


def bound(scorer: Scorer, roles: Mapping[str, RoleInfo], candidate: RoleInfo | None) -> Scorer:
    """``scorer`` for these models; itself where it needs to know nothing of them."""
    return scorer.bind(roles, candidate) if scorer.roles and isinstance(scorer, BindingScorer) else scorer


def pinned(scorer: Scorer, stats: Array) -> str:
    """How ``scorer`` computed a value from ``stats``: its `signature_of` where it has one, else its signature."""
    describe: Callable[[Array], str] | None = getattr(scorer, "signature_of", None)
    return scorer.signature() if describe is None or not len(stats) else describe(stats)


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One entry of lm-eval's ``metric_list``. ``metric`` and ``aggregation`` are names, or functions of a task folder.

    ``params`` are the further keys, passed to the metric (``ignore_case`` of exact_match, ...).
    """

    metric: str | Callable[..., Any]
    aggregation: str | Callable[..., Any] | None = None
    higher_is_better: bool | None = None
    hf_evaluate: bool = False
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScorerSpec:
    """One entry of evalkit's ``scorers``: a registered name and its parameters."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)


def scorer_named(name: str, params: Mapping[str, Any] | None = None) -> ScorerSpec:
    """The entry for a scorer by name; ``evaluate:NAME`` and ``evaluate:NAME:CONFIG`` are metrics of the evaluate library."""
    head, colon, rest = name.partition(":")
    if head != "evaluate" or not colon:
        return ScorerSpec(name, dict(params or {}))
    metric, _, config = rest.partition(":")
    return ScorerSpec(head, {"metric": metric, **({"config": config} if config else {}), **(params or {})})


@dataclass(frozen=True, slots=True)
class ScoringPlan:
    """What the scorers package needs to know of a task to build its scorers (no import of the tasks package)."""

    output_type: OutputType
    metrics: tuple[MetricSpec, ...] = ()
    scorers: tuple[ScorerSpec, ...] = ()
    extra: tuple[ScorerSpec, ...] = ()
    """Scorers asked for from outside; they come on top, defaults included."""
    process_results: Callable[..., Any] | None = None
    target_delimiter: str = " "
    multiple_inputs: bool = False
    multiple_targets: bool = False
    allow_code: bool = False
    """Whether a metric may be loaded as code from the Hugging Face hub (``hf_evaluate``)."""
