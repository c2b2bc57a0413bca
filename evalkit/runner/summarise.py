"""Rows of statistics to summaries: every number with its interval, its counts and how it was computed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from evalkit.runner.score import Facts, Rows
from evalkit.scorers.base import Array, MetricInfo
from evalkit.scorers.estimate import Estimate, estimate
from evalkit.tasks.schema import GroupConfig, GroupMetric
from evalkit.types import Json, Summary

#: Slices with fewer scored units are counted, not estimated: their intervals would say nothing.
MIN_SLICE = 2
#: Two-sided 95 % quantile of the normal distribution, for groups of many samples.
Z95 = 1.959963984540054


def summarise(rows: Rows, facts: Facts, n_shot: int) -> list[Summary]:
    """All summaries of one scorer on one task and filter: overall, then by slice."""
    summaries = []
    for metric in rows.scorer.metrics:
        whole = _summary(rows, metric, rows.stats, rows.clusters, n_shot)
        summaries.append(
            replace(
                whole,
                errors=rows.errors,
                unscored=sum(rows.unscored.values()),
                cut=facts.cut / facts.generations if facts.generations else None,
                truncated=facts.truncated,
                chance=rows.chance,
                notes=_notes(whole, metric, rows, facts),
                detail=_detail(rows),
            )
        )
        summaries += _slices(rows, metric, n_shot)
    return summaries


def _summary(rows: Rows, metric: MetricInfo, stats: Array, clusters: np.ndarray | None, n_shot: int) -> Summary:
    found = estimate(rows.scorer, metric, stats, clusters) if len(stats) else Estimate(None)
    return Summary(
        task=rows.task,
        metric=metric.name,
        value=found.value,
        n=found.n,
        filter=rows.filter,
        scorer=rows.scorer.name,
        stderr=found.stderr,
        ci=found.ci,
        ci_method=found.ci_method,
        unit=rows.scorer.unit,
        higher_is_better=metric.higher_is_better,
        n_shot=n_shot,
        signature=rows.scorer.signature(),
    )


def _slices(rows: Rows, metric: MetricInfo, n_shot: int) -> Iterable[Summary]:
    for name, (codes, labels) in rows.slices.items():
        if len(codes) != len(rows.stats):
            continue  # a slice that some samples lack cannot be lined up with the rows
        for code, label in enumerate(labels):
            inside = codes == code
            if inside.sum() < MIN_SLICE:
                continue
            clusters = None if rows.clusters is None else rows.clusters[inside]
            part = _summary(rows, metric, rows.stats[inside], clusters, n_shot)
            yield replace(part, slice=f"{name}={label}", errors=rows.error_slices[(name, label)])


def _notes(summary: Summary, metric: MetricInfo, rows: Rows, facts: Facts) -> tuple[str, ...]:
    notes = []
    if rows.chance is not None and summary.ci is not None and summary.ci[0] <= rows.chance <= summary.ci[1]:
        notes.append("at-chance")
    bound = metric.ideal if metric.ideal is not None else metric.high
    if summary.value is not None and bound is not None and summary.n > 1 and math.isclose(summary.value, bound):
        notes.append("saturated")
    if rows.missing:
        notes.append(f"incomplete: {rows.missing} not answered")
    if rows.errors:
        notes.append(f"{rows.errors} errors left out")
    if rows.unscored:
        reason, count = rows.unscored.most_common(1)[0]
        notes.append(f"{sum(rows.unscored.values())} unscored (mostly: {reason}, {count})")
    if facts.generations and facts.cut / facts.generations >= 0.01:
        notes.append(f"{facts.cut / facts.generations:.0%} cut by length")
    if facts.truncated:
        notes.append(f"{facts.truncated} contexts truncated")
    return tuple(notes)


def _detail(rows: Rows) -> dict[str, Json]:
    detail: dict[str, Json] = dict(rows.scorer.detail(rows.stats)) if len(rows.stats) else {}
    if rows.unscored:
        detail["unscored"] = dict(rows.unscored)
    return detail


def summarise_group(group: GroupConfig, summaries: Sequence[Summary]) -> list[Summary]:
    """A group's numbers from those of its leaf tasks, as lm-eval weighs them.

    Weighted by size, the standard error is lm-eval's pooled one; unweighted, it is that of a mean of independent task
    values (lm-eval uses the pooled formula there too, which is wrong).
    """
    leaves = set(group.leaves)
    found: list[Summary] = []
    for rule in group.aggregate_metric_list:
        own = [s for s in summaries if s.task in leaves and s.slice is None and s.metric == rule.metric]
        for filter_ in dict.fromkeys(s.filter for s in own):
            if rule.filter_list is None or filter_ in rule.filter_list:
                found.append(_aggregate(group, rule, [s for s in own if s.filter == filter_]))
    return found


def _aggregate(group: GroupConfig, rule: GroupMetric, parts: list[Summary]) -> Summary:
    missing = [s.task for s in parts if s.value is None]
    parts_ok = [s for s in parts if s.value is not None]
    sizes = np.array([s.n for s in parts_ok], dtype=float)
    values = np.array([s.value for s in parts_ok], dtype=float)
    errors = np.array([np.nan if s.stderr is None else s.stderr for s in parts_ok])
    value = stderr = None
    if len(parts_ok) and not missing:
        weights = sizes / sizes.sum() if rule.weight_by_size else np.full(len(sizes), 1 / len(sizes))
        value = float(weights @ values)
        stderr = _group_stderr(sizes, errors, weights, rule.weight_by_size)
    low_high = None if value is None or stderr is None else (value - Z95 * stderr, value + Z95 * stderr)
    first = parts[0]
    return Summary(
        task=group.group,
        metric=rule.metric,
        value=value,
        n=int(sizes.sum()),
        filter=first.filter,
        scorer=first.scorer,
        stderr=stderr,
        ci=low_high,
        ci_method=None if low_high is None else "normal",
        unit="group of tasks",
        errors=sum(s.errors for s in parts),
        unscored=sum(s.unscored for s in parts),
        chance=_mean_chance(parts_ok, sizes, rule.weight_by_size),
        notes=(f"no value for {', '.join(missing)}",) if missing else (),
        higher_is_better=first.higher_is_better,
        n_shot=first.n_shot,
        signature=f"mean|weight_by_size:{rule.weight_by_size}|of:{first.signature}",
        detail={"members": [s.task for s in parts], "weight_by_size": rule.weight_by_size},
    )


def _group_stderr(sizes: Array, errors: Array, weights: Array, by_size: bool) -> float | None:
    if np.isnan(errors).any():
        return None
    if not by_size:
        return float(np.sqrt(np.sum((weights * errors) ** 2)))
    freedom = sizes.sum() - len(sizes)
    if freedom <= 0:
        return None
    return float(np.sqrt(np.sum((sizes - 1) * errors**2 * sizes) / freedom / sizes.sum()))


def _mean_chance(parts: list[Summary], sizes: Array, by_size: bool) -> float | None:
    chances = [s.chance for s in parts]
    if not chances or any(c is None for c in chances):
        return None
    known = np.array(chances, dtype=float)
    return float(np.average(known, weights=sizes if by_size else None))
