"""BLEU, chrF and TER through sacrebleu's own statistics: one row of counts a sample, the corpus score by weighting.

The counts come from sacrebleu's classes, TER's edits from `evalkit.scorers.ngram.ter`; sentence scores, the corpus score,
its bootstrap and its paired tests are all computed from that one extraction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evalkit.errors import ScorerError, nearest
from evalkit.scorers.base import Array, MetricInfo
from evalkit.scorers.common import one_of, serves, whole
from evalkit.scorers.ngram.counts import bleu_scores, chrf_scores, ter_scores
from evalkit.scorers.ngram.pairs import score_pairs
from evalkit.scorers.ngram.ter import ter_row
from evalkit.scorers.totals import TotalsScorer
from evalkit.types import Json, Record, Score

#: sacrebleu's class and what sets each metric apart.
_KINDS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "bleu": ("BLEU", {"force": True}),  # force only silences a warning about tokenised lines
    "chrf": ("CHRF", {}),
    "chrf++": ("CHRF", {"word_order": 2}),
    "ter": ("TER", {}),
}
#: Options that sacrebleu's signature does not show, and the value that needs no mention.
_UNSEEN: Mapping[str, Json] = {"max_ngram_order": 4, "beta": 2}
_SMOOTHINGS = ("exp", "floor", "add-k", "none")
#: Characters of references whose counts are kept, some 700 bytes each for chrF.
_KEPT = 1 << 18
_SPM = ("spm", "flores101", "flores200", "spBLEU-1K")


class Corpus(TotalsScorer):
    """A sacrebleu corpus metric with sacrebleu's defaults, in [0, 100] (TER: 0 and more, lower is better).

    Several answers of a sample add the mean of their counts. The value of a sample is its sentence score (the mean over its
    answers), which for BLEU uses the effective order, as sacrebleu's ``sentence_bleu`` and ``--sentence-level`` do.
    """

    def __init__(self, name: str, options: Mapping[str, Any] | None = None) -> None:
        self.name = name
        self._options = {k: v for k, v in (options or {}).items() if v is not None}
        self._sacrebleu: Any = None
        self._known: dict[tuple[str, ...], Any] = {}
        self._room = _KEPT
        better = name != "ter"
        self.metrics = (
            MetricInfo(
                name, higher_is_better=better, low=0.0, high=100.0 if better else None, ideal=100.0 if better else 0.0
            ),
        )

    def signature(self) -> str:
        """Name and sacrebleu's signature, without the number of references, which only the data tells (`signature_of`)."""
        return "|".join([self.name, self.sacrebleu_signature(1).removeprefix("nrefs:1|"), *self._unseen()])

    def signature_of(self, stats: Array) -> str:
        return "|".join([self.name, self.sacrebleu_signature(number_of_references(stats)), *self._unseen()])

    def sacrebleu_signature(self, references: int) -> str:
        """What sacrebleu prints for this metric over data with so many references a sample (-1: a varying number)."""
        self.engine.num_refs = references
        return str(self.engine.get_signature().format())

    def _unseen(self) -> list[str]:
        found = {k: v for k, v in self._options.items() if k in _UNSEEN and v != _UNSEEN[k]}
        smoothing = self._options.get("smooth_value")
        if smoothing is not None and float(f"{smoothing:.2f}") != smoothing:  # sacrebleu shows two decimals
            found["smooth_value"] = smoothing
        return [f"{key}:{value}" for key, value in sorted(found.items())]

    @property
    def engine(self) -> Any:
        """The sacrebleu metric object, made on first use. Raises ScorerError for what sacrebleu refuses."""
        if self._sacrebleu is None:
            import sacrebleu.metrics

            kind, fixed = _KINDS[self.name]
            tokenizer = self._options.get("tokenize")
            if tokenizer is not None and tokenizer not in sacrebleu.metrics.BLEU.TOKENIZERS:
                known = sorted(sacrebleu.metrics.BLEU.TOKENIZERS)
                hint = nearest(str(tokenizer), known) or f"; it has {', '.join(known)}"
                raise ScorerError(f"scorer {self.name!r}: sacrebleu has no tokenizer {tokenizer!r}{hint}")
            try:
                self._sacrebleu = getattr(sacrebleu.metrics, kind)(**{**fixed, **self._options})
            except (Exception, SystemExit) as error:  # sacrebleu exits where a download fails on TLS
                raise ScorerError(f"scorer {self.name!r}: {self._refused(error)}") from error
        return self._sacrebleu

    def _refused(self, error: BaseException) -> str:
        """Why sacrebleu could not make its metric, in one line."""
        reason = " ".join(str(error).split()) or type(error).__name__
        tokenizer = self._options.get("tokenize")
        if tokenizer in _SPM and not isinstance(error, ImportError):
            return (
                f"the tokenizer {tokenizer!r} needs a model that sacrebleu downloads, which failed ({reason}); run once "
                "with a network, or copy the model to the folder models/ of $SACREBLEU"
            )
        return f"sacrebleu refuses {self._options}: {reason}"

    def rows(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> list[list[float]]:
        """The counts that sacrebleu keeps of each hypothesis against its references, any number each, at least one."""
        segment = self.engine._preprocess_segment
        return [
            [float(x) for x in self._counts(segment(text), self._extracted(golds))]
            for text, golds in zip(hypotheses, references, strict=True)
        ]

    def _counts(self, segment: str, extracted: Any) -> Sequence[float]:
        """The counts of a tokenised hypothesis. TER's are our own, since sacrebleu's take ten times as long."""
        if self.name == "ter":
            return ter_row(segment.split(), extracted["ref_words"])
        counts: Sequence[float] = self.engine._compute_segment_statistics(segment, extracted)
        return counts

    def _extracted(self, golds: Sequence[str]) -> Any:
        """What sacrebleu takes from references: the same for all answers and systems, so the latest are kept."""
        key = tuple(golds)
        found = self._known.pop(key, None)
        if found is None:
            found = self.engine._extract_reference_info([self.engine._preprocess_segment(gold) for gold in key])
            self._room -= _length(key)
        self._known[key] = found
        while self._room < 0 and len(self._known) > 1:
            oldest = next(iter(self._known))
            del self._known[oldest]
            self._room += _length(oldest)
        return found

    def row(self, hypothesis: str, golds: Sequence[str]) -> list[float]:
        """The counts of one hypothesis."""
        return self.rows([hypothesis], [golds])[0]

    def score(self, records: Sequence[Record], state: Any) -> Sequence[Score]:
        return score_pairs(records, self._batch, _verdict)

    def score_one(self, record: Record) -> Score:
        return self.score([record], None)[0]

    def _batch(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Sequence[tuple[Array, float]]:
        found = self.measure(hypotheses, references)
        return list(zip(found.stats, found.sentences, strict=True))

    def measure(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> CorpusScores:
        """Corpus score, sentence scores and statistics of aligned hypotheses and references, from one extraction."""
        counts = np.array(self.rows(hypotheses, references), dtype=np.float64)
        stats = np.column_stack([counts, [float(len(golds)) for golds in references]])
        return CorpusScores(
            self.value(counts.sum(axis=0)),
            self.sentence_scores(counts),
            stats,
            self.sacrebleu_signature(number_of_references(stats)),
        )

    def value(self, totals: Array) -> float:
        """The corpus score of one row of totals."""
        return float(self.finish(totals)[self.name])

    def features(self, stats: Array) -> Array:
        return stats[:, :-1]

    def finish(self, totals: Array) -> Mapping[str, Array]:
        return {self.name: self._formula(totals, bool(self._options.get("effective_order", False)))}

    def sentence_scores(self, counts: Array) -> Array:
        """Sentence scores (n,) as sacrebleu has them, from rows of counts (n, width)."""
        return self._formula(counts, effective_order=True)

    def detail(self, stats: Array) -> Mapping[str, Json]:
        """For BLEU what sacrebleu prints beside the score: precisions in percent, brevity penalty, lengths in tokens."""
        if self.name != "bleu":
            return {}
        hypothesis, reference, *counts = self.features(stats).sum(axis=0).tolist()
        matches, ngrams = counts[: len(counts) // 2], counts[len(counts) // 2 :]
        return {
            "precisions": [100 * m / n if n else 0.0 for m, n in zip(matches, ngrams, strict=True)],
            "brevity_penalty": math.exp(min(0.0, 1 - reference / hypothesis)) if hypothesis else 0.0,
            "answer_tokens": hypothesis,
            "reference_tokens": reference,
        }

    def _formula(self, totals: Array, effective_order: bool) -> Array:
        options = self._options
        if self.name == "bleu":
            return bleu_scores(totals, options.get("smooth_method", "exp"), options.get("smooth_value"), effective_order)
        if self.name == "ter":
            return ter_scores(totals)
        return chrf_scores(totals, options.get("beta", 2), bool(options.get("eps_smoothing", False)))


@dataclass(frozen=True, slots=True)
class CorpusScores:
    """A corpus metric over texts: ``score`` of the corpus, ``sentences`` (n,), ``stats`` (n, width), sacrebleu's signature.

    ``stats`` are sacrebleu's counts and, last, the number of references.
    """

    score: float
    sentences: Array
    stats: Array
    signature: str


def corpus_scores(name: str, hypotheses: Sequence[str], references: Sequence[Sequence[str]], **options: Any) -> CorpusScores:
    """``bleu``, ``chrf``, ``chrf++`` or ``ter`` of texts without records; ``references`` holds each hypothesis's own.

    ``options`` are the scorer's. Raises ScorerError for an unknown name or an option that the metric refuses.
    """
    factories: dict[str, Callable[..., Corpus]] = {"bleu": bleu, "chrf": chrf, "chrf++": chrf_plus_plus, "ter": ter}
    return factories[one_of("name", name, factories)](**options).measure(hypotheses, references)


def number_of_references(stats: Array) -> int:
    """References a sample by the last column of ``stats``; -1 where it varies, as sacrebleu has it."""
    found = np.unique(stats[:, -1])
    return int(found[0]) if len(found) == 1 else -1


def _verdict(results: Sequence[tuple[Array, float]]) -> Score:
    stats = np.mean([row for row, _ in results], axis=0)
    return Score(tuple(stats.tolist()), float(np.mean([value for _, value in results])))


def _length(golds: Sequence[str]) -> int:
    return sum(map(len, golds)) + 1


@serves("generate_until")
def bleu(
    tokenize: str | None = None,
    lowercase: bool | None = None,
    smooth_method: str | None = None,
    smooth_value: float | None = None,
    effective_order: bool | None = None,
    max_ngram_order: int | None = None,
    trg_lang: str | None = None,
) -> Corpus:
    """Corpus BLEU with sacrebleu's defaults (13a, exp smoothing).

    The value of a sample is ``sentence_bleu`` with these options: always with the effective order, so that a one-word
    answer can reach 100. ``effective_order`` is about the corpus score.
    """
    if smooth_method is not None:
        one_of("smooth_method", smooth_method, _SMOOTHINGS)
    if smooth_value is not None:
        _positive("smooth_value", smooth_value)
    if max_ngram_order is not None:
        whole("max_ngram_order", max_ngram_order)
    return Corpus(
        "bleu",
        {
            "tokenize": None if tokenize is None else str(tokenize),
            "lowercase": lowercase,
            "smooth_method": smooth_method,
            "smooth_value": smooth_value,
            "effective_order": effective_order,
            "max_ngram_order": max_ngram_order,
            "trg_lang": trg_lang,
        },
    )


@serves("generate_until")
def chrf(
    char_order: int | None = None,
    word_order: int | None = None,
    beta: float | None = None,
    whitespace: bool | None = None,
    lowercase: bool | None = None,
    eps_smoothing: bool | None = None,
) -> Corpus:
    """Corpus chrF with sacrebleu's defaults (6 characters, no words, beta 2)."""
    return _chrf("chrf", char_order, word_order, beta, whitespace, lowercase, eps_smoothing)


@serves("generate_until")
def chrf_plus_plus(
    char_order: int | None = None,
    word_order: int | None = None,
    beta: float | None = None,
    whitespace: bool | None = None,
    lowercase: bool | None = None,
    eps_smoothing: bool | None = None,
) -> Corpus:
    """Corpus chrF++: chrF that counts words and pairs of words too (word order 2)."""
    return _chrf("chrf++", char_order, word_order, beta, whitespace, lowercase, eps_smoothing)


def _chrf(
    name: str,
    char_order: int | None,
    word_order: int | None,
    beta: float | None,
    whitespace: bool | None,
    lowercase: bool | None,
    eps_smoothing: bool | None,
) -> Corpus:
    if char_order is not None:
        whole("char_order", char_order)
    if word_order is not None:
        whole("word_order", word_order, 0)
    if beta is not None:
        _positive("beta", beta)
    return Corpus(
        name,
        {
            "char_order": char_order,
            "word_order": word_order,
            "beta": beta,
            "whitespace": whitespace,
            "lowercase": lowercase,
            "eps_smoothing": eps_smoothing,
        },
    )


@serves("generate_until")
def ter(
    normalized: bool | None = None,
    no_punct: bool | None = None,
    asian_support: bool | None = None,
    case_sensitive: bool | None = None,
) -> Corpus:
    """Corpus translation edit rate with sacrebleu's defaults; lower is better."""
    return Corpus(
        "ter",
        {
            "normalized": normalized,
            "no_punct": no_punct,
            "asian_support": asian_support,
            "case_sensitive": case_sensitive,
        },
    )


def _positive(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ScorerError(f"scorer parameter {name!r} must be a number above 0, not {value!r}")
