"""BLEU, chrF and TER from totals of counts, for any number of totals at once.

sacrebleu's formulas (2.6.0: Post 2018; Popović 2015, 2017; Snover et al. 2006) written for arrays, so that ten thousand
bootstrap replicates cost milliseconds. Totals need not be whole numbers: weights may be fractions.
"""

from __future__ import annotations

import numpy as np

from evalkit.scorers.base import Array
from evalkit.scorers.totals import ratio

#: What chrF++.py puts where an n-gram order has nothing to count.
_EPS = 1e-16


def bleu_scores(totals: Array, smoothing: str = "exp", amount: float | None = None, effective_order: bool = False) -> Array:
    """BLEU (...) in [0, 100] from totals (..., 2 + 2 * order): hypothesis and reference length, matches, n-grams by order.

    ``amount`` is what floor and add-k smoothing add (defaults 0.1 and 1). ``effective_order`` leaves out the orders longer
    than the hypothesis. Without any match the score is 0 whatever the smoothing.
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
    used = np.cumprod(ngrams > 0, axis=-1).astype(bool) if effective_order else np.ones(ngrams.shape, dtype=bool)
    with np.errstate(divide="ignore"):
        logs = np.log(precisions, out=np.zeros(precisions.shape), where=used)
    score = 100.0 * brevity * np.exp(ratio(logs.sum(axis=-1), used.sum(axis=-1).astype(np.float64), -np.inf))
    return np.asarray(np.where(some, score, 0.0), dtype=np.float64)


def chrf_scores(totals: Array, beta: float = 2.0, eps_smoothing: bool = False) -> Array:
    """Character n-gram F (...) in [0, 100] from totals (..., 3 * orders): by order hypothesis, reference, matches.

    Precision and recall are averaged over the orders that both sides have; with ``eps_smoothing`` F is averaged over all
    orders instead, as chrF++.py, Moses and NLTK do.
    """
    hypothesis, reference, matches = totals[..., 0::3], totals[..., 1::3], totals[..., 2::3]
    factor = float(beta) ** 2
    if eps_smoothing:
        precision, recall = ratio(matches, hypothesis, _EPS), ratio(matches, reference, _EPS)
        f = ratio((1 + factor) * precision * recall, factor * precision + recall, _EPS)
        return np.asarray(100.0 * f.mean(axis=-1), dtype=np.float64)
    both = (hypothesis > 0) & (reference > 0)
    count = both.sum(axis=-1).astype(np.float64)
    precision = ratio(np.where(both, ratio(matches, hypothesis, 0.0), 0.0).sum(axis=-1), count, 0.0)
    recall = ratio(np.where(both, ratio(matches, reference, 0.0), 0.0).sum(axis=-1), count, 0.0)
    return 100.0 * ratio((1 + factor) * precision * recall, factor * precision + recall, 0.0)


def ter_scores(totals: Array) -> Array:
    """TER (...), 0 or more, from totals (..., 2): edits and average reference length. Without a reference word 0 or 100."""
    edits, length = totals[..., 0], totals[..., 1]
    return 100.0 * np.where(length > 0, ratio(edits, length, 0.0), np.where(edits > 0, 1.0, 0.0))
