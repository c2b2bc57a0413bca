"""Where a judge differs from people: on the whole, by level, with length, with the order of two texts, in its certainty."""

from __future__ import annotations

import math

import numpy as np

from evalkit.calibrate.judge_agreement import levels_of, nearest_level
from evalkit.calibrate.judge_human import Joined
from evalkit.stats import levels
from evalkit.stats.calibration import brier, calibration_error, calibration_features
from evalkit.stats.correlation import tidy
from evalkit.stats.intervals import effective_n, t_interval, wilson
from evalkit.stats.means import Array, cluster_codes, clustered_stderr, mean
from evalkit.types import Json

_BINS = 10


def bias(data: Joined, replicates: int, seed: int) -> dict[str, Json]:
    """The mean offset, the confusion of levels, and what the differences go with."""
    rows = data.rated
    judge, human = data.judge[rows], data.human[rows]
    items = [data.items[i] for i in rows]
    found: dict[str, Json] = {"offset": offset(judge, human, items), "length": _length(data, replicates, seed)}
    outside = _outside(data)
    if outside:
        found["scale"] = outside
    points = levels_of(data)
    if points is not None:
        table = np.zeros((len(points), len(points)), dtype=np.int64)
        np.add.at(table, (nearest_level(human, points), nearest_level(judge, points)), 1)
        found["confusion"] = {"levels": points.tolist(), "people_by_judge": table.tolist()}
    return found | {"shape": _shape(data)} | ({"pass_fail": _pass_fail(data)} if data.pass_fail else {})


def offset(judge: Array, human: Array, items: list[str]) -> dict[str, Json]:
    """The mean of judge - human with its t interval; rows of one item are not independent."""
    difference = judge - human
    codes, count = cluster_codes(items)
    stderr = clustered_stderr(difference, codes)
    ci = None if stderr is None else list(t_interval(mean(difference), stderr, count - 1))
    return {"value": mean(difference), "ci": ci, "mean_absolute": float(np.abs(difference).mean())}


def _outside(data: Joined) -> str | None:
    low, high = data.low, data.high
    given = data.raters[np.isfinite(data.raters)]
    if low is None or high is None or (given.min() >= low and given.max() <= high):
        return None
    return (
        f"people rated from {given.min():g} to {given.max():g}, the judge from {low:g} to {high:g}: on different scales "
        "offset and agreement mean nothing, correlations and the corrected score do"
    )


def _length(data: Joined, replicates: int, seed: int) -> dict[str, Json]:
    """Spearman correlations with length: of judge - human (the bias), of the judge, of people."""
    rows = data.rated
    found: dict[str, Json] = {}
    columns = {"residual": data.judge - data.human, "judge": data.judge, "human": data.human}
    for name, values in columns.items():
        paired, _ = levels.rated(values[rows], data.lengths[rows], [data.items[i] for i in rows])
        one = levels.agreement(paired, "segment", replicates=replicates if name == "residual" else 0, seed=seed)
        spearman = one.coefficients["spearman"]
        found[name] = {"value": spearman.value, "ci": None if spearman.ci is None else list(spearman.ci)}
    return found


def _shape(data: Joined) -> dict[str, Json]:
    """Share of the top score, and of pairs of rows that are tied, in the judge's scores and in people's."""
    rows, points = data.rated, levels_of(data)
    slack = 1e-9 if points is None else (points[1] - points[0]) / 2
    found: dict[str, Json] = {}
    for name, values in (("judge", data.judge[rows]), ("human", data.human[rows])):
        told: dict[str, Json] = {"ties": ties(values)}
        if data.high is not None:
            told["top"] = float((values >= data.high - slack).mean())
        found[name] = told
    return found


def ties(values: Array) -> float | None:
    """The share of pairs with equal values."""
    n = len(values)
    counts = np.unique(tidy(values), return_counts=True)[1].astype(np.float64)
    return None if n < 2 else float((counts * (counts - 1)).sum() / (n * (n - 1)))


def _pass_fail(data: Joined) -> dict[str, Json]:
    """How good the judge's values are as probabilities of a pass."""
    assert data.low is not None
    rows = data.rated
    given, truth = data.judge[rows] - data.low, data.human[rows] - data.low
    errors = calibration_features(given, truth, _BINS).sum(axis=0)
    sided = truth != 0.5
    return {
        "brier": brier(given, truth),
        "brier_of_the_base_rate": brier(np.full(len(truth), truth.mean()), truth),
        "ece": float(calibration_error(errors)),
        "bins": _BINS,
        "probabilities": not bool(np.isin(given, (0.0, 1.0)).all()),
        "accuracy": float(((given >= 0.5) == (truth > 0.5))[sided].mean()) if sided.any() else None,
        "passed_by": {"judge": float((given >= 0.5).mean()), "human": float(truth.mean())},
    }


def order_effects(verdicts: Array) -> dict[str, Json]:
    """What the order of two texts does to a judge, from ``verdicts`` (pairs, 2): each order once, texts swapped.

    A verdict is how far the text *shown first* won: 1, 0, or 0.5 for a tie. ``flip``: the two verdicts name different texts
    (a tie names none), ``same``: they agree; ``first_slot``: the share of verdicts, ties aside, for the text shown first.
    Wilson intervals, that of first_slot with the pairs as clusters.
    """
    pairs = len(verdicts)
    if not pairs:
        return {"pairs": 0}
    one, other = verdicts[:, 0] - 0.5, 0.5 - verdicts[:, 1]
    flips = one * other < 0
    same = np.sign(one) == np.sign(other)
    decided = verdicts != 0.5
    first = (verdicts > 0.5)[decided].astype(np.float64)
    owner = np.broadcast_to(np.arange(pairs)[:, None], verdicts.shape)[decided]
    found: dict[str, Json] = {"pairs": pairs, "flips": int(flips.sum()), "same": int(same.sum())}
    found["flip"] = {"value": float(flips.mean()), "ci": list(wilson(float(flips.mean()), pairs))}
    if len(first):
        share = float(first.mean())
        # the more both orders go to the same slot, the less the second of them tells
        worth = min(effective_n(share, clustered_stderr(first, owner), len(np.unique(owner))), float(len(first)))
        found["first_slot"] = {"value": share, "ci": list(wilson(share, worth)), "verdicts": len(first)}
    return found


def trivial(data: Joined, present: list[str], pairwise: bool, seed: int) -> dict[str, Json]:
    """What judges that look at nothing, or at length alone, would get at the same levels."""
    rows = data.rated
    lengths = data.lengths[rows]
    longest = np.where(np.isnan(lengths), np.nan, (np.sign(lengths) + 1) / 2) if pairwise else lengths
    judges = {
        "longest": longest,
        "shortest": -longest,
        "random": np.random.default_rng([seed, 7]).random(len(rows)),
        "constant": np.zeros(len(rows)),
    }
    items, systems = [data.items[i] for i in rows], [data.systems[i] for i in rows]
    found: dict[str, Json] = {}
    for name, values in judges.items():
        paired, _ = levels.rated(values, data.human[rows], items, systems)
        found[name] = {
            level: {k: a.value for k, a in levels.agreement(paired, level, replicates=0).coefficients.items()}
            for level in present
        }
    return found


def items_needed(r: float, half: float = 0.15) -> int:
    """Rated items for a Spearman correlation of ``r`` to be known within about +-``half``, and told from 0.

    Standard error of Fisher's z by Bonett and Wright (Psychometrika 65, 2000): sqrt((1 + r^2 / 2) / (n - 3)).
    """
    r = min(max(abs(r), 0.05), 0.95)
    spread = 1.96**2 * (1 + r * r / 2)
    apart = 3 + spread / math.atanh(r) ** 2
    n = 10
    while n < 100_000:
        reach = math.sqrt(spread / (n - 3))
        if (math.tanh(math.atanh(r) + reach) - math.tanh(math.atanh(r) - reach)) / 2 <= half:
            break
        n += max(1, n // 50)
    return max(n, math.ceil(apart))
