"""From hidden states to log-probabilities: the vocabulary only for scored tokens, and never all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evalkit.engine.layout import Layout
from evalkit.engine.transfer import coming, to_device
from evalkit.onednn import linear

if TYPE_CHECKING:
    import torch

#: Logits at a time, by device: 2**21 float32 numbers are 8 MB, which a processor's cache holds; 2**27 are 512 MB.
_TILE = {"cpu": 2**21, "gpu": 2**27}

#: Rows at a time: enough for the weights to be read seldom.
_ROWS = 1024


class UnsupportedError(Exception):
    """The model cannot be run this way; the text says why."""


@dataclass(slots=True)
class Picked:
    """What the output layer was asked for: ``hidden`` (m, size), a row for each token of ``layout.where``."""

    layout: Layout
    hidden: list[torch.Tensor] = field(default_factory=list)


#: Waits for the natural-log probabilities of a pass's scored tokens, and whether each is the likeliest.
Pending = Callable[[], tuple[NDArray[np.float64], NDArray[np.bool_]]]

#: The pass that runs on this thread.
_PICKED: ContextVar[Picked | None] = ContextVar("evalkit_picked", default=None)


class Head:
    """The output layer of ``module``.

    ``direct``: the logits are what the layer gives, so that it can be called on its own; otherwise (caps, scales) they are
    taken from the model's own output. None until the first pass has shown which.
    """

    def __init__(self, module: Any) -> None:
        import torch

        self._layer: Any = module.get_output_embeddings() if hasattr(module, "get_output_embeddings") else None
        if self._layer is None:
            raise UnsupportedError("it has no output layer of its own")
        self.direct: bool | None = None
        # Half-precision logits step by 1/16 and more; the one that matters is cheap to have in full.
        half = next(module.parameters()).dtype in (torch.bfloat16, torch.float16)
        self._exact = half and type(self._layer) is torch.nn.Linear

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While it lasts, the output layer sees no more than the scored positions of a pass that is `picking`."""

        def pick(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
            picked = _PICKED.get()
            if picked is None:
                return args
            hidden = args[0] if args else None
            if hidden is None or tuple(hidden.shape[:2]) != (1, len(picked.layout.ids)):
                raise UnsupportedError("its output layer is not given (batch, length, size)")
            where = to_device(picked.layout.where, hidden.device)
            rows = hidden[0, where]
            picked.hidden.append(rows)
            return ((hidden[:1, :1] if self.direct or not len(rows) else rows.unsqueeze(0)), *args[1:])

        handle = self._layer.register_forward_pre_hook(pick)
        try:
            yield
        finally:
            handle.remove()

    @contextmanager
    def picking(self, layout: Layout) -> Iterator[Picked]:
        """One pass on this thread, while `watching`."""
        picked = Picked(layout)
        token = _PICKED.set(picked)
        try:
            yield picked
        finally:
            _PICKED.reset(token)
        if len(picked.hidden) != 1:
            raise UnsupportedError(f"its output layer ran {len(picked.hidden)} times in one pass")

    def score(self, picked: Picked, output: Any, layout: Layout) -> Pending:
        """Natural-log probability and greediness of each scored token of ``layout``, in its order, once they are there."""
        import torch

        hidden = picked.hidden[0]
        if self.direct is None:
            plain = isinstance(self._layer, torch.nn.Linear)
            self.direct = plain and torch.equal(self._layer(hidden.unsqueeze(0)).to(output.logits.device), output.logits)
        order = np.argsort(layout.sources, kind="stable")
        sources = layout.sources[order]
        results = []
        for begin in range(0, len(hidden), _ROWS):
            part = hidden[begin : begin + _ROWS]
            logits = None if self.direct else output.logits[0, begin : begin + _ROWS]
            first, last = np.searchsorted(sources, [begin, begin + _ROWS])
            source = to_device(sources[first:last] - begin, hidden.device)
            target = to_device(layout.targets[order[first:last]], hidden.device)
            results.append(self._chunk(part, logits, source, target).to(hidden.device))
        arrived = coming(torch.cat(results, dim=1))

        def pending() -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
            both = arrived()
            logprobs, greedy = np.empty(len(order)), np.empty(len(order), dtype=np.bool_)
            logprobs[order], greedy[order] = both[0], both[1] > 0
            return logprobs, greedy

        return pending

    def _chunk(
        self, hidden: torch.Tensor, logits: torch.Tensor | None, source: torch.Tensor, target: torch.Tensor
    ) -> torch.Tensor:
        """(2, n): log-probabilities, and 1 where the target is the most likely token, else 0.

        The vocabulary goes by in tiles with a running maximum and sum (as in online softmax, Milakov and Gimelshein 2018).
        Of equally likely tokens the first counts as the most likely one.
        """
        import torch

        seen = _Running(hidden, source, target)
        add = seen.add if hidden.device.type == "cpu" else seen.add_unseen
        for begin, tile in self._tiles(hidden) if logits is None else [(0, logits)]:
            add(begin, tile)
        most, total, value = seen.most[source], seen.total[source], seen.value
        if logits is None and self._exact and self._layer.weight.device.type != "meta":  # which it is while offloaded
            weight = self._layer.weight[target].float()
            exact = (hidden[source].float() * weight.to(hidden.device)).sum(dim=-1)
            if self._layer.bias is not None:
                exact = exact + self._layer.bias[target].float()
            total = (total - (value - most).exp()).clamp_min(0) + (exact - most).exp()
            value = exact
        return torch.stack([value - most - total.log(), seen.greedy.float()])

    def _tiles(self, hidden: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
        """The logits of ``hidden`` for consecutive parts of the vocabulary, each with the id it begins at."""
        import torch

        layer = self._layer
        width = _TILE["cpu" if hidden.device.type == "cpu" else "gpu"] // len(hidden)
        if type(layer) is not torch.nn.Linear or layer.weight.device != hidden.device or width >= layer.out_features:
            yield 0, layer(hidden)
            return
        for begin in range(0, layer.out_features, width):
            bias = None if layer.bias is None else layer.bias[begin : begin + width]
            yield begin, linear(hidden, layer.weight[begin : begin + width], bias)


class _Running:
    """What is known of rows of logits after some of their tiles: in float32, ``most`` and ``total`` by row, the sum of
    ``exp(logit - most)``; by target its logit and whether it is the most likely token so far.
    """

    def __init__(self, hidden: torch.Tensor, source: torch.Tensor, target: torch.Tensor) -> None:
        import torch

        self._source, self._target = source, target
        self.most = torch.full((len(hidden),), -torch.inf, device=hidden.device)
        self.total = torch.zeros(len(hidden), device=hidden.device)
        self.value = torch.empty(len(target), device=hidden.device)
        self.greedy = torch.zeros(len(target), dtype=torch.bool, device=hidden.device)

    def add(self, begin: int, tile: torch.Tensor) -> None:
        """``tile`` (rows, part of the vocabulary) is overwritten."""
        import torch

        here = tile.amax(dim=-1).float()
        beaten = here > self.most
        most = torch.maximum(here, self.most)
        self.greedy &= ~beaten[self._source]
        mine = ((self._target >= begin) & (self._target < begin + tile.shape[1])).nonzero().squeeze(-1)
        source, target = self._source[mine], self._target[mine] - begin
        value = tile[source, target].float()
        self.value[mine] = value
        top = (beaten[source] & (value == here[source])).nonzero().squeeze(-1)  # argmax is slow on a CPU: only where needed
        first = tile[source[top]].argmax(dim=-1) == target[top]
        self.greedy[mine[top[first]]] = True
        self._grow(tile, most)

    def add_unseen(self, begin: int, tile: torch.Tensor) -> None:
        """The same for a GPU, by operations whose sizes do not depend on the numbers: the host need not wait for any."""
        import torch

        here, first = tile.max(dim=-1)
        most = torch.maximum(here.float(), self.most)
        beaten = (here.float() > self.most)[self._source]
        at = (self._target - begin).clamp(0, tile.shape[1] - 1)
        mine = self._target == at + begin
        self.value = torch.where(mine, tile[self._source, at].float(), self.value)
        self.greedy = torch.where(beaten, mine & (first[self._source] == at), self.greedy)
        self._grow(tile, most)

    def _grow(self, tile: torch.Tensor, most: torch.Tensor) -> None:
        self.total = self.total * (self.most - most).exp() + tile.float().sub_(most.unsqueeze(-1)).exp_().sum(dim=-1)
        self.most = most
