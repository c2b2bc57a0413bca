"""What is done on a GPU between two passes needs no number from it, and nothing of it lies on the host.

The meta device stands in for a GPU: its tensors have shapes and no values, so that to read one raises, as does an
operation on tensors of two devices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from evalkit.engine import flex, head, steps
from evalkit.engine.attend import Pass
from evalkit.engine.base import ScoreJob
from evalkit.engine.decode import Decoder
from evalkit.engine.flex import FlexForward
from evalkit.engine.graphs import Graphs
from evalkit.engine.head import Head
from evalkit.engine.kvcache import KVCache, Stem
from evalkit.engine.layout import lay_out
from evalkit.engine.plan import Limits, Trie, plan
from evalkit.engine.prefix import forward_layout
from evalkit.engine.sampling import Chooser
from evalkit.engine.steps import Row, StaticSteps
from evalkit.engine.tree import TreeForward

META = torch.device("meta")
SMALL = {"vocab_size": 96, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}


def llama() -> Any:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL, **HEADS))


def mistral() -> Any:
    return transformers.MistralForCausalLM(transformers.MistralConfig(**SMALL, **HEADS, sliding_window=16))


def gemma3() -> Any:
    kinds = ["sliding_attention", "full_attention"]
    config = transformers.Gemma3TextConfig(**SMALL, **HEADS, head_dim=16, sliding_window=16, layer_types=kinds)
    return transformers.Gemma3ForCausalLM(config)


def gpt2() -> Any:
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=96, n_embd=64, n_layer=2, n_head=4, **ends))


@pytest.fixture(autouse=True)
def results_without_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is fetched from the device has its shape only."""

    def coming(tensor: torch.Tensor) -> Callable[[], Any]:
        assert tensor.device == META
        return lambda: np.zeros(tuple(tensor.shape))

    for module in (head, steps):
        monkeypatch.setattr(module, "coming", coming)


def kernel(device: Any) -> Callable[..., torch.Tensor]:
    """In FlexAttention's place: looks at what it is given, and returns something of its shape."""

    def attend(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, score_mod: Any, mask: Any, scale: float, grouped: bool
    ) -> torch.Tensor:
        zero = torch.zeros((), dtype=torch.int32, device=device)
        rows = torch.arange(query.shape[2], dtype=torch.int32, device=device)[:, None]
        columns = torch.arange(key.shape[2], dtype=torch.int32, device=device)[None, :]
        seen = mask.mask_mod(zero, zero, rows, columns)
        assert seen.device == mask.kv_indices.device == device
        assert seen.shape == mask.seq_lengths == (query.shape[2], key.shape[2])
        return query.new_empty(*query.shape[:3], value.shape[3])

    return attend


@pytest.fixture(params=[llama, mistral, gemma3, gpt2])
def module(request: pytest.FixtureRequest) -> Any:
    return request.param().eval().to(META)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("way", [TreeForward, FlexForward])
def test_scoring_reads_nothing_before_a_pass_is_over(
    module: Any, way: Any, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flex, "kernel", kernel)
    draw = np.random.default_rng(0)
    start = draw.integers(0, 90, 40).tolist()
    jobs = [
        ScoreJob([*start, *draw.integers(0, 90, 5).tolist()], draw.integers(0, 90, int(size)).tolist())
        for size in draw.integers(1, 9, 60)
    ]
    trie = Trie(jobs)
    forward, output = way(module.to(dtype)), Head(module)
    output.direct = True  # what the self-check finds
    kept: Any = []
    passes = 0
    with torch.no_grad(), forward.ready(), output.watching():
        for step in plan(trie, Limits(200, 200 if forward.flat else 60, 0, flat=forward.flat)):
            pending, grown = forward_layout(forward, output, lay_out(step, trie), META, kept, keep=step.keep)
            assert len(pending()[0]) >= 0
            kept = kept if grown is None else grown
            passes += 1
    assert passes > 2


def numbers(*values: int) -> Any:
    return np.array(values, dtype=np.int64)


def test_steps_read_nothing_but_their_tokens(module: Any) -> None:
    decoder, stem, cache = Decoder(module, META), Stem(list(range(20)), 0), KVCache(8, 128)
    stem.cache = KVCache(1, 20)
    stems = [stem, stem, None]
    chooser = Chooser({"do_sample": True, "temperature": 0.7, "top_p": 0.9, "top_k": 5, "min_p": 0.1}, None)

    class Recorder:
        def capture(self, step: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
            return step

    with torch.no_grad():
        first = Pass(stem.cache, 0, numbers(*range(20)), numbers(20), numbers(0), numbers(0), [None])
        decoder.run(first, logits=False)
        decoder.run(Pass(cache, 0, numbers(*[1] * 12), numbers(5, 4, 3), numbers(0, 0, 0), numbers(20, 20, 0), stems))
        ahead = StaticSteps(decoder, META, Graphs(Recorder()))
        ahead.open(cache)
        rows = [
            Row(1, None, own, base, 30, one, own, 1) for own, base, one in zip((5, 4, 3), (20, 20, 0), stems, strict=True)
        ]
        ahead.place(rows)
        for sampler in (None, chooser.sampler):
            assert len(ahead.launch(3, 6, sampler)()) == 3
        assert ahead.logits(3, 8).shape == (3, 96)
        ahead.place([rows[0]._replace(source=1), rows[2]])
        assert len(ahead.launch(2, 8, None)()) == 2


def test_the_meta_device_finds_what_is_looked_for() -> None:
    there = torch.zeros(3, device=META)
    with pytest.raises(RuntimeError, match="meta"):
        there.sum().item()
    with pytest.raises(RuntimeError, match="device"):
        there + torch.zeros(3)
