"""One metric of two runs, unit by unit: what its difference, its flips and what is left out are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evalkit.comparison.base import ERROR, MISSING, OK, Codes, Labels, LeftOut, Measured
from evalkit.comparison.match import Matched, joined
from evalkit.runner.score import NO_SLICE
from evalkit.runner.stored import PastScorer
from evalkit.scorers.base import Array, MetricInfo, Scorer
from evalkit.scorers.paired import PairedMetric, paired_metric
from evalkit.stats.paired import Finish

Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Units:
    """The units that two runs have in common, for one task and filter: samples, or groups of them.

    ``clusters`` (n,) are codes; ``slices`` by name the labels in order of first sight ("" for none) and codes (n,), an index
    into them; ``alone`` the slices of the units that only one run has, and how many those are, baseline first.
    """

    names: Sequence[str]
    at: tuple[Ints, Ints]
    clusters: Ints | None
    slices: Mapping[str, tuple[list[str], Ints]]
    alone: tuple[tuple[int, Mapping[str, Labels]], tuple[int, Mapping[str, Labels]]]


@dataclass(frozen=True, slots=True)
class MetricPairs:
    """One metric over `Units`: what each run has for each, and which have a value in both.

    ``baseline`` and ``system`` are values (n,) of a mean, or columns to total (n, m) with their ``finish``. ``values`` are
    what a reader sees of single units; equal to these for a mean.
    """

    units: Units
    metric: MetricInfo
    baseline: Array
    system: Array
    finish: Finish | None
    values: tuple[Array, Array]
    status: tuple[Codes, Codes]
    has: tuple[Mask, Mask]
    """Which units each run has a value for."""
    notes: tuple[str, ...] = ()

    @property
    def known(self) -> Mask:
        return self.has[0] & self.has[1]

    @property
    def mean(self) -> bool:
        return self.baseline.ndim == 1


def sample_units(pair: Matched, cluster_by: str | None) -> Units:
    """The samples of a matched task. The baseline's slices and clusters count, and the system's where it has none."""
    b, s = pair.baseline, pair.system
    at = pair.at
    slices = {name: labels[at[1]] for name, labels in s.slices.items()} | {
        name: labels[at[0]] for name, labels in b.slices.items()
    }
    own = b.clusters[at[0]] if b.clusters is not None else s.clusters[at[1]] if s.clusters is not None else None
    names = b.ids if len(at[0]) == len(b.ids) else [b.ids[i] for i in at[0]]
    alone = []
    for scores, common in ((b, at[0]), (s, at[1])):
        rest = np.ones(len(scores.ids), dtype=np.bool_)
        rest[common] = False
        alone.append((int(rest.sum()), {name: labels[rest] for name, labels in scores.slices.items()}))
    clusters = slices.get(cluster_by) if cluster_by else own
    codes = None if clusters is None else cluster_codes(clusters)
    return Units(names, at, codes, {name: _coded(labels) for name, labels in slices.items()}, (alone[0], alone[1]))


def group_units(one: Measured, other: Measured) -> Units:
    """The groups that both runs have, by name. Whose samples they are is not kept: they have no slices."""
    at = joined(one.units, other.units)
    nothing: Mapping[str, Labels] = {}
    alone = ((len(one.units) - len(at[0]), nothing), (len(other.units) - len(at[1]), nothing))
    return Units([one.units[i] for i in at[0]], at, None, {}, alone)


def metric_pairs(
    units: Units, one: Measured, other: Measured, metric: MetricInfo, *, errors_as_wrong: bool
) -> MetricPairs | None:
    """``None`` for a metric that is neither a mean nor, here, a function of totals."""
    form = metric_form(one.scorer, metric) or metric_form(other.scorer, metric)
    if form is None:
        return None
    width = max(one.stats.shape[1], other.stats.shape[1])
    a, b = (_widened(m.stats[at], width) for m, at in zip((one, other), units.at, strict=True))
    status = (one.status[units.at[0]], other.status[units.at[1]])
    if metric.mean:
        x, y = a[:, metric.column], b[:, metric.column].copy()
        notes = _worst(metric, y, status[1], x) if errors_as_wrong else ()
        return MetricPairs(units, metric, x, y, None, (x, y), status, (np.isfinite(x), np.isfinite(y)), notes)
    has = (form.known(a), form.known(b))
    known = has[0] & has[1]
    # both at once: some metrics have a column for each label that occurs
    tables = form.table(np.concatenate([a[known], b[known]])) if known.any() else np.zeros((0, 1))
    full = [np.full((len(known), tables.shape[1]), np.nan) for _ in range(2)]
    half = int(known.sum())
    full[0][known], full[1][known] = tables[:half], tables[half:]
    # the value of a unit is its scorer's first metric's
    first = one.scorer.metrics[0].name == metric.name
    nothing = np.full(len(known), np.nan)
    values = (one.values[units.at[0]], other.values[units.at[1]]) if first else (nothing, nothing)
    lost = errors_as_wrong and bool((has[0] & ~has[1]).any())
    notes = ("failed and unscored samples are left out: the metric has no worst value for a single one",) if lost else ()
    return MetricPairs(units, metric, full[0], full[1], form.finish, values, status, has, notes)


def slice_masks(units: Units, wanted: Sequence[str]) -> list[tuple[str, str, Mask]]:
    """Slice name, label and mask (n,) of every slice, labels in order of first sight."""
    return [
        (name, label, units.slices[name][1] == code) for name in wanted for code, label in enumerate(units.slices[name][0])
    ]


def shown_slice(name: str, label: str) -> str:
    """A slice as summaries name it."""
    return f"{name}={label or NO_SLICE}"


def left_out(pairs: MetricPairs, mask: Mask | None = None, at: tuple[str, str] | None = None) -> LeftOut:
    """What is in no pair, of all units or of the slice ``at`` (name, label) that ``mask`` marks."""
    inside = np.ones(len(pairs.known), dtype=np.bool_) if mask is None else mask
    counts = []
    for has, status in zip(pairs.has, pairs.status, strict=True):
        out = inside & ~has
        failed = (status == ERROR) | (status == MISSING)
        counts.append((int((out & failed).sum()), int((out & ~failed).sum())))
    alone = []
    for count, slices in pairs.units.alone:
        alone.append(count if at is None else int((slices[at[0]] == at[1]).sum()) if at[0] in slices else 0)
    return LeftOut(
        baseline_only=alone[0],
        system_only=alone[1],
        baseline_errors=counts[0][0],
        system_errors=counts[1][0],
        baseline_unscored=counts[0][1],
        system_unscored=counts[1][1],
        pairs=int((inside & ~pairs.known).sum()),
    )


def cluster_codes(labels: Labels) -> Ints:
    """Codes (n,); a unit without a label is a cluster of its own."""
    found, codes = np.unique(labels, return_inverse=True)
    codes = codes.reshape(-1).astype(np.int64)
    blank = labels == ""
    codes[blank] = len(found) + np.arange(int(blank.sum()))
    return codes


def value_of(measured: Measured, metric: MetricInfo) -> float | None:
    """A metric over all units of one run; ``None`` where it has none, or cannot be computed here."""
    form = metric_form(measured.scorer, metric)
    if form is None:
        return None
    known = form.known(measured.stats)
    if not known.any():
        return None
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        value = float(form.finish(form.table(measured.stats[known]).sum(axis=0)[None])[0])
    return value if np.isfinite(value) else None


def _coded(labels: Labels) -> tuple[list[str], Ints]:
    distinct, first, codes = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    return distinct[order].tolist(), np.argsort(order)[codes.reshape(-1)]


def metric_form(scorer: Scorer, metric: MetricInfo) -> PairedMetric | None:
    """The metric as totals; ``None`` where it cannot be computed from what is known of its scorer."""
    if isinstance(scorer, PastScorer) and not metric.mean:
        return None
    return paired_metric(scorer, metric)


def _widened(stats: Array, width: int) -> Array:
    if stats.shape[1] == width:
        return stats
    return np.column_stack([stats, np.full((len(stats), width - stats.shape[1]), np.nan)])


def _worst(metric: MetricInfo, values: Array, status: Codes, theirs: Array) -> tuple[str, ...]:
    """Set what failed or is unscored to the metric's worst value, in place; a note where it has none."""
    out = (status != OK) & ~np.isnan(theirs)
    worst = None
    if metric.higher_is_better is not None:
        worst = metric.low if metric.higher_is_better else metric.high
    if not out.any():
        return ()
    if worst is None:
        return ("failed and unscored samples are left out: the metric has no worst value",)
    values[out] = worst
    return (f"{int(out.sum())} failed or unscored samples count as {worst:g}",)
