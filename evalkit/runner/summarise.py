"""Rows of statistics to summaries: every number with its interval, its counts and how it was computed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from evalkit.runner.score import Facts, Rows
from evalkit.scorers.base import Array, MetricInfo, pinned
from evalkit.scorers.estimate import Estimate, estimate
from evalkit.stats.intervals import at_chance, effective_n, saturated, wilson
from evalkit.stats.means import pooled_stderr, unweighted_stderr
from evalkit.tasks.schema import GroupConfig, GroupMetric
from evalkit.types import Json, Summary

#: Share of a metric's range that counts as touching its best or worst value.
TOUCHING = 0.01
#: An interval wider than this share of the range says nothing about its ends.
TOO_WIDE = 0.5
#: Share of its range that the value itself may be away from the end.
NEAR = 0.1
#: How a note begins on what an unfinished run lacks.
_INCOMPLETE = "incomplete"
#: Two-sided 95 % quantile of the normal distribution, for groups of many samples.
Z95 = 1.959963984540054


def summarise(rows: Rows, facts: Facts, n_shot: int) -> list[Summary]:
    """All summaries of one scorer on one task and filter: overall, then by slice."""
    summaries = []
    for metric in rows.scorer.metrics:
        whole = _summary(rows, metric, rows.stats, rows.clusters, n_shot)
        whole = replace(whole, chance=_chance(rows.chances, metric))
        summaries.append(
            replace(
                whole,
                errors=rows.errors,
                unscored=sum(rows.unscored.values()),
                cut=facts.cut / facts.generations if facts.generations else None,
                truncated=facts.truncated,
                notes=(*_standing(whole, metric), *_gaps(rows)),
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
        signature=pinned(rows.scorer, stats),
        low=metric.low,
        high=metric.high,
        ideal=metric.ideal,
    )


def _slices(rows: Rows, metric: MetricInfo, n_shot: int) -> Iterable[Summary]:
    """The metric on every slice, those without a scored unit too: what was left out is counted there as well."""
    left_out = {*rows.error_slices, *rows.unscored_slices}
    for name, (codes, labels) in rows.slices.items():
        sizes = np.bincount(codes, minlength=len(labels))
        inside = dict(zip(labels, np.split(np.argsort(codes, kind="stable"), np.cumsum(sizes)[:-1]), strict=False))
        for label in dict.fromkeys([*labels, *sorted(label for slice_, label in left_out if slice_ == name)]):
            at = inside.get(label, np.zeros(0, dtype=np.int64))
            clusters = None if rows.clusters is None else rows.clusters[at]
            part = _summary(rows, metric, rows.stats[at], clusters, n_shot)
            part = replace(part, slice=f"{name}={label}", chance=_chance(rows.chances[at], metric))
            yield replace(
                part,
                errors=rows.error_slices[(name, label)],
                unscored=rows.unscored_slices[(name, label)],
                notes=_standing(part, metric),
            )


def _chance(chances: Array, metric: MetricInfo) -> float | None:
    """What guessing would get: the mean over the units, where it is known for all. It is that of a headline metric."""
    known = metric.headline and len(chances) and not np.isnan(chances).any()
    return float(chances.mean()) if known else None


def _standing(summary: Summary, metric: MetricInfo) -> tuple[str, ...]:
    """Whether a result is too near to chance, to the best or to the worst value to tell models apart."""
    if at_chance(summary.ci, summary.chance):
        return ("at-chance",)
    ci, low, high, ideal = summary.ci, metric.low, metric.high, metric.ideal
    if ci is None or ideal is None:
        return ()
    if low is None or high is None:
        return ("saturated",) if ci[0] <= ideal <= ci[1] and ideal in (low, high) else ()
    if ci[1] - ci[0] > TOO_WIDE * (high - low) or not saturated(ci, low, high, TOUCHING):
        return ()
    value = sum(ci) / 2 if summary.value is None else summary.value
    if min(value - low, high - value) > NEAR * (high - low):  # few samples only: the interval is wide, not the value extreme
        return ()
    if low < ideal < high:  # a gap or a correlation: either end is the worst there is
        return ("at-floor",)
    middle = (low + high) / 2
    return ("saturated",) if (sum(ci) / 2 > middle) == (ideal > middle) else ("at-floor",)


def _gaps(rows: Rows) -> tuple[str, ...]:
    """What is missing from a result that no field of the summary tells."""
    notes = []
    if rows.missing:
        notes.append(f"{_INCOMPLETE}: {rows.missing} not answered")
    if rows.unscored:
        reason, count = rows.unscored.most_common(1)[0]
        notes.append(f"unscored because {reason}" + (f" ({count})" if count < sum(rows.unscored.values()) else ""))
    if len(rows.stats):
        notes += rows.scorer.notes(rows.stats)
    return tuple(notes)


def _detail(rows: Rows) -> dict[str, Json]:
    detail: dict[str, Json] = dict(rows.scorer.detail(rows.stats)) if len(rows.stats) else {}
    if rows.unscored:
        detail["unscored"] = dict(rows.unscored)
    return detail


def summarise_group(group: GroupConfig, summaries: Sequence[Summary]) -> list[Summary]:
    """A group's numbers from those of its leaf tasks, as lm-eval weighs them and with its standard errors."""
    found: list[Summary] = []
    for rule in group.aggregate_metric_list:
        own = [s for s in summaries if s.task in group.leaves and s.slice is None and s.metric == rule.metric]
        for filter_ in dict.fromkeys(s.filter for s in own):
            if rule.filter_list is None or filter_ in rule.filter_list:
                # a task may report a metric twice, with other parameters: its first scorer's is the task's own
                parts = {s.task: s for s in reversed(own) if s.filter == filter_}
                found.append(_aggregate(group, rule, [parts[task] for task in group.leaves if task in parts]))
    return found


def _aggregate(group: GroupConfig, rule: GroupMetric, parts: list[Summary]) -> Summary:
    missing = [s.task for s in parts if s.value is None]
    without = [task for task in group.leaves if task not in {s.task for s in parts}]
    sizes = np.array([s.n for s in parts], dtype=float)
    value = stderr = chance = None
    if not missing:
        weights = sizes / sizes.sum() if rule.weight_by_size else np.full(len(sizes), 1 / len(sizes))
        value = float(weights @ np.array([s.value for s in parts], dtype=float))
        stderr = _group_stderr(parts, by_size=rule.weight_by_size)
        if all(s.chance is not None for s in parts):
            chance = float(weights @ np.array([s.chance for s in parts], dtype=float))
    ci, ci_method = _group_interval(parts, value, stderr)
    first = parts[0]
    notes = [f"no value for {', '.join(missing)}"] if missing else []
    notes += [f"without {', '.join(without)}, which has no {rule.metric}"] if without else []
    unfinished = [s.task for s in parts if any(note.startswith(_INCOMPLETE) for note in s.notes)]
    notes += [f"{_INCOMPLETE}: not all of {', '.join(unfinished)} is answered"] if unfinished else []
    return Summary(
        task=group.group,
        metric=rule.metric,
        value=value,
        n=int(sizes.sum()),
        filter=first.filter,
        scorer=first.scorer,
        stderr=stderr,
        ci=ci,
        ci_method=ci_method,
        unit="group of tasks",
        errors=sum(s.errors for s in parts),
        unscored=sum(s.unscored for s in parts),
        truncated=sum(s.truncated for s in parts),
        chance=chance,
        notes=(*(["at-chance"] if at_chance(ci, chance) else []), *notes),
        higher_is_better=first.higher_is_better,
        n_shot=first.n_shot,
        signature=f"mean|weight_by_size:{rule.weight_by_size}|of:{first.signature}",
        detail={"members": [s.task for s in parts], "weight_by_size": rule.weight_by_size},
        low=first.low,
        high=first.high,
        ideal=first.ideal,
    )


def _group_stderr(parts: Sequence[Summary], *, by_size: bool) -> float | None:
    errors = [s.stderr for s in parts if s.stderr is not None]
    if len(errors) < len(parts):
        return None
    return pooled_stderr(errors, [s.n for s in parts]) if by_size else unweighted_stderr(errors)


def _group_interval(
    parts: Sequence[Summary], value: float | None, stderr: float | None
) -> tuple[tuple[float, float] | None, str | None]:
    """Wilson's interval where all members are proportions, so that 0 and 100 % have width; else the normal one."""
    if value is None or stderr is None:
        return None, None
    if all((s.ci_method or "").startswith("wilson") for s in parts):
        trials = effective_n(value, stderr, 1) if stderr > 0 else sum(_trials(s) for s in parts)
        return wilson(value, trials), "wilson-effective-n"
    return (value - Z95 * stderr, value + Z95 * stderr), "normal"


def _trials(part: Summary) -> float:
    """How many trials stand behind a proportion of 0 or 1, from its Wilson interval (fewer than n in clusters)."""
    assert part.ci is not None and part.value is not None
    reach = part.ci[1] if part.value <= 0 else 1 - part.ci[0]
    return Z95**2 * (1 - reach) / reach
