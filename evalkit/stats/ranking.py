"""How well scores tell two classes apart: AUC, average precision, rates at a threshold, and both inside subgroups.

Everything takes weights (..., n), how often each row counts, and gives values (...): ones for the value itself, resampling
counts for bootstrap replicates. What is undefined (a class without a row) is NaN.

Subgroup AUC, BPSN, BNSP and their generalised mean are those of Borkan et al., "Nuanced Metrics for Measuring Unintended
Bias" (2019); `bias_score` is the final score of the Jigsaw competition of that year.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evalkit.stats.means import Array

Flags = npt.NDArray[np.bool_]

#: The exponent of the generalised mean over subgroups: near the worst one.
POWER = -5.0
_BLOCK = 100_000  # rows x weightings at a time


class Ranking:
    """Scores in order, made once and weighted often. Higher scores should mean the positive class.

    Raises ValueError for scores that are no numbers, and where ``scores`` and ``positive`` differ in length.
    """

    def __init__(self, scores: Array, positive: Flags) -> None:
        if len(scores) != len(positive) or not np.isfinite(scores).all():
            raise ValueError("a ranking needs one finite score and one class a row")
        order = np.argsort(-scores, kind="stable")
        self._positive, self._negative = order[positive[order]], order[~positive[order]]
        down, other = -scores[self._positive], -scores[self._negative]
        # for each positive row, highest score first: how many score at least, or above, what it scores
        self._hits = np.searchsorted(down, down, side="right")
        self._false = np.searchsorted(other, down, side="right")
        self._false_above = np.searchsorted(other, down, side="left")
        self._tied = bool((self._false != self._false_above).any())

    def auc(self, weights: Array) -> Array:
        """Probability that a positive row scores above a negative one, ties counting half (Mann-Whitney)."""
        return self._blockwise(weights, self._auc)

    def average_precision(self, weights: Array) -> Array:
        """Sum over thresholds of the gain in recall times precision there, without interpolation (as scikit-learn)."""
        return self._blockwise(weights, self._average_precision)

    def _blockwise(self, weights: Array, of: Callable[[Array], Array]) -> Array:
        """A few weightings at a time, so that their running sums stay in the processor's cache."""
        rows = weights.reshape(math.prod(weights.shape[:-1]), weights.shape[-1])
        step = max(1, _BLOCK // max(1, rows.shape[1]))
        parts = [of(rows[at : at + step]) for at in range(0, len(rows), step)]
        return (np.concatenate(parts) if parts else np.zeros(0)).reshape(weights.shape[:-1])

    def _auc(self, weights: Array) -> Array:
        own, others = weights[:, self._positive], _running(weights[:, self._negative])
        beaten_by = others[:, self._false]
        if self._tied:
            beaten_by = (beaten_by + others[:, self._false_above]) / 2
        whole = own.sum(axis=1) * others[:, -1]
        return _ratio(whole - np.einsum("ij,ij->i", own, beaten_by), whole)

    def _average_precision(self, weights: Array) -> Array:
        own = weights[:, self._positive]
        hits = _running(own)[:, self._hits]
        flagged = hits + _running(weights[:, self._negative])[:, self._false]
        precision = np.divide(hits, flagged, out=np.zeros_like(hits), where=flagged > 0)
        return _ratio(np.einsum("ij,ij->i", own, precision), own.sum(axis=1))


def _running(rows: Array) -> Array:
    """Sums of the first 0, 1, ... columns, (r, n + 1)."""
    found = np.zeros((rows.shape[0], rows.shape[1] + 1))
    np.cumsum(rows, axis=1, out=found[:, 1:])
    return found


def _ratio(numerator: Array, denominator: Array) -> Array:
    shape = np.broadcast_shapes(np.shape(numerator), np.shape(denominator))
    found: Array = np.divide(numerator, denominator, out=np.full(shape, np.nan), where=np.asarray(denominator) > 0)
    return found


def roc_auc(scores: Array, positive: Flags, weights: Array | None = None) -> Array:
    """Area under the ROC curve of ``scores`` (n,) for the rows that are ``positive`` (n,); see `Ranking.auc`."""
    return Ranking(scores, positive).auc(np.ones(len(scores)) if weights is None else weights)


def average_precision(scores: Array, positive: Flags, weights: Array | None = None) -> Array:
    """Average precision of ``scores`` (n,); the share of positive rows is what chance gets. See `Ranking`."""
    return Ranking(scores, positive).average_precision(np.ones(len(scores)) if weights is None else weights)


def confusion(flagged: Flags, positive: Flags) -> Array:
    """Columns (n, 4) to total: true positives, false positives, false negatives, true negatives."""
    return np.stack([flagged & positive, flagged & ~positive, ~flagged & positive, ~flagged & ~positive], axis=1).astype(
        float
    )


def rates(totals: Array) -> dict[str, Array]:
    """What totals (..., 4) of `confusion` come to.

    ``precision`` is undefined where nothing is flagged, ``recall`` and ``fnr`` without positive rows, ``fpr`` without
    negative ones, ``f1`` where no row is positive or flagged.
    """
    tp, fp, fn, tn = np.moveaxis(totals, -1, 0)
    return {
        "accuracy": _ratio(tp + tn, tp + fp + fn + tn),
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "fpr": _ratio(fp, fp + tn),
        "fnr": _ratio(fn, tp + fn),
    }


@dataclass(frozen=True, slots=True)
class Sweep:
    """What every threshold would give: rows scoring ``thresholds`` (t,) or more are flagged, ascending; ``rates`` (t,)."""

    thresholds: Array
    rates: Mapping[str, Array]

    def best_f1(self) -> int | None:
        """Where F1 is highest (the higher threshold on ties); ``None`` without a positive row."""
        f1 = self.rates["f1"]
        if np.isnan(self.rates["recall"]).all():
            return None
        return len(f1) - 1 - int(np.argmax(f1[::-1]))

    def at_fpr(self, limit: float) -> int | None:
        """The lowest threshold whose false positive rate is at most ``limit``; ``None`` where every one exceeds it."""
        within = np.flatnonzero(self.rates["fpr"] <= limit)
        return int(within[0]) if len(within) else None


def sweep(scores: Array, positive: Flags) -> Sweep:
    """The rates of every distinct score as the threshold."""
    thresholds = np.unique(scores)
    sides = [np.sort(scores[positive]), np.sort(scores[~positive])]
    hits, false = (len(side) - np.searchsorted(side, thresholds, side="left") for side in sides)
    totals = np.stack([hits, false, len(sides[0]) - hits, len(sides[1]) - false], axis=-1).astype(float)
    return Sweep(thresholds, rates(totals))


#: Which rows each AUC of `subgroup_aucs` ranks, in words.
SUBGROUP_AUCS = {
    "subgroup_auc": "rows of the subgroup only",
    "bpsn_auc": "positive rows of the background, negative rows of the subgroup: low where the subgroup is flagged wrongly",
    "bnsp_auc": "negative rows of the background, positive rows of the subgroup: low where the subgroup is missed",
}


class SubgroupRankings:
    """The three AUCs of one subgroup, where ``member`` (n,) marks its rows; all others are its background."""

    def __init__(self, scores: Array, positive: Flags, member: Flags) -> None:
        kept = {"subgroup_auc": member, "bpsn_auc": member ^ positive, "bnsp_auc": member == positive}
        self._rows = {name: np.flatnonzero(chosen) for name, chosen in kept.items()}
        self._rankings = {name: Ranking(scores[rows], positive[rows]) for name, rows in self._rows.items()}
        self.sizes: dict[str, int] = {name: len(rows) for name, rows in self._rows.items()}

    def aucs(self, weights: Array) -> dict[str, Array]:
        """``subgroup_auc``, ``bpsn_auc`` and ``bnsp_auc``, each (...)."""
        return {name: self._rankings[name].auc(weights[..., rows]) for name, rows in self._rows.items()}


def power_mean(values: Sequence[Array], power: float = POWER) -> Array:
    """The generalised mean (mean of x^p)^(1/p) over subgroups of values (...) in [0, 1]; undefined ones are left out."""
    stacked = np.stack([np.asarray(value, dtype=np.float64) for value in values])
    known = ~np.isnan(stacked)
    with np.errstate(divide="ignore", invalid="ignore"):
        raised = np.where(known, stacked, 1.0) ** power  # 0 to a negative power is infinite, and the mean then 0
        mean = np.where(known, raised, 0.0).sum(axis=0) / known.sum(axis=0)
        return np.asarray(mean ** (1 / power), dtype=np.float64)


def bias_score(overall: Array, means: Mapping[str, Array]) -> Array:
    """A quarter of the overall AUC and a quarter of each generalised mean of the three subgroup AUCs (Jigsaw 2019)."""
    return np.asarray(0.25 * (overall + sum(means[name] for name in SUBGROUP_AUCS)), dtype=np.float64)
