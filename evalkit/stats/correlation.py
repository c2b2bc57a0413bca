"""Agreement of two columns of numbers: Pearson, Spearman, Kendall's tau-b, and pairwise accuracy with ties.

Two forms of the same coefficients. `weighted` takes one pair of columns and many weightings of its rows, so a bootstrap
never copies data; its cost is O(n log n) a weighting. `by_row` takes many short pairs of columns at once (one an item, one
a replicate) and looks at all pairs of their entries. Without weights both equal scipy's ``pearsonr``, ``spearmanr`` and
``kendalltau`` with their defaults. An undefined coefficient (fewer than two rows, a constant side) is NaN here, never 0.

Pairwise accuracy is acc_eq of Deutsch, Foster and Freitag, "Ties Matter" (EMNLP 2023): the share of pairs of rows that both
columns order alike, a tie in both counting as alike; a constant side leaves it defined.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from evalkit.stats.means import Array, Ints

COEFFICIENTS = ("pearson", "spearman", "kendall", "accuracy")

#: Significant digits that two numbers must share to be equal; a mean taken in another order differs in the 16th.
_DIGITS = 12
_CHUNK = 4_000_000  # pairs of entries looked at in one go: 32 MB a matrix
_WIDE = 1_000  # entries of a row from which on its pairs are counted, not looked at
_MOST_PAIRS = 20_000_000  # pairs that a tie threshold is searched among


def tidy(values: Array) -> Array:
    """``values`` rounded to 12 significant digits, so that noise of summation makes no ranks out of ties."""
    with np.errstate(divide="ignore", invalid="ignore"):
        digits = _DIGITS - 1 - np.floor(np.log10(np.abs(values)))
    scale = np.power(10.0, np.where(np.isfinite(digits), np.clip(digits, -290, 290), 0.0))
    return np.asarray(np.round(values * scale) / scale, dtype=np.float64)


def weighted(x: Array, y: Array, weights: Array) -> dict[str, Array]:
    """All coefficients of ``x`` and ``y`` (n,) under ``weights`` (r, n), each (r,).

    A weight counts a row so many times (whole numbers, zero too), as a bootstrap replicate does.
    """
    left, right = _Ranked(x), _Ranked(y)
    ranked = left.ranks(weights), right.ranks(weights)
    return {
        "pearson": _pearson(np.broadcast_to(_scaled(x), weights.shape), np.broadcast_to(_scaled(y), weights.shape), weights),
        "spearman": _pearson(*ranked, weights),
        **_ordered(left, right, weights),
    }


def _scaled(x: Array) -> Array:
    """``x`` shifted and scaled to about [-1, 1], where squares neither overflow nor cancel."""
    centred = x - np.mean(x) if len(x) else x
    largest = float(np.max(np.abs(centred), initial=0.0))
    return np.asarray(centred / largest if largest > 0 else centred, dtype=np.float64)


def _pearson(x: Array, y: Array, weights: Array) -> Array:
    """Pearson's r of each row of ``x`` and ``y`` (r, n) under its weights."""
    total = weights.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        dx = x - (weights * x).sum(axis=1, keepdims=True) / total
        dy = y - (weights * y).sum(axis=1, keepdims=True) / total
    wx = weights * dx
    return _over_root((wx * dy).sum(axis=1), (wx * dx).sum(axis=1), (weights * dy * dy).sum(axis=1), total[:, 0])


def _over_root(product: Array, left: Array, right: Array, n: Array) -> Array:
    """``product`` over sqrt(left * right) in [-1, 1]; NaN where a side has no spread but rounding (of values up to n)."""
    flat = (left <= 1e-24 * n) | (right <= 1e-24 * n) | ~np.isfinite(left * right)
    root = np.sqrt(np.where(flat, 1.0, left)) * np.sqrt(np.where(flat, 1.0, right))
    return np.asarray(np.where(flat, np.nan, np.clip(product / root, -1.0, 1.0)), dtype=np.float64)


class _Ranked:
    """A column's distinct values in order: ``codes`` (n,) numbers them from 0."""

    def __init__(self, values: Array) -> None:
        distinct, codes = np.unique(values, return_inverse=True)
        self.codes: Ints = codes.astype(np.int64).reshape(-1)
        self.order = np.argsort(self.codes, kind="stable")
        self.starts = np.searchsorted(self.codes[self.order], np.arange(len(distinct)))

    def sizes(self, weights: Array) -> Array:
        """How often each distinct value occurs, (r, distinct)."""
        return np.asarray(np.add.reduceat(weights[:, self.order], self.starts, axis=1), dtype=np.float64)

    def ranks(self, weights: Array) -> Array:
        """Mean ranks from 1 of all rows, (r, n); equal values share the mean of their places."""
        sizes = self.sizes(weights)
        below = np.cumsum(sizes, axis=1) - sizes
        return np.asarray((below + (sizes + 1) / 2)[:, self.codes], dtype=np.float64)

    def ties(self, weights: Array) -> Array:
        """Number of tied pairs, (r,)."""
        return np.asarray(_pairs(self.sizes(weights)).sum(axis=1), dtype=np.float64)


def _pairs(count: Array) -> Array:
    return np.asarray(count * (count - 1) / 2, dtype=np.float64)


def _ordered(left: _Ranked, right: _Ranked, weights: Array) -> dict[str, Array]:
    """Kendall's tau-b and pairwise accuracy from numbers of concordant, discordant and tied pairs."""
    both = _Ranked((left.codes * (len(right.starts) or 1) + right.codes).astype(np.float64))
    pairs, itself = _pairs(weights.sum(axis=1)), _pairs(weights).sum(axis=1)
    ties_left, ties_right, ties_both = left.ties(weights), right.ties(weights), both.ties(weights)
    discordant = _inversions(right.codes[both.order], weights[:, both.order])
    concordant = pairs - ties_left - ties_right + ties_both - discordant
    return {
        "kendall": _over_root(concordant - discordant, pairs - ties_left, pairs - ties_right, np.ones_like(pairs)),
        "accuracy": _share(concordant + ties_both - itself, pairs - itself),  # a row drawn twice is no pair
    }


def _share(part: Array, whole: Array) -> Array:
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0), dtype=np.float64)


def _inversions(codes: Ints, weights: Array) -> Array:
    """Weighted number (r,) of pairs at places i < j with ``codes[i] > codes[j]``.

    Two codes first differ in one bit: going from the highest bit down, with the codes kept stably sorted by the bits above,
    the inversions of a bit are its ones before its zeros within a group of equal higher bits.
    """
    total = np.zeros(len(weights))
    for bit in range(int(codes.max(initial=0)).bit_length() - 1, -1, -1):
        ones = (codes >> bit) & 1
        group = codes >> (bit + 1)
        before = np.cumsum(weights * ones, axis=1)
        before = np.concatenate([np.zeros((len(weights), 1)), before], axis=1)
        starts = np.searchsorted(group, group)
        zeros = np.flatnonzero(ones == 0)
        total += (weights[:, zeros] * (before[:, zeros] - before[:, starts[zeros]])).sum(axis=1)
        order = np.argsort(codes >> bit, kind="stable")
        codes, weights = codes[order], weights[:, order]
    return total


def by_row(x: Array, y: Array, units: Ints | None = None) -> dict[str, Array]:
    """All coefficients of each row of ``x`` with the same row of ``y`` (r, n), each (r,); NaN entries are left out.

    ``units`` (r, n) names what was drawn into each entry: two entries of one unit are no pair for the accuracy.
    """
    parts = [_by_row(x[some], y[some], None if units is None else units[some]) for some in _slices(len(x), x.shape[1] ** 2)]
    return {name: np.concatenate([part[name] for part in parts]) if parts else np.zeros(0) for name in COEFFICIENTS}


def _one_wide(x: Array, y: Array, units: Ints) -> dict[str, float]:
    """A single row that has too many pairs to look at each."""
    known = np.isfinite(x) & np.isfinite(y)
    _, first, counts = np.unique(units[known], return_index=True, return_counts=True)
    found = weighted(x[known][first], y[known][first], counts[None].astype(np.float64))
    return {name: float(values[0]) for name, values in found.items()}


def _slices(rows: int, cost: int) -> Iterator[slice]:
    step = max(1, _CHUNK // max(cost, 1))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def _by_row(x: Array, y: Array, units: Ints | None) -> dict[str, Array]:
    known = np.isfinite(x) & np.isfinite(y)
    shifted = [_spread(np.where(known, side, np.nan)) for side in (x, y)]
    pearson = _pearson(shifted[0], shifted[1], known.astype(np.float64))
    pairs = known[:, :, None] & known[:, None, :]
    left, right = (np.where(pairs, np.sign(side[:, :, None] - side[:, None, :]), 0.0) for side in (x, y))
    # a mean rank, less the mean of all ranks, is half the sum of these signs
    ranks = left.sum(axis=2), right.sum(axis=2)
    pairs &= ~np.eye(x.shape[1], dtype=bool) if units is None else units[:, :, None] != units[:, None, :]
    ones = np.ones(len(x))

    def cosine(one: Array, other: Array) -> Array:
        flat = [side.reshape(len(x), -1) for side in (one, other)]
        product, first, second = (np.einsum("rn,rn->r", flat[i], flat[j]) for i, j in ((0, 1), (0, 0), (1, 1)))
        return _over_root(product, first, second, ones)

    return {
        "pearson": pearson,
        "spearman": cosine(*ranks),
        "kendall": cosine(left, right),
        "accuracy": _share((pairs & (left == right)).sum(axis=(1, 2)) * 1.0, pairs.sum(axis=(1, 2)) * 1.0),
    }


def _spread(values: Array) -> Array:
    """Each row shifted and scaled to about [-1, 1]; what is not known is 0."""
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    centred = np.where(known, values - np.where(known, values, 0.0).sum(axis=1, keepdims=True) / count, 0.0)
    largest = np.max(np.abs(centred), axis=1, keepdims=True, initial=0.0)
    return np.asarray(np.divide(centred, largest, out=np.zeros_like(centred), where=largest > 0), dtype=np.float64)


def tie_calibrated(x: Array, y: Array) -> tuple[float, float] | None:
    """Pairwise accuracy once differences of ``x`` up to the best threshold count as ties: (accuracy, threshold).

    Rows of ``x`` and ``y`` (r, n) are items, NaN entries left out; the accuracy is the mean over the items that have a pair.
    The threshold (at least 0) is the one that serves this very data best, as in WMT 2023: use it to compare metrics that
    tie differently often, not as an estimate for new data. ``None`` without a pair, or with more than 20 million.
    """
    if len(x) * x.shape[1] * (x.shape[1] - 1) / 2 > _MOST_PAIRS:
        return None
    gaps, gains, base, items = [], [], 0.0, 0
    for some in _slices(len(x), x.shape[1] ** 2):
        left, right = x[some], y[some]
        upper = np.triu_indices(x.shape[1], k=1)
        dx, dy = (side[:, upper[0]] - side[:, upper[1]] for side in (left, right))
        known = np.isfinite(dx) & np.isfinite(dy)
        share = _share(np.ones(len(dx)), known.sum(axis=1).astype(np.float64))
        items += int(np.isfinite(share).sum())
        right_now = np.sign(dx) == np.sign(dy)
        weights = np.broadcast_to(share[:, None], dx.shape)[known]
        base += float((right_now[known] * weights).sum())
        gaps.append(np.abs(dx[known]))
        gains.append(((dy[known] == 0).astype(np.float64) - right_now[known]) * weights)
    if not items:
        return None
    gap, gain = np.concatenate(gaps), np.concatenate(gains)
    order = np.argsort(gap, kind="stable")
    gap, reached = gap[order], base + np.cumsum(gain[order])
    last = np.append(np.flatnonzero(np.diff(gap)), len(gap) - 1)  # where a further pair has another gap
    best = last[int(np.argmax(reached[last]))]
    if reached[best] <= base:
        return base / items, 0.0
    return float(reached[best]) / items, float(gap[best])


def undefined(found: Mapping[str, float], x: Array, y: Array, names: tuple[str, str] = ("x", "y")) -> str | None:
    """Why coefficients of ``x`` and ``y`` are not defined, or ``None`` where all are."""
    if len(x) < 2:
        return f"{len(x)} usable row{'s' * (len(x) != 1)}: at least 2 are needed"
    flat = [name for name, side in zip(names, (x, y), strict=True) if np.all(side == side[0])]
    if flat:
        return f"{' and '.join(flat)} {'is' if len(flat) == 1 else 'are'} the same everywhere"
    return None if all(np.isfinite(value) for value in found.values()) else "the spread is too small to measure"
