"""Two runs over the same samples: every metric's paired difference, by task, group and slice."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np

from evalkit.comparison.base import Comparison, LeftOut, Measured, RunScores
from evalkit.comparison.flips import anchor_of, changed_units, effects, flips_of, gained_and_lost
from evalkit.comparison.match import Matched, match_runs
from evalkit.comparison.pairs import (
    Mask,
    MetricPairs,
    Units,
    group_units,
    left_out,
    metric_pairs,
    sample_units,
    shown_slice,
    slice_masks,
)
from evalkit.comparison.pools import group_comparisons
from evalkit.errors import UsageError, nearest
from evalkit.scorers.base import MetricInfo
from evalkit.stats.difference import Difference, paired_difference, totals_difference
from evalkit.stats.paired import Pair


@dataclass(frozen=True, slots=True)
class _Settings:
    slices: bool | Collection[str]
    cluster_by: str | None
    errors_as_wrong: bool
    seed: int
    metrics: Collection[str] | None


def compare_scores(
    baseline: RunScores,
    system: RunScores,
    *,
    tasks: Collection[str] | None = None,
    metrics: Collection[str] | None = None,
    slices: bool | Collection[str] = True,
    cluster_by: str | None = None,
    min_overlap: float = 0.98,
    errors_as_wrong: bool = False,
    strict: bool = True,
    seed: int = 0,
) -> list[Comparison]:
    """Every metric of ``system`` against ``baseline``, joined by sample id: by task, filter and metric, then slice.

    ``tasks`` (groups are named too) and ``metrics``: only these. ``slices``: which slices to compare apart (all, none, or by
    name). ``cluster_by``: a slice whose labels are the clusters, instead of the task's own. ``errors_as_wrong``: a failed or
    unscored sample of the system counts as the metric's worst value where it has one, instead of leaving the pair out.
    ``strict``: refuse runs of which any scorer computes differently, rather than leave its metrics out with a note.

    Raises NotComparable (exit 4) where the runs differ in a task's version, data, prompts or scorers, or share less than
    ``min_overlap`` of their samples; the line says which, and how to run again. `match_runs` tells what was left out of the
    comparison as a whole. Raises UsageError for a name that neither run has.
    """
    matching = match_runs(baseline, system, tasks=tasks, metrics=metrics, min_overlap=min_overlap, strict=strict)
    settings = _Settings(slices, cluster_by, errors_as_wrong, seed, metrics)
    _check_names(matching.pairs, settings)
    found: list[Comparison] = []
    pools: dict[tuple[str, str], list[tuple[Measured, MetricPairs]]] = {}
    for pair in matching.pairs:
        samples = sample_units(pair, cluster_by)
        pool = pools.setdefault((pair.baseline.task, pair.baseline.filter), [])
        for one, other in pair.scorers:
            units = samples if one.scorer.unit == "sample" else group_units(one, other)
            for metric in one.scorer.metrics:
                if metrics is None or metric.name in metrics:
                    pairs = metric_pairs(units, one, other, metric, errors_as_wrong=errors_as_wrong)
                    found += _compared(baseline, system, pair, one, metric, units, pairs, settings)
                    if pairs is not None and one.scorer.unit == "sample":
                        pool.append((one, pairs))
    return found + group_comparisons(baseline, system, pools, tasks=tasks, seed=seed)


def difference_of(pairs: MetricPairs, mask: Mask, seed: int) -> tuple[float | None, float | None, Difference | None]:
    """Both values over the pairs that ``mask`` marks, and the test of their difference."""
    at = mask & pairs.known
    if not at.any():
        return None, None, None
    metric, codes = pairs.metric, pairs.units.clusters
    clusters = None if codes is None else codes[at]
    x, y = pairs.baseline[at], pairs.system[at]
    if pairs.finish is None:
        test = paired_difference(x, y, clusters=clusters, low=metric.low, high=metric.high)
        return float(x.mean()), float(y.mean()), test
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        values = [float(pairs.finish(rows.sum(axis=0)[None])[0]) for rows in (x, y)]
    if not np.isfinite(values).all():
        return _finite(values[0]), _finite(values[1]), None
    pair = Pair(x, y, pairs.finish)
    return values[0], values[1], totals_difference(pair, clusters=clusters, low=metric.low, high=metric.high, seed=seed)


def _compared(
    baseline: RunScores,
    system: RunScores,
    pair: Matched,
    one: Measured,
    metric: MetricInfo,
    units: Units,
    pairs: MetricPairs | None,
    settings: _Settings,
) -> Iterator[Comparison]:
    """A metric as a whole, then on each slice."""
    blank = Comparison(
        task=pair.baseline.task,
        filter=pair.baseline.filter,
        scorer=one.scorer.name,
        metric=metric,
        baseline=baseline.name,
        system=system.name,
        baseline_value=None,
        system_value=None,
        test=None,
        n=0,
        gained=0,
        lost=0,
        flips=(),
        left_out=LeftOut(),
        signature=one.signature,
    )
    if pairs is None:
        why = f"no paired test: {one.scorer.name} is neither a mean nor could it be built again from the run"
        yield replace(blank, notes=(*pair.notes, why))
        return
    effect = effects(pairs)
    changed = changed_units(pairs, effect)
    anchor = anchor_of(system, pair.baseline.task) if one.scorer.unit == "sample" else lambda unit: None
    flips = flips_of(pair.baseline.task, pairs, changed, effect, anchor)
    everything = np.ones(len(units.names), dtype=np.bool_)
    for at, mask in [(None, everything), *(((name, label), m) for name, label, m in _slices(units, settings.slices))]:
        a, b, test = difference_of(pairs, mask, settings.seed)
        gained, lost = gained_and_lost(pairs, mask, effect)
        yield replace(
            blank,
            baseline_value=a,
            system_value=b,
            test=test,
            n=int((mask & pairs.known).sum()),
            gained=gained,
            lost=lost,
            flips=tuple(flips) if at is None else tuple(f for f, inside in zip(flips, mask[changed], strict=True) if inside),
            left_out=left_out(pairs) if at is None else left_out(pairs, mask, at),
            slice=None if at is None else shown_slice(*at),
            notes=(*pair.notes, *pairs.notes) if at is None else (),
        )


def _slices(units: Units, wanted: bool | Collection[str]) -> list[tuple[str, str, Mask]]:
    names = [name for name in units.slices if wanted is True or (wanted is not False and name in wanted)]
    return slice_masks(units, names)


def _check_names(pairs: tuple[Matched, ...], settings: _Settings) -> None:
    """Raise UsageError for a slice or metric that no task in common has."""
    slices = {name for pair in pairs for scores in (pair.baseline, pair.system) for name in scores.slices}
    asked = [] if isinstance(settings.slices, bool) else list(settings.slices)
    for name in [*asked, *([settings.cluster_by] if settings.cluster_by else [])]:
        if name not in slices:
            raise UsageError(f"neither run has a slice {name!r}{nearest(name, slices) or _listed(slices)}")
    scorers = [one.scorer for pair in pairs for scores in (pair.baseline, pair.system) for one in scores.measured]
    metrics = {metric.name for scorer in scorers for metric in scorer.metrics}
    for name in settings.metrics or ():
        if name not in metrics:
            raise UsageError(f"neither run has a metric {name!r}{nearest(name, metrics) or _listed(metrics)}")


def _listed(names: Collection[str]) -> str:
    return f"; there are {', '.join(sorted(names)[:8])}" if names else ""


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
