"""Scorers whose value is a function of column totals: perplexity, F1, MCC, BLEU, calibration error, correlations.

Such a scorer writes two small functions and gets bootstrap replicates as one matrix product, and a delta-method standard
error where there are too many rows to resample.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evalkit.scorers.base import Array, BaseScorer


class TotalsScorer(BaseScorer):
    """A scorer that aggregates through totals of features: value = finish(weights @ features(stats)).

    ``prefer_linear``: use the delta method for any number of rows, for values that resampling biases (calibration error).
    """

    prefer_linear: bool = False

    def features(self, stats: Array) -> Array:
        """The columns to total, shape (n, m), from ``stats`` (n, width). The statistics themselves by default."""
        return stats

    def finish(self, totals: Array) -> Mapping[str, Array]:
        """Values (...) by metric name from totals (..., m)."""
        raise NotImplementedError(f"{type(self).__name__} must define finish()")

    def aggregate(self, stats: Array, weights: Array) -> Mapping[str, Array]:
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            return self.finish(weights @ self.features(stats))


def ratio(numerator: Array, denominator: Array, empty: float = float("nan")) -> Array:
    """Elementwise ratio, ``empty`` where the denominator is zero."""
    shape = np.broadcast_shapes(np.shape(numerator), np.shape(denominator))
    result: Array = np.divide(numerator, denominator, out=np.full(shape, empty), where=np.asarray(denominator) != 0)
    return result
