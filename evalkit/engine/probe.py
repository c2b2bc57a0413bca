"""The self-check: whether a model gives the same numbers with shared prefixes as without."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.engine.base import Engine, Scored, ScoreJob
from evalkit.engine.head import Head, UnsupportedError
from evalkit.engine.plan import Limits, Trie, plan
from evalkit.types import Failure

if TYPE_CHECKING:
    from evalkit.engine.prefix import Forward

#: Small enough for a few tokens to need kept beginnings, chunks of them, and several rows a pass.
_LIMITS = Limits(tokens=12, width=6, launch=0)

#: Largest difference of a sum of a few log-probabilities in single precision.
_CLOSE = 2e-3

#: In half precision: the largest typical difference, as a share of what hiding the context changes.
_SHARE = 0.2


def check(module: Any, device: Any, plain: Engine, forward: Forward, head: Head) -> None:
    """Raises UnsupportedError where the two ways disagree by more than rounding; sets ``head.direct`` where it may be."""
    import torch

    jobs = _jobs(module)
    truth = _plainly(plain, jobs)
    head.direct = False
    _compare(module, truth, _shared(jobs, forward, head, device), jobs, plain)
    dtype = next(module.parameters()).dtype
    head.direct = _is_direct(module, device)
    if head.direct and dtype in (torch.float32, torch.float64):
        _compare(module, truth, _shared(jobs, forward, head, device), jobs, plain)


def _jobs(module: Any) -> list[ScoreJob]:
    """A shared beginning, texts that part after it, choices that share their first token, and a text of one token."""
    config = getattr(module.config, "text_config", None) or module.config
    draw = np.random.default_rng(0)
    tokens = draw.integers(0, int(config.vocab_size), 64).tolist()
    start, jobs = tokens[:9], []
    for at in (9, 14, 19):
        context = start + tokens[at : at + 3]
        jobs += [ScoreJob(context, tokens[at + 20 : at + 20 + size]) for size in (1, 2, 4)]
        jobs.append(ScoreJob(context, [tokens[at + 20], *tokens[at + 30 : at + 33]]))
    return [*jobs, ScoreJob(tokens[50:51], tokens[51:54]), ScoreJob(start[:4], tokens[60:62])]


def _plainly(plain: Engine, jobs: Sequence[ScoreJob]) -> list[float]:
    results: dict[int, float] = {}

    def done(index: int, result: Scored | Failure) -> None:
        if isinstance(result, Failure):
            raise UnsupportedError(result.message)
        results[index] = result.logprob

    plain.score(jobs, done, threading.Event())
    return [results[index] for index in range(len(jobs))]


def _shared(jobs: Sequence[ScoreJob], forward: Forward, head: Head, device: Any) -> list[float]:
    from evalkit.engine.prefix import score_step

    trie = Trie(jobs)
    sums = np.zeros(len(jobs))
    for step in plan(trie, replace(_LIMITS, flat=forward.flat)):
        layout, logprobs, _ = score_step(forward, head, step, trie, jobs, device)
        np.add.at(sums, layout.jobs, logprobs)
    forward.forget()
    return [float(value) for value in sums]


def _compare(module: Any, truth: list[float], got: list[float], jobs: Sequence[ScoreJob], plain: Engine) -> None:
    import torch

    off = np.abs(np.array(truth) - np.array(got))
    if next(module.parameters()).dtype in (torch.float32, torch.float64):
        if not off.max() <= _CLOSE:
            raise UnsupportedError(f"a self-check found log-probabilities {off.max():.2g} apart")
        return
    blind = _plainly(plain, [ScoreJob(job.context[-1:], job.continuation) for job in jobs])
    effect = np.abs(np.array(truth) - np.array(blind))
    if not off.mean() <= _SHARE * effect.mean():
        raise UnsupportedError(f"a self-check found log-probabilities {off.mean():.2g} apart on average")


def _is_direct(module: Any, device: Any) -> bool:
    """Whether the logits are exactly what the output layer gives."""
    import torch

    given: list[torch.Tensor] = []
    layer = module.get_output_embeddings()
    handle = layer.register_forward_hook(lambda _, __, output: given.append(output.clone()))
    try:
        logits = module(input_ids=torch.arange(4, device=device).unsqueeze(0), use_cache=False).logits
    finally:
        handle.remove()
    return isinstance(layer, torch.nn.Linear) and torch.equal(given[0].to(logits.device), logits)
