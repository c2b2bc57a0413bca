"""A run in small: asks what a scorer asks, round by round, of a judge that is a function, and scores the record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from evalkit.scorers.base import AskingAgain, BindingScorer, RoleInfo
from evalkit.types import Failure, Record, Request, Response, Sample, Score

JUDGE = RoleInfo("judge", "openai/judge", "f" * 32, frozenset({"generate"}), chat=True, family="gpt")

Judge = Callable[[Request], str | Response]


def bound(scorer, judge=JUDGE, candidate=None):
    assert isinstance(scorer, BindingScorer) and isinstance(scorer, AskingAgain)
    return scorer.bind({"judge": judge}, candidate)


def drawn(*answers, prompt="Who was Ada?", doc=None, sampled=True):
    """A record with several answers, as the default filter leaves it."""
    requests = tuple(
        Request("generate", prompt, params={"do_sample": sampled, "temperature": 1.0}, repeat=i) for i in range(len(answers))
    )
    responses = tuple(Response("k", text=answer, finish="stop") for answer in answers)
    return Record(Sample("t", "s", 0, doc or {}), requests, responses, "none", answers[0] if answers else None)


def user(request: Request) -> str:
    return request.prompt if isinstance(request.prompt, str) else request.prompt[-1].content


def system(request: Request) -> str:
    return request.prompt[0].content


def shown(request: Request) -> list[str]:
    """The texts between the tags of a request."""
    key = user(request).split("<text-", 1)[1].split(">", 1)[0]
    return [part.split(f"\n</text-{key}>", 1)[0] for part in user(request).split(f"<text-{key}>\n")[1:]]


def play(scorer, record: Record, judge: Judge, rounds: int = 12) -> tuple[Record, list[Request]]:
    """The record with all answers, and what was asked."""
    asked: list[Request] = []
    replies: list[Response | None] = []
    wanted = list(scorer.requests(record))
    for _ in range(rounds):
        if not wanted:
            return record, asked
        asked += wanted
        for request in wanted:
            reply = judge(request)
            replies.append(reply if isinstance(reply, Response) else Response("k", text=reply, finish="stop"))
        record = replace(record, judged={scorer.name: tuple(replies)})
        wanted = list(scorer.more(record))
    raise AssertionError("the scorer never ends asking")


def judged(scorer, record: Record, judge: Judge) -> Score:
    (score,) = scorer.score([play(scorer, record, judge)[0]], None)
    return score


FAILED = Response("k", error=Failure("server", "no", True))
