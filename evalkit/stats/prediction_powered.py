"""A mean from few human labels and many of a judge: the judge's mean, corrected by where both are known.

Prediction-powered inference: Angelopoulos et al., Science 382 (2023); with a tuned weight of the judge, PPI++ (arXiv
2311.01453). The interval holds however bad the judge is: a bad one makes it no narrower. It does not hold where the rated
items are no random draw of all items.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evalkit.stats.distributions import normal_quantile, t_quantile
from evalkit.stats.intervals import Interval
from evalkit.stats.means import Array

#: Pairs (human, judge) of imagined items on a scale from 0 to 1: every way to agree and to differ, once.
_SHARE = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))
#: The same of differences between two systems: either side moves once up and once down.
_DIFFERENCE = ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0))
#: The fewest rated items that a corrected score is made of.
FEWEST = 5


@dataclass(frozen=True, slots=True)
class PredictionPowered:
    """A mean with its interval. ``weight`` is how much the judge counts: 0 not at all, 1 fully."""

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
    numbers are ppi-python's: a normal interval, which is too narrow for small n (`corrected_mean` mends that). Raises
    ValueError for other shapes.
    """
    _require(human, judge_labelled, judge_unlabelled)
    weight = _tuned(human, judge_labelled, judge_unlabelled) if lam is None else lam
    value, stderr = _estimated(human, judge_labelled, judge_unlabelled, weight, (0, 0))
    half = normal_quantile(0.5 + level / 2) * stderr
    return PredictionPowered(value, stderr, (value - half, value + half), weight)


def corrected_mean(
    human: Array,
    judge_labelled: Array,
    judge_unlabelled: Array,
    *,
    ends: tuple[float, float] | None = None,
    difference: bool = False,
    level: float = 0.95,
) -> PredictionPowered:
    """As `ppi_mean`, tuned, with an interval that holds its level when few items are rated.

    The residuals lose two degrees of freedom (their mean and the tuned weight), and Student's t with n - 2 replaces the
    normal. Args:
        ends: the two values of a pass-fail scale. Where a judge's rare errors may all be missing among n items, four
            imagined ones are added, as Agresti and Coull do for a share: without them coverage can fall to 75 % (n = 10).
        difference: the values are differences of two systems on such a scale.

    On simulated data coverage of the 95 % interval is 94-95 % for graded scores from n = 10 on, 95 % or more for pass-fail.
    """
    if ends is not None:
        low, high = ends
        base = 0.0 if difference else low
        added = np.array(_DIFFERENCE if difference else _SHARE) * (high - low) + base
        human, judge_labelled = np.append(human, added[:, 0]), np.append(judge_labelled, added[:, 1])
    _require(human, judge_labelled, judge_unlabelled, 3)
    weight = _tuned(human, judge_labelled, judge_unlabelled)
    value, stderr = _estimated(human, judge_labelled, judge_unlabelled, weight, (2, 1))
    half = t_quantile(0.5 + level / 2, len(human) - 2) * stderr
    return PredictionPowered(value, stderr, (value - half, value + half), weight)


def _require(human: Array, judge_labelled: Array, judge_unlabelled: Array, least: int = 2) -> None:
    n, others = len(human), len(judge_unlabelled)
    if n != len(judge_labelled) or n < least or others < 2:
        few = {2: "two", 3: "three"}[least]
        raise ValueError(
            f"ppi_mean needs {few} labels of both and two of the judge alone: {n}, {len(judge_labelled)} and {others}"
        )


def _estimated(
    human: Array, judge_labelled: Array, judge_unlabelled: Array, weight: float, lost: tuple[int, int]
) -> tuple[float, float]:
    """Value and standard error; ``lost`` degrees of freedom of the residuals and of the judge alone."""
    corrections = human - weight * judge_labelled
    value = weight * float(judge_unlabelled.mean()) + float(corrections.mean())
    alone = weight**2 * float(judge_unlabelled.var(ddof=lost[1])) / len(judge_unlabelled)
    return value, math.sqrt(alone + float(corrections.var(ddof=lost[0])) / len(human))


def _tuned(human: Array, judge_labelled: Array, judge_unlabelled: Array) -> float:
    """The weight of the smallest variance: cov(human, judge) / ((1 + n / N) var(judge))."""
    covariance = float(np.mean((human - human.mean()) * (judge_labelled - judge_labelled.mean())))
    spread = float(np.concatenate([judge_labelled, judge_unlabelled]).var(ddof=1))
    if spread <= 0:
        return 0.0
    return min(1.0, max(0.0, covariance / ((1 + len(human) / len(judge_unlabelled)) * spread)))
