"""Win rates with the part that length plays taken out.

A logistic regression of winning on how much longer the winner's text is, with the length difference set to zero: the form of
length-controlled AlpacaEval (Dubois et al. 2024, arXiv 2404.04475) for two systems, without its terms for the instruction
and the model. The difference enters as tanh of its standardised value, so that a few very long texts do not decide.
"""

from __future__ import annotations

import math

import numpy as np

from evalkit.stats.means import Array

#: Shrinks the slope a little, so that perfectly separated data still has a fit.
_RIDGE = 1e-3
_STEPS = 30


def length_gap(lengths: Array, other: Array) -> Array:
    """Tanh of the standardised length difference (n,); zeros where it never varies."""
    gap = np.asarray(lengths, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    spread = float(np.sqrt(np.mean(gap * gap)))
    return np.zeros(len(gap)) if spread == 0 else np.tanh(gap / spread)


def controlled_win_rate(wins: Array, gap: Array, weights: Array) -> Array:
    """The win rate (...) at equal length from ``wins`` (n,) in [0, 1], ``gap`` (n,) and ``weights`` (..., n).

    Newton's method on the (fractional) logistic likelihood, for all weightings at once. NaN where nothing is weighted. Where
    the difference is the same in all rows its part cannot be told from the rest, and the result is the plain win rate.
    """
    rows = weights.reshape(math.prod(weights.shape[:-1]), weights.shape[-1]).astype(np.float64)
    total = rows.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        plain = rows @ wins / total
        if len(gap) == 0 or float(np.ptp(gap)) == 0:
            return np.asarray(plain.reshape(weights.shape[:-1]))
        start = np.clip(plain, 1e-3, 1 - 1e-3)
        constant, slope = np.log(start / (1 - start)), np.zeros(len(rows))
        for _ in range(_STEPS):
            chance = 1 / (1 + np.exp(-(constant[:, None] + slope[:, None] * gap[None, :])))
            left = rows * (wins[None, :] - chance)
            curve = rows * chance * (1 - chance)
            g0, g1 = left.sum(axis=1) - _RIDGE * constant, left @ gap - _RIDGE * slope
            h00, h01, h11 = curve.sum(axis=1) + _RIDGE, curve @ gap, curve @ (gap * gap) + _RIDGE
            det = h00 * h11 - h01 * h01
            step0, step1 = (h11 * g0 - h01 * g1) / det, (h00 * g1 - h01 * g0) / det
            constant = constant + np.clip(step0, -2, 2)
            slope = slope + np.clip(step1, -2, 2)
            if max(np.nanmax(np.abs(step0), initial=0.0), np.nanmax(np.abs(step1), initial=0.0)) < 1e-9:
                break
        found = np.where(total > 0, 1 / (1 + np.exp(-constant)), np.nan)
    return np.asarray(found.reshape(weights.shape[:-1]))
