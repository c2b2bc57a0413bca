"""BLEU, chrF and TER through sacrebleu's own statistics: one row of counts a sample, the corpus score by weighting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evalkit.errors import ScorerError
from evalkit.scorers.base import Array, MetricInfo
from evalkit.scorers.common import NO_REFERENCE, answers, no_answer, references, serves
from evalkit.scorers.totals import TotalsScorer, ratio
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

    def score_one(self, record: Record) -> Score:
        given = answers(record)
        if given is None:
            return Score.unscored(no_answer(record))
        golds = references(record.sample)
        if not golds:
            return Score.unscored(NO_REFERENCE)
        rows = np.array([self.row(answer, golds) for answer in given])
        stats = rows.mean(axis=0)
        return Score(tuple(stats.tolist()), self.value(stats))

    def value(self, totals: Array) -> float:
        """The corpus score of one row of totals."""
        return float(self.finish(totals)[self.name])

    def finish(self, totals: Array) -> Mapping[str, Array]:
        if self.name == "bleu":
            return {self.name: bleu_scores(totals, self.engine.smooth_method, self.engine.smooth_value)}
        flat = totals.reshape(-1, totals.shape[-1])
        values = [float(self.engine._compute_score_from_stats(row.tolist()).score) for row in flat]
        return {self.name: np.array(values, dtype=np.float64).reshape(totals.shape[:-1])}


def bleu_scores(totals: Array, smoothing: str = "exp", amount: float | None = None) -> Array:
    """Corpus BLEU (...) from totals (..., 2 + 2 * order): hypothesis and reference length, matches, n-grams by order.

    sacrebleu's formula and smoothings, but for many totals at once and without its rounding of lengths to whole numbers,
    which fractional weights need. ``amount`` is the value that floor and add-k smoothing add (defaults 0.1 and 1).
    """
    order = (totals.shape[-1] - 2) // 2
    hypothesis, reference = totals[..., 0], totals[..., 1]
    matches, ngrams = totals[..., 2 : 2 + order], totals[..., 2 + order :]
    some = (matches > 0).any(axis=-1)
    if smoothing == "add-k":
        added = np.where(np.arange(order) > 0, 1.0 if amount is None else amount, 0.0)
        matches, ngrams = matches + added, ngrams + added
    none = matches <= 0
    if smoothing == "exp":
        smoothed = 0.5 ** np.cumsum(none, axis=-1)
    else:
        smoothed = np.full(matches.shape, (0.1 if amount is None else amount) if smoothing == "floor" else 0.0)
    precisions = ratio(np.where(none, smoothed, matches), ngrams, 0.0)
    brevity = np.exp(np.minimum(0.0, 1.0 - ratio(reference, hypothesis, np.inf)))
    with np.errstate(divide="ignore"):
        score = 100.0 * brevity * np.exp(np.log(precisions).mean(axis=-1))
    return np.asarray(np.where(some, score, 0.0), dtype=np.float64)


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
