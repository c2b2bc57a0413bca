"""A GPU's way of decoding, on a CPU: fixed shapes, captured steps and a host that is a step behind give the same texts."""

from __future__ import annotations

import logging
import threading

import numpy as np
import pytest
from tape import Broken, Tape
from test_generate_slots import LIMITS, WIDE, Letters, continuous, device, plain, same, some_jobs, texts
from test_prefix_engine import VOCABULARY, model

from evalkit.engine import admission, kvcache, steps
from evalkit.engine import continuous as generating
from evalkit.engine.base import GenerateJob
from evalkit.engine.continuous import ContinuousGenerator
from evalkit.engine.slots import SlotLimits

NAMES = ["llama", "mistral", "gemma2 (softcaps)", "gemma3", "gpt2", "qwen3", "gpt-neox", "opt", "phi"]


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Sizes at which a few short texts go through many shapes, and every shape is captured."""
    monkeypatch.setattr(admission, "_WORTH", 10)
    monkeypatch.setattr(generating, "WORTH", 1)
    monkeypatch.setattr(steps, "_ROWS", 2)
    monkeypatch.setattr(steps, "_SPAN", 4)
    monkeypatch.setattr(kvcache, "_BLOCK", 4)


def static(name, limits=WIDE, recorder=None, **settings):
    engine = ContinuousGenerator(
        model(name), Letters(), device(), plain(name), limits=limits, strict=True, recorder=recorder or Tape(), **settings
    )
    assert engine.able and engine._steps is not None
    engine._plain = None  # nothing falls back unseen
    return engine


def text(draw, size):
    return draw.integers(3, VOCABULARY, size).tolist()


@pytest.mark.parametrize("name", NAMES)
def test_every_architecture_gives_transformers_own_texts(name):
    jobs = some_jobs()
    tape = Tape()
    same(texts(static(name, LIMITS["small passes"], tape), jobs), texts(plain(name), jobs))
    assert tape.replays > tape.captures > 0


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("limits", [WIDE, *LIMITS.values()], ids=["wide", *LIMITS])
def test_whatever_the_limits_the_texts_are_the_same(limits, ahead):
    jobs = some_jobs()
    same(texts(static("gemma3", limits, ahead=ahead), jobs), texts(plain("gemma3"), jobs))


SETTINGS = {
    "greedy": {},
    "temperature": {"do_sample": True, "temperature": 1.7, "top_k": 0},
    "top-p": {"do_sample": True, "top_p": 0.7, "top_k": 0},
    "top-k": {"do_sample": True, "top_k": 5},
    "typical-p": {"do_sample": True, "typical_p": 0.6},
    "min-p": {"do_sample": True, "min_p": 0.05, "top_k": 0},
    "repetition penalty": {"do_sample": True, "repetition_penalty": 1.3},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_slots_refilled_many_times(settings):
    """20 texts of all lengths through 3 slots, with three shared beginnings, stop strings and end tokens."""
    draw = np.random.default_rng(4)
    stems = [text(draw, 12), text(draw, 15), []]
    stops = tuple(chr(33 + token) for token in range(5, VOCABULARY, 4))
    jobs = [
        GenerateJob(
            stems[at % 3] + text(draw, int(draw.integers(1, 7))), int(draw.integers(1, 25)), stops[: at % 4], settings, at
        )
        for at in range(20)
    ]
    tape = Tape()
    got = texts(static("llama", SlotLimits(3, 10**6, 64), tape), jobs)
    same(got, texts(continuous("llama", SlotLimits(3, 10**6, 64)), jobs))
    same(got, texts(plain("llama"), jobs))
    assert tape.replays
    assert {one.stopped for one in got} == {True, False}
    same([texts(static("llama"), [job])[0] for job in jobs[:6]], got[:6])
    same(texts(static("llama", SlotLimits(7, 10**6, 64)), jobs[::-1])[::-1], got)


def test_samples_of_one_prompt_differ_and_mixed_settings_do_not_disturb_each_other():
    prompt, drawn = list(range(3, 20)), {"do_sample": True, "temperature": 1.5}
    jobs = [GenerateJob(prompt, 9, settings=drawn, seed=seed) for seed in range(8)]
    alone = texts(static("llama"), jobs)
    assert len({tuple(one.tokens) for one in alone}) == 8
    mixed = [*jobs, GenerateJob(prompt, 9), GenerateJob(prompt, 9, settings={**drawn, "top_k": 3}, seed=1)]
    same(texts(static("llama"), mixed)[:8], alone)


def test_the_cache_grows_while_it_is_in_use(monkeypatch):
    """Texts behind a long stem need little room of their own; one that comes when they run needs more."""
    sizes = []
    real = steps.StaticSteps.place

    def place(self, placed):
        real(self, placed)
        sizes.append((self._cache.capacity, len(placed)))

    draw = np.random.default_rng(6)
    stem = text(draw, 30)
    jobs = [GenerateJob(stem + text(draw, 2), 4 + at) for at in range(4)]
    jobs += [GenerateJob(text(draw, 5), 20), GenerateJob(text(draw, 3), 9)]
    engine = static("llama", SlotLimits(3, 10**6, 64))
    monkeypatch.setattr(steps.StaticSteps, "place", place)
    same(texts(engine, jobs), texts(plain("llama"), jobs))
    grown = [at for at, (capacity, _) in enumerate(sizes) if capacity > sizes[0][0]]
    assert grown and sizes[grown[0]][1] > 1


def test_prompts_longer_than_a_chunk_and_texts_of_all_lengths():
    draw = np.random.default_rng(7)
    jobs = [GenerateJob(text(draw, size), more) for size, more in ((30, 3), (2, 3), (5, 2), (25, 30), (3, 40), (4, 11))]
    truth = texts(plain("llama"), jobs)
    for limits in (SlotLimits(2, 10**6, 6), SlotLimits(2, 70, 6), SlotLimits(4, 130, 6)):
        same(texts(static("llama", limits), jobs), truth)


def test_a_text_may_end_where_the_models_positions_do():
    """The step that is too many has no position of its own beyond them."""
    draw = np.random.default_rng(8)
    jobs = [GenerateJob(text(draw, size), 65 - size) for size in (50, 40, 60, 64)]  # the last token is never fed
    same(texts(static("gpt2"), jobs), texts(plain("gpt2"), jobs))


def test_more_stems_than_a_step_takes(monkeypatch):
    monkeypatch.setattr(steps, "STEMS", 2)
    monkeypatch.setattr("evalkit.engine.ahead.STEMS", 2)
    monkeypatch.setattr(steps, "_FIELDS", 9)
    draw = np.random.default_rng(9)
    jobs = [GenerateJob(text(draw, 1) * 14 + text(draw, 3), 5 + 2 * at) for at in range(5)]
    jobs = [GenerateJob([*job.prompt[:-1], last], job.max_tokens) for job in jobs for last in (5, 9)]
    tape = Tape()
    same(texts(static("llama", recorder=tape), jobs), texts(plain("llama"), jobs))
    assert tape.replays


@pytest.mark.parametrize("ahead", [True, False])
def test_a_recorder_that_fails_is_said_once_and_changes_nothing(ahead, caplog):
    jobs = some_jobs()
    broken = Broken(RuntimeError("operation not permitted when stream is capturing"))
    with caplog.at_level(logging.WARNING):
        engine = static("llama", SlotLimits(3, 10**6, 64), broken, ahead=ahead)
        same(texts(engine, jobs), texts(plain("llama"), jobs))
        texts(engine, jobs[:2])
    said = [record.getMessage() for record in caplog.records if "captured" in record.getMessage()]
    assert len(said) == 1 and "not permitted" in said[0]
    assert broken.captures == 1


class Wrong(Tape):
    """Replays what was computed when it was captured."""

    def capture(self, step):
        result = step()
        return lambda: result


def test_replays_that_give_other_numbers_are_found_out(caplog):
    jobs = some_jobs()
    with caplog.at_level(logging.WARNING):
        engine = ContinuousGenerator(model("llama"), Letters(), device(), None, limits=WIDE, strict=True, recorder=Wrong())
        same(texts(engine, jobs), texts(plain("llama"), jobs))
    assert engine._steps is None
    assert ["no fixed shapes" in record.getMessage() for record in caplog.records] == [True]


def test_experts_that_ask_the_host_are_launched_one_by_one():
    jobs = some_jobs()
    same(texts(static("mixtral", LIMITS["small passes"]), jobs), texts(plain("mixtral"), jobs))


def test_in_half_precision_the_self_check_holds():
    import copy

    import torch

    half = copy.deepcopy(model("llama")).to(torch.bfloat16)
    engine = ContinuousGenerator(half, Letters(), device(), None, limits=WIDE, recorder=Tape())
    assert engine.able and engine._steps is not None
    assert all(result.tokens for result in texts(engine, some_jobs()))


@pytest.mark.parametrize("after", [1, 9])
def test_memory_that_runs_out_while_capturing_halves_and_loses_nothing(after):
    jobs = some_jobs()
    checked, seen = False, 0

    class Crowded(Tape):
        def capture(self, step):
            if checked and self.captures == seen + after:
                self.captures += 1
                raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")
            return super().capture(step)

    tape = Crowded()
    engine = static("llama", SlotLimits(8, 10**6, 256), tape)
    checked, seen = True, tape.captures
    same(texts(engine, jobs), texts(plain("llama"), jobs))
    assert engine._limits.slots < 8


def test_memory_that_runs_out_in_a_step_halves_and_loses_nothing():
    jobs = some_jobs()
    truth = texts(plain("llama"), jobs)
    engine = static("llama", SlotLimits(8, 10**6, 256))
    seen = []

    def crowd(_, args):
        seen.append(args[0].numel())
        if len(seen) in (9, 30):
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")

    handle = model("llama").model.embed_tokens.register_forward_pre_hook(crowd)
    try:
        same(texts(engine, jobs), truth)
    finally:
        handle.remove()


def test_stop_ends_soon_and_what_is_done_is_right():
    jobs = some_jobs()
    truth, stop, results = texts(plain("llama"), jobs), threading.Event(), {}

    def done(index, result):
        results[index] = result
        stop.set()

    static("llama", SlotLimits(2, 10**6, 64)).generate(jobs, done, stop)
    assert 0 < len(results) < len(jobs)
    same(list(results.values()), [truth[index] for index in results])


@pytest.mark.parametrize("tokens", [40, 90, 200])
def test_the_cache_with_its_free_room_is_within_the_limit(tokens, monkeypatch):
    sizes = []
    real = steps.StaticSteps.place

    def place(self, rows):
        real(self, rows)
        stems = sum(len(stem.tokens) for stem in self._stems)
        sizes.append((self._cache.rows, self._cache.rows * self._cache.capacity + stems))

    draw = np.random.default_rng(3)
    stem = text(draw, 15)
    jobs = [GenerateJob(stem + text(draw, size), 10 + size) for size in (1, 2, 9, 4, 5, 3)]
    jobs += [GenerateJob(text(draw, size), 4 * size) for size in (2, 4, 5, 1)]
    engine = static("llama", SlotLimits(8, tokens, 64))
    monkeypatch.setattr(steps.StaticSteps, "place", place)
    same(texts(engine, jobs), texts(plain("llama"), jobs))
    assert sizes and all(size <= tokens or rows == 1 for rows, size in sizes)


def test_short_texts_get_the_room_that_long_ones_leave(monkeypatch):
    """While one of the long ones still runs."""
    rows = []
    real = steps.StaticSteps.place

    def place(self, placed):
        real(self, placed)
        rows.append((self._cache.rows, len(placed)))
        assert self._cache.rows * self._cache.capacity <= 160

    draw = np.random.default_rng(5)
    jobs = [GenerateJob(text(draw, 9), 40 - 7 * at) for at in range(3)]
    jobs += [GenerateJob(text(draw, 3), 2 + at % 5) for at in range(30)]
    engine = static("llama", SlotLimits(8, 160, 64))
    monkeypatch.setattr(steps.StaticSteps, "place", place)
    same(texts(engine, jobs), texts(plain("llama"), jobs))
    assert rows[0] == (3, 3) and max(rows) == (8, 8)


def test_a_text_alone_may_be_larger_than_the_limit():
    jobs = [GenerateJob([5, 6, 7], 30), GenerateJob([5, 8], 3)]
    same(texts(static("llama", SlotLimits(4, 10, 64)), jobs), texts(plain("llama"), jobs))


def test_the_host_is_a_step_behind_and_one_token_too_many_is_computed():
    """The second step is launched before the first one's token is asked for; the last one is not launched."""
    events = []
    engine = static("llama")
    launch = steps.StaticSteps.launch

    def spied(self, rows, longest, sampler):
        number = len([event for event in events if event[0] == "launched"])
        events.append(("launched", number))
        wait = launch(self, rows, longest, sampler)

        def asked():
            events.append(("asked", number))
            return wait()

        return asked

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps.StaticSteps, "launch", spied)
        texts(engine, [GenerateJob([5, 6, 7], 4)])
    assert events == [("launched", 0), ("launched", 1), ("asked", 0), ("launched", 2), ("asked", 1), ("asked", 2)]


def test_rows_moved_at_once_are_rows_moved_one_by_one():
    import torch

    one, other = kvcache.KVCache(5, 8), kvcache.KVCache(5, 8)
    key = torch.randn((40, 2, 3), generator=torch.Generator().manual_seed(0))
    for cache in (one, other):
        cells = cache.cells(np.repeat(np.arange(5), 8), np.tile(np.arange(8), 5), 2)
        cache.write(0, torch.from_numpy(cells), key, key * 2)
    one.copy([3, 4], [1, 0], 6)
    other._copy_at_once(torch.tensor([3, 4]), torch.tensor([1, 0]), 6)
    for left, right in zip(one.read(0, 0, 5, 0, 8), other.read(0, 0, 5, 0, 8), strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("least", [2, 8, 128])
def test_sizes_are_few_and_at_most_half_as_much_again(least):
    got = [steps.rounded(count, least) for count in range(1, 4097)]
    assert all(count <= size <= max(count * 1.5, least) for count, size in enumerate(got, start=1))
    assert got == sorted(got) and len(set(got)) <= 26
