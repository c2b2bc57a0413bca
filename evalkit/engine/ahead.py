"""Continuous batching on a GPU, where to launch a model's kernels one by one takes longer than to compute them.

Three things differ from `evalkit.engine.slots`, whose prefill, admission and ends of texts are used as they are:

- Steps have fixed shapes and choose their tokens on the device (`evalkit.engine.steps`), so that they can be captured and
  replayed (`evalkit.engine.graphs`).
- The host is one step behind: a step is launched with the tokens of the one before while those are still unknown here. They
  are looked at while it computes. A text that turns out to have ended has computed one token too many, which is dropped.
- The cache has its full room from the start, for captured steps hold its addresses. It is laid out so that rows times
  capacity, free rows included, are within the limit of tokens.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from evalkit.engine.admission import Entry
from evalkit.engine.attend import Ints
from evalkit.engine.decode import Decoder
from evalkit.engine.kvcache import KVCache, Stem, blocks
from evalkit.engine.sampling import Chooser
from evalkit.engine.slots import Ended, Slot, SlotLimits, Slots
from evalkit.engine.steps import STEMS, Row, StaticSteps

#: The cache is laid out anew for so many times as many rows: all of it is copied, and all steps are captured again.
_GAIN = 1.5


@dataclass(frozen=True, slots=True)
class _Launched:
    """A step whose tokens the host has not seen: ``tokens`` waits for them, one for each of ``slots``."""

    slots: list[Slot]
    tokens: Callable[[], Ints]


class StaticSlots(Slots):
    """`Slots` by steps of fixed shapes. ``ahead``: whether a step is launched before the last one's tokens are known."""

    def __init__(
        self,
        decoder: Decoder,
        queue: deque[Entry],
        limits: SlotLimits,
        enter: Callable[[Entry], Slot],
        ends: frozenset[int],
        ended: Ended,
        steps: StaticSteps,
        *,
        ahead: bool = True,
    ) -> None:
        super().__init__(decoder, queue, limits, enter, ends, ended)
        self._steps, self._ahead = steps, ahead
        self._cache = KVCache(0, 0)
        self._launched: _Launched | None = None
        self._placed: list[Slot] = []
        """Whose last tokens the device has, in the order in which it has them."""
        self._chooser: Chooser | None = None
        self._crowded = False
        """How those that run choose, if the device can do it for all of them, and whether they have too many stems."""

    def run(self, stop: threading.Event) -> None:
        try:
            super().run(stop)
        finally:
            self._launched = None
            self._steps.close()

    def _step(self) -> None:
        if self._placed != self.running:
            self._chooser = self._common_chooser()
            self._crowded = len({stem for slot in self.running for stem in slot.entry.line}) > STEMS
        chooser = self._chooser
        if self._launched and (chooser is None or all(_coming(slot) >= slot.job.max_tokens for slot in self.running)):
            self._settle()
        elif self._crowded:
            self._settle()
            self._placed = []
            if self.running:
                super()._step()
        elif chooser is None:
            self._step_chosen_here()
        else:
            self._launch(chooser)

    def _common_chooser(self) -> Chooser | None:
        """How all running sequences choose, if the device can do it; None where they differ or look at tokens before."""
        first = self.running[0].choice.chooser
        same = all(slot.choice.chooser is first or (slot.choice.chooser.plain and first.plain) for slot in self.running)
        return first if same and first.penalty == 1.0 else None

    def _launch(self, chooser: Chooser) -> None:
        """Launch a step, and then look at the tokens of the one before."""
        self._place()
        longest = max(slot.own for slot in self.running)
        tokens = self._steps.launch(len(self.running), longest, chooser.sampler)
        for slot in self.running:
            slot.own += 1
        before, self._launched = self._launched, _Launched(list(self.running), tokens)
        if not self._ahead:
            self._settle()
        elif before:
            self._take(before)

    def _step_chosen_here(self) -> None:
        """A step whose logits the host chooses from, one row's settings after the other's."""
        self._place()
        logits = self._steps.logits(len(self.running), max(slot.own for slot in self.running))
        self._placed = []
        for slot in self.running:
            slot.own += 1
        self._choose(self.running, logits)
        self._leave(self.running)

    def _settle(self) -> None:
        launched, self._launched = self._launched, None
        if launched:
            self._take(launched)

    def _take(self, launched: _Launched) -> None:
        """Wait for the tokens of a step; those of texts that ended before it are dropped."""
        running = {id(slot) for slot in self.running}
        told = []
        for slot, token in zip(launched.slots, launched.tokens().tolist(), strict=True):
            if id(slot) in running:
                slot.tokens.append(token)
                told.append(slot)
        self._leave(told)

    def _place(self) -> None:
        """Tell the device which sequence is where, if that has changed. Only it may know their last tokens."""
        if self._placed == self.running:
            return
        sources = {id(slot): row for row, slot in enumerate(self._placed)}
        self._steps.place([_row(slot, sources.get(id(slot))) for slot in self.running])
        self._placed = list(self.running)

    def _open(self) -> None:
        """Lay out the cache anew where the texts that come need other room; while some run, only where that gains enough."""
        rows, capacity, shared = self._layout()
        old = self._cache
        if not self.running:
            if old.rows < rows or old.capacity < capacity or old.rows * old.capacity + shared > self._limits.tokens:
                self._use(KVCache(rows, capacity))
        elif rows >= _GAIN * old.rows:
            old.resize(rows, capacity)
            self._use(old)
        self._slots = self._cache.rows

    def _layout(self) -> tuple[int, int, int]:
        """Running and next texts that fit together, the room that the longest needs, and the tokens of their stems."""
        rows = len(self.running)
        capacity = max((blocks(slot.entry.need) for slot in self.running), default=0)
        stems = set(self._stems.values())
        shared = sum(len(stem.tokens) for stem in stems)
        for entry in islice(self.queue, self._limits.slots - rows):
            longer = max(capacity, blocks(entry.need))
            more = set(entry.line) - stems
            both = shared + sum(len(stem.tokens) for stem in more)
            if rows and (rows + 1) * longer + both > self._limits.tokens:
                break
            rows, capacity, shared = rows + 1, longer, both
            stems |= more
        return rows, capacity, shared

    def _fits(self, entry: Entry) -> bool:
        if not self.running:
            return True  # one always may try
        capacity = self._cache.larger(entry.need)
        return self._cache.rows * capacity + self._shared(entry) <= self._limits.tokens

    def _reserve(self, new: Sequence[Slot]) -> None:
        before = self._cache.capacity
        self._cache.ensure(max(slot.entry.need for slot in new))
        if self._cache.capacity != before:
            self._use(self._cache)

    def _use(self, cache: KVCache) -> None:
        self._cache, self._placed = cache, []
        self._steps.open(cache)

    def _release(self, stem: Stem) -> None:
        self._steps.forget(stem)
        super()._release(stem)


def _coming(slot: Slot) -> int:
    """How many new tokens a sequence has, with the one that the host has not seen."""
    return slot.own - len(slot.entry.tail) + 1


def _row(slot: Slot, source: int | None) -> Row:
    limit = len(slot.entry.tail) + slot.job.max_tokens - 2  # the last token of all is never fed
    return Row(slot.tokens[-1], source, slot.own, slot.base, limit, slot.entry.stem, slot.choice.seed, _coming(slot))
