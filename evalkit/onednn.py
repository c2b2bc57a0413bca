"""A CPU's float32 matrix products through oneDNN, where that is faster than what torch would take.

Torch multiplies float32 matrices with MKL, which on processors other than Intel's leaves some of their speed unused (on an
AMD EPYC with AVX-512, 5 to 30 % by shape).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

#: Rows that the order of copied weights is chosen for; it serves others too.
_ROWS = 512


@contextmanager
def through_onednn(module: Any, device: Any, *, copy_bytes: int = 0) -> Iterator[None]:
    """While it lasts, the float32 linear layers of ``module`` compute with oneDNN, on processors where that is faster.

    Weights of at most ``copy_bytes`` are read from a copy in the order of its kernels, which is 4 % faster again.
    """
    import torch

    layers = [layer for layer in layers_of(module) if layer.weight.dtype is torch.float32] if _gains(device) else []
    size = sum(layer.weight.nbytes for layer in layers)
    with computing(layers, _reordered if size <= copy_bytes else _direct):
        yield


def linear(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """``torch.nn.functional.linear``, by the faster of the two."""
    import torch

    if input.dtype is torch.float32 and _gains(input.device) and _known():
        result: torch.Tensor = torch.ops.mkldnn._linear_pointwise.default(input, weight, bias, "none", [], "")
        return result
    return torch.nn.functional.linear(input, weight, bias)


@contextmanager
def computing(layers: list[Any], how: Callable[[Any], Callable[[torch.Tensor], torch.Tensor]]) -> Iterator[None]:
    """While it lasts, each of ``layers`` computes as ``how`` says."""
    try:
        for layer in layers:
            layer.forward = how(layer)
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)


def layers_of(module: Any) -> list[Any]:
    """The plain linear layers of ``module`` on the CPU that oneDNN can compute in their dtype."""
    import torch

    if not _known():
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


def multiplying(layer: Any, weight: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """How ``layer`` computes with ``weight``, its own or a copy of it in another order."""
    import torch

    bias = layer.bias.detach() if layer.bias is not None else None
    multiply: Any = torch.ops.mkldnn._linear_pointwise.default

    def forward(input: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = multiply(input, weight, bias, "none", [], "")
        return result

    return forward


def _direct(layer: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    return multiplying(layer, layer.weight.detach())


def _reordered(layer: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    import torch

    return multiplying(layer, torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), _ROWS))


def _gains(device: Any) -> bool:
    return device.type == "cpu" and _vendor() not in ("GenuineIntel", "")


@cache
def _vendor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Of an x86 processor under Linux; empty elsewhere."""
    try:
        lines = cpuinfo.read_text("utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")), "")


def _known() -> bool:
    import torch

    return bool(torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_reorder_linear_weight"))
