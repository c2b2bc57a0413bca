"""Forward passes over token trees: a custom attention in which each token sees its own text only.

Works for models whose attention goes through transformers' `AttentionInterface`. All tokens stand in one row without
padding, and only to attend are they sorted into bins. All see the kept beginning in one product without a mask; what follows
it is seen through the layout's mask, and the two are merged by their log-sums (as in FlashAttention, Dao et al. 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.engine.head import UnsupportedError
from evalkit.engine.interface import Attention
from evalkit.engine.layout import Layout
from evalkit.engine.plan import Ints
from evalkit.engine.streams import Kept
from evalkit.engine.transfer import to_device

if TYPE_CHECKING:
    import torch

_NAME = "evalkit_tree"


class TreeForward:
    """Runs ``module`` on layouts. What is kept are keys and values, in the order in which layers attend."""

    flat = False
    parallel = True
    sparse = False

    def __init__(self, module: Any) -> None:
        self._module = module
        self._attention = Attention(module, _NAME, _attend)

    def ready(self) -> AbstractContextManager[None]:
        return self._attention.ours()

    def run(self, layout: Layout, device: Any, kept: Kept, *, keep: bool) -> tuple[Any, Kept | None]:
        """The model's output, and with ``keep`` the first ``layout.start`` of ``kept`` and what this pass adds to them."""
        now = _Pass(layout, device, [(k[:, :, : layout.start], v[:, :, : layout.start]) for k, v in kept], keep)
        ids, depth = (to_device(array, device).unsqueeze(0) for array in (layout.ids, layout.depth))
        with _within(now):
            output = self._module(input_ids=ids, position_ids=depth, use_cache=False)
        self._attention.agree(now.windows)
        return output, now.grown if keep else None


class _Pass:
    """One forward pass: what its attention needs, made once for all layers."""

    def __init__(self, layout: Layout, device: Any, kept: list[tuple[torch.Tensor, torch.Tensor]], keep: bool) -> None:

        self.start, self.keep = layout.start, keep
        self.kept = kept if layout.start else []
        self.grown: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.windows: list[int | None] = []
        self.deepest = int(layout.depth.max())
        self.bins, self.width = layout.cells.shape
        self._layout = layout
        self._sees = to_device(layout.sees, device)
        self._depth = to_device(layout.depth[layout.cells], device)
        self._made: dict[Any, torch.Tensor] = {}

    def mask(self, like: torch.Tensor, groups: int, window: int | None, *, whole: bool) -> torch.Tensor:
        """Additive, (bins, 1, groups x width, keys); ``whole``: the kept beginning's keys come first."""
        import torch

        key = ("mask", like.dtype, like.device, groups, window, whole)
        if key not in self._made:
            sees, depth = self._sees, self._depth
            keys = depth
            if whole and self.start:
                before = torch.arange(self.start, device=depth.device).expand(len(depth), -1)
                keys = torch.cat([before, depth], dim=1)
                sees = torch.cat([sees.new_ones(()).expand(*sees.shape[:2], self.start), sees], dim=2)
            if window is not None:
                sees = sees & (depth[:, :, None] - keys[:, None, :] < window)
            bias = torch.zeros(sees.shape, dtype=like.dtype, device=depth.device)
            bias.masked_fill_(~sees, torch.finfo(like.dtype).min)
            self._made[key] = bias.repeat(1, groups, 1).unsqueeze(1).to(like.device)
        return self._made[key]

    def to_bins(self, tensor: torch.Tensor, groups: int) -> torch.Tensor:
        """(1, heads, n, size) as (bins, heads / groups, groups x width, size): ``groups`` heads one after the other."""
        _, heads, count, size = tensor.shape
        inside = tensor[0].transpose(0, 1)
        by_token = inside.is_contiguous()

        def index() -> Ints:
            head = np.arange(heads)[None, :, None]
            cells = self._layout.cells[:, None, :]
            place: Ints = cells * heads + head if by_token else head * count + cells
            return place

        flat = inside.reshape(-1, size) if by_token else tensor[0].reshape(-1, size)
        picked = flat.index_select(0, self._index(("to", heads, by_token), index, tensor.device))
        return picked.view(self.bins, heads // groups, groups * self.width, size)

    def to_tokens(self, tensor: torch.Tensor, groups: int) -> torch.Tensor:
        """The way back, as (n, heads, size)."""
        _, few, length, size = tensor.shape
        heads, inside = few * groups, tensor.transpose(1, 2)
        by_cell = few > 1 and inside.is_contiguous()

        def index() -> Ints:
            head = np.arange(heads)[None, :]
            row, column = (part[:, None] for part in np.divmod(self._layout.back, self.width))
            place: Ints = (row * heads + head) * self.width + column
            if by_cell:
                place = (row * length + head % groups * self.width + column) * few + head // groups
            return place

        flat = (inside if by_cell else tensor).reshape(-1, size)
        picked = flat.index_select(0, self._index(("from", heads, groups, by_cell), index, tensor.device))
        return picked.view(-1, heads, size)

    def _index(self, key: tuple[Any, ...], make: Callable[[], Ints], device: Any) -> torch.Tensor:

        if (*key, device) not in self._made:
            self._made[*key, device] = to_device(make().ravel(), device)
        return self._made[*key, device]


_PASS: ContextVar[_Pass] = ContextVar("evalkit_tree_pass")


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
    kept = now.kept[layer] if now.kept else None
    if now.keep:
        now.grown.append((key, value) if kept is None else (torch.cat([kept[0], key], 2), torch.cat([kept[1], value], 2)))
    count, heads, size = query.shape[2], query.shape[1], query.shape[3]
    groups = heads // key.shape[1]
    folds = groups if _folds(query) else 1
    scale = size**-0.5 if scaling is None else scaling
    window = sliding_window if sliding_window is not None and now.deepest >= sliding_window else None
    own = now.to_bins(query, folds), now.to_bins(key, 1), now.to_bins(value, 1)
    if kept is not None and window is None and softcap is None and _folds(query) and value.shape[-1] == size:
        together = query.reshape(1, key.shape[1], folds * count, size)
        return _merged(now, together, own, kept, scale, folds).view(1, count, heads, size), None
    query, key, value = own
    if kept is not None:
        key = torch.cat([kept[0].expand(now.bins, -1, -1, -1), key], dim=2)
        value = torch.cat([kept[1].expand(now.bins, -1, -1, -1), value], dim=2)
    if folds != groups:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    mask = now.mask(query, folds, window, whole=True)
    if softcap is None:
        out = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    else:
        scores = torch.tanh(query @ key.transpose(2, 3) * scale / softcap) * softcap + mask
        out = torch.softmax(scores, dim=-1, dtype=torch.float32).to(value.dtype) @ value
    return now.to_tokens(out, folds).unsqueeze(0), None


def _folds(query: torch.Tensor) -> bool:
    """Whether heads that share keys become one longer query: it spares a copy of the keys, but repeats the mask."""
    return bool(query.device.type == "cpu")


def _merged(
    now: _Pass,
    together: torch.Tensor,
    own: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    kept: tuple[torch.Tensor, torch.Tensor],
    scale: float,
    groups: int,
) -> torch.Tensor:
    """Attention of all tokens ``together`` to the kept keys, and in their bins to their own.

    The result is (n, heads / groups, groups, size).
    """
    import torch

    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    before, before_sum = flash(together, kept[0], kept[1], scale=scale)
    inside, inside_sum = flash(*own, attn_mask=now.mask(own[0], groups, None, whole=False), scale=scale)
    count, few = together.shape[2] // groups, together.shape[1]
    before = before[0].unflatten(1, (groups, count)).permute(2, 0, 1, 3)
    before_sum = before_sum[0].unflatten(1, (groups, count)).permute(2, 0, 1)
    out = now.to_tokens(inside, groups).view(count, few, groups, -1)
    out_sum = now.to_tokens(inside_sum.unsqueeze(-1), groups).view(count, few, groups)
    return out.lerp_(before, torch.sigmoid(before_sum - out_sum).unsqueeze(-1).to(out.dtype))


@contextmanager
def _within(now: _Pass) -> Iterator[None]:
    token = _PASS.set(now)
    try:
        yield
    finally:
        _PASS.reset(token)
