"""What a judge said in a run, read back: a value a sample and criterion, with what a verdict may depend on."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.calibrate import pairs
from evalkit.calibrate.pairs import pair_name
from evalkit.errors import DataError, nearest
from evalkit.ratings.joining import answer_text
from evalkit.runner.run import Run
from evalkit.runner.store import RunStore
from evalkit.runner.stored import StoredTask, read_tasks
from evalkit.scorers.base import Array, MetricInfo, Scorer
from evalkit.stats.means import Ints
from evalkit.types import Json, Record, Score


@dataclass(frozen=True, slots=True)
class Pair:
    """Two systems' outputs for an item, as a judge compared them: its value is from the view of ``first``."""

    item: str
    first: str
    second: str
    other: str
    """The text of ``second``."""

    @property
    def name(self) -> str:
        return pair_name(self.first, self.second)


@dataclass(frozen=True, slots=True)
class Judged:
    """One judge scorer of one run: ``n`` scored samples in the order of the data.

    ``values`` are (n,) by metric, NaN where the judge gave no verdict. ``lengths`` (n,) are characters of the answer; of a
    comparison, those of the answer less those of the other text. ``orders`` (pairs, 2), of a comparison asked in both
    orders: how far the text shown first won, 0 to 1, when the answer stood first and when it stood second.
    """

    path: Path
    names: tuple[str, ...]
    task: str
    scorer: str
    signature: str
    metrics: Mapping[str, MetricInfo]
    ids: tuple[str, ...]
    values: Mapping[str, Array]
    positions: Ints
    lengths: Array
    slices: tuple[Mapping[str, str], ...]
    orders: Array
    detail: Mapping[str, Json]
    shared: bool = False
    """Whether another task of the run has a scorer of this name."""
    texts: tuple[str | None, ...] = ()
    """The first answer to each sample, the one that people rate."""
    pairs: tuple[Pair, ...] = ()
    """Of a comparison of runs (`evalkit.judge_pairs`), what was compared, sample by sample."""

    @property
    def name(self) -> str:
        """How the run is called."""
        return self.names[0]

    @property
    def pairwise(self) -> bool:
        return parameter(self.signature, "against") is not None

    @property
    def rubric(self) -> str | None:
        """The rubric's hash."""
        found = parameter(self.signature, "rubric")
        return found.rpartition("@")[2] if found and "@" in found else None


def parameter(signature: str, name: str) -> str | None:
    """A parameter that a scorer's signature pins."""
    found = re.search(rf"\|{re.escape(name)}:([^|]*)", signature)
    return found.group(1) if found and found.group(1) != "None" else None


def is_judge(scorer: str, signature: str) -> bool:
    """Whether a scorer is a judge, by its name or because it rates by a rubric."""
    return "judge" in scorer or parameter(signature, "rubric") is not None


def read_judged(path: Path, *, task: str | None = None, scorer: str | None = None) -> Judged:
    """The judge's verdicts in the run in ``path``; ``task`` and ``scorer`` say which, where there are several.

    Raises DataError where the run has none, or several and none was named.
    """
    store = RunStore.open(path)
    found = [
        (stored, one)
        for stored in read_tasks(store, store.manifest)
        for one in stored.scorers
        if task in (None, stored.name) and (one.name == scorer if scorer else is_judge(one.name, one.signature()))
    ]
    if not found:
        raise DataError(_none(store, task, scorer))
    if len(found) > 1:
        listed = ", ".join(f"--task {stored.name} --scorer {one.name}" for stored, one in found[:6])
        raise DataError(f"{path.name} has several judges; say which: {listed}")
    ((stored, one),) = found
    return _read(Run(store), stored, one)


def _none(store: RunStore, task: str | None, scorer: str | None) -> str:
    known = store.manifest["tasks"]
    if task is not None and task not in known:
        return f"{store.path.name} has no task {task!r}{nearest(task, known) or f'; it has {chr(44).join(known)}'}"
    if scorer is not None:
        return f"no task of {store.path.name} was scored by {scorer!r}"
    return f"{store.path.name} has no judge's scores; add a judge: evalkit rescore {store.path} --scorers judge:RUBRIC"


def _read(run: Run, stored: StoredTask, scorer: Scorer) -> Judged:
    metrics = {metric.name: metric for metric in scorer.metrics if metric.mean and metric.headline}
    rows = list(_rows(run, stored.name, scorer.name))
    if not any(score.stats is not None for _, score in rows):
        raise DataError(f"the judge gave no verdict in {run.path.name}, task {stored.name}")
    against = parameter(scorer.signature(), "against")
    manifest = run.manifest
    model = manifest.get("model") or {}
    names = (run.name, str(manifest["config"].get("model") or ""), str(model.get("name") or ""), run.path.name)
    orders = [pair for _, score in rows for pair in _orders(score)]
    own = (s for s in run.summary() if (s.task, s.scorer, s.slice) == (stored.name, scorer.name, None))
    return Judged(
        path=run.path,
        names=tuple(dict.fromkeys(name for name in names if name)),
        task=stored.name,
        scorer=scorer.name,
        signature=scorer.signature(),
        metrics=metrics,
        ids=tuple(record.sample.id for record, _ in rows),
        values={name: np.array([_value(score, metric) for _, score in rows]) for name, metric in metrics.items()},
        positions=np.array([record.sample.index for record, _ in rows], dtype=np.int64),
        lengths=np.array([_length(record, against) for record, _ in rows]),
        slices=tuple(record.sample.slices for record, _ in rows),
        orders=np.array(orders, dtype=np.float64).reshape(-1, 2),
        detail=next((s.detail for s in own), {}),
        shared=len(run.manifest["tasks"]) > 1 and _elsewhere(run, stored.name, scorer.name),
        texts=tuple(answer_text(record) for record, _ in rows),
        pairs=tuple(_pair(record) for record, _ in rows) if all(_compared(record) for record, _ in rows) else (),
    )


def _compared(record: Record) -> bool:
    return all(name in record.sample.doc for name in (pairs.PAIR, pairs.FIRST, pairs.SECOND, pairs.OTHER))


def _pair(record: Record) -> Pair:
    doc = record.sample.doc
    item = record.sample.id.removesuffix(f" {doc[pairs.PAIR]}")
    return Pair(item, str(doc[pairs.FIRST]), str(doc[pairs.SECOND]), str(doc[pairs.OTHER]))


def _elsewhere(run: Run, task: str, scorer: str) -> bool:
    return any(s.scorer == scorer and s.task != task for s in run.summary() if s.task in run.manifest["tasks"])


def _rows(run: Run, task: str, scorer: str) -> Iterator[tuple[Record, Score]]:
    """Scored records of the first filter that has any."""
    chosen: str | None = None
    for view in run.records(task):
        score = view.scores.get(scorer)
        if score is not None and chosen in (None, view.filter):
            chosen = view.filter
            yield view.record, score


def _value(score: Score, metric: MetricInfo) -> float:
    return math.nan if score.stats is None else float(score.stats[metric.column])


def _length(record: Record, against: str | None) -> float:
    """Characters of the answer (the mean of several), less those of the text it is compared with."""
    answer = record.answer
    texts: Sequence[Any] = [answer] if isinstance(answer, str) else answer if isinstance(answer, list | tuple) else []
    known = [len(text) for text in texts if isinstance(text, str)]
    if not known:
        return math.nan
    other = 0 if against is None else len(str(record.sample.doc.get(against) or ""))
    return math.fsum(known) / len(known) - other


def _orders(score: Score) -> Iterator[tuple[float, float]]:
    told = score.detail.get("verdicts")
    given = [v for v in told if isinstance(v, Mapping) and "first" in v] if isinstance(told, list) else []
    for first, second in zip(given[::2], given[1::2], strict=False):
        sides = {str(v["first"]): float(v["value"]) for v in (first, second) if v.get("value") is not None}
        if sides.keys() == {"answer", "other"}:
            yield sides["answer"], sides["other"]
