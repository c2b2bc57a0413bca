"""Compare systems on the same samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evalkit.comparison.base import Comparison, RunScores
from evalkit.comparison.compare import compare_scores
from evalkit.comparison.load import apart, load_scores
from evalkit.runner.run import Run


def compare(
    baseline: str | Path | Run | RunScores,
    *systems: str | Path | Run | RunScores,
    output_dir: str | Path = "runs",
    **settings: Any,
) -> list[Comparison]:
    """How much ``systems`` differ from ``baseline`` on the same samples: every metric of each, by task, group and slice.

    Args:
        baseline: a run, its directory or name, ``latest``, a score file or ``git:REF:PATH`` of one.
        systems: one or more of the same.
        output_dir: where runs are looked for by name.
        settings: ``tasks``, ``metrics``, ``slices``, ``cluster_by``, ``min_overlap``, ``errors_as_wrong``, ``strict`` and
            ``seed`` of `compare_scores`.

    Raises:
        NotComparable: the runs differ in what was asked or how it was scored; the line says where, and how to run again.
        UsageError: there is no such run, task, slice or metric.
    """
    scores = apart([_scores_of(given, output_dir) for given in (baseline, *systems)])
    return [comparison for system in scores[1:] for comparison in compare_scores(scores[0], system, **settings)]


def _scores_of(given: str | Path | Run | RunScores, output_dir: str | Path) -> RunScores:
    if isinstance(given, RunScores):
        return given
    return load_scores(given.path if isinstance(given, Run) else given, output_dir=output_dir)
