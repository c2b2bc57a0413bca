"""Weights in the order in which a CPU's matrix kernels read them, while texts are generated.

A decoding step multiplies all weights with a few rows only, and otherwise spends much of its time on reordering them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from evalkit.engine.memory import free_host_memory

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
    layers = _layers(module) if device.type == "cpu" else []
    size = sum(layer.weight.numel() * layer.weight.element_size() for layer in layers)
    if size > _SHARE * free_host_memory():
        layers = []
    try:
        for layer in layers:
            layer.forward = _reordered(layer)
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)


def _layers(module: Any) -> list[Any]:
    import torch

    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        return []
    usable = [torch.float32]
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        usable.append(torch.bfloat16)
    return [
        part
        for part in module.modules()
        if type(part) is torch.nn.Linear
        and part.weight.dtype in usable
        and part.weight.device.type == "cpu"
        and type(part.weight) is torch.nn.Parameter
        and "forward" not in vars(part)
    ]


def _reordered(layer: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    import torch

    weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), _ROWS)
    bias = layer.bias.detach() if layer.bias is not None else None
    multiply: Any = torch.ops.mkldnn._linear_pointwise.default

    def forward(input: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = multiply(input, weight, bias, "none", [], "")
        return result

    return forward
