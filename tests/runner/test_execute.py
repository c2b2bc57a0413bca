"""Executing requests: each distinct one once, journalled first, failures as data."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from evalkit.models.base import Capabilities, Sink, Source
from evalkit.runner.execute import SYSTEMIC_FAILURES, Execution, execute
from evalkit.runner.journal import Journal
from evalkit.types import Failure, Request, Response, keyed


class Scripted:
    """A model that answers what ``reply`` says and remembers what it was asked."""

    name = "scripted"
    fingerprint = "f"
    capabilities = Capabilities(frozenset({"generate"}))

    def __init__(self, reply: Callable[[Request], Response]) -> None:
        self.reply = reply
        self.asked: list[str] = []

    def run(self, source: Source, sink: Sink, stop: threading.Event) -> None:
        while not stop.is_set() and (wave := source.take(4)):
            for request in wave:
                self.asked.append(str(request.prompt))
                sink(self.reply(request))

    def describe(self) -> dict[str, str]:
        return {}


def requests(prompts: Iterable[str]) -> list[Request]:
    return [keyed(Request("generate", p, task="t", sample_id=p), "f") for p in prompts]


def go(model: Scripted, prompts: Iterable[str], folder: Path, **options: bool) -> Execution:
    journal = Journal(folder, write=True)
    try:
        return execute(model, requests(prompts), journal, stop=threading.Event(), **options)
    finally:
        journal.release()


def echo(request: Request) -> Response:
    return Response(request.key, text=str(request.prompt))


def test_equal_requests_are_asked_once(tmp_path: Path) -> None:
    model = Scripted(echo)
    counts = go(model, "abcab", tmp_path)
    assert model.asked == ["a", "b", "c"]
    assert (counts.asked, counts.answered, counts.failed) == (3, 3, 0)


def test_a_second_pass_asks_only_what_has_no_answer(tmp_path: Path) -> None:
    go(Scripted(echo), "abc", tmp_path)
    model = Scripted(echo)
    counts = go(model, "abcde", tmp_path)
    assert model.asked == ["d", "e"]
    assert counts.resumed == 3


def test_failures_that_may_pass_are_retried_and_final_ones_are_not(tmp_path: Path) -> None:
    def fail(request: Request) -> Response:
        return Response(request.key, error=Failure("x", "no", retryable=request.prompt == "a"))

    counts = go(Scripted(fail), "ab", tmp_path)
    assert (counts.failed, counts.retryable) == (2, 1)
    model = Scripted(echo)
    go(model, "ab", tmp_path)
    assert model.asked == ["a"]
    model = Scripted(echo)
    go(model, "ab", tmp_path, retry_errors=True)
    assert model.asked == ["b"], "unless asked for"


def test_a_broken_endpoint_stops_the_run(tmp_path: Path) -> None:
    model = Scripted(lambda q: Response(q.key, error=Failure("http", "refused", retryable=True)))
    counts = go(model, [str(i) for i in range(1000)], tmp_path)
    assert counts.systemic == "refused"
    assert len(model.asked) < SYSTEMIC_FAILURES + 5


def test_requests_that_an_adapter_forgets_are_noticed(tmp_path: Path) -> None:
    class Forgetful(Scripted):
        def run(self, source: Source, sink: Sink, stop: threading.Event) -> None:
            sink(self.reply(source.take(10)[0]))

    assert go(Forgetful(echo), "abc", tmp_path).unanswered == 2


def test_a_full_disk_is_one_clear_error_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evalkit.errors import StoreError

    real = __import__("os").write
    calls = []

    def full(fd: int, data: bytes) -> int:
        calls.append(1)
        if len(calls) == 3:
            real(fd, data[:20])
            raise OSError(28, "No space left on device")
        return int(real(fd, data))

    monkeypatch.setattr("evalkit.runner.log.os.write", full)
    with pytest.raises(StoreError, match="No space left on device"):
        go(Scripted(echo), "abcd", tmp_path)
    monkeypatch.undo()
    model = Scripted(echo)
    go(model, "abcd", tmp_path)
    assert model.asked == ["c", "d"]
