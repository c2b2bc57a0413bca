"""The prefix engine gives the plain engine's numbers, for every architecture, sharing and budget."""

from __future__ import annotations

import logging
import threading

import pytest

from evalkit.engine.base import Scored, ScoreJob, build_engine
from evalkit.engine.memory import MemoryBudget
from evalkit.engine.plain import PlainEngine
from evalkit.engine.plan import Limits
from evalkit.engine.prefix import PrefixEngine
from evalkit.engine.streams import Streams
from evalkit.errors import ModelError

VOCABULARY, WINDOW = 97, 64
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": WINDOW}
GROUPED = {**SMALL, "intermediate_size": 48, "num_key_value_heads": 2}

#: Class prefix in transformers -> the configuration's settings. Those below share prefixes.
SHARING = {
    "llama": ("Llama", GROUPED),
    "llama, one head for all": ("Llama", {**GROUPED, "num_key_value_heads": 1}),
    "gpt2": ("GPT2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": WINDOW}),
    "gpt-neox": ("GPTNeoX", {**SMALL, "intermediate_size": 48}),
    "opt": ("OPT", {**SMALL, "ffn_dim": 48, "word_embed_proj_dim": 32}),
    "bloom": ("Bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "bloom, heads not a power of two": ("Bloom", {"hidden_size": 36, "n_layer": 2, "n_head": 6}),
    "falcon": ("Falcon", {**SMALL, "alibi": False}),
    "falcon, new decoder": ("Falcon", {**SMALL, "new_decoder_architecture": True, "num_kv_heads": 2, "alibi": False}),
    "mpt": ("Mpt", {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": WINDOW}),
    "gptj": ("GPTJ", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": WINDOW, "rotary_dim": 4}),
    "gemma2 (softcaps)": ("Gemma2", {**GROUPED, "head_dim": 8, "sliding_window": 8, "query_pre_attn_scalar": 8}),
    "gemma3": ("Gemma3Text", {**GROUPED, "head_dim": 8, "sliding_window": 8, "query_pre_attn_scalar": 8}),
    "qwen3": ("Qwen3", {**GROUPED, "head_dim": 8}),
    "phi": ("Phi", {**SMALL, "intermediate_size": 48}),
    "mistral": ("Mistral", {**GROUPED, "sliding_window": 7}),
    "mixtral": ("Mixtral", {**GROUPED, "num_local_experts": 4, "sliding_window": None}),
}
#: These cannot, and say so.
ALONE = {
    "mamba": ("Mamba", {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}),
    "hybrid": (
        "Jamba",
        {**GROUPED, "attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 2, "use_mamba_kernels": False},
    ),
    "falcon with ALiBi": ("Falcon", {**SMALL, "alibi": True}),
    "rotary positions by length": ("Llama", {**GROUPED, "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}),
}
_MODELS = {}


def model(name):
    """A random float32 checkpoint whose predictions depend strongly on the context."""
    import torch
    import transformers

    if name not in _MODELS:
        prefix, settings = {**SHARING, **ALONE}[name]
        if settings.get("rope_scaling"):
            settings = {**settings, "rope_scaling": {**settings["rope_scaling"]}}
        config = getattr(transformers, f"{prefix}Config")(
            vocab_size=VOCABULARY, pad_token_id=0, bos_token_id=1, eos_token_id=2, initializer_range=0.3, **settings
        )
        torch.manual_seed(3)
        made = transformers.AutoModelForCausalLM.from_config(config).eval()
        with torch.no_grad():
            for parameter in made.parameters():
                if parameter.ndim == 2:
                    parameter.normal_(0, 0.25)
        _MODELS[name] = made
    return _MODELS[name]


def some_jobs():
    """Few-shot preambles, choices of one and of several tokens, equal beginnings, duplicates, full windows."""
    import numpy as np

    draw = np.random.default_rng(5)

    def text(size):
        return draw.integers(3, VOCABULARY, size).tolist()

    jobs = []
    for preamble in (text(21), text(30)):
        for _ in range(4):
            context = preamble + text(int(draw.integers(2, 9)))
            jobs += [ScoreJob(context, [token]) for token in (5, 6, 7, 8)]
            first = text(2)
            jobs += [ScoreJob(context, first + text(size)) for size in (1, 3, 6)]
            jobs.append(ScoreJob(context, first))
    jobs += [ScoreJob([1], text(size)) for size in (1, 2, 9, WINDOW)]  # empty contexts, and one as long as the window
    jobs += [ScoreJob(text(WINDOW - 3), text(4)), ScoreJob(text(WINDOW), text(1))]
    whole = text(WINDOW)
    jobs += [ScoreJob(whole[:at], whole[at : at + 2]) for at in range(1, 50, 5)]  # each a beginning of the next
    jobs += jobs[:3]
    order = draw.permutation(len(jobs))
    return [jobs[index] for index in order]


def scores(engine, jobs, stop=None):
    results = {}

    def done(index, result):
        assert index not in results and isinstance(result, Scored)
        results[index] = result

    engine.score(jobs, done, stop or threading.Event())
    return [results.get(index) for index in range(len(jobs))]


def plain(name):
    import torch

    return PlainEngine(model(name), None, torch.device("cpu"))


def prefix(name, **settings):
    import torch

    return PrefixEngine(model(name), torch.device("cpu"), plain(name), **settings)


def same(got, truth):
    for one, other in zip(got, truth, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=2e-5, rel=2e-6)
        assert one.is_greedy == other.is_greedy


@pytest.mark.parametrize("name", SHARING)
def test_every_architecture_gives_the_plain_numbers(name):
    jobs = some_jobs()
    truth = scores(plain(name), jobs)
    engine = prefix(name, strict=True)
    assert engine.shares
    engine._plain = None  # nothing falls back unseen
    same(scores(engine, jobs), truth)
    for limits in (Limits(24, 8, 0), Limits(5, 5, 0), Limits(200, 60, 500), Limits(64, 64, 30)):
        engine._limits = limits
        same(scores(engine, jobs), truth)


@pytest.mark.parametrize("name", ["llama", "gemma2 (softcaps)", "mistral"])
def test_the_way_taken_on_other_devices_gives_them_too(name, monkeypatch):
    from evalkit.engine import tree

    monkeypatch.setattr(tree, "_folds", lambda query: False)
    jobs = some_jobs()
    same(scores(prefix(name, strict=True, limits=Limits(24, 8, 0)), jobs), scores(plain(name), jobs))


@pytest.mark.parametrize("name", ALONE)
def test_what_cannot_share_falls_back_and_says_so_once(name, caplog):
    import torch

    jobs = some_jobs()[:12]
    engine = prefix(name)
    with caplog.at_level(logging.WARNING):
        got = scores(engine, jobs)
        scores(engine, jobs[:2])
    assert not engine.shares
    same(got, scores(plain(name), jobs))
    said = [record.getMessage() for record in caplog.records if "cannot share prefixes" in record.getMessage()]
    assert len(said) == 1 and type(model(name)).__name__ in said[0]
    with pytest.raises(ModelError, match="cannot share prefixes"):
        scores(build_engine("prefix", model(name), None, torch.device("cpu")), jobs)


def test_the_model_is_as_before_afterwards():
    import torch

    module = model("llama")
    module.train()
    before = module.config._attn_implementation
    scores(prefix("llama"), some_jobs()[:9])
    assert module.training and module.config._attn_implementation == before
    assert not module.lm_head._forward_pre_hooks and not module.lm_head._forward_hooks
    assert all(parameter.grad is None for parameter in module.parameters())
    module.eval()
    assert torch.isfinite(module(torch.tensor([[1, 2, 3]])).logits).all()


def test_a_batch_size_caps_the_bins_of_a_pass(monkeypatch):
    import evalkit.engine.prefix as module

    bins = []
    laid = module.lay_out

    def lay_out(step, trie):
        bins.append(len(step.bins))
        return laid(step, trie)

    monkeypatch.setattr(module, "lay_out", lay_out)
    monkeypatch.setattr(module, "streams_for", lambda device, *, parallel: Streams(1, 1))
    jobs = some_jobs()
    got = scores(prefix("llama", batch_size=2, limits=Limits(200, 16, 0)), jobs)
    assert max(bins) == 2
    same(got, scores(plain("llama"), jobs))


@pytest.mark.parametrize("fits", [40, 3])
def test_out_of_memory_makes_smaller_passes_and_loses_nothing(fits):
    """``fits`` tokens a pass: enough for some sharing, or for none at all (the plain engine then fails by itself)."""
    jobs = some_jobs()
    truth = scores(plain("llama"), jobs)
    engine = prefix("llama", limits=Limits(300, 64, 16))
    assert engine.shares
    sizes = []

    def crowd(_, args):
        sizes.append(args[0].numel())
        if len(sizes) < 60 and args[0].numel() > fits:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")

    handle = model("llama").model.embed_tokens.register_forward_pre_hook(crowd)
    try:
        got = {}
        engine.score(jobs, lambda index, result: got.setdefault(index, result), threading.Event())
    finally:
        handle.remove()
    assert sorted(got) == list(range(len(jobs)))
    if fits == 40:
        same([got[index] for index in range(len(jobs))], truth)


def test_a_pass_is_no_larger_than_memory_allows(monkeypatch):
    import evalkit.engine.prefix as module

    sizes = []
    monkeypatch.setattr(module, "limits_for", lambda model, device: MemoryBudget(100, 10**6, 10**6))
    monkeypatch.setattr(module, "streams_for", lambda device, *, parallel: Streams(2, 1))
    wide = module.lay_out

    def lay_out(step, trie):
        layout = wide(step, trie)
        sizes.append(layout.ids.size)
        return layout

    monkeypatch.setattr(module, "lay_out", lay_out)
    jobs = some_jobs()
    engine = prefix("llama")
    assert engine.shares
    sizes.clear()
    same(scores(engine, jobs), scores(plain("llama"), jobs))
    assert max(sizes) <= max(50, WINDOW)  # two side by side; a text alone is not cut
    assert len(sizes) > 10


def test_other_errors_are_not_swallowed():
    engine = prefix("llama")
    assert engine.shares

    def broken(_, args):
        raise RuntimeError("index out of range")

    handle = model("llama").model.embed_tokens.register_forward_pre_hook(broken)
    try:
        with pytest.raises(RuntimeError, match="index out of range"):
            scores(engine, some_jobs())
    finally:
        handle.remove()


def test_stop_ends_soon_and_what_is_done_is_right():
    jobs = some_jobs()
    truth = scores(plain("llama"), jobs)
    engine = prefix("llama", limits=Limits(40, 20, 0))
    stop, results = threading.Event(), {}

    def done(index, result):
        results[index] = result
        stop.set()

    engine.score(jobs, done, stop)
    assert 0 < len(results) < len(jobs)
    same(list(results.values()), [truth[index] for index in results])


def test_a_shared_beginning_is_computed_once():
    tokens = []
    handle = model("llama").model.embed_tokens.register_forward_pre_hook(lambda _, args: tokens.append(args[0].numel()))
    try:
        engine = prefix("llama", limits=Limits(32, 16, 0))
        assert engine.shares
        tokens.clear()
        shared = list(range(3, 43))
        scores(engine, [ScoreJob([*shared, 50 + at], [3, 4]) for at in range(20)])
    finally:
        handle.remove()
    assert sum(tokens) == 40 + 20 * 2


def test_greedy_ties_are_settled_as_argmax_does():
    import torch

    module = model("llama")
    head, rows = module.lm_head, module.lm_head.weight.detach().clone()
    try:
        with torch.no_grad():
            head.weight[1:96:2] = head.weight[0:96:2]  # every logit twice: the first of the two is the greedy one
            head.weight[96] = 0
        jobs = some_jobs()
        top = []
        for job in jobs:
            with torch.no_grad():
                logits = module(torch.tensor([list(job.context)])).logits[0, -1]
            best = int(logits.argmax())
            top += [ScoreJob(job.context, [best]), ScoreJob(job.context, [best + 1])]
        same(scores(prefix("llama"), top), scores(plain("llama"), top))
        assert [result.is_greedy for result in scores(prefix("llama"), top)] == [True, False] * len(jobs)
    finally:
        with torch.no_grad():
            head.weight.copy_(rows)


def test_half_precision_is_as_near_to_full_precision_as_plain_is():
    import copy

    import numpy as np
    import torch

    jobs = some_jobs()
    truth = np.array([result.logprob for result in scores(plain("qwen3"), jobs)])
    half = copy.deepcopy(model("qwen3")).to(torch.bfloat16)
    device = torch.device("cpu")
    engine = build_engine("prefix", half, None, device)
    shared = np.array([result.logprob for result in scores(engine, jobs)])
    alone = np.array([result.logprob for result in scores(build_engine("plain", half, None, device), jobs)])
    assert np.abs(shared - truth).mean() < 1.2 * np.abs(alone - truth).mean()
    assert shared.max() <= 0


@pytest.mark.parametrize("name", [*SHARING, *ALONE])
def test_the_self_check_tells_bugs_from_rounding_in_half_precision(name):
    import copy

    import torch

    half, device = copy.deepcopy(model(name)).to(torch.bfloat16), torch.device("cpu")
    assert PrefixEngine(half, device, PlainEngine(half, None, device)).shares == (name in SHARING)


def test_a_text_that_leaks_into_its_neighbours_is_found(monkeypatch):
    """As in a model with a convolution, or one that takes no notice of the mask."""
    import copy

    import torch

    from evalkit.engine import tree

    class Leaky(tree._Pass):
        def __init__(self, *given, **named):
            super().__init__(*given, **named)
            self._sees = torch.ones_like(self._sees).tril()

    monkeypatch.setattr(tree, "_Pass", Leaky)
    device = torch.device("cpu")
    for module in (model("llama"), copy.deepcopy(model("llama")).to(torch.bfloat16)):
        assert not PrefixEngine(module, device, PlainEngine(module, None, device)).shares
