"""Forward passes over token trees for architectures with an attention of their own: a full mask and a cache.

One row a pass. Linear biases (ALiBi, Press et al. 2022) depend on a key's position only, up to a constant that the softmax
does not see; they are taken at each token's position in its text instead of its place in the row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from evalkit.engine.head import UnsupportedError
from evalkit.engine.layout import Layout
from evalkit.engine.streams import Kept
from evalkit.engine.transfer import to_device

if TYPE_CHECKING:
    import torch

#: Model types that take a mask for each pair of tokens and positions that are told to them.
_KNOWN = frozenset({"bloom", "mpt", "falcon", "gptj", "codegen"})


class MaskedForward:
    """As `evalkit.engine.tree.TreeForward`, with what every attention takes."""

    flat = True
    sparse = False
    parallel = False  # the biases are swapped in the module itself

    def __init__(self, module: Any) -> None:
        kind = getattr(getattr(module, "config", None), "model_type", None)
        if kind not in _KNOWN:
            raise UnsupportedError("its attention does not go through transformers' AttentionInterface")
        self._module = module

    def ready(self) -> AbstractContextManager[None]:
        return nullcontext()

    def run(self, layout: Layout, device: Any, kept: Kept, *, keep: bool) -> tuple[Any, Kept | None]:
        import torch
        from transformers import DynamicCache

        start = layout.start
        cache = DynamicCache()
        for layer, (key, value) in enumerate(kept if start else ()):
            cache.update(key[:, :, :start], value[:, :, :start], layer)
        ids, depth = (to_device(array, device).unsqueeze(0) for array in (layout.ids, layout.depth))
        sees = to_device(layout.sees, device)
        sees = torch.cat([sees.new_ones(1, sees.shape[1], start), sees], dim=2).unsqueeze(1)
        dtype = next(self._module.parameters()).dtype
        mask = torch.zeros(sees.shape, dtype=dtype, device=device).masked_fill_(~sees, torch.finfo(dtype).min)
        keys = torch.cat([torch.arange(start, device=device), depth[0]])
        with _biased(self._module, keys, max(start, int(layout.depth.max()) + 1)):
            output = self._module(
                input_ids=ids, position_ids=depth, attention_mask=mask, past_key_values=cache, use_cache=True
            )
        return output, [(layer.keys, layer.values) for layer in cache.layers] if keep else None


@contextmanager
def _biased(module: Any, keys: torch.Tensor, length: int) -> Iterator[None]:
    """While it lasts, ALiBi is that of the positions ``keys``, all below ``length``."""
    import torch

    inner: Any = getattr(module, "transformer", None)

    def bloom(_: Any, heads: int, dtype: Any) -> torch.Tensor:
        straight = type(inner).build_alibi_tensor(inner, torch.ones(1, length, device=keys.device), heads, torch.float32)
        return straight[:, :, keys].to(dtype)

    def mpt(heads: int, _: int, alibi_bias_max: int = 8, device: Any = None) -> torch.Tensor:
        straight: torch.Tensor = type(inner).build_mpt_alibi_tensor(inner, heads, length, alibi_bias_max, device)
        return straight[:, :, keys]

    own = {
        name: make for name, make in (("build_alibi_tensor", bloom), ("build_mpt_alibi_tensor", mpt)) if hasattr(inner, name)
    }
    for name, make in own.items():
        setattr(inner, name, make)
    try:
        yield
    finally:
        for name in own:
            delattr(inner, name)
