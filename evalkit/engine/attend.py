"""Attention of sequences in slots: to beginnings that many of them share, and to their own tokens.

All tokens of a pass stand side by side in one row, without padding. Those of sequences with the same beginning attend to it
in one product; each sequence's own keys lie in a `KVCache`. The parts are merged by their log-sums (as in FlashAttention,
Dao et al. 2022, and the cascade of Hydragen, Juravsky et al. 2024). A `Pass` may have any shape; `evalkit.engine.steps` has
the way for steps whose shapes stay the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evalkit.engine.head import UnsupportedError
from evalkit.engine.kvcache import KVCache, Stem
from evalkit.engine.transfer import to_device

if TYPE_CHECKING:
    import torch

NAME = "evalkit_slots"
Ints = NDArray[np.int64]

#: Scores at a time where they are written out: 2**25 float32 numbers are 128 MB.
_SCORES = 2**25

#: Up to so many queries a head, the CPU's fused kernel is slower in half precision than separate products.
_FEW = 256


@dataclass(slots=True)
class Pass:
    """One forward pass: the next tokens of neighbouring rows of ``cache``, from the row ``first`` on.

    ``counts`` (rows,) of new tokens, ``done`` (rows,) of own tokens that are there already, ``base`` (rows,) of tokens
    before those, which lie in the row's stem and those before it. ``ids`` (n,) are all new tokens, row after row.
    """

    cache: KVCache
    first: int
    ids: Ints
    counts: Ints
    done: Ints
    base: Ints
    stems: Sequence[Stem | None]
    windows: list[int | None] = field(default_factory=list)
    _made: dict[Any, Any] = field(default_factory=dict)
    own: Ints = field(init=False)
    positions: Ints = field(init=False)
    rows: Ints = field(init=False)
    parts: list[tuple[Stem, Ints | None]] = field(init=False)

    def __post_init__(self) -> None:
        count = len(self.counts)
        self.rows = np.repeat(np.arange(count), self.counts)
        firsts = np.cumsum(self.counts) - self.counts
        self.own = np.arange(len(self.ids)) - firsts[self.rows] + self.done[self.rows]
        self.positions = self.own + self.base[self.rows]
        members: dict[int, tuple[Stem, list[int]]] = {}
        for row, stem in enumerate(self.stems):
            for part in stem.line() if stem else ():
                members.setdefault(id(part), (part, []))[1].append(row)
        self.parts = [
            (part, None if len(rows) == count else np.nonzero(np.isin(self.rows, rows))[0])
            for part, rows in members.values()
        ]

    def __len__(self) -> int:
        return len(self.ids)

    def last(self, like: torch.Tensor) -> torch.Tensor | None:
        """Where each row's last token stands in ``ids``, on the device of ``like``; None where every token is a last one."""
        return None if self.single else to_device(np.cumsum(self.counts) - 1, like.device)

    def attended(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, how: How) -> torch.Tensor:
        heads = key.shape[1]
        cells = self.index("cells", lambda: self.cache.cells(self.first + self.rows, self.own, heads), key, heads)
        self.cache.write(layer, cells, key, value)
        if how.window is not None and self.positions.max() < how.window:
            how = replace(how, window=None)  # nobody is beyond it
        out, logs = _own(self, layer, query, how)
        for part, (stem, tokens) in enumerate(self.parts):
            where = None if tokens is None else self.index("part", partial(np.asarray, tokens), query, part)
            out, logs = _shared(self, layer, part, stem, where, query, out, logs, how)
        return out

    @property
    def single(self) -> bool:
        """Whether every row has one new token."""
        return len(self.ids) == len(self.counts)

    @property
    def longest(self) -> int:
        """Of the rows' own tokens, with the new ones."""
        return int((self.done + self.counts).max())

    def once(self, name: str, like: torch.Tensor, make: Any, *key: Any) -> Any:
        """What ``make`` gives, made once for all layers of a device and dtype."""
        full = (name, like.device, like.dtype, *key)
        if full not in self._made:
            self._made[full] = make()
        return self._made[full]

    def index(self, name: str, make: Callable[[], Ints], like: torch.Tensor, *key: Any) -> torch.Tensor:
        """The numbers that ``make`` gives, on the device of ``like``."""
        made: torch.Tensor = self.once(name, like, lambda: to_device(make(), like.device), *key)
        return made


class Tokens(Protocol):
    """What a forward pass runs on: some tokens, and how they attend. ``windows`` notes each layer's, as they come."""

    windows: list[int | None]

    def __len__(self) -> int: ...

    def last(self, like: torch.Tensor) -> torch.Tensor | None:
        """The tokens whose logits are wanted, on the device of ``like``; None for all."""

    def attended(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, how: How) -> torch.Tensor:
        """``query`` (n, kv heads, groups, size) attends in ``layer``, after ``key`` and ``value`` (n, kv heads, size) of
        the same tokens are kept: (n, kv heads, groups, value size).
        """


_TOKENS: ContextVar[Tokens] = ContextVar("evalkit_slots_tokens")


@contextmanager
def within(now: Tokens) -> Iterator[None]:
    token = _TOKENS.set(now)
    try:
        yield
    finally:
        _TOKENS.reset(token)


def attend(
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
    """The attention function: query (1, heads, n, size), key and value with as many heads or fewer."""
    now = _TOKENS.get()
    if others.get("s_aux") is not None or attention_mask is not None or query.shape[0] != 1:
        raise UnsupportedError("its attention has sinks or a mask of its own")
    if key.shape[2] != len(now) or query.shape[2] != len(now):
        raise UnsupportedError("its attention has keys of its own")
    layer = len(now.windows)
    now.windows.append(sliding_window)
    _, heads, count, size = query.shape
    grouped = query[0].transpose(0, 1).reshape(count, key.shape[1], heads // key.shape[1], size)
    how = How(size**-0.5 if scaling is None else scaling, softcap, sliding_window, value.shape[-1] == size)
    out = now.attended(layer, grouped, key[0].transpose(0, 1), value[0].transpose(0, 1), how)
    return out.reshape(1, count, heads, -1), None


@dataclass(frozen=True, slots=True)
class How:
    """What is special about a layer's attention. ``window``: how many tokens it sees; None for all."""

    scale: float
    softcap: float | None
    window: int | None
    even: bool

    def fused(self, like: torch.Tensor) -> bool:
        """Whether the CPU's fused kernel can be used, which gives the log-sums too."""
        return like.device.type == "cpu" and self.softcap is None and self.even


def _own(now: Pass, layer: int, query: torch.Tensor, how: How) -> tuple[torch.Tensor, torch.Tensor]:
    """Each token's attention to its own row: (n, kv heads, groups, size) and the log-sums (n, kv heads, groups)."""
    import torch

    rows, longest = len(now.counts), now.longest
    key, value = now.cache.read(layer, now.first, now.first + rows, 0, longest)
    if now.single:
        mask = now.once("single", query, lambda: _single_mask(now, query, longest, how.window), how.window, query.shape[2])
        return piece(query, key, value, mask, how)
    heads, groups, size = query.shape[1:]
    width = int(now.counts.max())
    if rows > 1:
        padded = query.index_select(0, now.index("pad", lambda: _padding(now, width), query))
    else:
        padded = query
    padded = padded.view(rows, width, heads, groups, size)
    if not now.done.any() and how.fused(query) and how.window is None:
        flat = padded.reshape(rows, width, heads * groups, size).transpose(1, 2)
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
        out, logs = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            flat, key, value, is_causal=True, scale=how.scale
        )
        out, logs = out.transpose(1, 2), logs.transpose(1, 2)
    else:
        mask = now.once("several", query, lambda: _several_mask(now, query, width, how.window), how.window, groups)
        folded = padded.permute(0, 2, 3, 1, 4).reshape(rows, heads, groups * width, size)
        out, logs = piece(folded, key, value, mask, how)
        out = out.reshape(rows, heads, groups, width, -1).permute(0, 3, 1, 2, 4)
        logs = logs.reshape(rows, heads, groups, width).permute(0, 3, 1, 2)
    out = out.reshape(rows * width, heads, groups, -1)
    logs = logs.reshape(rows * width, heads, groups)
    if rows == 1:
        return out, logs
    back = now.index("back", lambda: now.rows * width + now.own - now.done[now.rows], query)
    return out.index_select(0, back), logs.index_select(0, back)


def _shared(
    now: Pass,
    layer: int,
    part: int,
    stem: Stem,
    where: torch.Tensor | None,
    query: torch.Tensor,
    out: torch.Tensor,
    logs: torch.Tensor,
    how: How,
) -> tuple[torch.Tensor, torch.Tensor]:
    """``out`` and ``logs`` with the attention of the tokens ``where`` (None: all) to ``stem`` merged in."""
    assert stem.cache is not None
    positions = now.positions if where is None else now.positions[now.parts[part][1]]
    start = max(int(positions.min()) - how.window + 1 - stem.start, 0) if how.window is not None else 0
    if start >= len(stem.tokens):
        return out, logs
    some = query if where is None else query.index_select(0, where)
    count, heads, groups, size = some.shape
    key, value = stem.cache.read(layer, 0, 1, start, len(stem.tokens))
    folded = some.transpose(0, 1).reshape(1, heads, count * groups, size)
    mask = None
    if how.window is not None and int(positions.max()) - stem.start - start >= how.window:
        window, begin = how.window, stem.start + start
        mask = now.once(
            "beyond", query, lambda: _beyond(positions, begin, stem.end, window, groups, query), part, window, groups
        )
    seen, seen_logs = piece(folded, key, value, mask, how)
    seen = seen.reshape(heads, count, groups, -1).transpose(0, 1)
    seen_logs = seen_logs.reshape(heads, count, groups).transpose(0, 1)
    old, old_logs = (out, logs) if where is None else (out.index_select(0, where), logs.index_select(0, where))
    more = part + 1 < len(now.parts)
    both, both_logs = merged(old, old_logs, seen, seen_logs, more=more)
    if where is None:
        return both, both_logs
    return out.index_copy(0, where, both), logs.index_copy(0, where, both_logs) if more else logs


def merged(
    one: torch.Tensor, one_logs: torch.Tensor, other: torch.Tensor, other_logs: torch.Tensor, *, more: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention to both of two parts, and its log-sums; without ``more`` to come, those are of no use and of ``one``."""
    import torch

    share = torch.sigmoid(other_logs - one_logs).unsqueeze(-1).to(one.dtype)
    return torch.lerp(one, other, share), torch.logaddexp(one_logs, other_logs) if more else one_logs


def piece(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, how: How
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention (rows, heads, n, size) and its log-sums (rows, heads, n), both of some of the keys only."""
    import torch

    if how.fused(query) and (query.dtype == torch.float32 or query.shape[2] > _FEW):
        out, logs = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, attn_mask=mask, scale=how.scale
        )
        return out, logs
    rows, heads, length = query.shape[:3]
    step = max(_SCORES // (rows * heads * key.shape[2]), 1)
    outs, sums = [], []
    for begin in range(0, length, step):
        scores = (query[:, :, begin : begin + step] @ key.transpose(2, 3)).float().mul_(how.scale)
        if how.softcap is not None:
            scores = scores.div_(how.softcap).tanh_().mul_(how.softcap)
        if mask is not None:
            scores = scores.add_(mask[:, :, begin : begin + step])
        most = scores.amax(dim=-1, keepdim=True)
        total = scores.sub_(most).exp_().sum(dim=-1, keepdim=True)
        outs.append(((scores.to(value.dtype) @ value).float() / total).to(value.dtype))
        sums.append((total.log_() + most).squeeze(-1))
    return (outs[0], sums[0]) if len(outs) == 1 else (torch.cat(outs, dim=2), torch.cat(sums, dim=2))


def _padding(now: Pass, width: int) -> Ints:
    """For each row and column the token that stands there; beyond a row's end, its last one."""
    starts = np.cumsum(now.counts) - now.counts
    columns = np.minimum(np.arange(width)[None, :], now.counts[:, None] - 1)
    return np.asarray((starts[:, None] + columns).reshape(-1), dtype=np.int64)


def _single_mask(now: Pass, like: torch.Tensor, longest: int, window: int | None) -> torch.Tensor | None:
    """(rows, 1, groups, keys) for one new token a row; None where every row has all of its keys in sight."""
    import torch

    lengths = now.done + 1
    if window is None and int(lengths.min()) == longest:
        return None
    ends = now.index("lengths", lambda: lengths, like).unsqueeze(1)
    keys = torch.arange(longest, device=like.device).unsqueeze(0)
    sees = keys < ends
    if window is not None:
        sees = sees & (keys >= ends - window)
    return bias(sees, like)[:, None, None, :].expand(-1, -1, like.shape[2], -1)


def _several_mask(now: Pass, like: torch.Tensor, width: int, window: int | None) -> torch.Tensor:
    """(rows, 1, groups x width, keys)."""
    import torch

    keys = torch.arange(now.longest, device=like.device)[None, None, :]
    done = now.index("done", lambda: now.done, like)
    at = torch.arange(width, device=like.device)[None, :, None] + done[:, None, None]
    sees = keys <= at
    if window is not None:
        sees = sees & (keys > at - window)
    return bias(sees, like).repeat(1, like.shape[2], 1).unsqueeze(1)


def _beyond(positions: Ints, begin: int, end: int, window: int, groups: int, like: torch.Tensor) -> torch.Tensor:
    """(1, 1, tokens x groups, keys): the stem's positions ``begin`` to ``end`` within the window of each token."""
    import torch

    at = to_device(np.repeat(positions, groups), like.device)
    keys = torch.arange(begin, end, device=like.device)
    return bias(at[:, None] - keys[None, :] < window, like)[None, None]


def bias(sees: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Large and finite, so that a token that sees nothing of a part gets a log-sum that weighs nothing, not a NaN."""
    import torch

    zeros = torch.zeros(sees.shape, dtype=like.dtype, device=like.device)
    return zeros.masked_fill_(~sees, torch.finfo(like.dtype).min)
