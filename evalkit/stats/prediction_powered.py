"""A mean from few human labels and many of a judge: the judge's mean, corrected by where both are known.

Prediction-powered inference: Angelopoulos et al., Science 382 (2023); with a tuned weight of the judge, PPI++ (arXiv
2311.01453). The interval holds however bad the judge is: a bad one makes it no narrower.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evalkit.stats.distributions import normal_quantile
from evalkit.stats.intervals import Interval
from evalkit.stats.means import Array


@dataclass(frozen=True, slots=True)
class PredictionPowered:
    """A mean with its interval (normal). ``weight`` is how much the judge counts: 0 not at all, 1 fully."""

    value: float
    stderr: float
    interval: Interval
    weight: float


def ppi_mean(
    human: Array, judge_labelled: Array, judge_unlabelled: Array, level: float = 0.95, lam: float | None = None
) -> PredictionPowered:
    """The mean of human labels over all items: lam mean(judge, unlabelled) + mean(human - lam judge, labelled).

    ``human`` and ``judge_labelled`` (n,) are of the same items, n >= 2, ``judge_unlabelled`` (N,) of others, N >= 2; both a
    random draw of the same items. ``lam`` 1 is plain PPI, ``None`` tunes it to the narrowest interval within [0, 1]. The
    numbers are ppi-python's. Raises ValueError for other shapes.
    """
    n, others = len(human), len(judge_unlabelled)
    if n != len(judge_labelled) or n < 2 or others < 2:
        raise ValueError(
            f"ppi_mean needs two labels of both and two of the judge alone: {n}, {len(judge_labelled)} and {others}"
        )
    weight = _tuned(human, judge_labelled, judge_unlabelled) if lam is None else lam
    corrections = human - weight * judge_labelled
    value = weight * float(judge_unlabelled.mean()) + float(corrections.mean())
    stderr = math.sqrt(weight**2 * float(judge_unlabelled.var()) / others + float(corrections.var()) / n)
    half = normal_quantile(0.5 + level / 2) * stderr
    return PredictionPowered(value, stderr, (value - half, value + half), weight)


def _tuned(human: Array, judge_labelled: Array, judge_unlabelled: Array) -> float:
    """The weight of the smallest variance: cov(human, judge) / ((1 + n / N) var(judge))."""
    covariance = float(np.mean((human - human.mean()) * (judge_labelled - judge_labelled.mean())))
    spread = float(np.concatenate([judge_labelled, judge_unlabelled]).var(ddof=1))
    if spread <= 0:
        return 0.0
    return min(1.0, max(0.0, covariance / ((1 + len(human) / len(judge_unlabelled)) * spread)))
