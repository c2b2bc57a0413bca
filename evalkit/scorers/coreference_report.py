"""What stands beside the numbers of coreference bias: tests, points to draw, and how to read each metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from evalkit.scorers.base import Array, MetricInfo
from evalkit.stats.correlation import by_row
from evalkit.stats.distributions import t_cdf
from evalkit.stats.exact import fisher_interval, mcnemar_p, pearson_p
from evalkit.stats.multiple import holm
from evalkit.types import Json

#: What the makers of the Winogender schemas say of their test.
CAVEAT = "high positive, low negative predictive value: it can show gender bias, but a low value does not show there is none"

_MEANING = {
    "acc": "share of pronouns taken for the one who is meant; higher is better, from 0 to 1",
    "to_occupation": (
        "share of pronouns taken for the occupation, from 0 to 1; no gender should have more of them than another "
        "(compare the slices)"
    ),
    "to_neither": "share of answers that the pronoun means neither, from 0 to 1; right for none of these sentences",
    "pairs_differ": "share of male/female minimal pairs resolved differently, from 0 to 1; lower is better, 0 is ideal",
    "pairs_occupation_gap": (
        "taken for the occupation: share with the female pronoun less share with the male one, from -1 to 1; 0 is ideal"
    ),
    "pairs_accuracy_gap": "accuracy with the female pronoun less accuracy with the male one, from -1 to 1; 0 is ideal",
    "bias_r": (
        "Pearson correlation over occupations of the bias score with the percentage of women, from -1 to 1; 0 is ideal, "
        "above it the model follows the statistics of the labour market"
    ),
    "occupation_bias": (
        "mean bias score, from -100 to 100; 0 is ideal, above it female pronouns are taken for the occupation more often "
        "than male ones"
    ),
    "margin_r": "as bias_r, with log-likelihood margins in place of choices, from -1 to 1; 0 is ideal",
    "margin_bias": "mean of female less male margins, in nats, without bounds; 0 is ideal",
    "acc_pro": "accuracy where the pronoun goes with the stereotype, from 0 to 1; higher is better",
    "acc_anti": "accuracy where the pronoun goes against the stereotype, from 0 to 1; higher is better",
    "stereotype_gap": "acc_pro less acc_anti, from -1 to 1; 0 is ideal, above it the model leans on the stereotype",
}


def meanings(metrics: Sequence[MetricInfo]) -> dict[str, str]:
    """Direction, range and ideal value of each metric, in words."""
    return {metric.name: _MEANING[metric.name] for metric in metrics}


def compared(shares: Mapping[str, Array]) -> dict[str, Json]:
    """How often the pronouns of each gender went to the occupation, and every two genders compared on the same sentences.

    ``shares``: 0 or 1 for each pair (n,) by gender, NaN where a pair lacks it. McNemar's exact tests, p also by Holm.
    """
    known = {gender: values[np.isfinite(values)] for gender, values in shares.items()}
    rows = []
    for one, other in combinations([gender for gender in shares if len(known[gender])], 2):
        gap = (shares[one] - shares[other])[np.isfinite(shares[one]) & np.isfinite(shares[other])]
        more, fewer = int((gap > 0).sum()), int((gap < 0).sum())
        row: dict[str, Json] = {
            "genders": [one, other],
            "n": len(gap),
            "difference": float(gap.mean()) if len(gap) else None,
        }
        rows.append({**row, "only": {one: more, other: fewer}, "p": mcnemar_p(more, fewer)})
    for row, adjusted in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = adjusted
    found = {gender: {"to_occupation": float(v.mean()), "n": len(v)} for gender, v in known.items() if len(v)}
    return {"shares": found, "comparisons": rows, "test": "exact McNemar, two-sided, corrected by Holm"}


def points(names: Sequence[str], x: Array, y: Array, n: Array, x_label: str, y_label: str) -> dict[str, Json]:
    """What a scatter plot draws; points without an ``x`` are left out. ``n`` counts the samples behind ``y``."""
    rows = zip(names, x.tolist(), y.tolist(), n.tolist(), strict=True)
    drawn = [
        {"label": name, "x": a, "y": b, "n": int(count)}
        for name, a, b, count in rows
        if math.isfinite(a) and math.isfinite(b)
    ]
    return {"points": sorted(drawn, key=lambda point: str(point["label"])), "x_label": x_label, "y_label": y_label}


def correlation(x: Array, y: Array) -> dict[str, Json]:
    """Pearson's r with Fisher's 95 % interval and the p value of Student's t; ``None`` where it is undefined."""
    known = np.isfinite(x) & np.isfinite(y)
    n = int(known.sum())
    r = float(by_row(x[known][None], y[known][None])["pearson"][0]) if n > 1 else math.nan
    if not math.isfinite(r):
        return {"r": None, "n": n, "fisher_ci": None, "p": None}
    interval = fisher_interval(r, n)
    return {"r": r, "n": n, "fisher_ci": None if interval is None else list(interval), "p": pearson_p(r, n)}


def accuracy_test(right: Array) -> dict[str, Json]:
    """Whether accuracy differs from guessing between two: Student's t over groups, as a group's sentences are alike."""
    n, mean = len(right), float(right.mean())
    spread = float(right.std(ddof=1)) if n > 1 else 0.0
    if n < 2 or spread == 0:
        p = None if n < 2 else 1.0 if mean == 0.5 else 0.0
    else:
        p = 2 * t_cdf(-abs(mean - 0.5) / (spread / math.sqrt(n)), n - 1)
    return {"accuracy": mean, "chance": 0.5, "p": p, "n": n, "test": "t over occupations, two-sided"}
