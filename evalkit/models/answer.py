"""Requests of one kind to token jobs, and the engine's results back to responses."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from evalkit.engine.base import Engine, Generated, GenerateJob, Scored, ScoreJob
from evalkit.errors import ModelError
from evalkit.models.ahead import Halted, HaltedError
from evalkit.models.base import Sink
from evalkit.models.callable import cut_at
from evalkit.models.settings import max_tokens_of, seed_of, settings_of, stops_of
from evalkit.models.tokens import Cut, Tokens
from evalkit.types import Failure, Request, RequestKind, Response

#: Requests with their prompts as text.
Asked = Sequence[tuple[Request, str]]

#: Requests that are tokenised: puts them to the engine, and returns when they are answered or soon after the event is set.
Ask = Callable[[Sink, threading.Event], None]

#: Requests tokenised between two looks at whether that is still wanted.
_SLICE = 1024

In = TypeVar("In")
Out = TypeVar("Out")

_WHY = {
    "empty-continuation": "no tokens left to score: the continuation is empty, or the tokenizer merges it into the context",
    "continuation-too-long": "the continuation alone is longer than the model's window of {} tokens",
}


class Answerer:
    """Answers waves of requests with ``engine``; ``think_end`` (text or token id) ends the reasoning of an answer.

    In two steps: `ready` tokenises, on any thread and without the engine; what it gives back asks the engine.
    """

    def __init__(self, tokens: Tokens, engine: Engine, think_end: str | int | None = None) -> None:
        self._tokens = tokens
        self._engine = engine
        self._think_end = think_end
        self._think_text = tokens.decode([think_end]) if isinstance(think_end, int) else think_end
        end = tokens.tokenizer.eos_token_id
        self._end_text = tokens.decode([end]) if end is not None else None

    def ready(self, kind: RequestKind, asked: Asked, halted: Halted = lambda: False) -> Ask:
        """Tokenise requests of one kind. Raises HaltedError where nobody wants them any more."""
        if kind == "loglikelihood":
            pairs = [(text, request.continuation) for request, text in asked]
            cuts = _sliced(self._tokens.pairs, pairs, halted)
            return lambda sink, stop: self._score(asked, cuts, sink, stop)
        if kind == "loglikelihood_rolling":
            # The text stands in the prompt or in the continuation, the other is empty.
            windows = _sliced(self._tokens.windows, [text + request.continuation for request, text in asked], halted)
            return lambda sink, stop: self._roll(asked, windows, sink, stop)
        prompts = _sliced(self._tokens.prompts, [text for _, text in asked], halted)
        return lambda sink, stop: self._generate(asked, prompts, sink, stop)

    def _score(self, asked: Asked, cuts: Sequence[Cut], sink: Sink, stop: threading.Event) -> None:
        requests: list[Request] = []
        fit: list[Cut] = []
        for (request, _), cut in zip(asked, cuts, strict=True):
            if cut.problem:
                sink(Response(request.key, error=self._why(cut.problem)))
            else:
                requests.append(request)
                fit.append(cut)

        def done(index: int, result: Scored | Failure) -> None:
            sink(_scored(requests[index].key, [fit[index]], [result]))

        self._engine.score([ScoreJob(cut.context, cut.continuation) for cut in fit], done, stop)

    def _roll(self, asked: Asked, windows: Sequence[Sequence[Cut]], sink: Sink, stop: threading.Event) -> None:
        jobs: list[ScoreJob] = []
        owner: list[int] = []
        results: list[list[Scored | Failure]] = [[] for _ in asked]
        for index, cuts in enumerate(windows):
            if not cuts:
                sink(Response(asked[index][0].key, logprob=0.0, tokens=0))
            jobs.extend(ScoreJob(cut.context, cut.continuation) for cut in cuts)
            owner.extend([index] * len(cuts))

        def done(at: int, result: Scored | Failure) -> None:
            index = owner[at]
            results[index].append(result)
            if len(results[index]) == len(windows[index]):
                sink(_scored(asked[index][0].key, windows[index], results[index], rolling=True))

        self._engine.score(jobs, done, stop)

    def _generate(self, asked: Asked, prompts: Sequence[list[int]], sink: Sink, stop: threading.Event) -> None:
        jobs: list[GenerateJob] = []
        meta: list[tuple[Request, int]] = []
        for (request, _), ids in zip(asked, prompts, strict=True):
            try:
                settings = settings_of(request.params)
                limit = max_tokens_of(request.params)
                stops = stops_of(request.params, self._end_text)
            except (ModelError, ValueError, TypeError) as error:
                sink(Response(request.key, error=Failure("bad-settings", str(error))))
                continue
            ids, excess, room = self.room(ids, limit)
            if not room:
                window = self._tokens.max_length
                why = f"max_gen_toks {limit} leaves no room for a prompt in the model's window of {window} tokens"
                sink(Response(request.key, error=Failure("no-room", why)))
                continue
            seed = seed_of(request.key or [str(request.prompt), request.repeat, request.sample_id])
            jobs.append(GenerateJob(ids, limit, stops, settings, seed, self._think_text))
            meta.append((request, excess))

        def done(index: int, result: Generated | Failure) -> None:
            request, excess = meta[index]
            if isinstance(result, Failure):
                sink(Response(request.key, error=result))
                return
            text = self._answer_text(result.tokens)
            final = cut_at(text, jobs[index].until)
            sink(
                Response(
                    request.key,
                    text=final,
                    tokens=len(result.tokens),
                    prompt_tokens=len(jobs[index].prompt),
                    truncated=excess,
                    finish="stop" if result.stopped or final != text else "length",
                    latency_s=round(result.seconds, 4),
                )
            )

        self._engine.generate(jobs, done, stop)

    def room(self, ids: list[int], limit: int) -> tuple[list[int], int, bool]:
        """Prompt tokens that leave room for ``limit`` more, how many were dropped, and whether there is any room."""
        room = self._tokens.max_length - limit
        if room <= 0:
            return ids, 0, False
        excess = max(len(ids) - room, 0)
        return ids[excess:], excess, True

    def _answer_text(self, tokens: list[int]) -> str:
        """Generated tokens as text, without the reasoning before the last end-of-thinking token."""
        think = self._think_end
        if isinstance(think, int) and think in tokens:
            tokens = tokens[len(tokens) - tokens[::-1].index(think) :]
            return self._tokens.decode(tokens, skip_special=True).lstrip()
        text = self._tokens.decode(tokens, skip_special=True)
        return text.rpartition(think)[2].lstrip() if isinstance(think, str) else text

    def _why(self, problem: str) -> Failure:
        return Failure(problem, _WHY[problem].format(self._tokens.max_length))


def _sliced(cut: Callable[[Sequence[In]], Sequence[Out]], items: Sequence[In], halted: Halted) -> list[Out]:
    found: list[Out] = []
    for start in range(0, len(items), _SLICE):
        if halted():
            raise HaltedError
        found += cut(items[start : start + _SLICE])
    return found


def _scored(key: str, cuts: Sequence[Cut], results: Sequence[Scored | Failure], *, rolling: bool = False) -> Response:
    """One response from the results of all of a request's stretches."""
    total, greedy = 0.0, True
    for result in results:
        if isinstance(result, Failure):
            return Response(key, error=result)
        total, greedy = total + result.logprob, greedy and result.is_greedy
    if not math.isfinite(total):
        return Response(key, error=Failure("not-finite", f"the model's log-probability is {total}: its dtype may overflow"))
    return Response(
        key,
        logprob=total,
        is_greedy=None if rolling else greedy,
        tokens=sum(len(cut.continuation) for cut in cuts),
        prompt_tokens=len(cuts[0].context),
        truncated=sum(cut.truncated for cut in cuts),
    )
