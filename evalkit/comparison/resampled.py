"""Systems on the same rows by sacrebleu's tests: every metric's bootstrap and randomisation, all on the same draws.

It is what `evalkit.score` tells of several systems. `compare_scores` is about two runs and has the exact intervals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evalkit.comparison.base import Measured, RunScores, TaskScores
from evalkit.comparison.directory import read_run
from evalkit.comparison.match import joined
from evalkit.comparison.pairs import cluster_codes, metric_form
from evalkit.errors import StoreError
from evalkit.runner.run import Run
from evalkit.scorers.base import Array, MetricInfo
from evalkit.scorers.paired import PairedMetric
from evalkit.stats.paired import Pair, Paired, environment_seed, paired_tests


@dataclass(frozen=True, slots=True)
class PairedScores:
    """A metric over the same samples of two runs. ``left_out`` counts samples that one of them has no value for.

    ``result`` is ``None`` for a metric that is neither a mean nor a function of totals; ``seed`` that of its draws.
    """

    task: str
    filter: str
    scorer: str
    metric: str
    higher_is_better: bool | None
    baseline: str
    system: str
    result: Paired | None
    left_out: int
    signature: str
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Scores:
    """What `score` gives: each system's run by name, and the others compared with the ``baseline``."""

    runs: Mapping[str, Run]
    baseline: str
    comparisons: tuple[PairedScores, ...] = ()

    @property
    def run(self) -> Run:
        """The baseline's run: the only one where there is one system."""
        return self.runs[self.baseline]

    @property
    def status(self) -> str:
        """``complete``, or the first other status among the runs."""
        return next((run.status for run in self.runs.values() if run.status != "complete"), "complete")


def paired_scores(runs: Mapping[str, Run], baseline: str, *, seed: int | None = None) -> list[PairedScores]:
    """Every metric of every run against the one called ``baseline``: by task, filter, metric, then run.

    Samples are paired by id; clusters of the task are drawn whole. ``seed`` defaults to sacrebleu's. All metrics that the
    same samples have are tested on the same draws. Raises StoreError for runs that have not the same tasks and scorers.
    """
    seed = environment_seed() if seed is None else seed
    scores = {name: read_run(run.path, name=name) for name, run in runs.items()}
    found: list[PairedScores] = []
    for key in scores[baseline].tasks:
        found += _compared(scores, baseline, key, seed)
    return found


def _compared(scores: Mapping[str, RunScores], baseline: str, key: tuple[str, str], seed: int | None) -> list[PairedScores]:
    base = scores[baseline].tasks[key]
    scorers = [one for one in base.measured if one.scorer.unit == "sample"]
    others = [name for name in scores if name != baseline]
    wanted = [(one, metric, system) for one in scorers for metric in one.scorer.metrics for system in others]
    stats = {(name, one.signature): _aligned(run, key, one, base) for name, run in scores.items() for one in scorers}
    columns = _Columns()
    batches: dict[bytes, dict[int, Pair]] = {}
    left_out = {}
    for at, (one, metric, system) in enumerate(wanted):
        form = columns.form(one, metric)
        if form is None:
            continue
        a, b = stats[baseline, one.signature], stats[system, one.signature]
        known = form.known(a) & form.known(b)
        left_out[at] = int((~known).sum())
        if known.any():
            pair = Pair(columns.table(form, a, known), columns.table(form, b, known), form.finish)
            batches.setdefault(known.tobytes(), {})[at] = pair
    results: dict[int, Paired] = {}
    for mask, pairs in batches.items():
        kept = None if base.clusters is None else base.clusters[np.frombuffer(mask, dtype=np.bool_)]
        codes = None if kept is None else np.unique(cluster_codes(kept), return_inverse=True)[1].reshape(-1)
        results |= paired_tests(pairs, clusters=codes, seed=seed)
    return [
        PairedScores(
            task=base.task,
            filter=base.filter,
            scorer=one.scorer.name,
            metric=metric.name,
            higher_is_better=metric.higher_is_better,
            baseline=baseline,
            system=system,
            result=results.get(at),
            left_out=left_out.get(at, 0),
            signature=one.signature,
            seed=seed,
        )
        for at, (one, metric, system) in enumerate(wanted)
    ]


class _Columns:
    """Tables made once: the same array for all pairs that need it, so that its totals are, too."""

    def __init__(self) -> None:
        self._forms: dict[tuple[str, str], PairedMetric | None] = {}
        self._tables: dict[tuple[int, int, bytes], tuple[Array, Array]] = {}

    def form(self, measured: Measured, metric: MetricInfo) -> PairedMetric | None:
        key = (measured.signature, metric.name)
        if key not in self._forms:
            self._forms[key] = metric_form(measured.scorer, metric)
        return self._forms[key]

    def table(self, form: PairedMetric, stats: Array, known: npt.NDArray[np.bool_]) -> Array:
        key = (id(form.table), id(stats), known.tobytes())
        if key not in self._tables:
            self._tables[key] = (stats, form.table(stats[known]))  # what an id stands for is kept alive
        return self._tables[key][1]


def _aligned(run: RunScores, key: tuple[str, str], like: Measured, base: TaskScores) -> Array:
    """The run's statistics (n, width) of the scorer in the order of the baseline's samples; NaN where there are none."""
    own = run.tasks.get(key)
    found = None if own is None else next((m for m in own.measured if m.signature == like.signature), None)
    if found is None:
        remedy = f"; evalkit rescore {run.path} makes them" if own is not None else ""
        raise StoreError(f"run {run.name} has no scores of {like.scorer.name} for {key[0]}{remedy}")
    if found.units == base.ids:
        return found.stats
    stats = np.full((len(base.ids), found.stats.shape[1]), np.nan)
    here, there = joined(base.ids, found.units)
    stats[here] = found.stats[there]
    return stats
