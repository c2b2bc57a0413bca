"""One question to one judge: how it is asked, how its answers are read, and when it is asked again.

Everything here is a function of the question and of the answers so far, so that a restarted or rescored run asks the same
requests and reads the same verdicts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from evalkit.errors import ScorerError
from evalkit.scorers.base import RoleInfo
from evalkit.scorers.judge.base import Verdict, Via
from evalkit.scorers.judge.labels import check_labels, from_loglikelihoods, from_top_logprobs
from evalkit.scorers.judge.prompt import Answer
from evalkit.scorers.judge.verdict import NOT_ALL_SEEN, response_verdict
from evalkit.scorers.letters import TOP
from evalkit.types import Message, Prompt, Request, Response

#: How often a reply that holds no verdict is asked for again.
RETRIES = 2
_LIKELIEST = 20
#: A first token that is blank or a mark does not count, so that a little room is needed.
_LABEL_TOKENS = 4


@dataclass(frozen=True, slots=True)
class Mode:
    """How a score is had: ``logprobs`` (weighted by probability), ``sample`` (mean of ``draws``), ``argmax`` (one reply).

    ``structured``: written replies are asked for as JSON that fits a schema, by the server's ``response_format``.
    """

    kind: Literal["logprobs", "sample", "argmax"]
    draws: int = 1
    structured: bool = False

    def __str__(self) -> str:
        name = f"sample:{self.draws}" if self.kind == "sample" else self.kind
        return f"{name}+json" if self.structured else name


def parse_mode(value: Any, structured: bool = False) -> Mode:
    """``logprobs``, ``sample:20`` or ``argmax``; raises ScorerError."""
    text = str(value)
    if structured and text == "logprobs":
        raise ScorerError(
            "scorer parameter 'structured' is for written replies: score_mode sample:N or argmax, not logprobs"
        )
    if text in ("logprobs", "argmax"):
        return Mode(text, structured=structured)  # type: ignore[arg-type]  # one of the two
    found = re.fullmatch(r"sample:(\d+)", text)
    if found and 1 <= int(found.group(1)) <= 1000:
        return Mode("sample", int(found.group(1)), structured)
    raise ScorerError(f"scorer parameter 'score_mode' must be logprobs, sample:N (N up to 1000) or argmax, not {value!r}")


def way(mode: Mode, judge: RoleInfo, points: Mapping[str, float], rubric: str) -> Via:
    """How ``judge`` is asked in this mode. Raises ScorerError where it cannot be, with the ways out."""
    via: Via = "text"
    if mode.kind == "logprobs":
        via = "loglikelihood" if "loglikelihood" in judge.kinds else "top_logprobs"
        check_labels(points, via, rubric)
    needed = "loglikelihood" if via == "loglikelihood" else "generate"
    if needed not in judge.kinds:
        out = "use score_mode: logprobs" if "loglikelihood" in judge.kinds else "name another judge"
        raise ScorerError(f"the judge {judge.name} cannot {needed}, which score_mode {mode} needs: {out}")
    return via


def answer_form(mode: Mode) -> Answer:
    """What the prompt must ask for."""
    return "label" if mode.kind == "logprobs" else "json" if mode.structured else "marked"


@dataclass(frozen=True, slots=True)
class Ask:
    """A question: its messages, the scale, the judge's role, and how its answer is had.

    ``slot`` says which of several scales it is about, where its requests do not count labels.
    """

    messages: tuple[Message, ...]
    points: Mapping[str, float]
    role: str
    chat: bool
    mode: Mode
    via: Via
    max_tokens: int
    slot: int = 0

    def requests(self) -> Iterator[Request]:
        """The first round."""
        if self.via == "loglikelihood":
            prompt, blank = (self.messages, "") if self.chat else (plain(self.messages, "Rating:"), " ")
            for slot, label in enumerate(self.points):
                yield Request("loglikelihood", prompt, f"{blank}{label}", slot=slot, role=self.role)
        elif self.via == "top_logprobs":
            params = {**_greedy(_LABEL_TOKENS), "logprobs": True, "top_logprobs": _LIKELIEST}
            yield Request("generate", self._prompt("Rating:"), params=params, slot=self.slot, role=self.role)
        else:
            for draw in range(self.mode.draws):
                yield self._written(draw, 0)

    def again(self, draw: int, attempt: int) -> Request:
        """Draw ``draw`` once more, after ``attempt`` replies without a verdict: sampled, as the same again helps nobody."""
        return self._written(draw, attempt)

    def _written(self, draw: int, attempt: int) -> Request:
        sampled = self.mode.kind == "sample" or attempt > 0
        params = _sampled(self.max_tokens) if sampled else _greedy(self.max_tokens)
        if self.mode.structured:
            params["response_format"] = _schema(self.points)
        repeat = draw + attempt * self.mode.draws
        prompt = self._prompt("Reply:")
        return Request("generate", prompt, params=params, slot=self.slot, repeat=repeat, role=self.role)

    def _prompt(self, cue: str) -> Prompt:
        return self.messages if self.chat else plain(self.messages, cue)

    def read(self, responses: Sequence[Response | None]) -> list[Verdict]:
        """The verdicts of the first round: one, or one a draw."""
        if self.via == "text":
            return [response_verdict(response, self.points) for response in responses]
        broken = next((r for r in responses if r is None or r.error is not None), None)
        if broken is not None or None in responses:
            return [response_verdict(broken, self.points)]
        known = [response for response in responses if response is not None]
        if any(response.truncated for response in known):
            return [Verdict("error", reason=NOT_ALL_SEEN)]
        if self.via == "loglikelihood":
            logprobs = [math.nan if r.logprob is None else r.logprob for r in known]
            return [from_loglikelihoods(self.points, logprobs)]
        return [_from_tokens(known[0], self.points)]


def _from_tokens(response: Response, points: Mapping[str, float]) -> Verdict:
    """The verdict in an answer with its likeliest first tokens; a judge that begins to refuse is told by its text."""
    top = response.extra.get(TOP)
    if not isinstance(top, Mapping):
        return Verdict("error", reason="the judge's server gives no top_logprobs; use score_mode: sample:20")
    found = from_top_logprobs(points, top)
    return found if found.state == "score" else replace(found, reply=response.text or "")


def plain(messages: Sequence[Message], cue: str) -> str:
    """Messages as one text, for a model without a chat template."""
    return "\n\n".join([*(message.content for message in messages), cue])


def resolved(
    asks: Sequence[Ask], replies: Sequence[Response | None], retries: int = RETRIES
) -> tuple[list[list[Verdict]], list[Request]]:
    """The verdicts of each question (one a draw) from ``replies`` in the order asked: all first rounds, then those again.

    The second part are the requests that must still be asked, none when everything is settled.
    """
    replies = list(replies)
    first = [list(ask.requests()) for ask in asks]
    total = sum(map(len, first))
    if len(replies) < total:
        return [[] for _ in asks], [request for requests in first for request in requests][len(replies) :]
    at, verdicts = 0, []
    written: dict[tuple[int, int], Response | None] = {}
    for i, (ask, requests) in enumerate(zip(asks, first, strict=True)):
        own = replies[at : at + len(requests)]
        verdicts.append(ask.read(own))
        at += len(requests)
        if ask.via == "text":
            written |= {(i, draw): response for draw, response in enumerate(own)}
    for attempt in range(1, retries + 1):
        unread = [(i, draw) for (i, draw), response in written.items() if _unread(response, verdicts[i][draw])]
        wanted = [asks[i].again(draw, attempt) for i, draw in unread]
        if len(replies) < at + len(wanted):
            return verdicts, wanted[len(replies) - at :]
        for (i, draw), response in zip(unread, replies[at : at + len(wanted)], strict=True):
            verdicts[i][draw] = response_verdict(response, asks[i].points)
            written[i, draw] = response
        at += len(wanted)
    return verdicts, []


def acceptable(request: Request, response: Response, points: Mapping[str, float]) -> bool:
    """Whether a judge's answer may serve other runs: only if it is one, and what was asked for can be read from it."""
    if response.error is not None or response.truncated:
        return False
    if request.kind != "generate":
        return response.logprob is not None
    if "top_logprobs" in request.params:
        return _from_tokens(response, points).state == "score"
    return response_verdict(response, points).state == "score"


def combined(verdicts: Sequence[Verdict]) -> Verdict:
    """The draws of one question as one verdict: the mean of those that are scores, with the shares of the labels drawn."""
    scores = [verdict for verdict in verdicts if verdict.value is not None]
    if len(verdicts) == 1 or not scores:
        return verdicts[0] if verdicts else Verdict("error", reason="the judge was not asked")
    shares: dict[str, float] = {}
    for verdict in scores:
        shares[str(verdict.label)] = shares.get(str(verdict.label), 0.0) + 1 / len(scores)
    value = math.fsum(v.value for v in scores if v.value is not None) / len(scores)
    reason = (
        None if len(scores) == len(verdicts) else f"{len(verdicts) - len(scores)} of {len(verdicts)} draws held no verdict"
    )
    return Verdict("score", value, max(shares, key=shares.__getitem__), shares, reason=reason, reply=scores[-1].reply)


def _unread(response: Response | None, verdict: Verdict) -> bool:
    """Whether a reply came that held no verdict. A call that failed was retried where calls are made, and what did not fit
    will not fit another time.
    """
    return response is not None and response.error is None and not response.truncated and verdict.state == "error"


def _schema(points: Mapping[str, float]) -> dict[str, Any]:
    """The ``response_format`` of a verdict: an explanation, then one of the scale's labels."""
    fields = {"explanation": {"type": "string"}, "verdict": {"type": "string", "enum": list(points)}}
    shape = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": shape}}


def _greedy(max_tokens: int) -> dict[str, Any]:
    return {"until": [], "max_gen_toks": max_tokens, "do_sample": False, "temperature": 0.0}


def _sampled(max_tokens: int) -> dict[str, Any]:
    return {"until": [], "max_gen_toks": max_tokens, "do_sample": True, "temperature": 1.0, "top_p": 1.0}
