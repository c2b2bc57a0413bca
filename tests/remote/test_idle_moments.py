"""A run's own work goes into the moments in which a hosted model's replies are waited for, and into no others."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fault_kit import Riddles

import evalkit
from evalkit.models.remote.attempts import Answered
from evalkit.models.remote.base import Reply
from evalkit.models.remote.workers import Workers
from evalkit.runner import scoring
from evalkit.types import Request, Response

ENDPOINT = SimpleNamespace(call=lambda request: request, response=lambda request, body: Response(request.key, text="a"))


class Waiting:
    """Replies after ``latency`` seconds."""

    def __init__(self, latency: float) -> None:
        self._latency = latency

    async def ask(self, call: Any) -> Answered:
        await asyncio.sleep(self._latency)
        return Answered({}, Reply(200, {}, b"{}", self._latency), 1)

    def halt(self) -> None: ...


class Counting:
    """A sink with work of ``seconds`` a piece, as much of it as is wanted."""

    def __init__(self, seconds: float = 0.0, more: bool = True) -> None:
        self.answers = self.pieces = 0
        self.threads: set[int] = set()
        self._seconds, self._more = seconds, more

    def __call__(self, response: Response) -> None:
        self.answers += 1

    def meanwhile(self) -> bool:
        self.pieces += 1
        self.threads.add(threading.get_ident())
        time.sleep(self._seconds)
        return self._more


def ask(sink: Any, count: int, connections: int, latency: float) -> float:
    """The seconds that ``count`` requests take."""
    waiting = [Request("generate", str(i), key=f"{i:032x}") for i in range(count)]
    source = SimpleNamespace(take=lambda limit: [waiting.pop() for _ in range(min(limit, len(waiting)))])
    workers = Workers({"generate": ENDPOINT}, {}, 1)
    begun = time.perf_counter()
    asyncio.run(workers.run(Waiting(latency), connections, source, sink, threading.Event()))
    return time.perf_counter() - begun


def test_the_sink_works_while_replies_are_waited_for() -> None:
    sink = Counting()
    ask(sink, 8, 4, 0.05)
    assert sink.answers == 8
    assert sink.pieces > 10
    assert sink.threads == {threading.get_ident()}


def test_a_sink_without_work_is_asked_only_now_and_then() -> None:
    sink = Counting(more=False)
    seconds = ask(sink, 4, 4, 0.1)
    assert 1 <= sink.pieces <= 1000 * seconds + 1


def test_any_callable_is_a_sink() -> None:
    answers: list[Response] = []
    ask(answers.append, 8, 4, 0.01)
    assert len(answers) == 8


def test_work_that_fails_ends_the_run_with_its_error() -> None:
    class Broken(Counting):
        def meanwhile(self) -> bool:
            raise OSError("no")

    with pytest.raises(OSError, match="no"):
        ask(Broken(), 4, 2, 0.02)


def test_a_run_against_a_server_is_scored_while_it_asks(
    tmp_path: Path, riddles: Riddles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine that is never idle, nothing is: then the files alone are compared."""
    riddles.mock.configure(latency=0.02)
    ahead = scoring.Scoring.ahead
    monkeypatch.setattr(scoring.Scoring, "ahead", lambda self: False)
    calm = evalkit.run(tasks=str(riddles.task), model="openai/mock", output_dir=tmp_path / "calm")
    monkeypatch.setattr(scoring.Scoring, "ahead", ahead)
    run = evalkit.run(tasks=str(riddles.task), model="openai/mock", output_dir=tmp_path / "ahead")
    for name in ("summary.json", "samples.csv", "samples.jsonl.gz"):
        assert (run.path / name).read_bytes() == (calm.path / name).read_bytes()
    names = [path.name for path in (calm.path / "scores").iterdir()]
    assert names and names == [path.name for path in (run.path / "scores").iterdir()]
    for name in names:
        assert (run.path / "scores" / name).read_bytes() == (calm.path / "scores" / name).read_bytes()
