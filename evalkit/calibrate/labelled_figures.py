"""One number of a classifier's evaluation: its value, interval and size, and what it means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from evalkit.scorers.base import MetricInfo
from evalkit.stats.intervals import Interval, effective_n, wilson
from evalkit.stats.means import Array, Ints, cluster_codes, clustered_stderr
from evalkit.stats.ranking import Flags, confusion, rates
from evalkit.stats.resample import percentile_interval
from evalkit.types import Json


def _info(name: str, better: bool = True) -> MetricInfo:
    return MetricInfo(name, better, low=0.0, high=1.0, ideal=1.0 if better else 0.0)


_MEANING = {
    "accuracy": "share of texts put into the right class",
    "precision": "share of flagged texts that are positive",
    "recall": "share of positive texts that are flagged",
    "f1": "harmonic mean of precision and recall",
    "fpr": "false positive rate: share of negative texts that are flagged",
    "fnr": "false negative rate: share of positive texts that are missed",
    "auc": "how likely a positive text scores above a negative one, ties half; 0.5 is chance",
    "average_precision": "precision over all thresholds, weighted by gain in recall; the share of positives is chance",
    "subgroup_auc": "AUC among texts of the group; 0.5 is chance",
    "bpsn_auc": "AUC of other groups' positive against the group's negative texts: low where the group is flagged wrongly",
    "bnsp_auc": "AUC of other groups' negative against the group's positive texts: low where the group is missed",
    "subgroup_auc_mean": "generalised mean (p = -5) of the groups' subgroup AUC: near the worst group's",
    "bpsn_auc_mean": "generalised mean (p = -5) of the groups' BPSN AUC",
    "bnsp_auc_mean": "generalised mean (p = -5) of the groups' BNSP AUC",
    "bias_score": "0.25 AUC + 0.25 of each generalised mean (Jigsaw Unintended Bias, 2019)",
}
#: Every metric by name, with direction, range and ideal value.
METRICS: Mapping[str, MetricInfo] = {name: _info(name, name not in ("fpr", "fnr")) for name in _MEANING}


def about(metric: str) -> dict[str, Json]:
    """Direction, range, ideal value and meaning of a metric."""
    info = METRICS[metric]
    return {
        "higher_is_better": info.higher_is_better,
        "range": [info.low, info.high],
        "ideal": info.ideal,
        "meaning": _MEANING[metric],
    }


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric's value over ``n`` texts with its 95 % interval; ``None`` with the ``reason`` where it is undefined."""

    metric: str
    value: float | None
    ci: Interval | None = None
    ci_method: str | None = None
    n: int = 0
    reason: str | None = None

    def to_dict(self) -> dict[str, Json]:
        return {
            "metric": self.metric,
            "value": self.value,
            "ci": None if self.ci is None else list(self.ci),
            "ci_method": self.ci_method,
            "n": self.n,
            "reason": self.reason,
        }


def share(metric: str, hits: Flags, clusters: Ints | None) -> Figure:
    """The share of ``hits`` (n,) with Wilson's interval; with ``clusters`` (n,) on as many texts as count as independent."""
    n = len(hits)
    if not n:
        return Figure(metric, None, reason="no such text")
    p = float(hits.mean())
    if clusters is None:
        return Figure(metric, p, wilson(p, n), "wilson", n)
    units = cluster_codes(clusters)[1]
    # clusters that are all alike would claim more than the texts there are, or no doubt at all
    trials = min(float(n), effective_n(p, clustered_stderr(hits.astype(np.float64), clusters), units))
    return Figure(metric, p, wilson(p, trials), "wilson-effective-n", n)


def proportions(flagged: Flags, positive: Flags, clusters: Ints | None) -> dict[str, Figure]:
    """Accuracy, precision, recall, F1 (without interval), FPR and FNR of texts ``flagged`` (n,)."""

    def of(metric: str, hits: Flags, rows: Flags | slice = slice(None)) -> Figure:
        return share(metric, hits[rows], None if clusters is None else clusters[rows])

    f1 = float(rates(confusion(flagged, positive).sum(axis=0))["f1"])
    known = math.isfinite(f1)
    return {
        "accuracy": of("accuracy", flagged == positive),
        "precision": of("precision", positive, flagged),
        "recall": of("recall", flagged, positive),
        "f1": Figure("f1", f1 if known else None, n=len(flagged), reason=None if known else "nothing positive or flagged"),
        "fpr": of("fpr", flagged, ~positive),
        "fnr": of("fnr", ~flagged, positive),
    }


def bootstrapped(metric: str, value: float | None, drawn: Array | None, n: int, why: str = "one class only") -> Figure:
    """A value with the percentile interval of its bootstrap replicates."""
    if value is None or not math.isfinite(value):
        return Figure(metric, None, n=n, reason=why)
    ci = None if drawn is None else percentile_interval(drawn)
    return Figure(metric, value, ci, "bootstrap" if ci else None, n)
