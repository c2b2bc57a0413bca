"""Calibration of confidences against what came true."""

from __future__ import annotations

import numpy as np

from evalkit.stats.means import Array


def confidence_bins(confidence: Array, bins: int) -> Array:
    """Indicator (n, bins) of the equal-width bin of each confidence in [0, 1]: [i/bins, (i+1)/bins), 1.0 in the last."""
    index = np.clip(np.floor(confidence * bins), 0, bins - 1)
    return np.asarray(index[:, None] == np.arange(bins), dtype=np.float64)


def calibration_features(confidence: Array, correct: Array, bins: int) -> Array:
    """Columns (n, bins + 1) whose totals give the calibration error: the gap in each bin, and a count."""
    gaps = confidence_bins(confidence, bins) * (confidence - correct)[:, None]
    return np.concatenate([gaps, np.ones((len(confidence), 1))], axis=1)


def calibration_error(totals: Array) -> Array:
    """Expected calibration error from totals of `calibration_features`: mean absolute gap, bins weighted by size.

    |sum of gaps in a bin| / n is the bin's share of samples times |mean confidence - accuracy| in it (Guo et al. 2017).
    """
    return np.asarray(np.abs(totals[..., :-1]).sum(axis=-1) / totals[..., -1], dtype=np.float64)


def brier(confidence: Array, correct: Array) -> float:
    """Mean squared distance of confidence to the outcome 0/1, in [0, 1]."""
    return float(np.mean((confidence - correct) ** 2))
