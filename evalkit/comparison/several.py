"""Several runs ranked: compared pair by pair on the samples that all have, each value with its interval."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from evalkit.comparison.base import Comparison, Measured, RunScores, TaskScores
from evalkit.comparison.compare import compare_scores
from evalkit.comparison.numbers import is_share
from evalkit.comparison.pairs import cluster_codes, shown_slice
from evalkit.comparison.ranks import Ranking, rank
from evalkit.comparison.render import wanted_metrics
from evalkit.comparison.shared import lacking, on_shared_samples, with_errors_as_wrong
from evalkit.runner.stored import PastScorer
from evalkit.runner.summarise import summarise_group
from evalkit.scorers.base import MetricInfo
from evalkit.scorers.estimate import Estimate, estimate
from evalkit.stats.distributions import normal_quantile
from evalkit.stats.intervals import Interval, effective_n, wilson
from evalkit.tasks.schema import GroupConfig
from evalkit.types import Summary

#: Task, filter, scorer, metric, slice: what one ranking is of.
_Key = tuple[str, str, str, str, str | None]


def rank_scores(
    runs: Sequence[RunScores],
    *,
    metrics: Collection[str] | None = None,
    tasks: Collection[str] | None = None,
    slices: bool | Collection[str] = True,
    cluster_by: str | None = None,
    min_overlap: float = 0.98,
    errors_as_wrong: bool = False,
    level: float = 0.95,
    seed: int = 0,
) -> list[Ranking]:
    """Every metric of ``runs`` (at least two, of different names) ranked, by task, group and slice.

    The options are those of `compare_scores`; ``metrics`` are the headline metrics by default. Here ``errors_as_wrong``
    holds for every run. What one run has no value for leaves the sample out for all, counted by run.

    Raises what `compare_scores` raises, of any two of the runs.
    """
    given = [with_errors_as_wrong(run) for run in runs] if errors_as_wrong else list(runs)
    shared = on_shared_samples(given)
    compared = {
        (i, j): compare_scores(
            shared[i],
            shared[j],
            tasks=tasks,
            metrics=metrics,
            slices=slices,
            cluster_by=cluster_by,
            min_overlap=min_overlap,
            seed=seed,
        )
        for i, j in combinations(range(len(shared)), 2)
    }
    by_key = {pair: {_key(c): c for c in found} for pair, found in compared.items()}
    rankings = []
    for first in wanted_metrics(compared[0, 1], metrics):
        pairs = {pair: found[_key(first)] for pair, found in by_key.items() if _key(first) in found}
        if len(pairs) < len(by_key):  # a scorer that only some of the runs have
            continue
        values = [
            (_value(pairs, at), interval_of(run, first, cluster_by=cluster_by, level=level, seed=seed))
            for at, run in enumerate(shared)
        ]
        out = lacking(given, first.task, first.filter, first.scorer) if first.slice is None else {}
        rankings.append(rank([run.name for run in runs], values, pairs, left_out=out, level=level))
    return rankings


def _key(c: Comparison) -> _Key:
    return c.task, c.filter, c.scorer, c.metric.name, c.slice


def _value(pairs: Mapping[tuple[int, int], Comparison], at: int) -> float | None:
    return pairs[0, at].system_value if at else pairs[0, 1].baseline_value


def interval_of(
    run: RunScores, of: Comparison, *, cluster_by: str | None = None, level: float = 0.95, seed: int = 0
) -> Interval | None:
    """The interval of one run's value, of the task (or group) and slice that ``of`` compares."""
    scores = run.tasks.get((of.task, of.filter))
    if scores is None:
        return _group_interval(run, of, cluster_by, level, seed)
    measured = next(m for m in scores.measured if m.scorer.name == of.scorer)
    return _estimate(scores, measured, of.metric, of.slice, cluster_by, level, seed).ci


def _estimate(
    scores: TaskScores,
    measured: Measured,
    metric: MetricInfo,
    slice_: str | None,
    cluster_by: str | None,
    level: float,
    seed: int,
) -> Estimate:
    if isinstance(measured.scorer, PastScorer) and not metric.mean:
        return Estimate(None)
    stats = measured.stats
    labels = scores.slices.get(cluster_by) if cluster_by is not None else scores.clusters
    codes = cluster_codes(labels) if labels is not None and measured.scorer.unit == "sample" else None
    if slice_ is not None:
        inside = _inside(scores, slice_)
        stats, codes = stats[inside], None if codes is None else codes[inside]
    return estimate(measured.scorer, metric, stats, codes, level=level, seed=seed)


def _inside(scores: TaskScores, slice_: str) -> npt.NDArray[np.bool_]:
    """Which samples are in the slice that is shown as ``slice_``."""
    for name, labels in scores.slices.items():
        for label in np.unique(labels):
            if shown_slice(name, str(label)) == slice_:
                return np.asarray(labels == label)
    return np.zeros(len(scores.ids), dtype=np.bool_)


def _group_interval(run: RunScores, of: Comparison, cluster_by: str | None, level: float, seed: int) -> Interval | None:
    """From the standard errors of the group's tasks, as the group weighs them."""
    groups = [GroupConfig.model_validate(group) for group in run.manifest["groups"] if group["group"] == of.task]
    summaries = list(_leaf_summaries(run, groups[0].leaves, of, cluster_by, level, seed)) if groups else []
    found = [s for s in summarise_group(groups[0], summaries) if s.metric == of.metric.name] if summaries else []
    if not found or found[0].value is None or found[0].stderr is None:
        return None
    value, stderr, n = found[0].value, found[0].stderr, found[0].n
    if is_share(of.metric):
        return wilson(value, effective_n(value, stderr, n), level)
    half = normal_quantile(0.5 + level / 2) * stderr
    return value - half, value + half


def _leaf_summaries(
    run: RunScores, leaves: Iterable[str], of: Comparison, cluster_by: str | None, level: float, seed: int
) -> Iterable[Summary]:
    for leaf in leaves:
        scores = run.tasks.get((leaf, of.filter))
        for measured in scores.measured if scores is not None else ():
            metric = next((m for m in measured.scorer.metrics if m.name == of.metric.name), None)
            if scores is None or metric is None:
                continue
            found = _estimate(scores, measured, metric, None, cluster_by, level, seed)
            yield Summary(
                task=leaf,
                metric=metric.name,
                value=found.value,
                n=found.n,
                filter=of.filter,
                scorer=measured.scorer.name,
                stderr=found.stderr,
                ci=found.ci,
                low=metric.low,
                high=metric.high,
            )
            break
