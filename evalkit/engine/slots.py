"""Continuous batching: sequences run side by side in slots, a token a step; a slot is filled again when its text ends.

This is all there is to it on a CPU. On a GPU, `evalkit.engine.ahead` has steps of its own, whose shapes stay the same and
which are launched before the tokens of the one before have been looked at.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from evalkit.engine.admission import Entry, common
from evalkit.engine.attend import Ints, Pass
from evalkit.engine.base import GenerateJob
from evalkit.engine.decode import Decoder
from evalkit.engine.kvcache import KVCache, Stem
from evalkit.engine.sampling import Choice, choose
from evalkit.engine.stops import Stops

if TYPE_CHECKING:
    import torch

#: From how many common tokens on a sequence starts from a copy of another one's keys and values.
_COPY = 8

#: Slots are filled again when this share of them is free: passes over a few new tokens cost almost as much as over many.
_FREE = 8


@dataclass(frozen=True, slots=True)
class SlotLimits:
    """At most ``slots`` sequences at a time, ``tokens`` of keys and values, and ``chunk`` tokens of prompts in one pass."""

    slots: int
    tokens: int
    chunk: int


@dataclass(eq=False, slots=True)
class Slot:
    """A running sequence: ``own`` tokens of it have their keys and values in its row, ``tokens`` are the new ones."""

    entry: Entry
    job: GenerateJob
    choice: Choice
    stops: Stops
    started: float
    own: int = 0
    tokens: list[int] = field(default_factory=list)

    @property
    def base(self) -> int:
        return self.entry.stem.end if self.entry.stem else 0


#: Called with the entry, its new tokens, whether they stopped by themselves, and the seconds that it took.
Ended = Callable[[Entry, list[int], bool, float], None]


class Slots:
    """Continues the ``queue`` of entries with ``decoder`` until it is empty. Rows of the cache are the running slots' order.

    Each round either fills free slots or does a step. What differs on a GPU: `_step`; `_settle`, since the host is a step
    behind there and must catch up before slots are filled; and how much room the cache has: `_open`, `_fits`, `_reserve`.

    ``enter`` makes an entry's slot. What is unfinished when `run` raises is in ``running`` and ``queue``.
    """

    def __init__(
        self,
        decoder: Decoder,
        queue: deque[Entry],
        limits: SlotLimits,
        enter: Callable[[Entry], Slot],
        ends: frozenset[int],
        ended: Ended,
    ) -> None:
        self._decoder, self.queue, self._limits = decoder, queue, limits
        self._enter, self._ends, self._ended = enter, ends, ended
        self.running: list[Slot] = []
        self._slots = limits.slots
        self._rows = min(limits.slots, len(queue))
        self._cache = KVCache(self._rows, 0)
        self._stems: dict[int, Stem] = {}

    def run(self, stop: threading.Event) -> None:
        while (self.queue or self.running) and not stop.is_set():
            new = self._admit()
            if new:
                self._prefill(new)
            else:
                self._step()

    def _admit(self) -> list[Slot]:
        """New slots from the queue, as many as there is room for; none where it is better to wait for more room."""
        if not self._due():
            return []
        self._settle()
        self._open()
        new: list[Slot] = []
        while self.queue and len(self.running) < self._slots and self._fits(self.queue[0]):
            slot = self._enter(self.queue.popleft())
            new.append(slot)
            self.running.append(slot)
            for stem in slot.entry.line:
                self._stems[id(stem)] = stem
        return new

    def _due(self) -> bool:
        """Whether free slots are to be filled now."""
        if not self.queue or not self.running:
            return bool(self.queue)
        free = self._slots - len(self.running)
        return free >= min(max(self._slots // _FREE, 1), len(self.queue)) and self._fits(self.queue[0])

    def _settle(self) -> None:
        """Know all tokens that have been computed, as is always so here."""

    def _open(self) -> None:
        """Lay out the cache for what runs and what comes: here, give back what is not needed any more."""
        if not self.running:
            self._cache = KVCache(self._rows, 0)

    def _reserve(self, new: Sequence[Slot]) -> None:
        """Make room for ``new``; for what follows their prompts, each step does."""
        self._cache.ensure(max(len(slot.entry.tail) for slot in new) + 1)

    def _fits(self, entry: Entry) -> bool:
        if not self.running:
            return True  # one always may try
        need = max(entry.need, *(slot.entry.need for slot in self.running))
        return (len(self.running) + 1) * need + self._shared(entry) <= self._limits.tokens

    def _shared(self, entry: Entry) -> int:
        """Tokens of the stems in use, with those of ``entry``."""
        stems = {**self._stems, **{id(part): part for part in entry.line}}
        return sum(len(stem.tokens) for stem in stems.values())

    def _prefill(self, new: list[Slot]) -> None:
        """Compute the prompts of ``new``, which are the last of the running; those like another one start from its copy."""
        for slot in new:
            for stem in slot.entry.line:
                if stem.cache is None:
                    self._grow(stem)
        begin = len(self.running) - len(new)
        self._reserve(new)
        firsts: list[Slot] = []
        copies: dict[tuple[int, int], list[Slot]] = {}
        for slot in new:
            source, length = self._alike(slot, [*self.running[:begin], *firsts])
            if source is None:
                firsts.append(slot)
            else:
                copies.setdefault((id(source), length), []).append(slot)
        seconds = [slot for some in copies.values() for slot in some]
        self.running[begin:] = [*firsts, *seconds]
        self._fill(begin, firsts)
        rows = {id(slot): row for row, slot in enumerate(self.running)}
        for (source_id, length), some in copies.items():
            self._cache.copy([rows[source_id]] * len(some), [rows[id(slot)] for slot in some], length)
            for slot in some:
                slot.own = length
        self._fill(begin + len(firsts), seconds)
        self._leave(self.running[begin:])

    def _alike(self, slot: Slot, others: Sequence[Slot]) -> tuple[Slot | None, int]:
        """The one of ``others`` that begins most like ``slot``, and by how many of the tokens behind their common stem."""
        best, most = None, _COPY - 1
        for other in others:
            if other.entry.stem is slot.entry.stem and other.entry.tail[0] == slot.entry.tail[0]:
                length = common(slot.entry.tail, other.entry.tail)
                if length > most:
                    best, most = other, length
        return best, most

    def _fill(self, row: int, slots: Sequence[Slot]) -> None:
        """Compute what is missing of the prompts of ``slots``, from the row ``row`` on, and choose their first tokens."""
        at = 0
        while at < len(slots):
            some: list[Slot] = []
            total = 0
            while at + len(some) < len(slots):
                size = len(slots[at + len(some)].entry.tail) - slots[at + len(some)].own
                if some and total + size > self._limits.chunk:
                    break
                some.append(slots[at + len(some)])
                total += size
            while total > self._limits.chunk:  # a single one
                part = some[0].entry.tail[some[0].own : some[0].own + self._limits.chunk]
                self._pass(row + at, some, [part], logits=False)
                total -= len(part)
            self._pass(row + at, some, [slot.entry.tail[slot.own :] for slot in some])
            at += len(some)

    def _step(self) -> None:
        """One more token for every running slot."""
        self._cache.ensure(max(slot.own for slot in self.running) + 1)
        self._pass(0, self.running, [np.array(slot.tokens[-1:], dtype=np.int64) for slot in self.running])
        self._leave(self.running)

    def _pass(self, row: int, slots: Sequence[Slot], ids: Sequence[Ints], *, logits: bool = True) -> None:
        now = Pass(
            self._cache,
            row,
            np.concatenate(ids),
            np.array([len(some) for some in ids], dtype=np.int64),
            np.array([slot.own for slot in slots], dtype=np.int64),
            np.array([slot.base for slot in slots], dtype=np.int64),
            [slot.entry.stem for slot in slots],
        )
        result = self._decoder.run(now, logits=logits)
        for slot, some in zip(slots, ids, strict=True):
            slot.own += len(some)
        if logits:
            self._choose(slots, result)

    def _choose(self, slots: Sequence[Slot], logits: torch.Tensor) -> None:
        """One more token for each of ``slots``, by its row of ``logits``."""
        steps = [len(slot.tokens) for slot in slots]
        for slot, token in zip(slots, choose(logits, [slot.choice for slot in slots], steps), strict=True):
            slot.tokens.append(token)

    def _grow(self, stem: Stem) -> None:
        """Compute the keys and values of ``stem``; those of the stems before it are there."""
        stem.cache = KVCache(1, len(stem.tokens))
        ids = np.array(stem.tokens, dtype=np.int64)
        for start in range(0, len(ids), self._limits.chunk):
            some = ids[start : start + self._limits.chunk]
            count, done, base = (np.array([value], dtype=np.int64) for value in (len(some), start, stem.start))
            self._decoder.run(Pass(stem.cache, 0, some, count, done, base, [stem.parent]), logits=False)

    def _leave(self, told: Sequence[Slot]) -> None:
        """Hand over the texts of ``told`` that end with their new token, and move the last rows to where they were."""
        over: list[tuple[Slot, bool]] = []
        for slot in told:
            stopped = slot.tokens[-1] in self._ends or slot.stops.ended(slot.tokens)
            if stopped or len(slot.tokens) >= slot.job.max_tokens:
                over.append((slot, stopped))
        if not over:
            return
        gone = {id(slot) for slot, _ in over}
        left = len(self.running) - len(over)
        holes = [row for row, slot in enumerate(self.running[:left]) if id(slot) in gone]
        movers = [row for row in range(left, len(self.running)) if id(self.running[row]) not in gone]
        if movers:
            self._cache.copy(movers, holes, max(self.running[row].own for row in movers))
        for hole, mover in zip(holes, movers, strict=True):
            self.running[hole] = self.running[mover]
        del self.running[left:]
        for slot, stopped in over:
            for stem in slot.entry.line:
                stem.uses -= 1
                if not stem.uses:
                    self._release(stem)
            self._ended(slot.entry, slot.tokens, stopped, time.perf_counter() - slot.started)

    def _release(self, stem: Stem) -> None:
        """Drop the keys and values of ``stem``, with which no other sequence begins."""
        stem.cache = None
        self._stems.pop(id(stem), None)
