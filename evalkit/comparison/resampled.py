"""Runs over the same samples compared: each metric's difference, with its interval and tests, from stored statistics."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evalkit.errors import StoreError
from evalkit.runner.run import Run
from evalkit.runner.score import score_path, scorer_hash
from evalkit.runner.store import RunStore
from evalkit.runner.stored import StoredTask, stored_tasks
from evalkit.scorers.base import Array, MetricInfo, Scorer
from evalkit.scorers.paired import PairedMetric, paired_metric
from evalkit.stats.means import cluster_codes
from evalkit.stats.paired import Pair, Paired, environment_seed, paired_tests


@dataclass(frozen=True, slots=True)
class Comparison:
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


def compare_runs(runs: Mapping[str, Run], baseline: str, *, seed: int | None = None) -> list[Comparison]:
    """Every metric of every run against the one called ``baseline``: by task, filter, metric, then run.

    Samples are paired by id; clusters of the task are drawn whole. ``seed`` defaults to sacrebleu's. All metrics that the
    same samples have are tested on the same draws. Raises StoreError for runs that have not the same tasks and scorers.
    """
    seed = environment_seed() if seed is None else seed
    stores = {name: RunStore.open(run.path) for name, run in runs.items()}
    found: list[Comparison] = []
    for task in stored_tasks(stores[baseline], runs[baseline].manifest):
        for filter_ in task.filters:
            found += _compared(stores, baseline, task, filter_.name, seed)
    return found


def _compared(
    stores: Mapping[str, RunStore], baseline: str, task: StoredTask, filter_: str, seed: int | None
) -> list[Comparison]:
    scorers = [scorer for scorer in task.scorers if scorer.unit == "sample"]
    others = [name for name in stores if name != baseline]
    wanted = [(scorer, metric, system) for scorer in scorers for metric in scorer.metrics for system in others]
    read = {
        (name, scorer_hash(scorer)): _read(store.path, task.name, filter_, scorer)
        for name, store in stores.items()
        for scorer in scorers
    }
    units = list(next(rows for (name, _), rows in read.items() if name == baseline)) if read else []
    tables = {key: _aligned(rows, units) for key, rows in read.items()}
    clusters = _clusters(stores[baseline], task, units)
    columns = _Columns()
    batches: dict[bytes, dict[int, Pair]] = {}
    left_out = {}
    for at, (scorer, metric, system) in enumerate(wanted):
        form = columns.form(scorer, metric)
        if form is None:
            continue
        one, other = tables[baseline, scorer_hash(scorer)], tables[system, scorer_hash(scorer)]
        known = form.known(one) & form.known(other)
        left_out[at] = int((~known).sum())
        if known.any():
            pair = Pair(columns.table(form, one, known), columns.table(form, other, known), form.finish)
            batches.setdefault(known.tobytes(), {})[at] = pair
    results: dict[int, Paired] = {}
    for mask, pairs in batches.items():
        kept = None if clusters is None else cluster_codes(clusters[np.frombuffer(mask, dtype=np.bool_)])[0]
        results |= paired_tests(pairs, clusters=kept, seed=seed)
    return [
        Comparison(
            task=task.name,
            filter=filter_,
            scorer=scorer.name,
            metric=metric.name,
            higher_is_better=metric.higher_is_better,
            baseline=baseline,
            system=system,
            result=results.get(at),
            left_out=left_out.get(at, 0),
            signature=scorer.signature(),
            seed=seed,
        )
        for at, (scorer, metric, system) in enumerate(wanted)
    ]


class _Columns:
    """Tables made once: the same array for all pairs that need it, so that its totals are, too."""

    def __init__(self) -> None:
        self._forms: dict[tuple[str, str], PairedMetric | None] = {}
        self._tables: dict[tuple[int, int, bytes], tuple[Array, Array]] = {}

    def form(self, scorer: Scorer, metric: MetricInfo) -> PairedMetric | None:
        key = (scorer_hash(scorer), metric.name)
        if key not in self._forms:
            self._forms[key] = paired_metric(scorer, metric)
        return self._forms[key]

    def table(self, form: PairedMetric, stats: Array, known: npt.NDArray[np.bool_]) -> Array:
        key = (id(form.table), id(stats), known.tobytes())
        if key not in self._tables:
            self._tables[key] = (stats, form.table(stats[known]))  # what an id stands for is kept alive
        return self._tables[key][1]


def _read(run: Path, task: str, filter_: str, scorer: Scorer) -> dict[str, list[float | None] | None]:
    """The statistics of every sample by its id; ``None`` for one that has no score."""
    path = score_path(run, task, filter_, scorer)
    try:
        with gzip.open(path, "rt", encoding="utf-8", errors="surrogatepass") as file:
            return {line["unit"]: line["stats"] for line in map(json.loads, file)}
    except FileNotFoundError:
        raise StoreError(
            f"run {run.name} has no scores of {scorer.name} for {task}; evalkit rescore {run} makes them"
        ) from None
    except (OSError, EOFError, ValueError) as error:
        raise StoreError(f"{path} is damaged ({error}); evalkit rescore {run} makes it anew") from error


def _aligned(rows: Mapping[str, Sequence[float | None] | None], units: Sequence[str]) -> Array:
    """Statistics (n, width) in the order of ``units``; NaN where there are none."""
    width = max((len(stats) for stats in rows.values() if stats is not None), default=1)
    nothing: list[float | None] = [None] * width
    return np.array([rows.get(unit) or nothing for unit in units], dtype=np.float64).reshape(len(units), width)


def _clusters(store: RunStore, task: StoredTask, units: Sequence[str]) -> npt.NDArray[np.str_] | None:
    """The cluster of every unit; ``None`` where the task has none. A sample without one is a cluster of its own."""
    if not store.manifest["tasks"][task.name]["definition"].get("cluster"):
        return None
    log = store.samples(task.name)
    samples = (log[position][0] for position in range(len(log)))
    named = {sample.id: f"={sample.id}" if sample.cluster is None else f"#{sample.cluster}" for sample in samples}
    return np.array([named[unit] for unit in units])
