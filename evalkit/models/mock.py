"""Deterministic models for tests and dry runs: no weights, any order, a few microseconds a request.

Answers depend on a request's content only, never on its position, so a run must give the same summary whatever the order
(``-M shuffle=1`` proves it). What the options do beside that (fail, wait, die) is what real models do on bad days.
"""

from __future__ import annotations

import hashlib
import math
import os
import random
import re
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evalkit.models.base import Capabilities, ModelOptions, Sink, Source, TokenSplit
from evalkit.models.mock_script import Script
from evalkit.models.provider import Arg, Provider, flag, positive, whole
from evalkit.types import Failure, Json, Prompt, Request, RequestKind, Response, content_hash

_WORD = re.compile(r"\s*\S+|\s+$")
_KINDS: frozenset[RequestKind] = frozenset({"loglikelihood", "loglikelihood_rolling", "generate"})

#: How a request is answered: the text of a generation, or the log-probability of what is scored.
Answer = Callable[[Request], Response]


def prompt_text(prompt: Prompt) -> str:
    """A prompt as one text; the contents of chat messages are joined by line ends."""
    return prompt if isinstance(prompt, str) else "\n".join(message.content for message in prompt)


def fraction(request: Request, salt: str = "") -> float:
    """A number in [0, 1) fixed by the request's content, repeat and ``salt``: the mock's only source of chance."""
    parts = (salt, request.kind, prompt_text(request.prompt), request.continuation, str(request.repeat))
    digest = hashlib.blake2b("\x1f".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64


def echo(text: str | None = None) -> Answer:
    """Generations repeat the prompt's last line (or ``text``); log-probabilities are in (-20, 0], from a hash."""

    def answer(request: Request) -> Response:
        if request.kind == "generate":
            said = prompt_text(request.prompt).rstrip("\n").rpartition("\n")[2] if text is None else text
            return Response(request.key, text=said, tokens=said.count(" ") + 1, finish="stop")
        draw = fraction(request)
        return Response(request.key, logprob=-20.0 * draw, is_greedy=draw < 0.5, tokens=request.continuation.count(" ") + 1)

    return answer


def uniform(text: str | None = None) -> Answer:
    """Every byte has probability 1/256, so that bits per byte is exactly 8; generations are ``text`` or empty."""
    bits = math.log(256)

    def answer(request: Request) -> Response:
        if request.kind == "generate":
            return Response(request.key, text=text or "", tokens=0, finish="stop")
        scored = request.continuation or (prompt_text(request.prompt) if request.kind != "loglikelihood" else "")
        size = len(scored.encode("utf-8", "surrogatepass"))
        return Response(request.key, logprob=-bits * size, is_greedy=False, tokens=size)

    return answer


class MockModel:
    """A model made of an ``answer`` function and of what can go wrong around it.

    ``rate`` of the requests (chosen by content) fail with ``kind``, unless the file ``heal_file`` exists. Every
    ``connections`` requests take ``latency`` seconds together. ``shuffle`` (a seed) mixes the answers inside a wave.
    ``die_after`` kills the process with SIGKILL once that many answers were handed over.
    """

    def __init__(
        self,
        name: str,
        answer: Answer,
        *,
        identity: Json = None,
        rate: float = 0.0,
        kind: str = "mock",
        retryable: bool = False,
        heal_file: str | None = None,
        latency: float = 0.0,
        connections: int = 1,
        shuffle: int | None = None,
        die_after: int | None = None,
        wave: int = 4096,
    ) -> None:
        self.name = name
        self.capabilities = Capabilities(kinds=_KINDS, chat=True, max_length=None)
        self.fingerprint = content_hash(["mock", name, identity])
        self._answer = answer
        self._rate, self._kind, self._retryable, self._heal_file = rate, kind, retryable, heal_file
        self._latency, self._connections = latency, connections
        self._shuffle, self._die_after = shuffle, die_after
        self._wave = connections if latency else wave
        self._answered = 0

    def run(self, source: Source, sink: Sink, stop: threading.Event) -> None:
        order = random.Random(self._shuffle) if self._shuffle is not None else None
        rate = 0.0 if self._heal_file and os.path.exists(self._heal_file) else self._rate  # noqa: PTH110 (str in, hot path out)
        while not stop.is_set():
            wave = list(source.take(self._wave))
            if not wave or (self._latency and stop.wait(self._latency)):
                return
            if order is not None:
                order.shuffle(wave)
            for request in wave:
                if stop.is_set():
                    return
                sink(self._failure(request) if rate and fraction(request, "fail") < rate else self._answer(request))
                self._answered += 1
                if self._answered == self._die_after:
                    os.kill(os.getpid(), signal.SIGKILL)

    def _failure(self, request: Request) -> Response:
        why = Failure(self._kind, f"mock failure of kind {self._kind}", retryable=self._retryable)
        return Response(request.key, error=why)

    def describe(self) -> Mapping[str, Json]:
        return {"provider": "mock", "model": self.name}

    def split(self, request: Request) -> TokenSplit:
        """Words with the blanks before them."""
        context, continuation = prompt_text(request.prompt), request.continuation
        return TokenSplit(tuple(_WORD.findall(context)), tuple(_WORD.findall(continuation)))

    def count_tokens(self, prompts: Sequence[Prompt]) -> list[int]:
        return [len(_WORD.findall(prompt_text(prompt))) for prompt in prompts]


def _build(name: str, args: Mapping[str, Any], options: ModelOptions) -> MockModel:
    identity: Json = args["text"]
    answer: Answer
    match name:
        case "scripted":
            script = Script.load(args["file"], default=args["text"])
            answer, identity = script.answer, script.digest
        case "uniform":
            answer = uniform(args["text"])
        case _:
            answer = echo(args["text"])
    rate = args["rate"] if args["rate"] is not None else (0.5 if name == "failing" else 0.0)
    latency = args["latency"] if args["latency"] is not None else (0.05 if name == "slow" else 0.0)
    passed = ("kind", "retryable", "heal_file", "connections", "shuffle", "die_after", "wave")
    faults = {key: args[key] for key in passed}
    return MockModel(f"mock/{name}", answer, identity=identity, rate=rate, latency=latency, **faults)


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError("expected a number from 0 to 1")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError("expected seconds, at least 0")
    return value


PROVIDER = Provider(
    "mock",
    "deterministic models for tests",
    _build,
    args=(
        Arg("text", "what every generation says"),
        Arg("file", "scripted: JSON or JSONL file of answers"),
        Arg("rate", "share of requests that fail, 0 to 1 (failing: 0.5)", _share),
        Arg("kind", "kind of those failures", default="mock"),
        Arg("retryable", "whether those failures can be retried", flag, False),
        Arg("heal_file", "no failures once this file exists"),
        Arg("latency", "seconds a request takes (slow: 0.05)", _seconds),
        Arg("connections", "requests answered at the same time", positive, 1),
        Arg("shuffle", "seed that mixes the order of answers", whole),
        Arg("die_after", "kill the process (SIGKILL) after so many answers", positive),
        Arg("wave", "requests taken at once", positive, 4096),
    ),
    names={
        "echo": "repeats the prompt's last line; log-probabilities from a hash",
        "uniform": "every byte has probability 1/256",
        "scripted": "answers from a file",
        "failing": "echo, but some requests fail",
        "slow": "echo, but every request takes time",
    },
)
