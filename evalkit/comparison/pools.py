"""Groups of tasks compared: their samples pooled as the group weighs its tasks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from evalkit.comparison.base import Comparison, Flip, LeftOut, Measured, RunScores
from evalkit.comparison.flips import anchor_of, changed_units, effects, flips_of, gained_and_lost
from evalkit.comparison.pairs import Ints, MetricPairs, left_out
from evalkit.scorers.base import Array
from evalkit.stats.difference import Difference, paired_difference, totals_difference
from evalkit.stats.paired import Pair

#: By task and filter: every metric that both runs have.
Pools = Mapping[tuple[str, str], Sequence[tuple[Measured, MetricPairs]]]


def group_comparisons(
    baseline: RunScores, system: RunScores, pools: Pools, *, tasks: Collection[str] | None, seed: int
) -> list[Comparison]:
    """Every metric that the groups of both runs aggregate; with ``tasks``, of groups that are named there or whole in it."""
    theirs = {str(group["group"]): group for group in system.manifest["groups"]}
    found = []
    for group in baseline.manifest["groups"]:
        name = str(group["group"])
        if name not in theirs or (tasks is not None and name not in tasks and not set(group["leaves"]) <= set(tasks)):
            continue
        for rule in group["aggregate_metric_list"]:
            for filter_ in dict.fromkeys(filter_ for task, filter_ in pools if task in group["leaves"]):
                if not rule["filter_list"] or filter_ in rule["filter_list"]:
                    one = _pooled(baseline, system, group, rule, filter_, pools, seed)
                    found += [] if one is None else [one]
    return found


def _pooled(
    baseline: RunScores,
    system: RunScores,
    group: Mapping[str, Any],
    rule: Mapping[str, Any],
    filter_: str,
    pools: Pools,
    seed: int,
) -> Comparison | None:
    parts = {}
    for task in group["leaves"]:
        own = [item for item in pools.get((task, filter_), ()) if item[1].metric.name == rule["metric"]]
        if own:
            parts[task] = own[0]  # a task may report a metric twice: its first scorer's is the task's own
    if not parts:
        return None
    first, columns = next(iter(parts.values())), [pairs for _, pairs in parts.values()]
    by_size = bool(rule["weight_by_size"])
    values = _difference(columns, by_size, seed)
    without = [task for task in group["leaves"] if task not in parts]
    notes = [f"without {', '.join(without)}: no {rule['metric']} in both runs"] if without else []
    moved = {task: effects(pairs) for task, (_, pairs) in parts.items()}
    counts = [gained_and_lost(pairs, pairs.known, moved[task]) for task, (_, pairs) in parts.items()]
    return Comparison(
        task=str(group["group"]),
        filter=filter_,
        scorer=first[0].scorer.name,
        metric=first[1].metric,
        baseline=baseline.name,
        system=system.name,
        baseline_value=values[0],
        system_value=values[1],
        test=values[2],
        n=sum(int(pairs.known.sum()) for pairs in columns),
        gained=sum(gained for gained, _ in counts),
        lost=sum(lost for _, lost in counts),
        flips=_flips(system, {task: (pairs, moved[task]) for task, (_, pairs) in parts.items()}),
        left_out=_summed([left_out(pairs) for pairs in columns]),
        signature=f"mean|weight_by_size:{by_size}|of:{first[0].signature}",
        notes=tuple(dict.fromkeys([*notes, *(note for pairs in columns for note in pairs.notes)])),
        detail={"members": list(parts), "weight_by_size": by_size},
    )


def _difference(
    columns: Sequence[MetricPairs], by_size: bool, seed: int
) -> tuple[float | None, float | None, Difference | None]:
    """Both values and the test; nothing where a task has no pair, as then the group has no value."""
    sizes = [int(pairs.known.sum()) for pairs in columns]
    if 0 in sizes:
        return None, None, None
    clusters = _clusters(columns)
    metric = columns[0].metric
    shares = np.array(sizes, dtype=np.float64) / sum(sizes) if by_size else np.full(len(sizes), 1 / len(sizes))
    if all(pairs.finish is None for pairs in columns):
        x, y = (np.concatenate([side(pairs)[pairs.known] for pairs in columns]) for side in (_baseline, _system))
        weights = None if by_size else np.repeat(shares / np.array(sizes), sizes)
        a, b = (float(np.average(side, weights=weights)) for side in (x, y))
        test = paired_difference(x, y, clusters=clusters, weights=weights, low=metric.low, high=metric.high)
        return a, b, test
    pair = _side_by_side(columns, shares)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        a, b = (float(pair.finish(rows.sum(axis=0)[None])[0]) for rows in (pair.baseline, pair.system))
    if not (np.isfinite(a) and np.isfinite(b)):
        return None, None, None
    return a, b, totals_difference(pair, clusters=clusters, low=metric.low, high=metric.high, seed=seed)


def _side_by_side(columns: Sequence[MetricPairs], shares: Array) -> Pair:
    """The totals of each task in columns of its own, so that the value of all is the mean of the tasks' values."""
    tables = []
    for side in (_baseline, _system):
        blocks = [_as_totals(side(pairs)[pairs.known]) for pairs in columns]
        widths = np.cumsum([0, *(block.shape[1] for block in blocks)])
        table = np.zeros((sum(map(len, blocks)), widths[-1]))
        row = 0
        for block, start in zip(blocks, widths, strict=False):
            table[row : row + len(block), start : start + block.shape[1]] = block
            row += len(block)
        tables.append(table)

    def finish(totals: Array) -> Array:
        value: Array = np.zeros(totals.shape[:-1])
        for pairs, share, start, stop in zip(columns, shares, widths, widths[1:], strict=False):
            part = totals[..., start:stop]
            value = value + share * (part[..., 0] / part[..., 1] if pairs.finish is None else pairs.finish(part))
        return value

    return Pair(tables[0], tables[1], finish)


def _as_totals(rows: Array) -> Array:
    return np.column_stack([rows, np.ones(len(rows))]) if rows.ndim == 1 else rows


def _clusters(columns: Sequence[MetricPairs]) -> Ints | None:
    """Clusters never span tasks; samples of a task without any are their own."""
    if all(pairs.units.clusters is None for pairs in columns):
        return None
    found: list[Ints] = []
    start = 0
    for pairs in columns:
        own = np.arange(len(pairs.known), dtype=np.int64) if pairs.units.clusters is None else pairs.units.clusters
        found.append(own[pairs.known] + start)
        start += int(own.max(initial=-1)) + 1
    return np.concatenate(found)


def _flips(system: RunScores, parts: Mapping[str, tuple[MetricPairs, Array]]) -> tuple[Flip, ...]:
    found = [
        flip
        for task, (pairs, effect) in parts.items()
        for flip in flips_of(task, pairs, changed_units(pairs, effect), effect, anchor_of(system, task))
    ]
    better = next(iter(parts.values()))[0].metric.higher_is_better
    sign = -1 if better is False else 1
    return tuple(sorted(found, key=lambda f: -abs(f.change) if better is None else sign * f.change))


def _summed(counts: Sequence[LeftOut]) -> LeftOut:
    return LeftOut(**{field.name: sum(getattr(one, field.name) for one in counts) for field in fields(LeftOut)})


def _baseline(pairs: MetricPairs) -> Array:
    return pairs.baseline


def _system(pairs: MetricPairs) -> Array:
    return pairs.system
