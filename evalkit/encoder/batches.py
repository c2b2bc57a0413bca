"""Rows into batches of bounded size, batches into padded tensors, and what to do when one does not fit."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

from evalkit.encoder.base import Batch, Forward, Rows, Tokens
from evalkit.errors import ScorerError

#: Tokens of a batch on one CPU thread, where activations that stay in the cache count (measured with MiniLM over real texts:
#: 512 takes 22 % less time than 4096), and on each of several, whose every operation waits for the slowest.
CPU_TOKENS, THREAD_TOKENS, CPU_MOST = 512, 1024, 8192
#: On a GPU: between these, by free memory.
GPU_LEAST, GPU_MOST = 4096, 131_072
_GPU_SHARE = 0.3
#: A batch with so many tokens ends before a row that is shorter than this share of its longest: padding is waste.
ENOUGH, ALIKE = {"cpu": 512, "cuda": 8192, "mps": 4096}, 0.9
#: Rows of a batch at most: beyond it nothing is won, and progress would stand still.
MOST_ROWS = 2048


def size(row: Tokens) -> int:
    """What a row costs: its tokens on both sides."""
    return len(row.ids) + len(row.target or ())


def default_budget(module: Any, device: Any) -> int:
    """Tokens of a batch for a network on a device: by torch's threads on a CPU, by free memory on a GPU."""
    import torch

    if device.type != "cuda":
        threads = torch.get_num_threads() if device.type == "cpu" else 4
        return CPU_TOKENS if threads == 1 else min(CPU_MOST, THREAD_TOKENS * threads)
    free, _ = torch.cuda.mem_get_info(device)
    config = getattr(module, "config", None)
    width = int(getattr(config, "hidden_size", 0) or getattr(config, "d_model", 0) or 1024)
    layers = int(getattr(config, "num_hidden_layers", 0) or 24)
    # every hidden state kept, and some ten widths of a layer's work, in the widest dtype
    each = 4 * width * (layers + 10)
    return int(min(GPU_MOST, max(GPU_LEAST, free * _GPU_SHARE // each)))


def packed(lengths: Sequence[int], budget: int, enough: int) -> Iterator[list[int]]:
    """Indices of ``lengths`` in batches, longest first, so that rows x longest <= ``budget`` (a longer row is alone).

    A batch with ``enough`` tokens ends where rows get much shorter.
    """
    batch: list[int] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        longest = longest if batch else max(1, lengths[index])
        full = (len(batch) + 1) * longest > budget or len(batch) >= MOST_ROWS
        if batch and (full or (len(batch) * longest >= enough and lengths[index] < ALIKE * longest)):
            yield batch
            batch, longest = [], max(1, lengths[index])
        batch.append(index)
    if batch:
        yield batch


def padded(rows: Sequence[Tokens], device: Any, pad: int) -> Batch:
    """The rows as tensors (n, longest) on ``device``: ids padded with ``pad``, mask 1 on real tokens."""
    ids, mask = _matrix([row.ids for row in rows], pad, device)
    types = target = target_mask = None
    if any(row.types is not None for row in rows):
        types, _ = _matrix([row.types or (0,) * len(row.ids) for row in rows], 0, device)
    if any(row.target is not None for row in rows):
        target, target_mask = _matrix([row.target or () for row in rows], pad, device)
    return Batch(ids, mask, [len(row.ids) for row in rows], types, target, target_mask, rows)


def _matrix(lists: Sequence[Sequence[int]], pad: int, device: Any) -> tuple[Any, Any]:
    import torch

    lengths = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
    mask = np.arange(max(1, int(lengths.max()))) < lengths[:, None]
    ids = np.full(mask.shape, pad, dtype=np.int64)
    ids[mask] = np.fromiter(chain.from_iterable(lists), dtype=np.int64, count=int(lengths.sum()))
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask.astype(np.int64)).to(device)


def computed(rows: Sequence[Tokens], forward: Forward, device: Any, pad: int, shrink: Callable[[], None]) -> list[Rows]:
    """One float32 array a row; a batch that does not fit the memory is split in two, and ``shrink`` told so.

    Raises ScorerError where a single row does not fit.
    """
    import torch

    try:
        with torch.inference_mode():
            found = list(forward(padded(rows, device, pad)))
            if len(found) != len(rows):
                raise ValueError(f"forward gave {len(found)} rows for a batch of {len(rows)}")
            return _to_numpy(found)
    except (RuntimeError, MemoryError) as error:
        if not _out_of_memory(error):
            raise
        if len(rows) == 1:
            raise ScorerError(
                f"a text of {size(rows[0])} tokens does not fit the memory of {device}: use bfloat16 or a smaller model"
            ) from error
    # outside of the handler, whose traceback would keep the failed batch's tensors alive
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    shrink()
    half = len(rows) // 2
    return computed(rows[:half], forward, device, pad, shrink) + computed(rows[half:], forward, device, pad, shrink)


def _out_of_memory(error: BaseException) -> bool:
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text


def _to_numpy(found: Sequence[Any]) -> list[Rows]:
    """Tensors to float32 arrays of their own. Those of a GPU cross over in one copy, not in one each."""
    import torch

    tensors = [t if isinstance(t, torch.Tensor) else torch.as_tensor(t) for t in found]
    if tensors and tensors[0].device.type != "cpu":
        flat = torch.cat([t.reshape(-1).float() for t in tensors]).cpu()
        parts = flat.split([t.numel() for t in tensors])
        tensors = [part.reshape(t.shape) for part, t in zip(parts, tensors, strict=True)]
    return [np.array(t.detach().float().numpy(), dtype=np.float32) for t in tensors]
