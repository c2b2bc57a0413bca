"""What a forward pass is said to take, against what it takes."""

from __future__ import annotations

import sys

import pytest

from evalkit.engine import memory
from evalkit.engine.memory import Shape, activation_bytes, kv_bytes, limits_for, logits_bytes, shape_of, token_budget

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

GIB = 2**30
#: Llama-3.1-8B.
LLAMA = Shape(32, 32, 8, 128, 128, 4096, 14336, 128256)


def config(name, **settings):
    return getattr(transformers, f"{name}Config")(vocab_size=400, bos_token_id=0, eos_token_id=1, **settings)


FAMILIES = {
    "Llama": {"num_key_value_heads": 2},
    "GPT2": {"n_embd": 128, "n_layer": 2, "n_head": 4},
    "GPTNeoX": {},
    "OPT": {"ffn_dim": 512, "word_embed_proj_dim": 128},
    "Bloom": {"n_layer": 2, "n_head": 4},
    "Falcon": {},
    "Mpt": {"d_model": 128, "n_layers": 2, "n_heads": 4},
    "Gemma3Text": {"num_key_value_heads": 2, "head_dim": 32},
    "Qwen3": {"num_key_value_heads": 2, "head_dim": 32},
    "Phi": {},
    "Mixtral": {"num_key_value_heads": 2, "num_local_experts": 4},
    "Mamba": {},
}
COMMON = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4}
OWN_SIZES = {"GPT2", "Bloom", "Mpt"}


def tiny(name):
    common = {} if name in OWN_SIZES else COMMON
    if name == "Bloom":
        common = {"hidden_size": 128}
    if name == "Mamba":
        common = {"hidden_size": 128, "num_hidden_layers": 2}
    if name == "Falcon":
        common = {key: value for key, value in COMMON.items() if key != "intermediate_size"}
    return config(name, **common, **FAMILIES[name])


def peak(run):
    """Bytes that ``run`` holds at most beside what was held before, by torch's own count of every allocation."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        run()
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    total = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        total += event.nbytes()
        most = max(most, total)
    return most


def measured(module, rows=8, width=128):
    """Bytes a token of one pass without logits."""
    ids = torch.randint(0, 400, (rows, width), generator=torch.Generator().manual_seed(0))
    handle = module.get_output_embeddings().register_forward_pre_hook(lambda _, args: (args[0][:1, :1],))
    with torch.no_grad():
        module(input_ids=ids[:1], use_cache=False)
        most = peak(lambda: module(input_ids=ids, use_cache=False))
    handle.remove()
    return most / ids.numel()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_pass_takes_no_more_than_predicted_and_no_less_than_half(name, dtype):
    module = transformers.AutoModelForCausalLM.from_config(tiny(name)).to(dtype).eval()
    # Falcon's single key head keeps the fused kernels from being used.
    fused = module.config._attn_implementation == "sdpa" and name != "Falcon"
    predicted = activation_bytes(shape_of(module.config), dtype.itemsize, span=0 if fused else 128)
    assert predicted / 2 <= measured(module) <= predicted


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_same_of_smollm2(dtype):
    from evalkit.errors import ModelError
    from evalkit.models.base import ModelOptions
    from evalkit.models.registry import load_model

    try:
        model = load_model("demo/smollm2", ModelOptions(args={"dtype": dtype}, device="cpu"))
    except ModelError as error:
        pytest.skip(str(error))
    module = model._loaded.module
    shape = shape_of(module.config)
    predicted = activation_bytes(shape, getattr(torch, dtype).itemsize)
    assert predicted / 2 <= measured(module, 4, 256) <= predicted
    cache = transformers.DynamicCache()
    with torch.no_grad():
        module(input_ids=torch.arange(50)[None], past_key_values=cache, use_cache=True)
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert held == 50 * kv_bytes(shape, getattr(torch, dtype).itemsize)
    hidden = torch.zeros(64, shape.hidden, dtype=module.dtype)
    with torch.no_grad():
        most = peak(lambda: torch.logsumexp(module.get_output_embeddings()(hidden).float(), dim=-1))
    assert 64 * logits_bytes(shape, module.dtype.itemsize) / 2 <= most <= 64 * logits_bytes(shape, module.dtype.itemsize)


@pytest.mark.parametrize("name", FAMILIES)
def test_shapes_are_read_from_every_familys_own_names(name):
    shape = shape_of(tiny(name))
    assert (shape.layers, shape.hidden, shape.vocabulary) == (2, 128, 400)
    assert shape.heads == (0 if name == "Mamba" else 4)
    assert shape.inner == {"Mamba": 256, "Mixtral": 1024}.get(name, 512)
    assert shape.kv_heads == {"Llama": 2, "Gemma3Text": 2, "Qwen3": 2, "Mixtral": 2, "Falcon": 1, "Mamba": 0}.get(name, 4)


def test_known_sizes():
    """Llama-3.1-8B in bfloat16 keeps 128 KiB a token (32 layers x 2 x 8 heads x 128 numbers x 2 bytes)."""
    assert kv_bytes(LLAMA, 2) == 128 * 1024
    assert logits_bytes(LLAMA, 2) == 128256 * 10
    assert 100_000 < activation_bytes(LLAMA, 2) < 200_000


def test_a_budget_keeps_within_the_share_that_may_be_used():
    for free in (GIB, 8 * GIB, 80 * GIB):
        fits = token_budget(LLAMA, 2, free)
        taken = fits.kv_tokens * kv_bytes(LLAMA, 2) + fits.pass_tokens * activation_bytes(LLAMA, 2)
        taken += fits.rows_of_logits * logits_bytes(LLAMA, 2)
        assert 0.75 * free < taken <= 0.8 * free
    assert token_budget(LLAMA, 2, 0) == memory.MemoryBudget(1, 1, 1)
    assert token_budget(LLAMA, 2, GIB, span=4096).pass_tokens < token_budget(LLAMA, 2, GIB).pass_tokens


def test_limits_come_from_the_module_and_what_is_free(monkeypatch):
    module = transformers.AutoModelForCausalLM.from_config(tiny("Llama"))
    cpu = torch.device("cpu")
    monkeypatch.setattr(memory, "free_host_memory", lambda: 64 * 2**20)
    wide, narrow = limits_for(module, cpu), limits_for(module.to(torch.bfloat16), cpu)
    assert narrow.kv_tokens == 2 * wide.kv_tokens
    assert wide.kv_tokens * kv_bytes(shape_of(module.config), 4) <= 16 * 2**20
    assert limits_for(torch.nn.Linear(2, 2), cpu) == memory.UNLIMITED


def test_little_memory_makes_small_batches_with_the_same_numbers(monkeypatch):
    import threading

    from evalkit.engine.base import ScoreJob
    from evalkit.engine.plain import PlainEngine

    torch.manual_seed(0)
    module = transformers.AutoModelForCausalLM.from_config(tiny("Llama")).eval()
    jobs = [ScoreJob(list(range(5, 25 + i)), [1, 2, 3]) for i in range(12)]
    widths: list[tuple[int, ...]] = []
    module.register_forward_pre_hook(
        lambda _, args, kwargs: widths.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )

    def scores():
        got = {}
        widths.clear()
        PlainEngine(module, None, torch.device("cpu")).score(jobs, got.__setitem__, threading.Event())
        return [got[index].logprob for index in range(len(jobs))]

    whole = scores()
    assert len(widths) == 1
    monkeypatch.setattr(memory, "free_host_memory", lambda: 8 * 100 * 10240)
    assert scores() == pytest.approx(whole, abs=1e-4)
    assert len(widths) > 3 and all(rows * width <= 100 for rows, width in widths)


def test_what_is_free_is_the_least_of_the_machine_and_its_cgroups(tmp_path):
    proc, root = tmp_path / "proc", tmp_path / "cgroup"
    own = root / "jobs" / "mine"
    (proc / "self").mkdir(parents=True)
    own.mkdir(parents=True)
    assert memory.free_host_memory(proc, root) == sys.maxsize, "where nothing tells, nothing limits"
    (proc / "meminfo").write_text("MemTotal:  9000 kB\nMemAvailable:  5000 kB\n")
    (proc / "self" / "cgroup").write_text("0::/jobs/mine\n")
    assert memory.free_host_memory(proc, root) == 5000 * 1024
    (own / "memory.max").write_text("max\n")
    (own / "memory.current").write_text("100\n")
    assert memory.free_host_memory(proc, root) == 5000 * 1024
    (own.parent / "memory.max").write_text("4000\n")
    (own.parent / "memory.current").write_text("3000\n")
    (own.parent / "memory.stat").write_text("anon 1\ninactive_file 500\n")
    assert memory.free_host_memory(proc, root) == 1500
