"""Which rows of the pool are a sample's few-shot examples.

evalkit's own draw is one a (task, seed), shared by all samples, so that their common prefix is computed once; a sample
that is itself in the draw gets the next row instead. Draws are nested (the 3-shot examples open the 5-shot ones) and do
not depend on ``--limit``, order or machine. ``compat="lm-eval"`` reproduces lm-eval's draws (world size 1) instead.
"""

from __future__ import annotations

import random
import threading
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from evalkit.errors import TaskError, nearest
from evalkit.types import Sample

Doc = Mapping[str, Any]
Positions = tuple[int, ...]

SAMPLERS = ("default", "first_n", "per_sample")
#: Rows kept ready beyond the shots, to stand in for the sample itself (and for copies of it).
_SPARE = 32
#: Pool rows kept in memory to compare samples with.
_KEPT = 4096


class Pool(Protocol):
    """Rows to draw from, by position."""

    def __len__(self) -> int: ...

    def __getitem__(self, position: int) -> Doc: ...


class Draw(Protocol):
    """What chooses examples. ``ordinal`` is the sample's position among the selected ones."""

    def positions(self, sample: Sample, ordinal: int) -> Positions: ...


class SharedDraw:
    """The first ``n`` rows of one order, the sample itself left out.

    ``order`` gives the order for a sample (the same one for all, or the sample's own). ``same_split``: the pool is the
    evaluated split, so that a row at the sample's index is the sample. ``exclude=False`` leaves nothing out.
    """

    def __init__(
        self, pool: Pool, n: int, order: Callable[[Sample], Sequence[int]], *, same_split: bool = False, exclude: bool = True
    ) -> None:
        self._pool = pool
        self._n = n
        self._order = order
        self._same_split = same_split
        self._exclude = exclude
        self._rows: dict[int, Doc] = {}

    def positions(self, sample: Sample, ordinal: int) -> Positions:
        chosen = []
        for position in self._order(sample):
            if self._exclude and self._is_sample(position, sample):
                continue
            chosen.append(position)
            if len(chosen) == self._n:
                return tuple(chosen)
        raise TaskError(
            f"{self._n} few-shot examples are asked for and the pool of {len(self._pool)} rows gives {len(chosen)} "
            "(the sample itself left out): lower --num-fewshot"
        )

    def _is_sample(self, position: int, sample: Sample) -> bool:
        if self._same_split and position == sample.index:
            return True
        row = self._rows.get(position)
        if row is None:
            row = self._pool[position]
            if len(self._rows) < _KEPT:
                self._rows[position] = row
        return row == sample.doc


class LmEvalDraw:
    """lm-eval's draws: one generator a task, advanced sample by sample in the order of evaluation.

    ``one`` draws for a sample's document (``None`` where lm-eval does not pass it). Draws are made in order and kept (4
    bytes a shot), so that asking for any sample again gives the same; ``doc_at`` finds the documents that were skipped.
    """

    def __init__(self, one: Callable[[Doc | None], Sequence[int]], n: int, doc_at: Callable[[int], Doc] | None) -> None:
        self._one = one
        self._n = n
        self._doc_at = doc_at
        self._drawn = array("Q")
        self._lock = threading.Lock()

    def positions(self, sample: Sample, ordinal: int) -> Positions:
        start = ordinal * self._n
        with self._lock:
            while len(self._drawn) <= start:
                at = len(self._drawn) // self._n
                doc = None if self._doc_at is None else sample.doc if at == ordinal else self._doc_at(at)
                self._drawn.extend(self._one(doc))
            return tuple(self._drawn[start : start + self._n])


def lm_eval_sampler(pool: Pool, n: int, seed: int) -> Callable[[Doc | None], Sequence[int]]:
    """lm-eval's default sampler (``ContextSampler.sample``) on positions.

    ``random.sample`` looks only at the length of what it draws from, so drawing positions gives the same rows. With a
    document, one more is drawn and the equal ones dropped; where copies leave too few, it draws again among the others.
    """
    generator = random.Random(seed)

    def one(doc: Doc | None) -> Sequence[int]:
        needed = n if not doc else n + 1
        if needed > len(pool):
            raise TaskError(
                f"lm-eval draws {needed} few-shot examples here and the pool has {len(pool)} rows: lower --num-fewshot"
            )
        drawn = generator.sample(range(len(pool)), needed)
        if not doc:
            return drawn
        kept = [position for position in drawn if pool[position] != doc][:n]
        if len(kept) < n:
            others = [position for position in range(len(pool)) if pool[position] != doc]
            if len(others) < n:
                raise TaskError(f"{n} few-shot examples are asked for and only {len(others)} rows differ from the sample")
            kept = generator.sample(others, n)
        return kept

    return one


def custom_sampler(sampler_class: Any, pool: Pool, n: int) -> tuple[Callable[[Doc | None], Sequence[int]], Any]:
    """A task folder's own sampler class (lm-eval's interface: ``__init__(docs, rnd=)``, ``sample(n, eval_doc=)``).

    Gives the function that draws positions, and the sampler, whose ``set_rnd(seed)`` starts it.
    """
    rows = [pool[i] for i in range(len(pool))]
    place = {id(row): position for position, row in enumerate(rows)}
    sampler = sampler_class(rows, rnd=None)

    def one(doc: Doc | None) -> Sequence[int]:
        drawn = sampler.sample(n=n, eval_doc=doc)
        if len(drawn) != n or any(id(row) not in place for row in drawn):
            raise TaskError(f"sampler {sampler_class.__name__} must return {n} rows of its pool")
        return [place[id(row)] for row in drawn]

    return one, sampler


def make_draw(
    sampler: str | Any,
    pool: Pool,
    n: int,
    *,
    task: str,
    seed: int,
    indices: Sequence[int] | None,
    same_split: bool,
    lm_eval: bool,
    lm_eval_excludes: bool,
    doc_at: Callable[[int], Doc],
) -> Draw:
    """The draw that a task's ``fewshot_config`` and the run's options ask for.

    ``sampler`` is a name or a loaded class. ``lm_eval_excludes``: lm-eval would pass the evaluated document to its
    sampler. ``doc_at`` gives the document of the k-th selected sample. ``indices`` (``fewshot_indices``) fixes the
    examples and their order; lm-eval reads the key and ignores it, so ``lm_eval`` does too.
    """
    if isinstance(sampler, str) and sampler not in SAMPLERS:
        raise TaskError(
            f"unknown few-shot sampler {sampler!r}{nearest(sampler, SAMPLERS) or '; known: ' + ', '.join(SAMPLERS)}"
        )
    compat_doc_at = doc_at if lm_eval_excludes else None
    if not isinstance(sampler, str):
        one, instance = custom_sampler(sampler, pool, n)
        instance.set_rnd(seed)
        if lm_eval:
            return LmEvalDraw(one, n, compat_doc_at)
        return _Reseeded(one, instance, f"{seed}:{task}")
    if lm_eval and sampler == "default":
        return LmEvalDraw(lm_eval_sampler(pool, n, seed), n, compat_doc_at)
    if lm_eval and sampler == "first_n":
        order: Sequence[int] = range(len(pool))
        return SharedDraw(pool, n, lambda sample: order, exclude=lm_eval_excludes)
    if indices is not None:
        out_of_range = [i for i in indices if not 0 <= i < len(pool)]
        if out_of_range:
            raise TaskError(f"fewshot_indices {out_of_range} are not in the pool of {len(pool)} rows")
        order = list(indices)
    elif sampler == "first_n":
        order = range(len(pool))
    elif sampler == "default":
        order = _shuffled(f"{seed}:{task}", len(pool), n + _SPARE)
    else:
        return SharedDraw(
            pool, n, lambda s: _shuffled(f"{seed}:{task}:{s.id}", len(pool), n + _SPARE), same_split=same_split
        )
    return SharedDraw(pool, n, lambda sample: order, same_split=same_split)


class _Reseeded:
    """A custom sampler outside lm-eval mode: seeded by the sample's id before each draw, so that order does not matter."""

    def __init__(self, one: Callable[[Doc | None], Sequence[int]], sampler: Any, seed: str) -> None:
        self._one = one
        self._sampler = sampler
        self._seed = seed
        self._lock = threading.Lock()

    def positions(self, sample: Sample, ordinal: int) -> Positions:
        with self._lock:
            self._sampler.set_rnd(random.Random(f"{self._seed}:{sample.id}").getrandbits(32))
            return tuple(self._one(sample.doc))


def _shuffled(seed: str, size: int, count: int) -> list[int]:
    """The first ``count`` of a random order of ``range(size)``; a longer one starts with a shorter one."""
    generator = random.Random(seed)
    seen: dict[int, None] = {}
    while len(seen) < min(count, size):
        seen[generator.randrange(size)] = None  # a row already drawn keeps its place
    return list(seen)
