"""Two runs over the same samples: every metric's paired difference, by task, group and slice."""

from __future__ import annotations

from collections.abc import Collection

from evalkit.comparison.base import Comparison, RunScores


def compare_scores(
    baseline: RunScores,
    system: RunScores,
    *,
    tasks: Collection[str] | None = None,
    slices: bool | Collection[str] = True,
    cluster_by: str | None = None,
    min_overlap: float = 0.98,
    errors_as_wrong: bool = False,
    seed: int = 0,
) -> list[Comparison]:
    """Every metric of ``system`` against ``baseline``, joined by sample id.

    ``slices``: which slices to compare apart (all, none, or by name). ``cluster_by``: a slice or column whose labels are the
    clusters, instead of the task's own. ``errors_as_wrong``: a failed or unscored sample of the system counts as the
    metric's worst value where it has one, instead of leaving the pair out.

    Raises NotComparable (exit 4) where the runs differ in a task's version, data, prompts or scorers, or share less than
    ``min_overlap`` of their samples; the line says which, and how to run again.
    """
    raise NotImplementedError
