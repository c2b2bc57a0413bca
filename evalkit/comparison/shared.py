"""Several runs reduced to what all of them have, so that every two are compared on the same samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evalkit.comparison.base import OK, UNSCORED, Measured, RunScores, TaskScores
from evalkit.scorers.base import MetricInfo

#: A scorer as it computes: name and signature.
_Known = tuple[str, str]


def on_shared_samples(runs: Sequence[RunScores]) -> list[RunScores]:
    """The runs without the scores of units that one of them has no score for.

    Ids stay as they are, so that what runs have in common is still seen; a score that was taken away is unscored.
    """
    tasks = [dict(run.tasks) for run in runs]
    for key in runs[0].tasks:
        if all(key in run.tasks for run in runs):
            several = [_by_scorer(run.tasks[key]) for run in runs]
            for scorer in several[0]:
                if all(scorer in measured for measured in several):
                    reduced = _reduced([measured[scorer] for measured in several])
                    for measured, one in zip(several, reduced, strict=True):
                        measured[scorer] = one
            for own, measured in zip(tasks, several, strict=True):
                own[key] = replace(own[key], measured=tuple(measured.values()))
    return [replace(run, tasks=own) for run, own in zip(runs, tasks, strict=True)]


def _by_scorer(scores: TaskScores) -> dict[_Known, Measured]:
    return {(measured.scorer.name, measured.signature): measured for measured in scores.measured}


def _reduced(several: Sequence[Measured]) -> list[Measured]:
    places = [{unit: at for at, unit in enumerate(measured.units)} for measured in several]
    shared = [unit for unit in several[0].units if all(unit in place for place in places)]
    rows = [np.array([place[unit] for unit in shared], dtype=np.int64) for place in places]
    width = min(measured.stats.shape[1] for measured in several)
    scored = np.ones(len(shared), dtype=np.bool_)
    blank = np.zeros((len(shared), width), dtype=np.bool_)
    for measured, at in zip(several, rows, strict=True):
        scored &= measured.status[at] == OK
        blank |= np.isnan(measured.stats[at, :width])
    found = []
    for measured, at in zip(several, rows, strict=True):
        stats, values = np.full_like(measured.stats, np.nan), np.full_like(measured.values, np.nan)
        kept = measured.stats[at]
        kept[:, :width][blank] = np.nan
        stats[at[scored]], values[at[scored]] = kept[scored], measured.values[at[scored]]
        status = np.full_like(measured.status, UNSCORED)
        status[at[scored]] = OK
        found.append(replace(measured, stats=stats, values=values, status=status))
    return found


def with_errors_as_wrong(run: RunScores) -> RunScores:
    """The run with what failed or is unscored counted as the worst value, in scorers all of whose metrics have one."""
    tasks = {key: replace(scores, measured=tuple(map(_filled, scores.measured))) for key, scores in run.tasks.items()}
    return replace(run, tasks=tasks)


def _filled(measured: Measured) -> Measured:
    metrics = measured.scorer.metrics
    worst = [_worst(metric) for metric in metrics]
    out = measured.status != OK
    if not out.any() or None in worst or not all(metric.mean for metric in metrics):
        return measured
    stats, values, status = measured.stats.copy(), measured.values.copy(), measured.status.copy()
    for metric, value in zip(metrics, worst, strict=True):
        stats[out, metric.column] = value
    values[out], status[out] = worst[0], OK
    return replace(measured, stats=stats, values=values, status=status)


def _worst(metric: MetricInfo) -> float | None:
    if metric.higher_is_better is None:
        return None
    return metric.low if metric.higher_is_better else metric.high


def lacking(runs: Sequence[RunScores], task: str, filter_: str, scorer: str) -> dict[str, int]:
    """For each run, how many units it has no score for of those that any run has. Empty for a group of tasks."""
    found = [_measured(run, task, filter_, scorer) for run in runs]
    known = set[str]().union(*(measured.units for measured in found if measured is not None))
    return {
        run.name: len(known) - int((measured.status == OK).sum())
        for run, measured in zip(runs, found, strict=True)
        if measured is not None
    }


def _measured(run: RunScores, task: str, filter_: str, scorer: str) -> Measured | None:
    scores = run.tasks.get((task, filter_))
    return next((m for m in scores.measured if m.scorer.name == scorer), None) if scores is not None else None
