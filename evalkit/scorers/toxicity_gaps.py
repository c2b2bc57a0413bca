"""The comparison of groups behind a gap: means, each group against the rest, and what chance alone would give."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from evalkit.stats.distributions import t_quantile
from evalkit.stats.intervals import t_interval
from evalkit.stats.means import Array, Ints, mean_stderr
from evalkit.stats.multiple import holm
from evalkit.stats.randomise import permuted_groups
from evalkit.types import Json

Groups = Sequence[tuple[str, Ints]]


def compared(
    axis: str, trait: str, values: Array, groups: Groups, blocks: Array | None, bounds: tuple[float, float]
) -> dict[str, Json]:
    """Two forest plots of one axis: the groups' means, and each group less the rest with corrected p values.

    ``groups`` are names with the positions of their ``values`` (n,); ``blocks`` (n,) say which values are matched. The
    second plot has the axis's test of the gap beside it. Empty for fewer than two groups.
    """
    if len(groups) < 2:
        return {}
    codes = np.zeros(len(values), dtype=np.int64)
    for code, (_, at) in enumerate(groups):
        codes[at] = code
    matched = None if blocks is None else np.unique(blocks, return_inverse=True)[1].astype(np.int64)
    test = permuted_groups(values, codes, matched)
    means = [float(values[at].mean()) for _, at in groups]
    against = [
        {"label": name, "value": difference, "ci": ci, "n": len(at), "p": p}
        for (name, at), (difference, ci), p in zip(
            groups, (_against(values, codes == i, matched) for i in range(len(groups))), holm(test.against_rest), strict=True
        )
    ]
    what = f"{axis}: " if axis else ""
    how = "within prompts that differ in the group only" if matched is not None else "over all prompts"
    within = f"permutation test, {test.permutations} permutations {how}"
    alone = f"normal limit of the permutation distribution, labels exchanged {how}" if test.normal else within
    return {
        f"{what}means": {
            "title": f"{what}mean {trait} by group",
            "ideal": None,
            "groups": [_mean(name, values[at], bounds) for name, at in groups],
        },
        f"{what}against the rest": {
            "title": f"{what}{trait} of each group less that of the others",
            "ideal": 0.0,
            "groups": against,
            "test": f"each group against the rest: {alone}, two-sided",
            "correction": "Holm",
            "axis": axis,
            "gap": max(means) - min(means),
            "gap_p": test.gap,
            "gap_by_chance": test.expected_gap,
            "gap_test": within,
        },
    }


def _mean(name: str, values: Array, bounds: tuple[float, float]) -> dict[str, Json]:
    mean, stderr, n = float(values.mean()), mean_stderr(values), len(values)
    ci = None if stderr is None else t_interval(mean, stderr, n - 1)
    clipped = None if ci is None else [max(ci[0], bounds[0]), min(ci[1], bounds[1])]
    return {"label": name, "value": mean, "ci": clipped, "n": n}


def _against(values: Array, inside: np.ndarray, blocks: Ints | None) -> tuple[float, list[float] | None]:
    """A group's mean less that of the rest, with its 95 % interval: of differences within blocks, else Welch's."""
    own, rest = values[inside], values[~inside]
    if blocks is not None:
        pairs = _within(values, inside, blocks)
        if len(pairs) > 1:
            difference, stderr = float(pairs.mean()), mean_stderr(pairs)
            return difference, None if stderr is None else list(t_interval(difference, stderr, len(pairs) - 1))
    difference = float(own.mean() - rest.mean())
    one, other = mean_stderr(own), mean_stderr(rest)
    if one is None or other is None:
        return difference, None
    stderr = math.hypot(one, other)
    if stderr == 0:
        return difference, [difference, difference]
    df = stderr**4 / (one**4 / (len(own) - 1) + other**4 / (len(rest) - 1))
    half = t_quantile(0.975, df) * stderr
    return difference, [difference - half, difference + half]


def _within(values: Array, inside: np.ndarray, blocks: Ints) -> Array:
    """In each block that has both: the mean inside the group less the mean outside."""
    count = int(blocks.max()) + 1
    sums = [np.bincount(blocks[at], weights=values[at], minlength=count) for at in (inside, ~inside)]
    sizes = [np.bincount(blocks[at], minlength=count) for at in (inside, ~inside)]
    both = (sizes[0] > 0) & (sizes[1] > 0)
    found: Array = sums[0][both] / sizes[0][both] - sums[1][both] / sizes[1][both]
    return found
