"""What a comparison reads and finds, as plain data: the same from a run directory, a score file and an imported run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from evalkit.scorers.base import Array, MetricInfo, Scorer
from evalkit.stats.difference import Difference
from evalkit.types import Json

#: What became of a unit: scored, unscored (with a reason), failed, or not answered yet. Codes of `Measured.status`.
OK, UNSCORED, ERROR, MISSING = 0, 1, 2, 3

Codes = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Measured:
    """One scorer over one task and filter.

    ``units`` are sample ids (or names of groups, ``scorer.unit``), ``stats`` (n, width) with rows of NaN where there is no
    score, ``values`` (n,) what a reader sees for a unit (NaN: nothing), ``status`` (n,) one of the codes above. ``scorer``
    rebuilds corpus metrics from totals; one that is only remembered (its network is gone) serves means.
    """

    scorer: Scorer
    signature: str
    units: tuple[str, ...]
    stats: Array
    values: Array
    status: Codes


@dataclass(frozen=True, slots=True)
class TaskScores:
    """One task of a run under one filter: what identifies it, its samples, and all its scorers.

    ``digests`` (n,) are 32-bit hashes of what a sample asked and wanted: prompts, continuations, generation settings,
    choices, target. ``clusters`` is ``None`` where the task has none; a sample without a cluster is one of its own.
    ``slices``: name -> label a sample ("" for none). ``latency_s``, ``output_tokens``, ``cost_usd`` (n,): sums over the
    sample's requests, NaN where unknown or answered from a cache.
    """

    task: str
    filter: str
    version: str
    definition: str
    data: str
    n_shot: int
    size: int
    """Samples that the task's split has, evaluated or not."""
    ids: tuple[str, ...]
    digests: npt.NDArray[np.uint32]
    clusters: Labels | None
    slices: Mapping[str, Labels]
    latency_s: Array
    output_tokens: Array
    cost_usd: Array
    measured: tuple[Measured, ...]


@dataclass(frozen=True, slots=True)
class RunScores:
    """Everything a comparison needs of a run, without a text of it.

    ``source`` is what the user named (a path, ``git:REF:PATH``); ``path`` the run's directory where there is one.
    ``manifest`` holds the run's ``id``, ``name``, ``status``, ``created``, ``evalkit``, ``config``, ``config_hash``,
    ``identity``, ``model``, ``fingerprints``, ``groups``, ``usage`` and ``tasks`` entries, as ``run.json`` has them.
    """

    name: str
    source: str
    path: Path | None
    manifest: Mapping[str, Any]
    tasks: Mapping[tuple[str, str], TaskScores]
    """By task and filter, in the run's order."""


@dataclass(frozen=True, slots=True)
class Flip:
    """A sample whose score changed. ``report`` is the anchor of the sample in the system's report.

    ``effect``: by how much the change moves the metric, times the samples there are. Of a mean that is system - baseline;
    what is shown of a sample of another metric (its log-likelihood, for perplexity) may rise while the metric falls.
    """

    task: str
    id: str
    baseline: float
    system: float
    report: str | None = None
    effect: float | None = None

    @property
    def change(self) -> float:
        """What is held against the metric's direction to call it better or worse."""
        return self.system - self.baseline if self.effect is None else self.effect


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Units of a comparison that are in no pair, counted by why; nothing is dropped silently.

    ``baseline_only``/``system_only``: the other run does not have them. The others: in both, but without a value in one.
    """

    baseline_only: int = 0
    system_only: int = 0
    baseline_errors: int = 0
    system_errors: int = 0
    baseline_unscored: int = 0
    system_unscored: int = 0
    pairs: int = 0
    """Units that both runs have and that are left out all the same."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A metric over the same samples of two runs (or of a slice of them): each value, and the paired difference.

    ``task`` may be a group, whose tasks' samples are pooled as the group weighs them. Both values are of the pairs only.
    ``test`` is ``None`` where there is no paired test (a single unit, a function that only its task folder has). ``gained``
    and ``lost`` count 0/1 flips in the direction of better and worse; for other metrics, units that went up or down.
    """

    task: str
    filter: str
    scorer: str
    metric: MetricInfo
    baseline: str
    system: str
    baseline_value: float | None
    system_value: float | None
    test: Difference | None
    n: int
    gained: int
    lost: int
    flips: tuple[Flip, ...]
    """Worst first; all of them."""
    left_out: LeftOut
    signature: str
    slice: str | None = None
    notes: tuple[str, ...] = ()
    detail: Mapping[str, Json] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """How tables and policies name it: ``task filter metric [slice]``, the filter where it says something."""
        filter_ = "" if self.filter in ("none", "") else f" {self.filter}"
        return f"{self.task}{filter_} {self.metric.name}" + (f" [{self.slice}]" if self.slice else "")


#: Why runs cannot be compared, by what differs.
Mismatch = Literal["task", "version", "data", "prompt", "scorer", "overlap", "status"]
