"""Groups of people beside each other: a value with its interval and n for each, and tests corrected for their number.

What `panel` gives is a forest plot: ``{"metric", "by", "ideal", "groups": [{"label", "value", "ci", "n"}]}``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from evalkit.scorers.base import Array, MetricInfo, Scorer
from evalkit.scorers.estimate import estimate
from evalkit.stats.distributions import t_cdf
from evalkit.stats.exact import binomial_p
from evalkit.stats.groups import holm
from evalkit.stats.means import clustered_stderr
from evalkit.types import Json

Ints = npt.NDArray[np.int64]


class Labels:
    """Names as numbers, so that a row of statistics can hold one; the number of a name never changes."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    def code(self, name: str) -> float:
        return float(self._codes.setdefault(name, len(self._codes)))

    def parts(self, codes: Array) -> list[tuple[str, Ints]]:
        """The names among ``codes``, sorted, each with the positions of its rows; numbers without a name stay so."""
        names = {code: name for name, code in self._codes.items()}
        found = [(names.get(int(code), f"group {int(code)}"), np.flatnonzero(codes == code)) for code in np.unique(codes)]
        return sorted(found, key=lambda part: part[0])


def panel(
    scorer: Scorer,
    metric: MetricInfo,
    stats: Array,
    parts: Sequence[tuple[str, Ints]],
    clusters: Array | None = None,
    count: Callable[[Array], int] | None = None,
    by: str = "group",
) -> dict[str, Json]:
    """A metric by group; groups without a value stay, with ``None``.

    ``count``: n of a group's rows, where that is not their number. ``by`` says what the groups are.
    """
    groups = []
    for name, at in parts:
        found = estimate(scorer, metric, stats[at], None if clusters is None else clusters[at].astype(np.int64))
        n = found.n if count is None else count(stats[at])
        groups.append({"label": name, "value": found.value, "ci": None if found.ci is None else list(found.ci), "n": n})
    return {"metric": metric.name, "by": by, "ideal": metric.ideal, "groups": groups}


def tested(found: dict[str, Json], ps: Mapping[str, float | None], test: str) -> dict[str, Json]:
    """The panel with ``p`` and ``p_holm`` (corrected for the groups tested) in each group; ``test`` says which test."""
    corrected = dict(zip(ps, holm(list(ps.values())), strict=True))
    count = sum(p is not None for p in corrected.values())
    groups = [{**group, "p": ps.get(group["label"]), "p_holm": corrected.get(group["label"])} for group in found["groups"]]
    return {**found, "groups": groups, "test": f"{test}; p_holm: Holm's correction for {count} groups"}


def mean_p(values: Array, clusters: Array | None = None, ideal: float = 0.0) -> float | None:
    """Two-sided p of a mean were it ``ideal``: t over independent clusters (rows where there are none).

    Where nothing varies there is no standard error: then the sign test of as many clusters that all say the same.
    ``None`` for fewer than two clusters.
    """
    labels = np.arange(len(values)) if clusters is None else clusters
    units = len(np.unique(labels))
    stderr = clustered_stderr(values, labels) if units > 1 else None
    if stderr is None:
        return None
    difference = abs(float(values.mean()) - ideal)
    if stderr <= 1e-12 * max(1.0, difference):
        return 1.0 if difference <= 1e-12 else binomial_p(units, units)
    return min(1.0, 2 * (1 - t_cdf(difference / stderr, units - 1)))


def share_p(successes: float, trials: float) -> float | None:
    """Exact binomial p against one half; ``None`` without trials."""
    return None if not trials or math.isnan(trials) else binomial_p(int(successes), int(trials))
