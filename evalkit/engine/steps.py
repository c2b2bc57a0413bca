"""Decode steps of fixed shapes: what changes from step to step is in tensors on the device, so that a step can be captured.

A step computes a token for each of the first rows of the cache. How many rows, and to how many of a row's own keys it
attends, are rounded up; what is too much is masked by lengths that the device knows. All rows attend to all stems of the
step, and what a row does not begin with gets no weight. The last tokens stay on the device: the next step can be
launched before anybody has looked at them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evalkit.engine.attend import How, Ints, bias, merged, piece
from evalkit.engine.decode import Decoder
from evalkit.engine.graphs import Graphs, Key
from evalkit.engine.kvcache import KVCache, Stem
from evalkit.engine.sampling import Sampler, largest
from evalkit.engine.transfer import coming, to_device

if TYPE_CHECKING:
    import torch

#: Most stems of one step: each costs all rows a product a layer.
STEMS = 8

#: Least rows and keys that are told apart: below that, more cost nothing.
_ROWS, _SPAN = 8, 128

#: Numbers that the device knows about a row, the last ones being whether it begins with the step's first, second, ... stem.
_TOKEN, _LENGTH, _BASE, _LIMIT, _RUNS, _SEED, _CHOSEN, _STEM = range(8)
_FIELDS = _STEM + STEMS


def rounded(count: int, least: int) -> int:
    """The next power of two, or three quarters of one, from ``least`` (at least 2) on: at most half as much again."""
    size = least
    while size < count:
        size = size * 3 // 2 if size & (size - 1) == 0 else size // 3 * 4
    return size


class Row(NamedTuple):
    """A sequence as the host knows it, all launched steps counted.

    ``token`` is its last one where ``source`` is None; else it is what the device has at the row ``source``. ``length`` own
    tokens have keys and values, ``base`` tokens are before those, in ``stem`` and those before it; the last one that is
    ever fed has the place ``limit``. ``chosen`` new tokens there are, by draws of ``seed`` if they are drawn.
    """

    token: int
    source: int | None
    length: int
    base: int
    limit: int
    stem: Stem | None
    seed: int
    chosen: int


class StaticSteps:
    """Steps on the rows of one cache after another; see `Graphs` for what becomes of them."""

    def __init__(self, decoder: Decoder, device: Any, graphs: Graphs) -> None:
        self._decoder, self._device, self._graphs = decoder, device, graphs
        self._stems: tuple[Stem, ...] = ()
        self.open(KVCache(1, 0))

    def open(self, cache: KVCache) -> None:
        """Begin with ``cache``, or begin anew because it has grown: captured steps hold the addresses of its tensors."""
        import torch

        self._graphs.clear()
        self._cache = cache
        self._fields = torch.zeros((_FIELDS, cache.rows), dtype=torch.int64, device=self._device)

    def forget(self, stem: Stem) -> None:
        """``stem`` loses its keys and values."""
        self._graphs.forget(stem)
        self._stems = tuple(kept for kept in self._stems if kept is not stem)

    def close(self) -> None:
        """Let go of the cache and of all that is captured."""
        self._stems = ()
        self.open(KVCache(1, 0))

    def place(self, rows: Sequence[Row]) -> None:
        """From now on these are the cache's first rows, in this order. Comes behind the steps already launched.

        Raises ValueError for more than `STEMS` stems.
        """
        import torch

        lines = [row.stem.line() if row.stem else [] for row in rows]
        used = dict.fromkeys(stem for line in lines for stem in line)
        self._stems = (*(stem for stem in self._stems if stem in used), *(stem for stem in used if stem not in self._stems))
        if len(self._stems) > STEMS:
            raise ValueError(f"{len(self._stems)} stems in one step")
        table = np.zeros((_FIELDS + 1, self._cache.rows), dtype=np.int64)
        for at, (row, line) in enumerate(zip(rows, lines, strict=True)):
            table[:_STEM, at] = row.token, min(row.length, row.limit), row.base, row.limit, 1, row.seed, row.chosen
            for stem in line:
                table[_STEM + self._stems.index(stem), at] = 1
            table[_FIELDS, at] = -1 if row.source is None else row.source
        new = to_device(table, self._device)
        sources = new[_FIELDS]
        known = self._fields[_TOKEN].index_select(0, sources.clamp(min=0))
        new[_TOKEN] = torch.where(sources < 0, new[_TOKEN], known)
        self._fields.copy_(new[:_FIELDS])

    def launch(self, rows: int, longest: int, sampler: Sampler | None) -> Callable[[], Ints]:
        """Launch a step of the first ``rows``, of which none has more than ``longest`` own tokens.

        Returns at once; what is returned waits for the tokens (rows,). A row that has reached its limit stays there: its
        further tokens mean nothing.
        """
        import torch

        key = self._key(rows, longest, sampler, chooses=True)
        chosen = self._graphs.run(key, partial(self._compute, key))
        tokens, length, _, limit, runs, _, count = self._fields[:_STEM]
        tokens[: key.rows].copy_(chosen)
        torch.minimum(length + runs, limit, out=length)
        count.add_(runs)
        return coming(chosen[:rows])

    def logits(self, rows: int, longest: int) -> torch.Tensor:
        """Logits (rows, vocabulary) of a step. Its tokens are chosen elsewhere: `place` comes before the next one."""
        key = self._key(rows, longest, None, chooses=False)
        return self._graphs.run(key, partial(self._compute, key))[:rows]

    def _key(self, rows: int, longest: int, sampler: Sampler | None, *, chooses: bool) -> Key:
        span = min(rounded(longest + 1, _SPAN), self._cache.capacity)
        return Key(min(rounded(rows, _ROWS), self._cache.rows), span, self._stems, sampler, chooses)

    def _compute(self, key: Key) -> torch.Tensor:
        """What is captured. It changes nothing but the cache, where it writes the same whenever it is run again."""
        fields = self._fields[:, : key.rows]
        now = Step(self._cache, fields[_LENGTH], fields[_BASE], fields[_STEM:] > 0, key.span, key.stems)
        logits = self._decoder.on(now, fields[_TOKEN], now.positions)
        if not key.chooses:
            return logits
        if key.sampler is None:
            return largest(logits)
        return largest(key.sampler.noisy(logits.float(), fields[_SEED], fields[_CHOSEN]))


@dataclass(slots=True)
class Step:
    """The tokens of a step: one for each of the first rows of ``cache``.

    ``lengths`` and ``bases`` (rows,) as in `Row`; ``member`` (stems, rows) tells whether a row begins with a stem.
    """

    cache: KVCache
    lengths: torch.Tensor
    bases: torch.Tensor
    member: torch.Tensor
    span: int
    stems: tuple[Stem, ...]
    windows: list[int | None] = field(default_factory=list)
    positions: torch.Tensor = field(init=False)
    _made: dict[Any, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.positions = self.lengths + self.bases

    def __len__(self) -> int:
        return int(self.lengths.shape[0])

    def last(self, like: torch.Tensor) -> None:
        return None

    def attended(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, how: How) -> torch.Tensor:
        heads, groups = query.shape[1:3]
        cells = self._once(("cells", heads), lambda: self._cells(heads))
        self.cache.write(layer, cells, key, value)
        keys, values = self.cache.read(layer, 0, len(self), 0, self.span)
        mask = self._once(("own", how.window, groups, query.dtype), lambda: self._own(query, how.window))
        out, logs = piece(query, keys, values, mask, how)
        for part, stem in enumerate(self.stems):
            seen, seen_logs = self._shared(layer, part, stem, query, how)
            out, logs = merged(out, logs, seen, seen_logs, more=part + 1 < len(self.stems))
        return out

    def _shared(self, layer: int, part: int, stem: Stem, query: torch.Tensor, how: How) -> tuple[torch.Tensor, torch.Tensor]:
        """Attention of all rows to ``stem``, as `attended`, and its log-sums: next to nothing for who is no member."""
        import torch

        assert stem.cache is not None
        rows, heads, groups, size = query.shape
        keys, values = stem.cache.read(layer, 0, 1, 0, len(stem.tokens))
        mask = None
        if how.window is not None:
            window = how.window
            mask = self._once(("stem", part, window, groups, query.dtype), lambda: self._beyond(stem, query, window))
        folded = query.transpose(0, 1).reshape(1, heads, rows * groups, size)
        seen, logs = piece(folded, keys, values, mask, how)
        logs = logs.reshape(heads, rows, groups).transpose(0, 1)
        logs = logs.masked_fill(~self.member[part][:, None, None], torch.finfo(logs.dtype).min)
        return seen.reshape(heads, rows, groups, -1).transpose(0, 1), logs

    def _cells(self, heads: int) -> torch.Tensor:
        """As `KVCache.cells` numbers them, from lengths on the device."""
        import torch

        device = self.lengths.device
        places = torch.arange(len(self) * heads, device=device).view(-1, heads) * self.cache.capacity
        return (places + self.lengths[:, None]).reshape(-1)

    def _own(self, like: torch.Tensor, window: int | None) -> torch.Tensor:
        """(rows, 1, groups, span): each row's keys up to the new one, within the window."""
        import torch

        ends = self.lengths[:, None] + 1
        keys = torch.arange(self.span, device=like.device)[None, :]
        sees = keys < ends
        if window is not None:
            sees = sees & (keys >= ends - window)
        return bias(sees, like)[:, None, None, :].expand(-1, -1, like.shape[2], -1)

    def _beyond(self, stem: Stem, like: torch.Tensor, window: int) -> torch.Tensor:
        """(1, 1, rows x groups, keys): the stem's positions within the window of each row."""
        import torch

        keys = torch.arange(stem.start, stem.end, device=like.device)[None, :]
        sees = self.positions[:, None] - keys < window
        return bias(sees, like).repeat_interleave(like.shape[2], dim=0)[None, None]

    def _once(self, name: tuple[Any, ...], make: Callable[[], torch.Tensor]) -> torch.Tensor:
        """What ``make`` gives, made once for all layers."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]
