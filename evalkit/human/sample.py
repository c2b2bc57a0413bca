"""Which items are rated: a stratified draw, the same for the same seed."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from evalkit.errors import DataError, nearest
from evalkit.human.base import Output
from evalkit.human.pool import Pool

#: Names of the three bins of an item's length (of all its outputs together), as many items in each.
LENGTHS = ("short", "medium", "long")


def strata(pool: Pool, stratify: str | None = None) -> dict[str, str]:
    """Every item's stratum: its task, the bin of its outputs' length, and its label in the slice ``stratify``.

    Raises DataError for a slice that no item has.
    """
    if stratify is not None and not any(stratify in labels for labels in pool.slices.values()):
        known = list(dict.fromkeys(name for labels in pool.slices.values() for name in labels))
        hint = nearest(stratify, known) or f"; they have {', '.join(known) or 'none (the task names slices: in its file)'}"
        raise DataError(f"no item has a slice {stratify!r}{hint}")
    by_task: dict[str, list[str]] = defaultdict(list)
    for item, outputs in pool.items.items():
        by_task[outputs[0].task].append(item)
    found: dict[str, str] = {}
    for task, items in by_task.items():
        ranked = sorted(items, key=lambda item: (sum(len(output.text) for output in pool.items[item]), item))
        for rank, item in enumerate(ranked):
            label = [pool.slices[item].get(stratify, "none")] if stratify is not None else []
            found[item] = ", ".join(filter(None, [task, LENGTHS[rank * len(LENGTHS) // len(ranked)], *label]))
    return {item: found[item] for item in pool.items}


def draw(strata: Mapping[str, str], n: int, seed: str) -> list[str]:
    """``n`` items, from every stratum in proportion (largest remainders first), in an order that chance decides."""
    members: dict[str, list[str]] = defaultdict(list)
    for item in sorted(strata):
        members[strata[item]].append(item)
    counts = _shares({name: len(items) for name, items in members.items()}, n)
    chosen = [
        item for name in sorted(members) for item in random.Random(f"{seed} {name}").sample(members[name], counts[name])
    ]
    random.Random(f"{seed} order").shuffle(chosen)
    return chosen


def _shares(sizes: Mapping[str, int], n: int) -> dict[str, int]:
    total = sum(sizes.values())
    exact = {name: size * n / total for name, size in sizes.items()}
    counts = {name: int(value) for name, value in exact.items()}
    remainders = sorted(sizes, key=lambda name: (counts[name] - exact[name], name))
    for name in remainders[: n - sum(counts.values())]:
        counts[name] += 1
    return counts


def labelled(pool: Pool, items: Sequence[str], strata: Mapping[str, str]) -> dict[str, tuple[Output, ...]]:
    """The outputs of ``items``, in that order, with their stratum."""
    return {item: tuple(replace(output, stratum=strata[item]) for output in pool.items[item]) for item in items}
