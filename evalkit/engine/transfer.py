"""Arrays to the model's device and results back, so that neither side waits for the other on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch


def to_device(array: NDArray[Any], device: Any) -> torch.Tensor:
    """``array`` as a tensor on ``device``; to a GPU from pinned memory, so that the call returns before it is there."""
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def coming(tensor: torch.Tensor) -> Callable[[], NDArray[Any]]:
    """Start bringing ``tensor`` to the host; the call of what is returned waits for it and for nothing that came later."""
    import torch

    if tensor.device.type != "cuda":
        array: NDArray[Any] = tensor.cpu().numpy().copy()  # as it is now, whatever is written there later
        return lambda: array
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    host.copy_(tensor, non_blocking=True)
    there = torch.cuda.Event()
    there.record(torch.cuda.current_stream(tensor.device))

    def wait() -> NDArray[Any]:
        there.synchronize()
        result: NDArray[Any] = host.numpy()
        return result

    return wait
