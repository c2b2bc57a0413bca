"""Steps on several threads: each after what it continues, every result handed over, in the calling thread."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from evalkit.engine.base import ScoreJob  # noqa: E402
from evalkit.engine.plan import Limits, Trie, plan  # noqa: E402
from evalkit.engine.streams import Streams, streams_for  # noqa: E402


def steps(seed=0):
    """A plan with nested beginnings that are kept."""
    draw = np.random.default_rng(seed)
    jobs = []
    for _ in range(3):
        subject = draw.integers(0, 50, 40).tolist()
        for _ in range(4):
            context = subject + draw.integers(0, 50, 12).tolist()
            jobs += [ScoreJob(context, draw.integers(0, 50, 6).tolist()) for _ in range(4)]
    return list(plan(Trie(jobs), Limits(tokens=24, width=12, launch=0)))


def tokens(step):
    return sum(segment.size for bin in step.bins for segment in bin)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_every_step_runs_once_after_the_beginning_it_continues(count):
    some = steps()
    assert sum(step.keep for step in some) > 6
    draw = np.random.default_rng(count)
    pauses = draw.random(len(some)) * 0.004
    caller, callers, got = threading.get_ident(), set(), []

    def work(step, kept):
        time.sleep(pauses[some.index(step)])
        assert len(kept) >= step.start, "the beginning is not there yet"
        return step, [*kept[: step.start], *range(tokens(step))] if step.keep else None

    def done(step):
        callers.add(threading.get_ident())
        got.append(some.index(step))

    Streams(count, 1).run(iter(some), work, done, threading.Event())
    assert sorted(got) == list(range(len(some)))
    assert callers == {caller}
    if count == 1:
        assert got == sorted(got)


def test_behind_a_result_is_taken_when_the_next_step_has_started():
    some, events = steps()[:4], []

    def work(step, kept):
        if step is some[3]:
            raise MemoryError("full")
        events.append(("start", some.index(step)))
        return step, [0] * 100 if step.keep else None

    with pytest.raises(MemoryError):
        Streams(1, 1, behind=True).run(iter(some), work, lambda s: events.append(("got", some.index(s))), threading.Event())
    order = [("start", 0), ("start", 1), ("got", 0), ("start", 2), ("got", 1), ("got", 2)]
    assert events == order, "and nothing that was computed is lost"


def test_steps_do_run_side_by_side():
    meet = threading.Barrier(2, timeout=20)
    some = [step for step in steps() if not step.keep and not step.start] or [steps()[-1]]
    alike = [type(some[0])(0, some[0].bins)] * 4

    def work(step, kept):
        meet.wait()  # breaks where the other one never comes
        return step, None

    got = []
    Streams(2, 1).run(iter(alike), work, got.append, threading.Event())
    assert len(got) == 4


def test_an_error_is_raised_after_what_was_in_flight_is_handed_over():
    some = [type(step)(0, step.bins) for step in steps() if not step.keep][:8]
    got = []

    def work(step, kept):
        if step is some[1]:
            raise RuntimeError("out of memory")
        return step, None

    with pytest.raises(RuntimeError, match="out of memory"):
        Streams(2, 1).run(iter(some), work, got.append, threading.Event())
    assert some[0] in got
    assert len(got) < len(some)


def test_nothing_begins_after_stop():
    stop, got = threading.Event(), []
    some = [type(step)(0, step.bins) for step in steps() if not step.keep]

    def done(step):
        got.append(step)
        stop.set()

    Streams(2, 1).run(iter(some), lambda step, kept: (step, None), done, stop)
    assert 1 <= len(got) <= 3  # the first, and those in flight with it


def test_the_number_of_threads_is_given_back():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        streams = streams_for(torch.device("cpu"), parallel=True)
        assert (streams.count, streams.threads) == (4, 1)
        seen = set()
        streams.run(iter(steps()), lambda step, kept: (torch.get_num_threads(), [0] * 999), seen.add, threading.Event())
        assert seen <= {1, 4}
        assert torch.get_num_threads() == 4
        assert streams_for(torch.device("cpu"), parallel=False).count == 1
    finally:
        torch.set_num_threads(before)
