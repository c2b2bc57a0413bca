"""From hidden states to log-probabilities: the vocabulary only for scored tokens, and never all of them at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evalkit.engine.layout import Layout

if TYPE_CHECKING:
    import torch

#: Logits at a time, by device: 2**23 float32 numbers are 32 MB.
_CHUNK = {"cpu": 2**23, "gpu": 2**27}


class UnsupportedError(Exception):
    """The model cannot be run this way; the text says why."""


@dataclass(slots=True)
class Picked:
    """What the output layer was asked for: ``hidden`` (n, size), a row for each pair of ``layout.where``."""

    layout: Layout
    hidden: list[torch.Tensor] = field(default_factory=list)


#: The pass that runs on this thread.
_PICKED: ContextVar[Picked | None] = ContextVar("evalkit_picked", default=None)


class Head:
    """The output layer of ``module``.

    ``direct``: the logits are what the layer gives, so that it can be called on its own; otherwise (caps, scales) they are
    taken from the model's own output.
    """

    def __init__(self, module: Any) -> None:
        import torch

        self._layer: Any = module.get_output_embeddings() if hasattr(module, "get_output_embeddings") else None
        if self._layer is None:
            raise UnsupportedError("it has no output layer of its own")
        self.direct = False
        # Half-precision logits step by 1/16 and more; the one that matters is cheap to have in full.
        half = next(module.parameters()).dtype in (torch.bfloat16, torch.float16)
        self._exact = half and type(self._layer) is torch.nn.Linear

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While it lasts, the output layer sees no more than the scored positions of a pass that is `picking`."""

        def pick(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
            import torch

            picked = _PICKED.get()
            if picked is None:
                return args
            hidden = args[0] if args else None
            if hidden is None or tuple(hidden.shape[:2]) != picked.layout.ids.shape:
                raise UnsupportedError("its output layer is not given (batch, length, size)")
            where = torch.from_numpy(picked.layout.where).to(hidden.device)
            rows = hidden[where[:, 0], where[:, 1]]
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

    def score(self, picked: Picked, output: Any, layout: Layout) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Natural-log probability and greediness of each scored token of ``layout``, in its order."""
        import torch

        hidden = picked.hidden[0]
        order = np.argsort(layout.sources, kind="stable")
        sources = layout.sources[order]
        vocabulary = self._layer.out_features if self.direct else output.logits.shape[-1]
        rows = max(_CHUNK["cpu" if hidden.device.type == "cpu" else "gpu"] // vocabulary, 16)
        results = []
        for begin in range(0, len(hidden), rows):
            part = hidden[begin : begin + rows]
            logits = self._layer(part) if self.direct else output.logits[0, begin : begin + rows]
            first, last = np.searchsorted(sources, [begin, begin + rows])
            source = torch.from_numpy(sources[first:last] - begin).to(logits.device)
            target = torch.from_numpy(layout.targets[order[first:last]]).to(logits.device)
            results.append(self._chunk(part, logits, source, target))
        both = torch.cat(results, dim=1).cpu().numpy()
        logprobs, greedy = np.empty(len(order)), np.empty(len(order), dtype=np.bool_)
        logprobs[order], greedy[order] = both[0], both[1] > 0
        return logprobs, greedy

    def _chunk(self, hidden: torch.Tensor, logits: torch.Tensor, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """(2, n): log-probabilities, and 1 where the target is the most likely token, else 0. ``logits`` are overwritten."""
        import torch

        most = logits.amax(dim=-1)
        value = logits[source, target]
        greedy = value == most[source]
        if logits.device.type == "cpu":  # argmax is slow there: only where the target reaches the maximum
            ties = greedy.nonzero().squeeze(-1)
            greedy[ties] = logits[source[ties]].argmax(dim=-1) == target[ties]
        else:
            greedy = logits.argmax(dim=-1)[source] == target
        most, value = most.float(), value.float()
        total = logits.float().sub_(most.unsqueeze(-1)).exp_().sum(dim=-1)[source]
        most = most[source]
        if self.direct and self._exact and self._layer.weight.device.type != "meta":  # which it is while offloaded
            weight = self._layer.weight[target].float()
            exact = (hidden[source].float() * weight.to(hidden.device)).sum(dim=-1)
            if self._layer.bias is not None:
                exact = exact + self._layer.bias[target].float()
            total = (total - (value - most).exp()).clamp_min(0) + (exact - most).exp()
            value = exact
        return torch.stack([value - most - total.log(), greedy.float()])
