"""Next-token logits of sequences in slots, by the model's own forward pass with the attention of `evalkit.engine.attend`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from evalkit.engine.attend import NAME, Pass, Tokens, attend, within
from evalkit.engine.head import UnsupportedError
from evalkit.engine.interface import Attention
from evalkit.engine.transfer import to_device

if TYPE_CHECKING:
    import torch


class Decoder:
    """Runs ``module`` on passes. Raises UnsupportedError where it cannot be run this way."""

    def __init__(self, module: Any, device: Any) -> None:
        self._module, self._device = module, device
        self._attention = Attention(module, NAME, attend)
        self._head: Any = module.get_output_embeddings() if hasattr(module, "get_output_embeddings") else None
        if self._head is None:
            raise UnsupportedError("it has no output layer of its own")

    def run(self, now: Pass, *, logits: bool = True) -> torch.Tensor:
        """Logits (rows, vocabulary) after the last token of each row; of one row only where they are not wanted."""
        return self.on(now, to_device(now.ids, self._device), to_device(now.positions, self._device), logits=logits)

    def on(self, now: Tokens, ids: torch.Tensor, positions: torch.Tensor, *, logits: bool = True) -> torch.Tensor:
        """As `run`, for tokens whose ``ids`` and ``positions`` (n,) are on the device already."""
        with self._attention.ours(), within(now), self._last(now, logits) as seen:
            output = self._module(input_ids=ids.unsqueeze(0), position_ids=positions.unsqueeze(0), use_cache=False)
        if len(seen) != 1:
            raise UnsupportedError(f"its output layer ran {len(seen)} times in one pass")
        result: torch.Tensor = output.logits[0]
        return result

    def agree(self, now: Pass) -> None:
        """Raises UnsupportedError where not all layers attended in ``now``, which has been run."""
        self._attention.agree(now.windows)

    @contextmanager
    def _last(self, now: Tokens, wanted: bool) -> Iterator[list[None]]:
        """While it lasts, the output layer sees the last token of each row only."""
        seen: list[None] = []

        def pick(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
            seen.append(None)
            hidden = args[0] if args else None
            if hidden is None or tuple(hidden.shape[:2]) != (1, len(now)):
                raise UnsupportedError("its output layer is not given (batch, length, size)")
            if not wanted:
                return (hidden[:, :1], *args[1:])
            last = now.last(hidden)
            return None if last is None else (hidden.index_select(1, last), *args[1:])

        handle = self._head.register_forward_pre_hook(pick)
        try:
            yield seen
        finally:
            handle.remove()
