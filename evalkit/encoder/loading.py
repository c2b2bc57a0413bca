"""From a spec to a network in memory: the device, the dtype, and transformers kept quiet."""

from __future__ import annotations

from typing import Any

from evalkit.encoder.base import Checkpoint, EncoderSpec, Loader
from evalkit.encoder.checkpoint import PACKAGES, one_line
from evalkit.errors import ScorerError
from evalkit.quiet import quiet


def loaded(spec: EncoderSpec, place: Checkpoint, load: Loader | None, device: Any) -> tuple[Any, Any]:
    """The module, in evaluation mode on ``device`` in the spec's dtype, and its tokeniser. Raises ScorerError."""
    with one_line(spec.model, spec.revision), quiet():
        module, tokenizer = load(spec) if load is not None else _auto(spec, place)
        _cast(module, spec.dtype)
        module.requires_grad_(False)
        return module.to(device).eval(), tokenizer


def pick_device(spec: EncoderSpec) -> Any:
    """The torch device that a spec asks for. Raises ScorerError where it is not there or cannot compute in the dtype."""
    try:
        import torch
        import transformers  # noqa: F401 (needed a moment later)
    except ImportError as error:
        raise ScorerError(f"neural metrics need {error.name}: {PACKAGES}") from error
    if spec.device == "auto":
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    else:
        try:
            device = torch.device(spec.device)
        except RuntimeError as error:
            raise ScorerError(f"device {spec.device!r} is not one: use auto, cpu, cuda, cuda:1 or mps") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ScorerError(
            f"device {spec.device!r} is not there: torch sees {torch.cuda.device_count()} CUDA devices; use auto or cpu"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ScorerError("device 'mps' is not there: torch sees no Apple GPU; use auto or cpu")
    if device.type == "cpu" and spec.dtype == "float16":
        raise ScorerError("float16 needs a GPU: on a CPU use bfloat16 (fast where it has AMX or AVX512-BF16) or float32")
    return device


def _auto(spec: EncoderSpec, place: Checkpoint) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModel, AutoTokenizer

    where = {"revision": place.revision, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(place.source, **where)
    dtype = getattr(torch, spec.dtype)
    module, info = AutoModel.from_pretrained(place.source, dtype=dtype, output_loading_info=True, **where)
    # a pooler, which language models are saved without, comes behind all states
    lacking = sorted(name for name in info.get("missing_keys") or () if not name.startswith("pooler."))
    if lacking:  # transformers would fill them with noise and go on
        kind = type(module).__name__
        raise ScorerError(f"the weights of {place.source} lack {len(lacking)} tensors of {kind}, e.g. {lacking[0]}")
    return module, tokenizer


def _cast(module: Any, dtype: str) -> None:
    """Weights to ``dtype``. Buffers that no checkpoint holds (rotary frequencies) keep the precision they were made in."""
    import torch

    wanted = getattr(torch, dtype)
    for tensor in module.state_dict(keep_vars=True).values():
        if hasattr(tensor, "is_floating_point") and tensor.is_floating_point() and tensor.dtype != wanted:
            tensor.data = tensor.data.to(wanted)
