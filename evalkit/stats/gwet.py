"""Gwet's agreement coefficients AC1 and AC2: agreement beyond chance that stays defined where one value is very common.

Where four ratings of five are the same value, Krippendorff's alpha is low though raters hardly ever differ: it takes what
is common for what chance gives. AC1 and AC2 take chance agreement to be small there. Neither is the truth; show both, with
the share of the commonest value beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from evalkit.stats.means import Array

Weighting = Literal["none", "linear", "quadratic"]


def agreement_weights(points: Sequence[float], weighting: Weighting) -> Array:
    """How far two values agree, (q, q): 1 on the diagonal; elsewhere 0, or less by distance (its square) over the range."""
    values = np.asarray(points, dtype=np.float64)
    if weighting == "none" or len(values) < 2:
        return np.eye(len(values))
    distance = np.abs(np.subtract.outer(values, values)) / (values.max() - values.min())
    return np.asarray(1 - (distance if weighting == "linear" else distance**2), dtype=np.float64)


def gwet_ac(counts: Array, points: Sequence[float], weighting: Weighting = "none", draws: Array | None = None) -> Array:
    """AC1 (``none``) or AC2 (weighted) from ``counts`` (units, q) of how many raters gave each of ``points``, worst first.

    ``draws`` (r, units) says how often each unit counts; gives (r,), one value without it. NaN where no unit has two
    ratings or all ratings are one value: raters who only ever say "good" show nothing. q counts all points of the scale,
    seen or not. Missing ratings as K. L. Gwet, "Handbook of Inter-Rater Reliability" (2014), and the package irrCAC.
    """
    raters = counts.sum(axis=1)
    draws = np.ones((1, len(counts))) if draws is None else draws
    weights = agreement_weights(points, weighting)
    pairs = np.where(raters > 1, raters * (raters - 1), np.nan)
    agreed = np.nan_to_num((counts * (counts @ weights - 1)).sum(axis=1) / pairs)
    shares = counts / np.maximum(raters, 1)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = draws @ agreed / (draws @ (raters > 1))
        common = draws @ shares / (draws @ (raters > 0))[:, None]
        expected = weights.sum() / (len(points) * (len(points) - 1)) * (common * (1 - common)).sum(axis=1)
        found = (observed - expected) / (1 - expected)
    return np.where((common > 1e-12).sum(axis=1) > 1, found, np.nan)
