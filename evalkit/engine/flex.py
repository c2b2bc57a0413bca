"""Forward passes over token trees on a GPU: all tokens in one row, attending by FlexAttention with a block-sparse mask.

One kernel a layer (Dong et al. 2024, `torch.nn.attention.flex_attention`): it skips the blocks in which nobody sees anybody.
Passes are filled up to a few lengths, and what differs between them is passed as tensors, so that kernels are compiled a
few times at most. In float32 products are exact unless torch is told otherwise (``torch.set_float32_matmul_precision``),
which the kernel follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.engine.base import in_a_line, out_of_memory
from evalkit.engine.flex_mask import BLOCK, FlatMask
from evalkit.engine.head import UnsupportedError
from evalkit.engine.interface import Attention
from evalkit.engine.layout import Layout
from evalkit.engine.streams import Kept
from evalkit.engine.transfer import to_device

if TYPE_CHECKING:
    import torch

_NAME = "evalkit_flex"

#: Kernels of one process: with and without a window, a cap, a kept beginning, in a few precisions and head sizes. Torch's
#: own limit is 8, after which it would give up compiling.
_KERNELS = 64


class FlexForward:
    """Runs ``module`` on padded layouts. What is kept are keys and values, in the order in which layers attend.

    Raises UnsupportedError where the kernel cannot be had: it is compiled when first needed.
    """

    flat = True
    parallel = False
    sparse = True

    def __init__(self, module: Any) -> None:
        self._module = module
        self._attention = Attention(module, _NAME, _attend)

    @contextmanager
    def ready(self) -> Iterator[None]:
        with self._attention.ours(), _many_kernels():
            yield

    def run(self, layout: Layout, device: Any, kept: Kept, *, keep: bool) -> tuple[Any, Kept | None]:
        """The model's output, and with ``keep`` the first ``layout.start`` of ``kept`` and what this pass adds to them.

        Behind these stands what the pass was filled up with; no later step starts there.
        """
        now = _Pass(layout, kept, keep)
        ids, depth = (to_device(array, device).unsqueeze(0) for array in (layout.ids, layout.depth))
        with _within(now):
            output = self._module(input_ids=ids, position_ids=depth, use_cache=False)
        self._attention.agree(now.windows)
        return output, now.grown if keep else None


class _Pass:
    """One forward pass: what its attention needs, made once for all layers that attend alike."""

    def __init__(self, layout: Layout, kept: Kept, keep: bool) -> None:
        self.start, self.keep = layout.start, keep
        self.kept = kept if layout.start else []
        self.grown: Kept = []
        self.windows: list[int | None] = []
        self._mask = FlatMask(layout)
        self._made: dict[Any, Any] = {}

    def block_mask(self, window: int | None, device: Any) -> Any:
        """A `torch.nn.attention.flex_attention.BlockMask` of all heads."""
        return self._once(("mask", window, device), lambda: block_mask(self._mask, window, device))

    def score_mod(self, softcap: float | None, heads: int, device: Any) -> Callable[..., Any] | None:
        if softcap is None:
            return None
        capped: Callable[..., Any] = self._once(("cap", softcap, heads, device), lambda: _capped(softcap, heads, device))
        return capped

    def keys(self, layer: int, new: torch.Tensor, which: int) -> torch.Tensor:
        """The kept keys of a layer (``which`` 0, or values: 1), empty cells up to a whole block, and the ``new`` ones."""
        import torch

        if not self.kept:
            return new
        before = self.kept[layer][which][:, :, : self.start]
        empty = new.new_zeros(*new.shape[:2], self._mask.front - self.start, new.shape[3])
        return torch.cat([before, empty, new], dim=2)

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


_PASS: ContextVar[_Pass] = ContextVar("evalkit_flex_pass")


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function: query (1, heads, n, size), key and value with fewer heads or as many."""
    import torch

    now = _PASS.get()
    if others.get("s_aux") is not None or attention_mask is not None or key.shape[2] != query.shape[2]:
        raise UnsupportedError("its attention has sinks, a mask or keys of its own")
    layer = len(now.windows)
    now.windows.append(sliding_window)
    if now.keep:
        kept = [part[:, :, : now.start] for part in now.kept[layer]] if now.kept else [key[:, :, :0], value[:, :, :0]]
        now.grown.append((torch.cat([kept[0], key], 2), torch.cat([kept[1], value], 2)))
    mask, capped = now.block_mask(sliding_window, query.device), now.score_mod(softcap, query.shape[1], query.device)
    keys, values = now.keys(layer, key, 0), now.keys(layer, value, 1)
    scale = float(query.shape[3] ** -0.5 if scaling is None else scaling)
    grouped = query.shape[1] != key.shape[1]
    try:
        out = kernel(query.device)(query, keys, values, capped, mask, scale, grouped)
    except Exception as error:  # of a compiler, of Triton, of a driver: the next way may do without them
        if out_of_memory(error):
            raise
        raise UnsupportedError(f"FlexAttention fails ({in_a_line(error)})") from error
    return out.transpose(1, 2), None


def kernel(device: Any) -> Callable[..., torch.Tensor]:
    """``flex_attention``: compiled on a GPU; elsewhere as it is, which materialises all scores and is for tests."""
    from torch.nn.attention.flex_attention import flex_attention

    return compiled() if device.type == "cuda" else flex_attention


@cache
def compiled() -> Callable[..., torch.Tensor]:
    """For the whole process. ``fullgraph``: what cannot be compiled raises, rather than run uncompiled unseen."""
    import torch
    from torch.nn.attention.flex_attention import flex_attention

    made: Callable[..., torch.Tensor] = torch.compile(flex_attention, fullgraph=True)
    return made


def block_mask(mask: FlatMask, window: int | None, device: Any) -> Any:
    """The `torch.nn.attention.flex_attention.BlockMask` of ``mask``, for all heads."""
    from torch.nn.attention.flex_attention import BlockMask

    blocks = mask.blocks(window)
    counts, indices, full_counts, full_indices = (
        to_device(array[None, None], device)
        for array in (blocks.counts, blocks.indices, blocks.full_counts, blocks.full_indices)
    )
    low, high = to_device(mask.low, device), to_device(mask.high, device)

    def below(batch: Any, head: Any, query: Any, key: Any) -> Any:
        return (query >= low[key]) & (query < high[key])

    seen = below
    if window is not None:
        depth, until = to_device(mask.depth, device), to_device((mask.at + window).astype(np.int32), device)

        def near(batch: Any, head: Any, query: Any, key: Any) -> Any:
            return (query >= low[key]) & (query < high[key]) & (depth[query] < until[key])

        seen = near
    return BlockMask.from_kv_blocks(
        counts,
        indices,
        full_counts,
        full_indices,
        BLOCK_SIZE=BLOCK,
        mask_mod=seen,
        seq_lengths=(len(mask.depth), len(mask.low)),
        compute_q_blocks=False,  # those are for gradients
    )


def _capped(softcap: float, heads: int, device: Any) -> Callable[..., Any]:
    """A tensor, so that the number is no constant of the kernel."""
    import torch

    caps = torch.full((heads,), softcap, dtype=torch.float32, device=device)

    def capped(score: Any, batch: Any, head: Any, query: Any, key: Any) -> Any:
        return caps[head] * torch.tanh(score / caps[head])

    return capped


def _many_kernels() -> AbstractContextManager[Any]:
    import torch._dynamo

    patched: AbstractContextManager[Any] = torch._dynamo.config.patch(recompile_limit=_KERNELS)
    return patched


@contextmanager
def _within(now: _Pass) -> Iterator[None]:
    token = _PASS.set(now)
    try:
        yield
    finally:
        _PASS.reset(token)
