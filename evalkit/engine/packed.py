"""Weights in the order in which a CPU's kernels read them.

A decoding step multiplies all weights with a few rows only, and otherwise spends much of its time on reordering them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from evalkit.engine.memory import free_host_memory
from evalkit.onednn import computing, layers_of, multiplying

if TYPE_CHECKING:
    import torch

#: Of the memory that is free, what the reordered copy may take.
_SHARE = 0.2

#: Rows the order is chosen for; it serves others too.
_ROWS = 32


@contextmanager
def packed(module: Any, device: Any) -> Iterator[None]:
    """While it lasts, the linear layers of ``module`` compute from reordered copies of their weights, where memory allows.

    It must not be trained meanwhile. Does nothing on devices other than the CPU.
    """
    layers = layers_of(module) if device.type == "cpu" else []
    size = sum(layer.weight.numel() * layer.weight.element_size() for layer in layers)
    if size > _SHARE * free_host_memory():
        layers = []
    with computing(layers, _reordered):
        yield


def _reordered(layer: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    import torch

    return multiplying(layer, torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), _ROWS))
