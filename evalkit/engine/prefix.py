"""The prefix engine: log-likelihoods without computing any shared token twice.

There are several ways of running a model's passes (`WAYS`), fastest first. A wave takes the first one that its device has,
that it is long enough for, and that has passed the self-check (`evalkit.engine.probe`). One that fails, then or later, is
dropped with a line in the log and the next one takes its place; when none is left, the plain engine computes each prompt
on its own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evalkit.engine.base import Engine, GenerateDone, GenerateJob, Scored, ScoreDone, ScoreJob, in_a_line, out_of_memory
from evalkit.engine.continuous import ContinuousGenerator
from evalkit.engine.flex import FlexForward
from evalkit.engine.flex_mask import fitting, length
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
    """Runs a model on layouts. ``flat``: one row at a time only; ``parallel``: on several threads at once.

    ``sparse``: tokens are compared with few others than those they see, however wide the row; it takes layouts that are
    filled up to one of a few lengths. ``run`` raises UnsupportedError where it turns out not to work.
    """

    flat: bool
    parallel: bool
    sparse: bool

    def ready(self) -> AbstractContextManager[None]:
        """`run` works while it lasts."""
        ...

    def run(self, layout: Layout, device: Any, kept: Kept, *, keep: bool) -> tuple[Any, Kept | None]: ...


@dataclass(frozen=True, slots=True)
class Way:
    """One way of running a model: ``make`` raises UnsupportedError for a model that it does not suit.

    ``device``: the kind of device it is for, None for any. ``least``: distinct tokens of a wave from which on its start
    (compiling takes seconds to a minute) is worth it; a shorter wave takes it only if no other way works.
    """

    name: str
    make: Callable[[Any], Forward]
    device: str | None = None
    least: int = 0


#: In the order in which they are tried.
WAYS = (
    Way("FlexAttention", FlexForward, "cuda", least=2**16),
    Way("attention in bins", TreeForward),
    Way("attention with a full mask", MaskedForward),
)


class PrefixEngine:
    """An `evalkit.engine.base.Engine` that falls back to ``plain`` where the model cannot share prefixes exactly.

    Whether it can shows a self-check before the first score: a few made-up jobs, scored both ways. ``strict`` raises a
    ModelError instead of falling back. ``batch_size`` caps the rows of a pass. It generates by continuous batching.
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
        ways: Sequence[Way] = WAYS,
    ) -> None:
        self._module, self._device, self._plain, self._strict = module, device, plain, strict
        self._tokenizer = tokenizer
        limits = limits or _LIMITS["cpu" if device.type == "cpu" else "gpu"]
        self._limits = replace(limits, rows=batch_size or limits.rows)
        self._ways = [way for way in ways if way.device in (None, device.type)]
        self._checked: dict[Way, tuple[Forward, Head]] = {}
        self._dropped: list[str] = []
        self._reason: str | None = None

    @property
    def kind(self) -> str:
        if not self._ways:
            return "plain"
        return "prefix" if self._checked else "undecided"

    @property
    def reason(self) -> str | None:
        return self._reason

    @property
    def shares(self) -> bool:
        """Whether prefixes are shared; the first time, the self-check runs."""
        with evaluating(self._module):
            return self._choose(0) is not None

    def score(self, jobs: Sequence[ScoreJob], done: ScoreDone, stop: threading.Event) -> None:
        if not self._ways:
            self._plain.score(jobs, done, stop)
            return
        tally = _Tally(jobs, done)
        with evaluating(self._module):
            while not self._pass(jobs, tally, stop):
                tally.reset()
        rest = tally.left
        if rest and not stop.is_set():
            self._plain.score([jobs[index] for index in rest], lambda at, result: done(rest[at], result), stop)

    def generate(self, jobs: Sequence[GenerateJob], done: GenerateDone, stop: threading.Event) -> None:
        self._generator.generate(jobs, done, stop)

    @cached_property
    def _generator(self) -> ContinuousGenerator:
        return ContinuousGenerator(self._module, self._tokenizer, self._device, self._plain, self._limits.rows)

    def _pass(self, jobs: Sequence[ScoreJob], tally: _Tally, stop: threading.Event) -> bool:
        """Score what is left; False where that is to be tried once more, in smaller passes or another way.

        What is left after True is for the plain engine.
        """
        trie = Trie(jobs, tally.left)
        way = self._choose(trie.tokens)
        if way is None:
            return True
        forward, head = self._checked[way]

        def work(step: Step, kept: Kept) -> tuple[Done, Kept | None]:
            layout = lay_out(step, trie)
            pending, grown = forward_layout(forward, head, layout, self._device, kept, keep=step.keep)
            return (layout, pending), grown

        streams = streams_for(self._device, parallel=forward.parallel)
        limits = _within(self._limits, limits_for(self._module, self._device).pass_tokens // streams.count)
        limits = _even(_suited(limits, forward), trie, streams.count)
        try:
            with forward.ready(), head.watching(), through_onednn(self._module, self._device):
                streams.run(plan(trie, limits), work, lambda done: tally.add(done[0], *done[1]()), stop)
            return True
        except UnsupportedError as error:
            self._drop(way, error)
            return False
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        if self._limits.tokens < 2 * _LEAST:
            return True
        self._limits = _halved(self._limits)
        return False

    def _choose(self, tokens: int) -> Way | None:
        """The way for a wave of so many distinct tokens. Each is checked when its turn comes."""
        for way in sorted(self._ways, key=lambda way: tokens < way.least):
            if way in self._checked:
                return way
            try:
                forward, head = way.make(self._module), Head(self._module)
                check(self._module, self._device, self._plain, forward, head)
            except Exception as error:  # whatever a model's own code, or a compiler, does not like about it
                self._drop(way, error)
            else:
                self._checked[way] = forward, head
                log.info("%s shares prefixes by %s.", type(self._module).__name__, way.name)
                return way
        return None

    def _drop(self, way: Way, error: Exception) -> None:
        """Never use ``way`` again, and tell why: at once if it is a device's own, else when there is no other."""
        self._ways.remove(way)
        self._checked.pop(way, None)
        why = str(error) if isinstance(error, UnsupportedError) else in_a_line(error)
        if self._ways and way.device is not None:
            self._reason = f"{way.name} is not used: {why}"
            log.warning("%s: %s. A slower way takes its place.", type(self._module).__name__, self._reason)
        self._dropped.append(why)
        if self._ways:
            return
        self._reason = f"{type(self._module).__name__} cannot share prefixes: {'; '.join(dict.fromkeys(self._dropped))}"
        if self._strict:
            raise ModelError(f"{self._reason} (leave out -M engine=prefix)") from error
        log.warning("%s. Each prompt is computed on its own.", self._reason)


def forward_layout(
    forward: Forward, head: Head, layout: Layout, device: Any, kept: Kept, *, keep: bool
) -> tuple[Pending, Kept | None]:
    """Run one pass: what waits for the numbers of its scored tokens, and what is kept now."""
    if forward.sparse:
        layout = layout.padded(length(len(layout.ids)))
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


def _suited(limits: Limits, forward: Forward) -> Limits:
    """As ``forward`` takes them: a sparse one's passes are as wide as long, and within the limits once filled up."""
    if not forward.sparse:
        return replace(limits, flat=forward.flat)
    tokens = fitting(limits.tokens)
    return replace(limits, flat=forward.flat, tokens=tokens, width=tokens)


def _even(limits: Limits, trie: Trie, streams: int) -> Limits:
    """Smaller passes where that gives each stream as many as the others, so that none is idle at the end."""
    tokens = trie.tokens
    if streams == 1 or tokens <= limits.width:
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
