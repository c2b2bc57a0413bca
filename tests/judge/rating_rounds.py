"""A judge scorer played as the run plays it: bound, asked in rounds, heard, scored."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from evalkit.scorers.base import RoleInfo, Scorer
from evalkit.types import Failure, Message, Record, Request, Response, Sample, keyed

#: What a judge says to a request: a text, log-probability, mapping of first tokens, failure, or a whole response.
Says = Callable[[Request], object]
ALL = frozenset({"generate", "loglikelihood", "loglikelihood_rolling"})


def info(role: str = "judge", kinds: frozenset[str] = ALL, family: str | None = None, chat: bool = True) -> RoleInfo:
    return RoleInfo(role, f"mock/{role}", f"print-of-{role}", kinds, chat, family)  # type: ignore[arg-type]


def bound(scorer, candidate: RoleInfo | None = None, **settings) -> Scorer:
    return scorer.bind({role: info(role, **settings) for role in scorer.roles}, candidate)


def record(*answers: str, prompt: object = "What is it?", id: str = "s1", target: object = None, **doc: object) -> Record:
    shown = prompt if isinstance(prompt, str) else tuple(Message(role, text) for role, text in prompt)  # type: ignore[attr-defined]
    sample = Sample("t", id, 0, doc, target)
    asked = (Request("generate", shown, task="t", sample_id=id),)
    answer = answers[0] if len(answers) == 1 else list(answers)
    return Record(sample, asked, (Response("k", text=answers[0]),), "none", answer)


def response(request: Request, said: object) -> Response:
    match said:
        case Response():
            return said
        case Failure():
            return Response(request.key, error=said)
        case str():
            return Response(request.key, text=said, finish="stop")
        case float() | int():
            return Response(request.key, logprob=float(said))
        case Mapping():
            return Response(request.key, text="", extra={"top_logprobs": {k: math.log(v) for k, v in said.items()}})
    raise TypeError(said)


def play(scorer: Scorer, item: Record, says: Says, most: int = 10) -> tuple[Record, list[list[Request]]]:
    """The record with its answers, and the requests of every round."""
    rounds: list[list[Request]] = []
    answers: list[Response | None] = []
    requests: Sequence[Request] = scorer.requests(item)
    while requests and len(rounds) < most:
        asked = [keyed(replace(q, task="t", sample_id=item.sample.id), "f") for q in requests]
        rounds.append(asked)
        answers += [None if (said := says(q)) is None else response(q, said) for q in asked]
        item = replace(item, judged={scorer.name: tuple(answers)})
        requests = scorer.more(item)  # type: ignore[attr-defined]
    return item, rounds


def scored(scorer: Scorer, item: Record, says: Says):
    return scorer.score([play(scorer, item, says)[0]], None)[0]


def asked_about(request: Request) -> str:
    """The criterion that a request is about."""
    text = request.prompt if isinstance(request.prompt, str) else request.prompt[-1].content
    return text.rpartition("on one criterion: ")[2].split(".")[0]
