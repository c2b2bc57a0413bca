"""Answers that must match a pattern: verifiable instructions whose check stands in the data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from evalkit.errors import ScorerError
from evalkit.scorers.base import BaseScorer
from evalkit.scorers.common import answers, no_answer, serves, share
from evalkit.types import Json, Record, Score


class MatchesPattern(BaseScorer):
    """Whether the whole answer, without space around it, matches a regular expression of its own sample.

    ``column`` of the sample holds the expression (Python's ``re`` syntax, ``.`` matches line ends), or a list of them that
    must all match. Several answers count with their mean. An expression that does not compile leaves the sample unscored.
    """

    name = "matches_pattern"

    def __init__(self, column: str = "pattern", ignore_case: bool = False) -> None:
        if not isinstance(column, str) or not column:
            raise ScorerError(f"scorer parameter 'column' must name a column of the data, not {column!r}")
        self._column = column
        self._flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
        self.metrics = (share(self.name),)

    def parameters(self) -> Mapping[str, Json]:
        return {"column": self._column, "ignore_case": bool(self._flags & re.IGNORECASE)}

    def score_one(self, record: Record) -> Score:
        given = record.sample.doc.get(self._column)
        patterns: Sequence[Any] = given if isinstance(given, list | tuple) else [given]
        if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
            return Score.unscored(f"column {self._column!r} holds no pattern")
        texts = answers(record)
        if texts is None:
            return Score.unscored(no_answer(record))
        try:
            compiled = [re.compile(pattern, self._flags) for pattern in patterns]
        except re.error as error:
            return Score.unscored(f"column {self._column!r} holds a broken pattern: {error}")
        hits = [all(pattern.fullmatch(text.strip()) for pattern in compiled) for text in texts]
        value = sum(hits) / len(hits)
        return Score((value,), value)


@serves("generate_until")
def matches_pattern(column: str = "pattern", ignore_case: bool = False) -> MatchesPattern:
    """Share of samples whose answer matches the sample's own pattern."""
    return MatchesPattern(column, ignore_case)
