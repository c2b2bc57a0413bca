"""The prefix engine: log-likelihoods without computing any shared token twice."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evalkit.engine.base import Engine, GenerateDone, GenerateJob, Scored, ScoreDone, ScoreJob, out_of_memory
from evalkit.engine.continuous import ContinuousGenerator
from evalkit.engine.head import Head, Pending, UnsupportedError
from evalkit.engine.layout import Layout, lay_out
from evalkit.engine.masked import MaskedForward
from evalkit.engine.memory import limits_for
from evalkit.engine.plain import evaluating
from evalkit.engine.plan import Limits, Step, Trie, plan
from evalkit.engine.probe import check
from evalkit.engine.streams import Kept, streams_for
from evalkit.engine.tree import TreeForward
from evalkit.errors import ModelError
from evalkit.onednn import through_onednn

log = logging.getLogger(__name__)

#: A pass's layout, and what waits for the numbers of its scored tokens.
Done = tuple[Layout, Pending]

#: By device. A pass over a few tokens streams all the weights: on a CPU that costs as much as some 64 tokens more.
_LIMITS = {
    "cpu": Limits(tokens=768, width=192, launch=64),
    "gpu": Limits(tokens=16384, width=512, launch=2048),
}
#: Where a pass of so few tokens does not fit, sharing is no help.
_LEAST = 32


class Forward(Protocol):
    """Runs a model on layouts. ``flat``: one row at a time only; ``parallel``: on several threads at once."""

    flat: bool
    parallel: bool

    def ready(self) -> AbstractContextManager[None]:
        """`run` works while it lasts."""
        ...

    def run(self, layout: Layout, device: Any, kept: Kept, *, keep: bool) -> tuple[Any, Kept | None]: ...


class PrefixEngine:
    """An `evalkit.engine.base.Engine` that falls back to ``plain`` where the model cannot share prefixes exactly.

    Which of the two it is shows a self-check before the first score: a few made-up jobs, scored both ways. ``strict``
    raises a ModelError instead of falling back. ``batch_size`` caps the rows of a pass. It generates by continuous batching.
    """

    def __init__(
        self,
        module: Any,
        device: Any,
        plain: Engine,
        batch_size: int | None = None,
        *,
        tokenizer: Any = None,
        limits: Limits | None = None,
        strict: bool = False,
    ) -> None:
        self._module, self._device, self._plain, self._strict = module, device, plain, strict
        self._tokenizer = tokenizer
        limits = limits or _LIMITS["cpu" if device.type == "cpu" else "gpu"]
        self._limits = replace(limits, rows=batch_size or limits.rows)
        self._ways: tuple[Forward, Head] | None = None
        self._checked = False
        self._reason: str | None = None

    @property
    def kind(self) -> str:
        if not self._checked:
            return "undecided"
        return "plain" if self._ways is None else "prefix"

    @property
    def reason(self) -> str | None:
        return self._reason

    @property
    def shares(self) -> bool:
        """Whether prefixes are shared; the first time, the self-check runs."""
        if not self._checked:
            self._checked = True
            with evaluating(self._module):
                self._ways = self._choose()
        return self._ways is not None

    def score(self, jobs: Sequence[ScoreJob], done: ScoreDone, stop: threading.Event) -> None:
        if not self.shares:
            self._plain.score(jobs, done, stop)
            return
        tally = _Tally(jobs, done)
        with evaluating(self._module):
            while not self._pass(jobs, tally, stop):
                tally.reset()
                if self._limits.tokens < 2 * _LEAST:
                    break
                self._limits = _halved(self._limits)
        rest = tally.left
        if rest and not stop.is_set():
            self._plain.score([jobs[index] for index in rest], lambda at, result: done(rest[at], result), stop)

    def generate(self, jobs: Sequence[GenerateJob], done: GenerateDone, stop: threading.Event) -> None:
        self._generator.generate(jobs, done, stop)

    @cached_property
    def _generator(self) -> ContinuousGenerator:
        return ContinuousGenerator(self._module, self._tokenizer, self._device, self._plain, self._limits.rows)

    def _pass(self, jobs: Sequence[ScoreJob], tally: _Tally, stop: threading.Event) -> bool:
        """Score what is left; False where memory ran out, which gives back what was kept."""
        assert self._ways is not None
        forward, head = self._ways
        trie = Trie(jobs, tally.left)

        def work(step: Step, kept: Kept) -> tuple[Done, Kept | None]:
            layout = lay_out(step, trie)
            pending, grown = forward_layout(forward, head, layout, self._device, kept, keep=step.keep)
            return (layout, pending), grown

        streams = streams_for(self._device, parallel=forward.parallel)
        limits = _within(self._limits, limits_for(self._module, self._device).pass_tokens // streams.count)
        limits = _even(limits, trie, streams.count)
        try:
            with forward.ready(), head.watching(), through_onednn(self._module, self._device):
                streams.run(plan(trie, limits), work, lambda done: tally.add(done[0], *done[1]()), stop)
            return True
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            return False

    def _choose(self) -> tuple[Forward, Head] | None:
        """The way of running the model that passes the self-check, if one does."""
        reasons = []
        for kind in (TreeForward, MaskedForward):
            try:
                head = Head(self._module)
                forward: Forward = kind(self._module)
                limits = replace(self._limits, flat=forward.flat)
                check(self._module, self._device, self._plain, forward, head)
            except Exception as error:  # whatever a model's own code does not like about it
                reasons.append(str(error) if isinstance(error, UnsupportedError) else f"{type(error).__name__}: {error}")
                continue
            self._limits = limits
            return forward, head
        why = f"{type(self._module).__name__} cannot share prefixes: {'; '.join(dict.fromkeys(reasons))}"
        if self._strict:
            raise ModelError(f"{why} (leave out -M engine=prefix)")
        self._reason = why
        log.warning("%s. Each prompt is computed on its own.", why)
        return None


def forward_layout(
    forward: Forward, head: Head, layout: Layout, device: Any, kept: Kept, *, keep: bool
) -> tuple[Pending, Kept | None]:
    """Run one pass: what waits for the numbers of its scored tokens, and what is kept now."""
    with head.picking(layout) as picked:
        output, grown = forward.run(layout, device, kept, keep=keep)
    if not len(layout.where):
        return lambda: (np.zeros(0), np.zeros(0, dtype=np.bool_)), grown
    return head.score(picked, output, layout), grown


class _Tally:
    """Sums by job; a job is done as soon as all of its tokens are scored."""

    def __init__(self, jobs: Sequence[ScoreJob], done: ScoreDone) -> None:
        self._done = done
        self._lengths = np.array([len(job.continuation) for job in jobs], dtype=np.int64)
        self._over = np.zeros(len(jobs), dtype=np.bool_)
        self.reset()

    @property
    def left(self) -> list[int]:
        return [int(index) for index in np.nonzero(~self._over)[0]]

    def reset(self) -> None:
        """Forget what is known about jobs that are not done."""
        self._sums = np.zeros(len(self._lengths))
        self._greedy = np.ones(len(self._lengths), dtype=np.bool_)
        self._missing = self._lengths.copy()

    def add(self, layout: Layout, logprobs: NDArray[np.float64], greedy: NDArray[np.bool_]) -> None:
        np.add.at(self._sums, layout.jobs, logprobs)
        np.logical_and.at(self._greedy, layout.jobs, greedy)
        np.subtract.at(self._missing, layout.jobs, 1)
        for index in np.unique(layout.jobs).tolist():
            if not self._missing[index]:
                self._over[index] = True
                self._done(index, Scored(float(self._sums[index]), bool(self._greedy[index])))


def _within(limits: Limits, tokens: int) -> Limits:
    """No more in one pass than ``tokens``; what does not fit then either is for the plain path."""
    tokens = min(limits.tokens, max(tokens, _LEAST))
    return replace(limits, tokens=tokens, width=min(limits.width, tokens))


def _even(limits: Limits, trie: Trie, streams: int) -> Limits:
    """Smaller passes where that gives each stream as many as the others, so that none is idle at the end."""
    tokens = trie.size(0, len(trie), 0) if streams > 1 and len(trie) else 0
    if tokens <= limits.width:
        return limits
    rounds = -(-tokens // (limits.tokens * streams))
    # Texts are not cut, so that passes are not quite full.
    return _within(limits, max(tokens // (rounds * streams) + limits.launch, limits.width))


def _halved(limits: Limits) -> Limits:
    """Less in one pass, for good, after memory ran out."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return _within(limits, limits.tokens // 2)
