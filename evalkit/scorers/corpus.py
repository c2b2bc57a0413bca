"""BLEU, chrF and TER through sacrebleu's own statistics: one row of counts a sample, the corpus score by weighting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evalkit.errors import ScorerError
from evalkit.scorers.base import Array, MetricInfo
from evalkit.scorers.common import answers, no_answer, references, serves
from evalkit.scorers.totals import TotalsScorer
from evalkit.types import Json, Record, Score

#: sacrebleu's class and what sets each metric apart.
_KINDS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "bleu": ("BLEU", {}),
    "chrf": ("CHRF", {}),
    "chrf++": ("CHRF", {"word_order": 2}),
    "ter": ("TER", {}),
}


class Corpus(TotalsScorer):
    """A sacrebleu corpus metric with sacrebleu's defaults, in [0, 100] (TER: 0 and more, lower is better).

    Several answers of a sample add the mean of their counts. The reported value of a sample is its own corpus score.
    """

    def __init__(self, name: str, options: Mapping[str, Any] | None = None) -> None:
        self.name = name
        self._options = {k: v for k, v in (options or {}).items() if v is not None}
        self._sacrebleu: Any = None
        better = name != "ter"
        self.metrics = (
            MetricInfo(
                name, higher_is_better=better, low=0.0, high=100.0 if better else None, ideal=100.0 if better else 0.0
            ),
        )

    def parameters(self) -> Mapping[str, Json]:
        from importlib.metadata import version

        return {**self._options, "sacrebleu": version("sacrebleu")}

    @property
    def engine(self) -> Any:
        """The sacrebleu metric object, made on first use."""
        if self._sacrebleu is None:
            import sacrebleu.metrics

            kind, fixed = _KINDS[self.name]
            try:
                self._sacrebleu = getattr(sacrebleu.metrics, kind)(**fixed, **self._options)
            except (TypeError, ValueError, AssertionError, KeyError) as error:
                raise ScorerError(f"scorer {self.name!r}: sacrebleu refuses {self._options}: {error}") from error
        return self._sacrebleu

    def row(self, hypothesis: str, golds: Sequence[str]) -> list[float]:
        """The counts that sacrebleu keeps of one hypothesis against its references."""
        return [float(x) for x in self.engine._extract_corpus_statistics([hypothesis], [[gold] for gold in golds])[0]]

    def score(self, records: Sequence[Record], state: Any) -> Sequence[Score]:
        return [self._one(record) for record in records]

    def _one(self, record: Record) -> Score:
        given = answers(record)
        if given is None:
            return Score.unscored(no_answer(record))
        golds = references(record.sample)
        rows = np.array([self.row(answer, golds) for answer in given])
        stats = rows.mean(axis=0)
        return Score(tuple(stats.tolist()), self.value(stats))

    def value(self, totals: Array) -> float:
        """The corpus score of one row of totals."""
        return float(self.engine._compute_score_from_stats([totals.tolist()]).score)

    def finish(self, totals: Array) -> Mapping[str, Array]:
        flat = totals.reshape(-1, totals.shape[-1])
        values = np.array([self.value(row) for row in flat], dtype=np.float64)
        return {self.name: values.reshape(totals.shape[:-1])}


@serves("generate_until")
def bleu(tokenize: str | None = None, lowercase: bool | None = None, smooth_method: str | None = None) -> Corpus:
    """Corpus BLEU with sacrebleu's defaults (13a, exp smoothing)."""
    return Corpus("bleu", {"tokenize": tokenize, "lowercase": lowercase, "smooth_method": smooth_method})


@serves("generate_until")
def chrf(char_order: int | None = None, word_order: int | None = None, beta: int | None = None) -> Corpus:
    """Corpus chrF with sacrebleu's defaults (6 characters, no words, beta 2)."""
    return Corpus("chrf", {"char_order": char_order, "word_order": word_order, "beta": beta})


@serves("generate_until")
def chrf_plus_plus() -> Corpus:
    """Corpus chrF++ (word order 2)."""
    return Corpus("chrf++")


@serves("generate_until")
def ter(normalized: bool | None = None, no_punct: bool | None = None, case_sensitive: bool | None = None) -> Corpus:
    """Corpus translation edit rate with sacrebleu's defaults; lower is better."""
    return Corpus("ter", {"normalized": normalized, "no_punct": no_punct, "case_sensitive": case_sensitive})
