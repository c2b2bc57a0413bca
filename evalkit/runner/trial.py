"""Scoring tried out on one sample with a made-up answer, so that what cannot work is found before anything is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.errors import EvalkitError, ScorerError
from evalkit.runner.score import Scored
from evalkit.scorers.base import RoleInfo, Scorer, bound
from evalkit.scorers.common import references
from evalkit.tasks.base import Filter, texts
from evalkit.types import Record, Request, Response, Sample


@dataclass(frozen=True, slots=True)
class Trial:
    """What a scorer made of one filter's output. ``reason`` says why it gave no score, ``None`` where it did."""

    scorer: str
    filter: str
    reason: str | None = None


def try_out(task: Scored, sample: Sample, requests: Sequence[Request]) -> list[Trial]:
    """Filter and score ``sample`` as if a model had answered: the reference itself, or likelier earlier choices.

    Scorers over groups only name their group, scorers that ask models make their requests (to one that can do everything).
    Raises EvalkitError where a filter or a scorer fails (in code of the task's folder, too).
    """
    said = next(iter(references(sample)), "1")
    responses = tuple(
        Response(q.key, text=said, tokens=1, finish="stop")
        if q.kind == "generate"
        else Response(q.key, logprob=-1.0 - q.slot, is_greedy=q.slot == 0, tokens=1)
        for q in requests
    )
    return [
        Trial(scorer.name, filter_.name, _reason(scorer, _record(filter_, sample, requests, responses)))
        for filter_ in task.filters
        for scorer in task.scorers
    ]


def _record(filter_: Filter, sample: Sample, requests: Sequence[Request], responses: tuple[Response, ...]) -> Record:
    try:
        (answer,) = filter_.apply([texts(responses)], [sample.doc])
    except EvalkitError:
        raise
    except Exception as error:  # code of a task folder
        raise ScorerError(f"filter {filter_.name!r} failed on the first sample: {type(error).__name__}: {error}") from error
    return Record(sample, tuple(requests), responses, filter_.name, answer)


def trial_record(filter_: Filter, sample: Sample, repeats: int = 1) -> Record:
    """``sample`` as a generation task would have it answered, without its prompt."""
    requests = [
        Request("generate", "a prompt", repeat=repeat, task=sample.task, sample_id=sample.id) for repeat in range(repeats)
    ]
    said = next(iter(references(sample)), "1")
    return _record(filter_, sample, requests, tuple(Response("", text=said, tokens=1, finish="stop") for _ in requests))


def _reason(scorer: Scorer, record: Record) -> str | None:
    try:
        if scorer.roles:
            scorer = bound(scorer, {role: _able(role) for role in scorer.roles}, None)
            if scorer.requests(record):
                return None
        if scorer.unit == "group":
            return "it belongs to no group" if scorer.group(record) is None else None
        (score,) = scorer.score([record], scorer.prepare([record]))
    except EvalkitError:
        raise
    except Exception as error:  # a scorer from elsewhere
        raise ScorerError(f"scorer {scorer.name!r} failed on the first sample: {type(error).__name__}: {error}") from error
    if score.stats is not None:
        return None
    if (score.reason or "").startswith(f"{scorer.name} failed: "):  # a function of the task's folder
        raise ScorerError(f"on the first sample, with a made-up answer, {score.reason}")
    return score.reason or "no reason given"


def _able(role: str) -> RoleInfo:
    """A model that can do whatever a scorer asks of it."""
    return RoleInfo(role, "a model", "", frozenset({"loglikelihood", "loglikelihood_rolling", "generate"}), chat=True)
