"""The self-check: whether a model gives the same numbers with shared prefixes as without."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evalkit.engine.base import Engine, Scored, ScoreJob
from evalkit.engine.head import Head, UnsupportedError
from evalkit.engine.layout import Layout, lay_out
from evalkit.engine.plan import Limits, Trie, plan
from evalkit.engine.streams import Kept
from evalkit.types import Failure

if TYPE_CHECKING:
    from evalkit.engine.prefix import Forward

#: Small enough for the jobs below to need a kept beginning and two rows a pass.
_LIMITS = (Limits(tokens=24, width=12, launch=0),)

#: Tokens that all texts of a self-check share, and their number.
_SHORT = (9, 2)

#: Where attention is by blocks of 128: the same for several of them, some seen from end to end; then all in one pass.
_LIMITS_OF_BLOCKS = (Limits(tokens=300, width=300, launch=0), Limits(tokens=2048, width=2048, launch=0))
_LONG = (300, 12)

#: Largest difference of a sum of a few log-probabilities in single precision.
_CLOSE = 2e-3

#: Largest difference where only tokens changed that a text must not see: none, but for what is summed in another order.
_LEAK = 1e-3

#: Names of a configuration's number of experts: which tokens one of them gets changes how its products are rounded.
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")

#: In half precision: the largest typical difference, as a share of what hiding the context changes.
_SHARE = 0.1


def check(module: Any, device: Any, plain: Engine, forward: Forward, head: Head) -> None:
    """Raises UnsupportedError where the two ways disagree by more than rounding; sets ``head.direct``."""
    jobs = _jobs(module, *(_LONG if forward.sparse else _SHORT))
    truth = _plainly(plain, jobs)
    for limits in _LIMITS_OF_BLOCKS if forward.sparse else _LIMITS:
        _compare(module, truth, _shared(jobs, forward, head, module, device, limits), jobs, plain)


def _jobs(module: Any, shared: int, texts: int) -> list[ScoreJob]:
    """Texts with a shared beginning, choices that share their context or their first token; none longer than the window."""
    config = getattr(module.config, "text_config", None) or module.config
    draw = np.random.default_rng(0)
    window = getattr(config, "max_position_embeddings", None) or 0
    shared = max(min(shared, window - 10), _SHORT[0])
    tokens = draw.integers(0, int(config.vocab_size), shared + 4 * texts + 47).tolist()
    start, jobs = tokens[:shared], []
    for at in range(shared, shared + 4 * texts, 4):
        context = start + tokens[at : at + 4]
        jobs += [ScoreJob(context, tokens[at + 20 : at + 20 + size]) for size in (1, 3, 5)]
        jobs.append(ScoreJob(context, [tokens[at + 20], *tokens[at + 30 : at + 34]]))
    return jobs


def _plainly(plain: Engine, jobs: Sequence[ScoreJob]) -> list[float]:
    results: dict[int, float] = {}

    def done(index: int, result: Scored | Failure) -> None:
        if isinstance(result, Failure):
            raise UnsupportedError(result.message)
        results[index] = result.logprob

    plain.score(jobs, done, threading.Event())
    return [results[index] for index in range(len(jobs))]


def _shared(jobs: Sequence[ScoreJob], forward: Forward, head: Head, module: Any, device: Any, limits: Limits) -> list[float]:
    from evalkit.engine.prefix import forward_layout

    trie = Trie(jobs)
    sums = np.zeros(len(jobs))
    kept: Kept = []
    head.direct = None
    with forward.ready(), head.watching():
        for step in plan(trie, replace(limits, flat=forward.flat)):
            layout = lay_out(step, trie)
            pending, grown = forward_layout(forward, head, layout, device, kept, keep=step.keep)
            logprobs, _ = pending()
            kept = kept if grown is None else grown
            np.add.at(sums, layout.jobs, logprobs)
            if not step.keep and len(layout.jobs) > len(jobs) // 2:
                _sealed(layout, logprobs, forward, head, module, device, kept)
    return [float(value) for value in sums]


def _sealed(
    layout: Layout,
    logprobs: NDArray[np.float64],
    forward: Forward,
    head: Head,
    module: Any,
    device: Any,
    kept: Kept,
) -> None:
    """Raises where a text's log-probabilities change with the texts beside it. Same shapes, so exact in any precision."""
    from evalkit.engine.prefix import forward_layout

    config = getattr(module.config, "text_config", None) or module.config
    if not _full(module) and any(getattr(config, name, None) for name in _EXPERTS):
        return
    width = layout.cells.shape[1]
    row, column = divmod(int(layout.back[layout.where[-1]]), width)
    seen = np.zeros(len(layout.ids), dtype=np.bool_)
    seen[layout.cells[row, layout.sees[row, column]]] = True
    others = np.where(seen, layout.ids, (layout.ids + 1) % int(config.vocab_size))
    pending, _ = forward_layout(forward, head, replace(layout, ids=others), device, kept, keep=False)
    changed, _ = pending()
    off = np.abs(changed - logprobs)[seen[layout.where[layout.sources]]].max()
    if not off <= _LEAK:
        raise UnsupportedError(f"a self-check found log-probabilities that changed by {off:.2g} with the texts beside them")


def _full(module: Any) -> bool:
    import torch

    return next(module.parameters()).dtype in (torch.float32, torch.float64)


def _compare(module: Any, truth: list[float], got: list[float], jobs: Sequence[ScoreJob], plain: Engine) -> None:
    off = np.abs(np.array(truth) - np.array(got))
    if _full(module):
        if not off.max() <= _CLOSE:
            raise UnsupportedError(f"a self-check found log-probabilities {off.max():.2g} apart")
        return
    blind = _plainly(plain, [ScoreJob(job.context[-1:], job.continuation) for job in jobs])
    effect = np.abs(np.array(truth) - np.array(blind))
    if not off.mean() <= _SHARE * effect.mean():
        raise UnsupportedError(f"a self-check found log-probabilities {off.mean():.2g} apart on average")
