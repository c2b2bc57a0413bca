"""What the samples of a run took: seconds, dollars, tokens, failures; each sample once, whatever its filters."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.comparison.base import ERROR, MISSING, RunScores, TaskScores
from evalkit.comparison.match import joined
from evalkit.stats.means import Array

#: Task and sample in one text: a NUL is in no name.
Ids = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Spent:
    """Columns (n,) over samples of several tasks; ``ids`` name task and sample. NaN where nothing is known."""

    ids: Ids
    latency_s: Array
    output_tokens: Array
    cost_usd: Array


def spent(run: RunScores, tasks: Collection[str]) -> Spent:
    """What the samples of ``tasks`` took."""
    seen: dict[str, TaskScores] = {}
    for (task, _), scores in run.tasks.items():
        if task in tasks:
            seen.setdefault(task, scores)
    parts = list(seen.values())
    return Spent(
        tuple(f"{task}\0{sample}" for task, scores in seen.items() for sample in scores.ids),
        _joined([part.latency_s for part in parts]),
        _joined([part.output_tokens for part in parts]),
        _joined([part.cost_usd for part in parts]),
    )


def paired(ids_a: Ids, a: Array, ids_b: Ids, b: Array) -> tuple[Array, Array]:
    """The values of both runs for the samples that have one in both."""
    at_a, at_b = joined(ids_a, ids_b)
    left, right = a[at_a], b[at_b]
    both = np.isfinite(left) & np.isfinite(right)
    return left[both], right[both]


def failures(run: RunScores, tasks: Collection[str]) -> tuple[int, int]:
    """Samples without an answer, and all samples; of each task under the scorer that has one unit a sample."""
    failed = n = 0
    seen: set[str] = set()
    for (task, _), scores in run.tasks.items():
        columns = [m.status for m in scores.measured if m.units == scores.ids]
        if task in tasks and task not in seen and columns:
            seen.add(task)
            failed += int(np.isin(columns[0], (ERROR, MISSING)).sum())
            n += len(columns[0])
    return failed, n


def _joined(columns: Sequence[Array]) -> Array:
    return np.concatenate(columns) if columns else np.zeros(0)
