"""How much memory a forward pass takes, and how many tokens therefore fit: from a model's configuration, without a trial.

The figures are upper estimates for transformers' own layers without gradients, within about a factor of two of what was
measured. They cap what an engine would like to do; where they are wrong, running out of memory halves the pass.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Of the memory that is free, what may be planned with: allocators waste some, and other processes grow. On a CPU these
#: are usually the user's own.
_USABLE = {"cpu": 0.5, "gpu": 0.8}

#: What of that each part gets: kept keys and values, a pass's activations, its logits.
_KEPT, _PASS, _LOGITS = 0.5, 0.25, 0.25

#: What is added to every estimate of a pass: buffers, masks and copies that are not told apart here.
_MARGIN = 1.25

#: Positions that a token is assumed to be compared with where scores are materialised.
_SPAN = 2048

#: Attention that never holds all scores at once.
_FUSED = ("sdpa", "flash", "flex")

#: Feed-forward layers' activations at their peak, in times their width: of functions that are one operation, of those
#: that are several, and of those that the configuration does not name.
_SIMPLE = frozenset({"silu", "swish", "relu", "relu2", "gelu", "gelu_pytorch_tanh"})
_WIDTHS = (3, 5, 7)

_FLOAT32 = 4


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a configuration decides how much memory a token takes.

    ``inner`` is the width of the feed-forward layer (of all experts that a token visits), of which a pass holds ``widths``
    at its peak; ``state`` the numbers that a state-space layer holds a channel, 0 where there is none.
    """

    layers: int
    heads: int
    kv_heads: int
    key_size: int
    value_size: int
    hidden: int
    inner: int
    vocabulary: int
    widths: int = 3
    state: int = 0


@dataclass(frozen=True, slots=True)
class MemoryBudget:
    """What fits, at least 1 of each: tokens of one forward pass, tokens whose keys and values are kept, rows of logits."""

    pass_tokens: int
    kv_tokens: int
    rows_of_logits: int


UNLIMITED = MemoryBudget(sys.maxsize, sys.maxsize, sys.maxsize)


def shape_of(config: Any) -> Shape | None:
    """The shape that a transformers configuration describes; None where it does not tell."""
    config = getattr(config, "text_config", None) or config
    hidden = _first(config, "hidden_size", "d_model", "n_embd")
    layers = _first(config, "num_hidden_layers", "n_layer", "n_layers")
    vocabulary = _first(config, "vocab_size")
    if not (hidden and layers and vocabulary):
        return None
    heads = _first(config, "num_attention_heads", "n_head", "n_heads") or 0
    single = getattr(config, "multi_query", False) and not getattr(config, "new_decoder_architecture", False)
    kv_heads = 1 if single else _first(config, "num_key_value_heads", "num_kv_heads") or heads
    size = _first(config, "head_dim") or (hidden // heads if heads else 0)
    inner = _first(config, "intermediate_size", "ffn_hidden_size", "ffn_dim", "n_inner")
    experts = _first(config, "num_experts_per_tok", "moe_k", "top_k_experts")
    if experts:
        inner = max(experts * (_first(config, "moe_intermediate_size") or inner or 0), inner or 0)
    named = (
        getattr(config, name, None) for name in ("hidden_act", "hidden_activation", "activation_function", "activation")
    )
    function = next((name for name in named if name), None)
    return Shape(
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        key_size=_first(config, "qk_head_dim") or size,
        value_size=_first(config, "v_head_dim") or size,
        hidden=hidden,
        inner=inner or 4 * hidden,
        vocabulary=vocabulary,
        widths=_WIDTHS[2] if function is None else _WIDTHS[0] if function in _SIMPLE and not experts else _WIDTHS[1],
        state=_first(config, "state_size", "mamba_d_state", "ssm_state_size") or 0,
    )


def kv_bytes(shape: Shape, dtype_bytes: int) -> int:
    """Keys and values of one token in all layers; windows and state-space layers, which keep fewer, count as any other."""
    return shape.layers * shape.kv_heads * (shape.key_size + shape.value_size) * dtype_bytes


def activation_bytes(shape: Shape, dtype_bytes: int, *, span: int = 0) -> int:
    """At the peak of a forward pass, what one of its tokens takes beside logits and kept keys.

    ``span`` is the number of positions that each token is compared with where the scores are materialised (eager
    attention), 0 where they are not.
    """
    norms = 2 * shape.hidden * _FLOAT32 if dtype_bytes < _FLOAT32 else 0
    heads = shape.heads * (shape.key_size + shape.value_size)
    attention = (2 * heads + 2 * shape.kv_heads * (shape.key_size + shape.value_size)) * dtype_bytes
    scores = shape.heads * span * (dtype_bytes + _FLOAT32)
    states = 3 * shape.inner * shape.state * _FLOAT32
    within = max(shape.widths * shape.inner * dtype_bytes + states, attention + scores + norms)
    peak = 4 * shape.hidden * dtype_bytes + within
    return int(peak * _MARGIN)


def logits_bytes(shape: Shape, dtype_bytes: int) -> int:
    """One row over the vocabulary: as the model gives it, in float32, and exponentiated."""
    return shape.vocabulary * (dtype_bytes + 2 * _FLOAT32)


def token_budget(shape: Shape, dtype_bytes: int, free_bytes: int, *, usable: float = 0.8, span: int = 0) -> MemoryBudget:
    """What fits into ``free_bytes``, of which the share ``usable`` is planned with."""
    room = free_bytes * usable

    def fits(share: float, each: int) -> int:
        return max(int(room * share / each), 1) if each else sys.maxsize

    return MemoryBudget(
        fits(_PASS, activation_bytes(shape, dtype_bytes, span=span)),
        fits(_KEPT, kv_bytes(shape, dtype_bytes)),
        fits(_LOGITS, logits_bytes(shape, dtype_bytes)),
    )


def limits_for(module: Any, device: Any) -> MemoryBudget:
    """What fits beside ``module`` now. `UNLIMITED` where its configuration is not known."""
    shape = shape_of(getattr(module, "config", None))
    if shape is None:
        return UNLIMITED
    kind = "cpu" if device.type == "cpu" else "gpu"
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), None)
    size = dtype.itemsize if dtype is not None else _FLOAT32
    attention = str(getattr(module.config, "_attn_implementation", None) or "eager")
    span = 0 if any(name in attention for name in _FUSED) else _SPAN
    return token_budget(shape, max(size, 2), free_memory(module, device), usable=_USABLE[kind], span=span)


def free_memory(module: Any, device: Any) -> int:
    """Bytes that can still be had: on the fullest GPU that holds a part of ``module``, or on the machine."""
    import torch

    gpus = {parameter.device for parameter in module.parameters() if parameter.device.type == "cuda"}
    gpus |= {device} if device.type == "cuda" else set()
    return min((_free_on(torch, gpu) for gpu in gpus), default=free_host_memory())


def _free_on(torch: Any, gpu: Any) -> int:
    """What the driver has left, and what torch holds without using it."""
    free, _ = torch.cuda.mem_get_info(gpu)
    return int(free + torch.cuda.memory_reserved(gpu) - torch.cuda.memory_allocated(gpu))


def free_host_memory(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes the machine has left, or this process's cgroup if that is less; without limit where neither tells."""
    return min(_available(proc / "meminfo"), *(_left(folder) for folder in _cgroups(proc, cgroup)))


def _available(meminfo: Path) -> int:
    for line in _lines(meminfo):
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return sys.maxsize


def _cgroups(proc: Path, root: Path) -> Iterable[Path]:
    """The process's own cgroup (version 2) and those around it: each may set a limit."""
    path = next((line[3:] for line in _lines(proc / "self" / "cgroup") if line.startswith("0::")), "/")
    own = root / path.strip("/")
    return [own, *(parent for parent in own.parents if parent.is_relative_to(root))]


def _left(cgroup: Path) -> int:
    """What the cgroup may still take, its page cache counted as free; without limit where it has none."""
    limit, used = _lines(cgroup / "memory.max"), _lines(cgroup / "memory.current")
    if not limit or not used or not limit[0].isdecimal():
        return sys.maxsize
    cached = sum(int(line.split()[1]) for line in _lines(cgroup / "memory.stat") if line.startswith("inactive_file "))
    return max(int(limit[0]) - int(used[0]) + cached, 0)


def _lines(path: Path) -> list[str]:
    """Of a file that only some systems have."""
    try:
        return path.read_text("utf-8").splitlines()
    except OSError:
        return []


def _first(config: Any, *names: str) -> int | None:
    """The first of these settings that is a number above 0."""
    values = (getattr(config, name, None) for name in names)
    return next((value for value in values if isinstance(value, int) and value > 0), None)
