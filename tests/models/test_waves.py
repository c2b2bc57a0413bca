"""Requests come in waves; the next one is tokenised while the engine works on the one before."""

from __future__ import annotations

import threading
import time

import pytest

from evalkit.engine.base import Scored
from evalkit.models import hf
from evalkit.models.ahead import Ahead, HaltedError
from evalkit.types import Request, keyed

SHOTS = "Question: what is the capital of France? Answer: Paris. "


class Source:
    """Requests, and which threads took them."""

    def __init__(self, requests, when=None):
        self.left, self.threads, self.taken, self._when = list(requests), set(), 0, when

    def take(self, limit):
        self.threads.add(threading.current_thread())
        head, self.left = self.left[:limit], self.left[limit:]
        self.taken += len(head)
        if self._when is not None and head:
            self._when(self)
        return head


def requests(count, kind="loglikelihood"):
    return [
        keyed(Request(kind, f"{SHOTS[-30:]}{i} is", " a number" if kind != "generate" else ""), "") for i in range(count)
    ]


def run(model, source, stop=None):
    got, threads = {}, set()

    def sink(response):
        threads.add(threading.current_thread())
        assert response.key not in got
        got[response.key] = response

    model.run(source, sink, stop or threading.Event())
    assert threads <= {threading.current_thread()}
    return got


@pytest.fixture(params=[True, False], ids=["background", "in-turn"])
def waves(request, monkeypatch):
    monkeypatch.setattr(hf, "overlaps", lambda device: request.param)
    monkeypatch.setattr(hf, "WAVE", 5)
    return request.param


def test_waves_change_no_answer_and_no_thread(tiny, asker, waves, monkeypatch):
    asked = [*requests(23), keyed(Request("generate", "The cat", params={"max_gen_toks": 3, "until": []}), "")]
    model = asker.load(f"hf/{tiny}", dtype="float32")
    source = Source(asked)
    got = run(model, source)
    assert set(got) == {request.key for request in asked}
    assert source.threads == {threading.current_thread()}
    monkeypatch.setattr(hf, "WAVE", 1000)
    whole = run(model, Source(asked))
    for key, response in got.items():
        assert response.error is None
        if response.text is not None:
            assert response.text == whole[key].text
        else:
            assert response.logprob == pytest.approx(whole[key].logprob, abs=1e-4)


def test_a_stop_leaves_what_was_taken_ahead_unanswered(tiny, asker, waves):
    stop = threading.Event()
    source = Source(requests(40), when=lambda source: stop.set() if source.taken > 10 else None)
    got = run(asker.load(f"hf/{tiny}", dtype="float32"), source, stop)
    assert len(got) < source.taken <= 15 < 40


def test_what_fails_to_tokenise_is_raised_after_the_answers_before_it(tiny, asker, waves):
    model = asker.load(f"hf/{tiny}", dtype="float32")
    tokenizer = model._tokens.tokenizer

    class Breaks:
        def __call__(self, texts, **flags):
            if any("12 is" in text for text in texts):
                raise ValueError("this text breaks it")
            return tokenizer(texts, **flags)

        def __getattr__(self, name):
            return getattr(tokenizer, name)

    model._tokens.tokenizer = Breaks()
    got = {}
    with pytest.raises(ValueError, match="this text breaks it"):
        model.run(Source(requests(40)), lambda response: got.update({response.key: response}), threading.Event())
    assert len(got) == 10, "the two waves before it were answered"


def test_an_engine_that_fails_leaves_no_thread_behind(tiny, asker, monkeypatch):
    monkeypatch.setattr(hf, "overlaps", lambda device: True)
    monkeypatch.setattr(hf, "WAVE", 5)

    class Broken:
        kind, reason = "plain", None

        def score(self, jobs, done, stop):
            raise RuntimeError("device lost")

    model = asker.load(f"hf/{tiny}")
    model._answerer._engine = Broken()
    with pytest.raises(RuntimeError, match="device lost"):
        run(model, Source(requests(40)))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("evalkit-ahead")]


def test_tokenising_goes_on_while_the_engine_works(tiny, asker, monkeypatch):
    monkeypatch.setattr(hf, "overlaps", lambda device: True)
    monkeypatch.setattr(hf, "WAVE", 5)
    model = asker.load(f"hf/{tiny}")
    tokenised = threading.Semaphore(0)
    cut = model._tokens.pairs
    monkeypatch.setattr(model._tokens, "pairs", lambda pairs: (cut(pairs), tokenised.release())[0])
    scored = []

    class Waits:
        """Scores a wave only once the next one is tokenised."""

        kind, reason = "plain", None

        def score(self, jobs, done, stop):
            scored.append(len(jobs))
            waves = 2 if len(scored) == 1 else 1 if len(scored) == 2 else 0
            assert all(tokenised.acquire(timeout=30) for _ in range(waves)), "the next wave was not tokenised meanwhile"
            for index in range(len(jobs)):
                done(index, Scored(-1.0, False))

    model._answerer._engine = Waits()
    assert len(run(model, Source(requests(15)))) == 15
    assert scored == [5, 5, 5]


def test_wave_borders_cost_one_shared_beginning_each(tiny, asker, monkeypatch):
    """Tokens that go through the model, in one wave and in five."""
    shots = "The cat sat on the mat. The dog ate"
    asked = [keyed(Request("loglikelihood", f"{shots} {i}", end), "") for i in range(25) for end in (" a", " b", " c")]
    model = asker.load(f"hf/{tiny}", dtype="float32", engine="prefix")
    counted = []
    model._loaded.module.register_forward_pre_hook(
        lambda _, args, kwargs: counted.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    run(model, Source(asked[:1]))  # the self-check
    sizes = []
    for wave in (75, 15):
        monkeypatch.setattr(hf, "WAVE", wave)
        counted.clear()
        assert len(run(model, Source(asked))) == 75
        sizes.append(sum(counted))
    longest = max(len(ids) for ids in model._tokens.prompts([request.prompt for request in asked])) + 2
    alone = sum(len(model._tokens.prompts([r.prompt + r.continuation])[0]) for r in asked)
    assert sizes[0] < alone / 2, "sharing works within a wave"
    assert sizes[1] <= sizes[0] + 4 * 2 * longest


def test_ahead_holds_one_result_and_halts():
    stop = threading.Event()
    begun = threading.Event()

    def work(halted):
        begun.set()
        while not halted():
            time.sleep(0.001)
        raise HaltedError

    with Ahead[int](stop) as ahead:
        assert ahead.take() is None
        ahead.start(lambda halted: 7)
        assert ahead.take() == 7
        ahead.start(work)
        assert begun.wait(30)
        stop.set()
        with pytest.raises(HaltedError):
            ahead.take()
    stop.clear()
    with Ahead[int](stop) as ahead:
        ahead.start(work)  # leaving halts it
