"""Who rates what in which order: complete blocks of systems for each item, items in balance over annotators.

All systems' outputs for an item go to the same people, so that a strict or a lenient rater moves all systems alike. Each
sheet goes several times through its items, each time with another system's output of each (a Latin square): every system
stands as often early as late, and outputs for the same input are far apart.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from evalkit.human.base import Form, Output, RowKind
from evalkit.human.checks import Check

#: Rows between a row and its repeat at least.
APART = 10

#: A sheet shorter than this holds no attention check.
_SHORTEST = 10

#: Places that are tried for a row that is put in later.
_PLACES = 16


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """A row before it has an id. ``of``: the slot that it repeats."""

    kind: RowKind
    first: Output
    second: Output | None = None
    of: Slot | None = None
    expected: dict[str, str | float] | None = None

    @property
    def item(self) -> str:
        return self.first.item


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of one annotator by kind."""

    items: int
    repeats: int
    checks: int

    @property
    def rows(self) -> int:
        return self.items + self.repeats + self.checks


def units(form: Form, systems: int) -> int:
    """Rows an item gives: one a system, or one a pair of systems."""
    return systems if form == "pointwise" else systems * (systems - 1) // 2


def counts(items: int, form: Form, systems: int, repeats: float, checks: float) -> Counts:
    """The rows of an annotator who rates ``items`` items; ``repeats`` and ``checks`` are shares of the item rows."""
    rows = items * units(form, systems)
    again = min(round(rows * repeats), max(rows - APART, 0))
    return Counts(rows, again, max(1, round(rows * checks)) if checks and rows >= _SHORTEST else 0)


def assign(items: Sequence[str], shared: Sequence[str], annotators: int, strata: Mapping[str, str]) -> list[list[str]]:
    """Each annotator's items: the ``shared`` ones, and a part of the others with every stratum dealt out in turn."""
    given = [list(shared) for _ in range(annotators)]
    rest = sorted((item for item in items if item not in {*shared}), key=lambda item: strata[item])
    for at, item in enumerate(rest):
        given[at % annotators].append(item)
    return given


def ordered(
    items: Sequence[str],
    outputs: Mapping[str, tuple[Output, ...]],
    form: Form,
    flips: Mapping[tuple[str, int], bool],
    draw: random.Random,
) -> list[Slot]:
    """The item rows of one sheet. ``flips`` says of an item's pair whether its second system is shown as A."""
    own = draw.sample(list(items), len(items))
    half = (len(own) + 1) // 2
    made = {item: _slots(item, outputs[item], form, flips) for item in own}
    places = {item: at for at, item in enumerate(own)}
    rows: list[Slot] = []
    for turn in range(len(made[own[0]]) if own else 0):
        for part in (own[:half], own[half:]):  # halves keep their order, so that an item returns after half a turn at least
            rows += [made[item][(places[item] + turn) % len(made[item])] for item in draw.sample(part, len(part))]
    return rows


def _slots(item: str, outputs: Sequence[Output], form: Form, flips: Mapping[tuple[str, int], bool]) -> list[Slot]:
    if form == "pointwise":
        return [Slot("item", output) for output in outputs]
    pairs = list(combinations(outputs, 2))
    return [Slot("item", *(pair[::-1] if flips[item, at] else pair)) for at, pair in enumerate(pairs)]


def flips(given: Sequence[Sequence[str]], pairs: int, seed: str) -> list[dict[tuple[str, int], bool]]:
    """For each annotator, whether an item's pair is shown swapped.

    Annotators of the same item see it in turn one way and the other; each sheet has both ways about equally often.
    """
    times: Counter[tuple[str, int]] = Counter()
    balance: Counter[tuple[int, int]] = Counter()
    start = random.Random(f"{seed} sides")
    found: list[dict[tuple[str, int], bool]] = [{} for _ in given]
    first: dict[tuple[str, int], bool] = {}
    for rank in sorted({at for items in given for at in range(len(items))}):
        for who, items in enumerate(given):
            if rank >= len(items):
                continue
            for pair in range(pairs):
                key = (items[rank], pair)
                if key not in first:
                    lean = balance[who, pair]
                    first[key] = start.random() < 0.5 if lean == 0 else lean < 0
                swapped = first[key] ^ bool(times[key] % 2)
                times[key] += 1
                balance[who, pair] += 1 if swapped else -1
                found[who][key] = swapped
    return found


def with_repeats(rows: Sequence[Slot], count: int, draw: random.Random) -> list[Slot]:
    """The rows with ``count`` of them again, `APART` rows later at least, over systems in turn; pairs with sides swapped."""
    sheet = list(rows)
    candidates = draw.sample(list(rows[: max(len(rows) - APART, 0)]), max(len(rows) - APART, 0))
    taken: Counter[tuple[str, ...]] = Counter()
    for _ in range(min(count, len(candidates))):
        original = min(candidates, key=lambda slot: taken[_systems(slot)])
        candidates.remove(original)
        taken[_systems(original)] += 1
        first, second = (original.first, None) if original.second is None else (original.second, original.first)
        _insert(sheet, Slot("repeat", first, second, of=original), sheet.index(original) + APART, len(sheet), draw)
    return sheet


def with_checks(rows: Sequence[Slot], checks: Sequence[Check], draw: random.Random) -> list[Slot]:
    """The rows with the checks among them, one in each part of the sheet, none at its very beginning."""
    sheet = list(rows)
    for at, check in enumerate(checks):
        begin, end = (len(rows) * step // len(checks) for step in (at, at + 1))
        slot = Slot("check", check.first, check.second, expected=check.expected)
        _insert(sheet, slot, max(begin + at, 2), end + at, draw)
    return sheet


def _systems(slot: Slot) -> tuple[str, ...]:
    return tuple(sorted(output.system for output in (slot.first, slot.second) if output is not None))


def _insert(sheet: list[Slot], slot: Slot, begin: int, end: int, draw: random.Random) -> None:
    """Put ``slot`` at a random place in [begin, end], of some the one farthest from rows of the same item."""
    same = [at for at, row in enumerate(sheet) if row.item == slot.item]

    def distance(place: int) -> int:
        return min((min(abs(place - at), abs(place - 1 - at)) for at in same), default=APART)

    places = [draw.randint(begin, max(begin, end)) for _ in range(_PLACES)]
    sheet.insert(max(places, key=lambda place: min(distance(place), APART)), slot)


def sheet(
    items: Sequence[str],
    outputs: Mapping[str, tuple[Output, ...]],
    form: Form,
    flips: Mapping[tuple[str, int], bool],
    repeats: int,
    checks: Sequence[Check],
    seed: str,
) -> list[Slot]:
    """One annotator's rows in their order."""
    draw = random.Random(f"{seed} rows")
    rows = with_repeats(ordered(items, outputs, form, flips, draw), repeats, draw)
    return with_checks(rows, checks, draw)
