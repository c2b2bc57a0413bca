"""Log-probabilities of token rows: one forward pass a batch, the vocabulary only where something is scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from evalkit.engine.base import Scored, ScoreJob

if TYPE_CHECKING:
    import torch

#: Logits turned to float32 at a time: 2**25 of them are 128 MB.
_CHUNK = 2**25


@dataclass(slots=True)
class Row:
    """One input sequence and the jobs it answers: those that differ in their last token only share it.

    ``keep`` is the number of last positions whose predictions are needed.
    """

    tokens: tuple[int, ...]
    jobs: list[int] = field(default_factory=list)
    keep: int = 0


def rows_of(jobs: Sequence[ScoreJob]) -> list[Row]:
    """The distinct inputs of ``jobs``, longest first (so that memory runs out early), equal beginnings side by side."""
    rows: dict[tuple[int, ...], Row] = {}
    for index, job in enumerate(jobs):
        tokens = (*job.context, *job.continuation[:-1])
        row = rows.setdefault(tokens, Row(tokens))
        row.jobs.append(index)
        row.keep = max(row.keep, len(job.continuation))
    return sorted(rows.values(), key=lambda row: (-len(row.tokens), row.tokens))


def score_rows(module: Any, rows: Sequence[Row], jobs: Sequence[ScoreJob], device: Any) -> Iterator[tuple[int, Scored]]:
    """``(job index, result)`` for every job of ``rows``, from one forward pass.

    Rows are padded on the right, which a causal model cannot see. The softmax is in float32 whatever the model's dtype.
    """
    import torch

    width = max(len(row.tokens) for row in rows)
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    for at, row in enumerate(rows):
        ids[at, : len(row.tokens)] = torch.tensor(row.tokens, dtype=torch.long)
    where = [
        (at, position) for at, row in enumerate(rows) for position in range(len(row.tokens) - row.keep, len(row.tokens))
    ]
    logits = _logits(module, ids.to(device), torch.tensor(where, dtype=torch.long, device=device))

    sources: list[int] = []  # for each scored token: its row in `logits`, and its id
    targets: list[int] = []
    first = 0
    for row in rows:
        for index in row.jobs:
            continuation = jobs[index].continuation
            sources.extend(range(first + row.keep - len(continuation), first + row.keep))
            targets.extend(continuation)
        first += row.keep
    logprobs, greedy = _scored(
        logits, torch.tensor(sources, device=logits.device), torch.tensor(targets, device=logits.device)
    )
    at = 0
    for row in rows:
        for index in row.jobs:
            end = at + len(jobs[index].continuation)
            yield index, Scored(sum(logprobs[at:end]), all(greedy[at:end]))
            at = end


def _scored(logits: torch.Tensor, sources: torch.Tensor, targets: torch.Tensor) -> tuple[list[float], list[bool]]:
    """Log-probability of each target in its row of ``logits`` (rows, vocabulary), and whether it is the row's argmax.

    ``sources`` ascend only within a row's jobs, so each chunk of logits answers the targets that point into it.
    """
    import torch

    chunk = max(_CHUNK // logits.shape[-1], 1)
    logprobs = torch.empty(len(targets), dtype=torch.float32)
    greedy = torch.empty(len(targets), dtype=torch.bool)
    for start in range(0, logits.shape[0], chunk):
        part = logits[start : start + chunk].float()
        mine = ((sources >= start) & (sources < start + chunk)).nonzero().squeeze(-1)
        source, target = sources[mine] - start, targets[mine]
        value = part[source, target]
        logprobs[mine.cpu()] = (value - torch.logsumexp(part, dim=-1)[source]).cpu()
        top = value == part.amax(dim=-1)[source]
        ties = top.nonzero().squeeze(-1)  # argmax is slow on CPU: only rows whose target reaches the maximum need it
        top[ties] = part[source[ties]].argmax(dim=-1) == target[ties]
        greedy[mine.cpu()] = top.cpu()
    return logprobs.tolist(), greedy.tolist()


def _logits(module: Any, ids: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Logits at the ``where`` (row, position) pairs of ``ids`` (rows, width): shape (pairs, vocabulary)."""
    width = ids.shape[1]
    with _only(module, where, ids.shape[0], width):
        out = module(input_ids=ids, use_cache=False) if hasattr(module, "generate") else module(ids)
    logits = getattr(out, "logits", None)
    if logits is None:
        logits = out[0] if isinstance(out, tuple | list) else out
    if logits.shape[0] == 1 and logits.shape[1] == len(where):
        return logits[0]
    where = where.to(logits.device)
    return logits[where[:, 0], where[:, 1] + logits.shape[1] - width]


@contextmanager
def _only(module: Any, where: torch.Tensor, rows: int, width: int) -> Iterator[None]:
    """While it lasts, the output layer sees the scored positions only: what follows it (caps, scales) stays the model's own.

    Virtual tokens in front of the input (prompt tuning) shift positions to the right.
    """
    head = module.get_output_embeddings() if hasattr(module, "get_output_embeddings") else None
    if head is None or rows * width == len(where):
        yield
        return

    def pick(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        hidden = args[0] if args else None
        if getattr(hidden, "ndim", 0) != 3 or hidden is None or hidden.shape[0] != rows or hidden.shape[1] < width:
            return None
        pairs = where.to(hidden.device)
        return (hidden[pairs[:, 0], pairs[:, 1] + hidden.shape[1] - width].unsqueeze(0), *args[1:])

    handle = head.register_forward_pre_hook(pick)
    try:
        yield
    finally:
        handle.remove()
