"""Which sequences are continued next: those that share a beginning together, the longest first."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from evalkit.engine.base import GenerateJob
from evalkit.engine.kvcache import Stem

Ints = NDArray[np.int64]

#: What a shared beginning must save, in tokens times sequences at a time, to be worth a product of its own in every layer
#: of every step. What is shared below that is copied from one sequence to the next.
_WORTH = 768


@dataclass(eq=False, slots=True)
class Entry:
    """Jobs with one and the same answer: ``jobs`` are their indices, ``tail`` the prompt's tokens behind the stem.

    ``need`` is the number of tokens that its keys and values may come to.
    """

    jobs: list[int]
    tail: Ints
    stem: Stem | None
    need: int

    @property
    def line(self) -> list[Stem]:
        """The stems that it begins with, the first one first."""
        return self.stem.line() if self.stem else []


def entries(jobs: Sequence[GenerateJob], wanted: Sequence[int], slots: int) -> deque[Entry]:
    """The jobs ``wanted`` in the order in which to take them, with the stems that they share.

    A prompt's last token is never in a stem: what follows it must be computed.
    """
    same: dict[object, list[int]] = {}
    for index in wanted:
        job = jobs[index]
        alone = index if job.settings.get("do_sample") else None
        settings = tuple(sorted((name, repr(value)) for name, value in job.settings.items()))
        key = (tuple(job.prompt), job.max_tokens, job.until, settings, job.think_end, alone)
        same.setdefault(key, []).append(index)
    groups = sorted(same.values(), key=lambda indices: (tuple(jobs[indices[0]].prompt), indices[0]))
    rows = [np.asarray(jobs[indices[0]].prompt, dtype=np.int64) for indices in groups]
    shared = np.array([0, *(min(common(one, other), len(other) - 1) for one, other in pairwise(rows))], dtype=np.int64)
    made: list[Entry] = []
    left: list[tuple[int, int, Stem | None]] = [(0, len(rows), None)]
    while left and rows:
        first, last, stem = left.pop()
        start = stem.end if stem else 0
        depth = int(shared[first + 1 : last].min()) if last - first > 1 else 0
        if last - first > 1 and (min(last - first, slots) - 1) * (depth - start) >= _WORTH:
            stem = Stem(rows[first][start:depth].tolist(), start, stem)
            start = depth
        cuts = [first, *(np.nonzero(shared[first + 1 : last] == depth)[0] + first + 1).tolist(), last]
        parts = list(pairwise(cuts))
        for low, high in parts:
            if high - low == 1:
                limit = jobs[groups[low][0]].max_tokens
                made.append(Entry(groups[low], rows[low][start:], stem, len(rows[low]) - start + limit))
        left.extend((low, high, stem) for low, high in reversed(parts) if high - low > 1)
    for entry in made:
        for part in entry.line:
            part.uses += 1
    return deque(_ordered(made))


def _ordered(made: Sequence[Entry]) -> list[Entry]:
    """Sequences of one stem together, those of the same first stem side by side; the longest first."""
    longest: dict[int, int] = {}
    for entry in made:
        for part in entry.line:
            longest[id(part)] = max(longest.get(id(part), 0), part.end + entry.need)

    def place(entry: Entry) -> tuple[object, ...]:
        return (
            [(-longest[id(part)], id(part)) for part in entry.line] or [(-entry.need, 0)],
            -entry.need,
            entry.tail.tolist(),
            entry.jobs,
        )

    return sorted(made, key=place)


def common(one: Ints, other: Ints) -> int:
    """How many first tokens of ``one``, its last not counted, ``other`` begins with."""
    size = min(len(one) - 1, len(other))
    differ = one[:size] != other[:size]
    at = int(differ.argmax()) if size > 0 else 0
    return at if size > 0 and differ[at] else max(size, 0)
