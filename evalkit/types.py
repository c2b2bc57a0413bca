"""The words of evalkit as plain data: what a run reads, asks, stores and reports.

Everything here is frozen, uses only the standard library and is cheap to make: one of each exists for every sample of a
run. File formats (tasks, manifests) are pydantic models elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from evalkit.jsonlines import encoder

RequestKind = Literal["loglikelihood", "loglikelihood_rolling", "generate"]
OutputType = Literal["multiple_choice", "loglikelihood", "loglikelihood_rolling", "generate_until"]
Finish = Literal["stop", "length"]

#: JSON values as they stand in a file. Never NaN: a missing number is ``None`` with a reason beside it.
Json = Any
EMPTY: Mapping[str, Any] = MappingProxyType({})


def _empty() -> Mapping[str, Any]:
    """One shared empty mapping as default: a dict each would cost 64 bytes an object."""
    return EMPTY


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat prompt."""

    role: str
    content: str


#: Text as the model sees it, or the messages of a chat that the model's own side renders.
Prompt = str | tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """One item of a task's data.

    ``id`` is stable: it comes from the data or is a hash of the content, never a position. ``index`` is the position in
    the evaluated split (lm-eval's ``doc_id``). ``target`` is the resolved ``doc_to_target``: text, the index of the right
    choice, or a tuple of either where several are right.
    """

    task: str
    id: str
    index: int
    doc: Mapping[str, Any]
    target: Any = None
    choices: tuple[str, ...] | None = None
    slices: Mapping[str, str] = field(default_factory=_empty)
    cluster: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What one model call needs.

    ``slot`` orders the requests of one sample (the choice index); ``repeat`` counts samples drawn for the same prompt.
    ``params`` holds generation settings by lm-eval's names: ``until`` (list of str), ``max_gen_toks``, ``do_sample``,
    ``temperature``, ``top_p``, ``top_k``, ... ``role`` says which of the run's models answers: ``"model"`` is the
    candidate, anything else a model that a scorer asked for. ``key`` is empty until `keyed` fills it.
    """

    kind: RequestKind
    prompt: Prompt
    continuation: str = ""
    params: Mapping[str, Any] = field(default_factory=_empty)
    slot: int = 0
    repeat: int = 0
    task: str = ""
    sample_id: str = ""
    role: str = "model"
    key: str = ""

    @property
    def sampled(self) -> bool:
        """Whether the answer is drawn at random, so that equal prompts of two samples need answers of their own."""
        return bool(self.params.get("do_sample")) and float(self.params.get("temperature") or 1.0) > 0


_canonical = encoder(sort_keys=True)


def content_hash(value: Json, size: int = 16) -> str:
    """Hex blake2b of ``value`` as canonical JSON. ``size`` is in bytes."""
    return hashlib.blake2b(_canonical(value).encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()


def keyed(request: Request, fingerprint: str) -> Request:
    """The request with its key: a hash of everything that can change the answer, and of nothing else."""
    prompt = request.prompt if isinstance(request.prompt, str) else [[m.role, m.content] for m in request.prompt]
    content: list[Json] = [fingerprint, request.kind, prompt, request.continuation, dict(request.params), request.repeat]
    if request.sampled:
        content.append([request.task, request.sample_id])
    q = request  # written out: `replace` takes twice as long, and this is done for every request of a run
    return Request(
        q.kind, q.prompt, q.continuation, q.params, q.slot, q.repeat, q.task, q.sample_id, q.role, content_hash(content)
    )


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request has no answer. ``retryable``: asking again could work (a time-out, a full device, a 5xx)."""

    kind: str
    message: str
    retryable: bool = False
    status: int | None = None
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Response:
    """What came back for a request: an answer or a `Failure`, never both.

    ``text`` for ``generate`` (stop string cut off), ``logprob`` (natural log, summed over the scored tokens) and
    ``is_greedy`` for the log-likelihoods. ``tokens`` counts scored or generated tokens; ``truncated`` the context tokens
    that did not fit and were dropped; ``finish`` is ``"length"`` where a generation was cut off by ``max_gen_toks``.
    """

    key: str
    text: str | None = None
    logprob: float | None = None
    is_greedy: bool | None = None
    tokens: int | None = None
    prompt_tokens: int | None = None
    truncated: int = 0
    finish: Finish | None = None
    latency_s: float | None = None
    cost_usd: float | None = None
    extra: Mapping[str, Json] = field(default_factory=_empty)
    error: Failure | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """One scorer's verdict on one unit (a sample, or a group of samples).

    ``stats`` are the fixed-width numbers that the scorer aggregates; ``None`` means *unscored*, with the ``reason``.
    ``value`` is what a reader sees for this unit. ``chance`` is what guessing would get here, where that is known.
    """

    stats: tuple[float, ...] | None
    value: float | None = None
    reason: str | None = None
    chance: float | None = None
    detail: Mapping[str, Json] = field(default_factory=_empty)

    @classmethod
    def unscored(cls, reason: str, **detail: Json) -> Score:
        """A score that is missing, not zero."""
        return cls(stats=None, reason=reason, detail=detail)


@dataclass(frozen=True, slots=True)
class Record:
    """A sample, what was asked, and what came back: the unit that is scored, exported and scored again.

    ``requests`` and ``responses`` are aligned (``None``: not answered yet); requests of one sample are ordered by repeat,
    then slot. ``filter`` names the filter pipeline and ``answer`` is its output for a generation: a string, or a list
    where the pipeline keeps several. ``judged`` holds the answers to requests that a scorer made, by scorer name.
    """

    sample: Sample
    requests: tuple[Request, ...] = ()
    responses: tuple[Response | None, ...] = ()
    filter: str = "none"
    answer: Any = None
    judged: Mapping[str, tuple[Response | None, ...]] = field(default_factory=_empty)

    @property
    def failure(self) -> Failure | None:
        """The first failure among the responses: such a record is an error, not a score."""
        for response in self.responses:
            if response is not None and response.error is not None:
                return response.error
        return None

    @property
    def complete(self) -> bool:
        """Whether every request has an answer that is not a failure."""
        for response in self.responses:  # noqa: SIM110 (asked several times of every record, and twice as fast)
            if response is None or response.error is not None:
                return False
        return True

    @property
    def results(self) -> tuple[tuple[float, bool], ...]:
        """Log-likelihood answers of the first repeat in slot order, each ``(log-probability, is_greedy)``."""
        return tuple(
            (r.logprob if r.logprob is not None else float("nan"), bool(r.is_greedy))
            for q, r in zip(self.requests, self.responses, strict=True)
            if r is not None and q.repeat == 0 and q.kind != "generate"
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """A metric over the records of a task (or group, or slice), with everything needed to trust it.

    ``n`` counts scored units; ``errors`` and ``unscored`` those that are not in ``value``. ``stderr`` is clustered where
    the task names a cluster. ``ci`` is a 95 % interval made by ``ci_method``. ``cut`` is the share of generations stopped
    by the length limit, ``truncated`` the number of samples whose context did not fit the model. ``notes`` are warnings
    for the reader (``at-chance``, ``saturated``, ...). ``low``, ``high`` and ``ideal`` are the metric's, where known.
    """

    task: str
    metric: str
    value: float | None
    n: int
    filter: str = "none"
    scorer: str = ""
    stderr: float | None = None
    ci: tuple[float, float] | None = None
    ci_method: str | None = None
    unit: str = "sample"
    errors: int = 0
    unscored: int = 0
    cut: float | None = None
    truncated: int = 0
    chance: float | None = None
    notes: tuple[str, ...] = ()
    higher_is_better: bool | None = True
    n_shot: int = 0
    slice: str | None = None
    signature: str = ""
    detail: Mapping[str, Json] = field(default_factory=dict)
    low: float | None = None
    high: float | None = None
    ideal: float | None = None
