"""Runs as a gate reads them, made of columns: any score, failure, latency or cluster that a test wants to see judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.comparison.base import OK, Measured, RunScores, TaskScores
from evalkit.scorers.base import BaseScorer, MetricInfo
from evalkit.scorers.totals import TotalsScorer


class Share(BaseScorer):
    name = "exact_match"
    metrics = (MetricInfo("exact_match", low=0.0, high=1.0, mean=True, proportion=True),)


class Likert(BaseScorer):
    name = "judge"
    metrics = (MetricInfo("judge", low=1.0, high=5.0, mean=True),)


class Loss(BaseScorer):
    name = "loss"
    metrics = (
        MetricInfo("loss", higher_is_better=False, low=0.0, mean=True),
        MetricInfo("balance", higher_is_better=None, mean=True, headline=False),
    )


class Ratio(TotalsScorer):
    """A corpus metric between 0 and 100: hits over tries."""

    name = "ratio"
    metrics = (MetricInfo("ratio", low=0.0, high=100.0),)

    def finish(self, totals):
        return {"ratio": 100 * totals[..., 0] / totals[..., 1]}


def task(
    name: str,
    values: Sequence[float] | np.ndarray,
    *,
    scorer: BaseScorer | None = None,
    filter_: str = "none",
    slices: Mapping[str, Sequence[str]] | None = None,
    clusters: Sequence[str] | None = None,
    status: Mapping[int, int] | None = None,
    latency_s: Sequence[float] | None = None,
    output_tokens: Sequence[float] | None = None,
    cost_usd: Sequence[float] | None = None,
    size: int | None = None,
    version: str = "1.0",
) -> TaskScores:
    """``status``: position -> code of samples that have no score."""
    stats = np.array(values, dtype=np.float64)
    stats = stats[:, None] if stats.ndim == 1 else stats
    n = len(stats)
    codes = np.full(n, OK, dtype=np.uint8)
    for position, code in (status or {}).items():
        codes[position] = code
        stats[position] = np.nan
    scorer = scorer or Share()
    ids = tuple(f"q{i:05d}" for i in range(n))
    unknown = np.full(n, np.nan)

    def column(given: Sequence[float] | None) -> np.ndarray:
        return unknown if given is None else np.array(given, dtype=np.float64)

    return TaskScores(
        task=name,
        filter=filter_,
        version=version,
        definition="d",
        data="d",
        n_shot=0,
        size=size or n,
        ids=ids,
        digests=np.zeros(n, dtype=np.uint32),
        clusters=None if clusters is None else np.array(clusters),
        slices={key: np.array(labels) for key, labels in (slices or {}).items()},
        latency_s=column(latency_s),
        output_tokens=column(output_tokens),
        cost_usd=column(cost_usd),
        measured=(Measured(scorer, scorer.signature(), ids, stats, stats[:, 0], codes),),
    )


def run(
    name: str,
    *tasks: TaskScores,
    groups: Sequence[Mapping[str, Any]] = (),
    output_type: str = "generate_until",
    path: Path | None = None,
) -> RunScores:
    manifest = {
        "id": name,
        "name": name,
        "status": "complete",
        "created": "2026-11-01T00:00:00+00:00",
        "evalkit": "0.1.0",
        "config": {},
        "model": {"name": f"mock/{name}"},
        "fingerprints": {"model": name},
        "groups": [
            {"aggregate_metric_list": [{"metric": "exact_match", "weight_by_size": True, "filter_list": None}], **group}
            for group in groups
        ],
        "tasks": {
            t.task: {"output_type": output_type, "samples": len(t.ids), "size": t.size, "definition": {}} for t in tasks
        },
    }
    return RunScores(name, f"runs/{name}", path, manifest, {(t.task, t.filter): t for t in tasks})


def flipped(n: int, lost: int, gained: int, right: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Scores of baseline and candidate: ``lost`` of the baseline's ``right`` items and ``gained`` of the others flip."""
    right = n // 2 if right is None else right
    baseline = np.zeros(n)
    baseline[:right] = 1
    candidate = baseline.copy()
    candidate[:lost] = 0
    candidate[right : right + gained] = 1
    return baseline, candidate
