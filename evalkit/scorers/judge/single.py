"""What scorers share that put questions of their own to one judge: binding, failures, and talks of several rounds."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from copy import copy
from typing import Any, TypeVar

from evalkit.errors import ScorerError
from evalkit.scorers.base import BaseScorer, RoleInfo, Scorer
from evalkit.scorers.common import whole
from evalkit.scorers.judge.asking import Ask, Mode, resolved, way
from evalkit.scorers.judge.base import Verdict, Via
from evalkit.scorers.judge.pointwise import related_warnings
from evalkit.types import Json, Message, Request, Response

T = TypeVar("T")

#: A talk with a judge: it yields what is asked next, is sent the answers in the same order, and returns what came of it.
Talk = Generator[Sequence[Request], Sequence[Response | None], T]


class SingleJudge(BaseScorer):
    """A scorer that asks the model of one role.

    Args:
        model: the judge, as ``--model`` has it; ``--role`` overrides it.
        role: the name under which the run knows it.
        points: labels and values of the verdicts; what `way` checks.
        max_tokens: most tokens of a written reply.
    """

    live = False

    def __init__(self, model: str | None, role: str, mode: Mode, points: Mapping[str, float], max_tokens: int) -> None:
        self.roles = (str(role),)
        self.default_models: Mapping[str, str] = {} if model is None else {self.roles[0]: str(model)}
        self._mode, self._points = mode, points
        self._max_tokens = whole("max_tokens", max_tokens)
        self._judge: RoleInfo | None = None
        self._via: Via = "text"
        self._warnings: tuple[str, ...] = ()

    def bind(self, roles: Mapping[str, RoleInfo], candidate: RoleInfo | None) -> Scorer:
        """This scorer for this judge. Raises ScorerError where it cannot be asked in this mode."""
        bound = copy(self)
        judge = bound._judge = roles[self.roles[0]]
        bound._via = way(self._mode, judge, self._points, self.name)
        bound._warnings = related_warnings((judge,), candidate)
        return bound

    def parameters(self) -> Mapping[str, Json]:
        """``judge``, ``mode`` and how the verdict is had; subclasses add theirs."""
        judge = self._judge
        return {
            "judge": self.roles[0] if judge is None else f"{judge.name}@{judge.fingerprint[:12]}",
            "mode": str(self._mode),
            "via": None if judge is None else self._via,
            "max_tokens": self._max_tokens if self._mode.kind != "logprobs" else None,
        }

    def ask(self, messages: tuple[Message, ...], points: Mapping[str, float] | None = None) -> Ask:
        """One question. Raises ScorerError before `bind`."""
        if self._judge is None:
            raise ScorerError("the judge is not bound to a model; a run does that when its models are loaded")
        scale = self._points if points is None else points
        return Ask(messages, scale, self.roles[0], self._judge.chat, self._mode, self._via, self._max_tokens)

    @property
    def judge_name(self) -> str:
        """The judge's model, or its role before `bind`."""
        return self.roles[0] if self._judge is None else self._judge.name


def verdicts(asks: Sequence[Ask]) -> Talk[list[list[Verdict]]]:
    """The verdicts of each question, one a draw; replies that hold none are asked for again (see `resolved`)."""
    replies: list[Response | None] = []
    while True:
        found, pending = resolved(asks, replies)
        if not pending:
            return found
        replies += yield pending


def held(talk: Talk[T], replies: Sequence[Response | None]) -> tuple[T | None, Sequence[Request]]:
    """How far ``talk`` comes with these ``replies``, all that came so far in the order asked.

    Its outcome and no requests, or None and the requests that are to be asked next.
    """
    at = 0
    try:
        wanted = next(talk)
        while len(replies) - at >= len(wanted):
            given = replies[at : at + len(wanted)]
            at += len(wanted)
            wanted = talk.send(given)
    except StopIteration as end:
        outcome: Any = end.value
        return outcome, ()
    return None, wanted[len(replies) - at :]


def missing_note(failed: int, refused: int, asked: int) -> Sequence[str]:
    """How many verdicts a reader must do without, where that is any."""
    parts = [f"{count} {what}" for count, what in ((failed, "unreadable"), (refused, "refused")) if count]
    return (f"{failed + refused} of {asked} verdicts missing ({', '.join(parts)})",) if parts else ()
