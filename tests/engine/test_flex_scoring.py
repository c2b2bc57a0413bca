"""FlexAttention's passes give the plain engine's numbers; where it fails, the other ways take its place.

Here the kernel runs uncompiled, which knows the mask of pairs only: the lists of blocks have tests of their own.
"""

from __future__ import annotations

import copy
import logging

import numpy as np
import pytest
from test_prefix_engine import VOCABULARY, model, plain, same, scores, some_jobs

from evalkit.engine import flex
from evalkit.engine.base import ScoreJob
from evalkit.engine.flex_mask import Blocks, _listed
from evalkit.engine.plain import PlainEngine
from evalkit.engine.plan import Limits
from evalkit.engine.prefix import WAYS, PrefixEngine, Way

FLEX = Way("FlexAttention", flex.FlexForward, "cpu")


@pytest.fixture(autouse=True)
def uncompiled(monkeypatch):
    """Torch warns where it runs uncompiled, unless told that this is meant."""
    from torch.nn.attention import flex_attention

    monkeypatch.setattr(flex_attention, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)


@pytest.fixture
def passes(monkeypatch):
    """The layouts that FlexAttention ran."""
    ran = []
    run = flex.FlexForward.run

    def spy(self, layout, *given, **named):
        ran.append(layout)
        return run(self, layout, *given, **named)

    monkeypatch.setattr(flex.FlexForward, "run", spy)
    return ran


def many_jobs():
    """More than fit into a pass of 256 tokens after a shared beginning, which is then kept."""
    draw = np.random.default_rng(6)

    def text(size):
        return draw.integers(3, VOCABULARY, size).tolist()

    jobs = some_jobs()
    for preamble in (text(25), text(9)):
        contexts = [preamble + text(int(draw.integers(5, 25))) for _ in range(25)]
        jobs += [ScoreJob(context, text(int(draw.integers(1, 9)))) for context in contexts for _ in range(2)]
    return jobs


def engine(name, ways=(FLEX,), **settings):
    import torch

    return PrefixEngine(model(name), torch.device("cpu"), plain(name), ways=ways, **settings)


@pytest.mark.parametrize(
    "name", ["llama", "llama, one head for all", "gpt2", "gemma2 (softcaps)", "gemma3", "qwen3", "mistral", "mixtral"]
)
def test_every_architecture_gives_the_plain_numbers(name, passes):
    jobs = many_jobs()
    truth = scores(plain(name), jobs)
    ours = engine(name, strict=True)
    assert ours.shares
    ours._plain = None  # nothing falls back unseen
    for limits in (Limits(256, 256, 0), Limits(2048, 192, 64)):
        passes.clear()
        ours._limits = limits
        same(scores(ours, jobs), truth)
        assert {len(layout.ids) for layout in passes} <= {256, 384, 512, 640, 768, 896, 1024, 1280, 1536, 1792, 2048}
        assert any(layout.start for layout in passes) == (limits.launch == 0)


def test_the_self_check_spans_several_blocks_and_a_kept_beginning(passes):
    import torch

    module, device = windowed(), torch.device("cpu")
    assert PrefixEngine(module, device, PlainEngine(module, None, device), ways=(FLEX,)).shares
    assert max(layout.start for layout in passes) > 256
    assert max(len(layout.ids) for layout in passes) >= 512


def windowed():
    """A Llama for texts of several blocks."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=512, initializer_range=0.3,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_half_precision_is_as_near_to_full_precision_as_plain_is(name, passes):
    import torch

    jobs = many_jobs()
    truth = np.array([result.logprob for result in scores(plain(name), jobs)])
    half, device = copy.deepcopy(model(name)).to(torch.bfloat16), torch.device("cpu")
    alone = PlainEngine(half, None, device)
    ours = PrefixEngine(half, device, alone, ways=(FLEX,), strict=True, limits=Limits(256, 256, 0))
    shared = np.array([result.logprob for result in scores(ours, jobs)])
    single = np.array([result.logprob for result in scores(alone, jobs)])
    assert np.abs(shared - truth).mean() < 1.2 * np.abs(single - truth).mean()
    assert passes


@pytest.mark.parametrize("after", [0, 20])
def test_a_kernel_that_fails_is_replaced_and_the_reason_told_once(after, monkeypatch, caplog):
    """At the self-check, or in the middle of a wave."""
    calls = []
    works = flex.kernel

    def kernel(device):
        calls.append(device)
        if len(calls) > after:
            raise RuntimeError("Failed to find C compiler.\nPlease specify via CC environment variable.")
        return works(device)

    monkeypatch.setattr(flex, "kernel", kernel)
    jobs = many_jobs()
    ours = engine("llama", (FLEX, *WAYS), limits=Limits(256, 256, 0))
    with caplog.at_level(logging.WARNING):
        same(scores(ours, jobs), scores(plain("llama"), jobs))
        scores(ours, jobs[:5])
    assert len(calls) == after + 1
    (said,) = [record.getMessage() for record in caplog.records]
    assert "FlexAttention is not used: " in said and "Failed to find C compiler." in said and "\n" not in said
    assert ours.kind == "prefix" and "C compiler" in ours.reason


def test_a_kernel_that_gives_other_numbers_is_replaced(monkeypatch, caplog):
    works = flex.kernel
    monkeypatch.setattr(flex, "kernel", lambda device: lambda *given: works(device)(*given) * 1.05)
    jobs = some_jobs()
    ours = engine("llama", (FLEX, *WAYS))
    with caplog.at_level(logging.WARNING):
        same(scores(ours, jobs), scores(plain("llama"), jobs))
    assert "a self-check found" in ours.reason


def test_where_there_is_no_other_way_each_prompt_is_computed_on_its_own(monkeypatch):
    def kernel(device):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(flex, "kernel", kernel)
    jobs = some_jobs()
    ours = engine("llama")
    same(scores(ours, jobs), scores(plain("llama"), jobs))
    assert ours.kind == "plain" and "cannot share prefixes: FlexAttention fails" in ours.reason


def test_running_out_of_memory_makes_smaller_passes_and_is_no_reason_to_replace_it(monkeypatch, passes):
    works = flex.kernel

    def crowded(device):
        def attend(query, *rest):
            if query.shape[2] > 512:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return works(device)(query, *rest)

        return attend

    monkeypatch.setattr(flex, "kernel", crowded)
    jobs = many_jobs()
    ours = engine("llama", limits=Limits(2048, 2048, 0), strict=True)
    same(scores(ours, jobs), scores(plain("llama"), jobs))
    assert max(len(layout.ids) for layout in passes) > 512 and ours.reason is None


def test_a_short_wave_is_not_worth_compiling(passes):
    jobs = many_jobs()
    long = Way("FlexAttention", flex.FlexForward, "cpu", least=1000)
    ours = engine("llama", (long, *WAYS))
    truth = scores(plain("llama"), jobs)
    same(scores(ours, jobs[:5]), truth[:5])
    assert not passes
    same(scores(ours, jobs), truth)
    assert passes


def test_a_short_wave_takes_it_where_no_other_way_works(passes):
    ours = engine("llama", (Way("FlexAttention", flex.FlexForward, "cpu", least=1000),))
    jobs = some_jobs()[:5]
    same(scores(ours, jobs), scores(plain("llama"), jobs))
    assert passes and ours.kind == "prefix"


def test_it_is_for_gpus():
    import torch

    names = {
        device: [way.name for way in PrefixEngine(model("llama"), torch.device(device), plain("llama"))._ways]
        for device in ("cpu", "cuda")
    }
    assert names["cuda"] == ["FlexAttention", *names["cpu"]] and "FlexAttention" not in names["cpu"]


def test_a_model_with_an_attention_of_its_own_takes_another_way():
    jobs = some_jobs()[:20]
    ours = engine("bloom", (FLEX, *WAYS))
    same(scores(ours, jobs), scores(plain("bloom"), jobs))
    assert ours.kind == "prefix"


def test_attention_with_sinks_takes_another_way():
    """They are no key of any text, so the kernel does not know them."""
    import torch
    from transformers import GptOssConfig, GptOssForCausalLM

    torch.manual_seed(0)
    config = GptOssConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, num_local_experts=2, num_experts_per_tok=1, max_position_embeddings=64,
        pad_token_id=0,
    )  # fmt: skip
    module, device = GptOssForCausalLM(config).eval(), torch.device("cpu")
    ours = PrefixEngine(module, device, PlainEngine(module, None, device), ways=(FLEX,))
    assert not ours.shares and "sinks" in ours.reason


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_a_pass_never_waits_for_the_device(name, monkeypatch):
    """No operation whose result the host would have to know: on a GPU each would wait for all work before it."""
    from torch.utils._python_dispatch import TorchDispatchMode

    waits, seen = {"aten._local_scalar_dense", "aten.nonzero", "aten.item", "aten.equal"}, set()

    class NoWait(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, given=(), named=None):
            seen.add(str(function).rpartition(".")[0])
            assert seen.isdisjoint(waits), function
            return function(*given, **(named or {}))

    run = flex.FlexForward.run

    def watched(self, *given, **named):
        with NoWait():
            return run(self, *given, **named)

    monkeypatch.setattr(flex.FlexForward, "run", watched)
    monkeypatch.setattr(flex, "kernel", lambda device: materialised)
    jobs = many_jobs()
    same(scores(engine(name, strict=True, limits=Limits(256, 256, 0)), jobs), scores(plain(name), jobs))
    assert "aten.mm" in seen or "aten.addmm" in seen


def materialised(query, key, value, score_mod, block_mask, scale, enable_gqa):
    """What `flex_attention` gives, by plain operations."""
    import torch

    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    seen = block_mask.mask_mod(0, 0, torch.arange(query.shape[2])[:, None], torch.arange(key.shape[2])[None])
    return torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=scale)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dynamic"), [("llama", None), ("llama", False), ("gemma2 (softcaps)", False), ("mistral", False)]
)
def test_the_compiled_kernel_gives_the_plain_numbers_too(name, dynamic, monkeypatch, passes):
    """Torch's kernel for CPUs, which goes by the lists of blocks as the one for GPUs does.

    Not ``dynamic`` where a window has tensors of its own: its C++ then mixes up the names of their lengths.
    """
    import torch
    from torch.nn.attention.flex_attention import flex_attention

    torch._dynamo.reset()
    fixed = torch.compile(flex_attention, fullgraph=True, dynamic=False)
    monkeypatch.setattr(flex, "kernel", lambda device: flex.compiled() if dynamic is None else fixed)
    jobs = many_jobs()
    truth = scores(plain(name), jobs)
    ours = engine(name, strict=True, limits=Limits(256, 256, 0))
    same(scores(ours, jobs), truth)
    assert any(layout.start for layout in passes)
    ours._limits = Limits(2048, 2048, 0)
    same(scores(ours, jobs), truth)
    assert max(len(layout.ids) for layout in passes) > 1000


@pytest.mark.slow
def test_a_kernel_that_takes_no_notice_of_pairs_or_blocks_fails_the_self_check(monkeypatch):
    import torch

    module, device = windowed(), torch.device("cpu")
    monkeypatch.setattr(flex, "kernel", lambda device: flex.compiled())
    works = flex.FlatMask.blocks

    def all_full(self, window):
        blocks = works(self, window)
        chosen = np.zeros(blocks.indices.shape, dtype=bool)
        for at in range(len(chosen)):
            chosen[at, blocks.indices[at, : blocks.counts[at]]] = True
            chosen[at, blocks.full_indices[at, : blocks.full_counts[at]]] = True
        return Blocks(*_listed(np.zeros_like(chosen)), *_listed(chosen))

    def none_full(self, window):
        blocks = works(self, window)
        return Blocks(blocks.counts, blocks.indices, np.zeros_like(blocks.full_counts), blocks.full_indices)

    for wrong in (all_full, none_full):
        monkeypatch.setattr(flex.FlatMask, "blocks", wrong)
        ours = PrefixEngine(module, device, PlainEngine(module, None, device), ways=(FLEX,))
        assert not ours.shares and "a self-check found" in ours.reason
