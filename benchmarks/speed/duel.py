"""Two programs' functions in one process, in turn: what each takes, and whether they come to the same.

Unlike `machine.watched` this measures from inside, for work of seconds on data that is loaded already.
"""

from __future__ import annotations

import gc
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speed import machine

#: Runs in a row that others may spoil before the benchmark gives up.
_TRIES = 10
#: Shorter runs are over before others' share can be told from noise: they are only required to start quietly.
_SHORT = 0.5


@dataclass(frozen=True, slots=True)
class Side:
    """What one program is timed at. ``fresh`` is called before each run, untimed: it empties caches."""

    run: Callable[[], Any]
    fresh: Callable[[], Any] = lambda: None


@dataclass(frozen=True, slots=True)
class Duel:
    """A peer and evalkit at the same work. ``agree`` compares what they return, in a few words. ``goal`` is the ratio."""

    name: str
    peer: Side
    ours: Side
    agree: Callable[[Any, Any], str]
    goal: float | None = None


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds on the clock and of CPU (children too); the share of all cores that others took; what came back."""

    seconds: float
    cpu: float
    outside: float
    value: Any = field(repr=False, default=None)


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _busy() -> float:
    return machine.busy_seconds(Path("/proc/stat").read_text())


def timed(side: Side) -> Took:
    """One run of a side, alone on the stage: garbage of earlier runs is collected first, and none while it runs."""
    side.fresh()
    gc.collect()
    gc.disable()
    try:
        busy, cpu, begun = _busy(), _cpu(), time.perf_counter()
        value = side.run()
        seconds = time.perf_counter() - begun
        cpu, busy = _cpu() - cpu, _busy() - busy
    finally:
        gc.enable()
    return Took(seconds, cpu, max(busy - cpu, 0.0) / (seconds * machine.CORES), value)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The runs of a duel."""

    duel: Duel
    peer: Sequence[Took]
    ours: Sequence[Took]

    @property
    def ratio(self) -> float:
        """The peer's median time over evalkit's."""
        return _median(self.peer, "seconds") / _median(self.ours, "seconds")

    def row(self) -> list[str]:
        """A line of the table."""
        goal = f" (goal {self.duel.goal:g})" if self.duel.goal is not None else ""
        cpu = _median(self.peer, "cpu") / max(_median(self.ours, "cpu"), 1e-6)
        return [
            self.duel.name,
            *(f"{_median(runs, 'seconds'):.3g}" for runs in (self.peer, self.ours)),
            f"{self.ratio:.2f}{goal}",
            f"{cpu:.2f}",
            self.duel.agree(self.peer[-1].value, self.ours[-1].value),
        ]


HEAD = ("work", "peer s", "evalkit s", "ratio", "CPU ratio", "agreement")


def _median(runs: Sequence[Took], name: str) -> float:
    return statistics.median(float(getattr(took, name)) for took in runs)


def fight(duel: Duel, runs: int, tell: Callable[[str], None], *, busy: bool = False) -> Outcome:
    """``runs`` of both, the peer first and then in turn, while others leave the machine alone (``busy``: in any case).

    Before the first run each side runs once unmeasured, so that neither pays for imports and first allocations. Raises
    TimeoutError where the machine stays busy.
    """
    for side in (duel.peer, duel.ours):
        timed(side)
    took: dict[str, list[Took]] = {"peer": [], "evalkit": []}
    for _ in range(runs):
        for who, side in (("peer", duel.peer), ("evalkit", duel.ours)):
            # a side that follows at once on a run that nobody disturbed need not look first
            took[who].append(_undisturbed(side, tell, busy, look=who == "peer"))
    return Outcome(duel, took["peer"], took["evalkit"])


def _undisturbed(side: Side, tell: Callable[[str], None], busy: bool, look: bool) -> Took:
    for attempt in range(_TRIES):
        if not busy and (look or attempt):
            machine.wait_until_quiet(tell)
        took = timed(side)
        if busy or took.outside <= machine.SPOILT or took.seconds < _SHORT:
            return took
        tell(f"dropped: others took {took.outside:.0%} of the cores meanwhile")
    raise TimeoutError(f"{_TRIES} runs in a row were disturbed")


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """The table."""
    lines = [HEAD, ["---"] * len(HEAD), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
