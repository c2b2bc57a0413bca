"""Judge-only, human-only and corrected means, of every system and of the differences between systems."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.calibrate.judge_human import Joined
from evalkit.stats.intervals import effective_n, t_interval, wilson
from evalkit.stats.means import Array, mean, mean_stderr
from evalkit.stats.prediction_powered import FEWEST, corrected_mean
from evalkit.types import Json

#: Chance of a false alarm in each look at whether the rated items are a random part of all.
_DOUBT = 0.001


def corrected(data: Joined) -> list[dict[str, Json]]:
    """A row a system, then a row a pair of systems (their difference on the same items, the second less the first)."""
    systems = list(dict.fromkeys(data.systems))
    tables = {system: _by_item(data, system) for system in systems}
    ends = (data.low, data.high) if data.pass_fail and data.low is not None and data.high is not None else None
    rows = []
    for system in systems:
        judge, human = _columns([tables[system]])
        rows.append({"system": system, **_row(judge[0], human[0], ends, False)})
    for first, second in combinations(systems, 2):
        judge, human = _columns([tables[first], tables[second]])
        row = _row(judge[1] - judge[0], human[1] - human[0], ends, True)
        rows.append({"system": second, "less": first, **row})
    return rows


def _by_item(data: Joined, system: str) -> Mapping[str, tuple[float, float]]:
    return {
        item: (float(judge), float(human))
        for item, own, judge, human in zip(data.items, data.systems, data.judge, data.human, strict=True)
        if own == system and np.isfinite(judge)
    }


def _columns(tables: Sequence[Mapping[str, tuple[float, float]]]) -> tuple[Array, Array]:
    """Judge and human (systems, items) over the items that all systems have."""
    items = [item for item in tables[0] if all(item in table for table in tables)]
    shape = (len(tables), len(items), 2)
    found = np.array([[table[item] for item in items] for table in tables], dtype=np.float64).reshape(shape)
    return found[:, :, 0], found[:, :, 1]


def _row(judge: Array, human: Array, ends: tuple[float, float] | None, difference: bool) -> dict[str, Json]:
    known = np.isfinite(human)
    labels = human[known]
    row: dict[str, Json] = {
        "judged": len(judge),
        "rated": int(known.sum()),
        "judge": _plain(judge, None),
        "human": _plain(labels, None if difference else ends),
        "corrected": None,
        "weight": None,
    }
    if len(labels) < FEWEST:
        return row | {"reason": f"{len(labels)} rated items: at least {FEWEST} are needed"}
    if len(judge) - len(labels) < 2:
        why = "every judged item is rated: the human mean stands"
        return row | {"corrected": row["human"], "weight": 0.0, "reason": why}
    found = corrected_mean(labels, judge[known], judge[~known], ends=ends, difference=difference)
    own = {"value": found.value, "ci": list(found.interval)}
    return row | {"corrected": own, "weight": found.weight}


def _plain(values: Array, ends: tuple[float, float] | None) -> dict[str, Json]:
    """A mean with its interval: Wilson's for shares of passes, else Student's t."""
    if not len(values):
        return {"value": None, "ci": None}
    value, stderr = mean(values), mean_stderr(values)
    if ends is not None and np.isin(values, ends).all():
        share = (value - ends[0]) / (ends[1] - ends[0])
        worth = effective_n(share, None, len(values))
        return {"value": value, "ci": [ends[0] + end * (ends[1] - ends[0]) for end in wilson(share, worth)]}
    return {"value": value, "ci": None if stderr is None else list(t_interval(value, stderr, len(values) - 1))}


def selection_doubts(data: Joined) -> list[str]:
    """Signs that the rated items are no random part of the judged ones, as far as the data shows; empty is no proof."""
    return list(dict.fromkeys(line for run in np.unique(data.run) for line in _doubts(data, int(run))))


def _doubts(data: Joined, run: int) -> Iterator[str]:
    rows = np.flatnonzero((data.run == run) & np.isfinite(data.judge))
    known = np.isfinite(data.human[rows])
    rated, rest = rows[known], rows[~known]
    if len(rated) < FEWEST or len(rest) < FEWEST:
        return
    places = np.sort(np.argsort(np.argsort(data.positions[rows], kind="stable"), kind="stable")[known])
    if places[-1] - places[0] + 1 == len(places):
        yield (
            f"the rated items stand together in the data ({places[0] + 1} to {places[-1] + 1} of {len(rows)}), so they are "
            "no random part of it"
        )
    elif _differ(data.positions[rated] * 1.0, data.positions[rest] * 1.0):
        yield "the rated items stand at other places of the data than the others"
    for what, values in (("the judge's scores", data.judge), ("the lengths", data.lengths)):
        if _differ(values[rated], values[rest]):
            one, other = (float(np.nanmean(values[part])) for part in (rated, rest))
            yield f"{what} of the rated items differ from those of the others (mean {one:.3g} and {other:.3g})"
    for column in dict.fromkeys(name for i in rows for name in data.slices[i]):
        labels = [data.slices[i].get(column, "") for i in rows]
        if _uneven(labels, known):
            yield f"the rated items are spread over {column} differently from the others"


def _differ(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    from scipy.stats import mannwhitneyu

    one, other = one[np.isfinite(one)], other[np.isfinite(other)]
    if not len(one) or not len(other) or len(np.unique(np.concatenate([one, other]))) < 2:
        return False
    return bool(mannwhitneyu(one, other, method="asymptotic").pvalue < _DOUBT)


def _uneven(labels: Sequence[str], known: npt.NDArray[np.bool_]) -> bool:
    from scipy.stats import chi2_contingency

    names = list(dict.fromkeys(labels))
    if not 1 < len(names) <= 20:
        return False
    table = np.zeros((2, len(names)))
    for label, rated in zip(labels, known, strict=True):
        table[int(rated), names.index(label)] += 1
    return bool(chi2_contingency(table).pvalue < _DOUBT)
