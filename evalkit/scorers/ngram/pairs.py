"""One batch over all answers of a chunk of records: what the metrics of generated text against references share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from evalkit.scorers.common import NO_REFERENCE, answers, no_answer, references
from evalkit.types import Record, Score

T = TypeVar("T")

#: From hypotheses and their references, aligned, to one result each.
Batch = Callable[[Sequence[str], Sequence[Sequence[str]]], Sequence[T]]


def score_pairs(records: Sequence[Record], batch: Batch[T], verdict: Callable[[Sequence[T]], Score]) -> list[Score]:
    """One score a record: ``batch`` runs once over every (answer, references) pair, ``verdict`` on a record's results.

    A record without a text answer or without a reference is unscored and never reaches either.
    """
    scores: list[Score | None] = []
    hypotheses: list[str] = []
    golds: list[tuple[str, ...]] = []
    spans: list[slice] = []
    for record in records:
        given, expected = answers(record), references(record.sample)
        if given is None or not expected:
            scores.append(Score.unscored(no_answer(record) if given is None else NO_REFERENCE))
            spans.append(slice(0))
            continue
        scores.append(None)
        spans.append(slice(len(hypotheses), len(hypotheses) + len(given)))
        hypotheses += given
        golds += [expected] * len(given)
    results = batch(hypotheses, golds) if hypotheses else ()
    return [verdict(results[span]) if score is None else score for score, span in zip(scores, spans, strict=True)]
