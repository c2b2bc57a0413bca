"""ROUGE per sample, as Google's ``rouge-score`` package computes it (Lin, 2004)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evalkit.errors import ScorerError
from evalkit.scorers.base import BaseScorer
from evalkit.scorers.common import NO_REFERENCE, answers, no_answer, references, serves, share
from evalkit.types import Json, Record, Score


class Rouge(BaseScorer):
    """Mean F-measure in [0, 1] of each type: ``rouge1`` to ``rouge9``, ``rougeL``, ``rougeLsum`` (one sentence a line).

    With several references the best one counts, by type; several answers of a record count with their mean.
    """

    name = "rouge"

    def __init__(self, types: Sequence[str] = ("rouge1", "rougeL"), use_stemmer: bool = False) -> None:
        self._types = (types,) if isinstance(types, str) else tuple(types)
        wrong = [kind for kind in self._types if not re.fullmatch(r"rouge([1-9]|L|Lsum)", str(kind))]
        if wrong or not self._types:
            named = f"{wrong[0]!r}" if wrong else "nothing"
            raise ScorerError(f"scorer parameter 'types' must list rouge1 to rouge9, rougeL or rougeLsum, not {named}")
        self._stem = bool(use_stemmer)
        self.metrics = tuple(share(kind, column, proportion=False) for column, kind in enumerate(self._types))

    def parameters(self) -> Mapping[str, Json]:
        from importlib.metadata import version

        return {"types": ",".join(self._types), "stemmer": self._stem, "rouge_score": version("rouge-score")}

    def prepare(self, records: Iterable[Record]) -> Any:
        from rouge_score.rouge_scorer import RougeScorer

        return RougeScorer(list(self._types), use_stemmer=self._stem)

    def score(self, records: Sequence[Record], state: Any) -> Sequence[Score]:
        engine = state or self.prepare(())
        return [self._one(record, engine) for record in records]

    def _one(self, record: Record, rouge: Any) -> Score:
        texts = answers(record)
        if texts is None:
            return Score.unscored(no_answer(record))
        expected = references(record.sample)
        if not expected:
            return Score.unscored(NO_REFERENCE)
        found = [rouge.score_multi(expected, text) for text in texts]
        stats = tuple(float(sum(f[kind].fmeasure for f in found) / len(found)) for kind in self._types)
        return Score(stats, stats[0])


@serves("generate_until")
def rouge(types: Sequence[str] = ("rouge1", "rougeL"), use_stemmer: bool = False) -> Rouge:
    """ROUGE F-measures against the reference text, one metric a type."""
    return Rouge(types, use_stemmer)
