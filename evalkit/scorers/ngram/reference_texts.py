"""What a metric of text pairs compares: a record's answers with its references, and several of either in one value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from evalkit.errors import ScorerError
from evalkit.scorers.common import NO_REFERENCE, answers, no_answer, references
from evalkit.types import Record, Score

Matrix = npt.NDArray[np.float64]


def answers_with_references(record: Record) -> tuple[list[str], tuple[str, ...]] | Score:
    """The record's answers and references, at least one of each; an unscored score where there are none."""
    given = answers(record)
    if given is None:
        return Score.unscored(no_answer(record))
    expected = references(record.sample)
    return (given, expected) if expected else Score.unscored(NO_REFERENCE)


def over_references(values: Matrix, how: str) -> float:
    """One value from ``values`` (answers, references): the ``max`` or ``mean`` over references, then the mean of answers."""
    best = values.max(axis=1) if how == "max" else values.mean(axis=1)
    return float(best.mean())


def reference_lists(candidates: Sequence[str], references: Sequence[str | Sequence[str]]) -> list[tuple[str, ...]]:
    """Each candidate's references, one text standing for a list of one. Raises ScorerError where the lengths differ."""
    if len(candidates) != len(references):
        raise ScorerError(f"{len(candidates)} candidates but {len(references)} references: give one entry for each")
    lists = [(item,) if isinstance(item, str) else tuple(item) for item in references]
    empty = next((i for i, item in enumerate(lists) if not item), None)
    if empty is not None:
        raise ScorerError(f"candidate {empty} has no reference")
    return lists
