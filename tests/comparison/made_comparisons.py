"""Comparisons made by hand: figures as given, real paired differences where these are wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from evalkit.comparison.base import Comparison, Flip, LeftOut, RunScores
from evalkit.scorers.base import MetricInfo
from evalkit.stats.difference import paired_difference

ACC = MetricInfo("acc", low=0.0, high=1.0, ideal=1.0, mean=True, proportion=True)
LOSS = MetricInfo("loss", higher_is_better=False, low=0.0, mean=True)


def rows(right: int, n: int, first: int = 0) -> np.ndarray:
    """``n`` values, ``right`` of them 1, beginning at position ``first``."""
    x = np.zeros(n)
    x[first : first + right] = 1.0
    return x


def compared(x: np.ndarray, y: np.ndarray, task: str = "maths", metric: MetricInfo = ACC, **more: Any) -> Comparison:
    """System values ``y`` against baseline values ``x`` of the same samples."""
    better, worse = ((y > x), (y < x)) if metric.higher_is_better is not False else ((y < x), (y > x))
    changed = [*np.flatnonzero(worse).tolist(), *np.flatnonzero(better).tolist()]
    fields: dict[str, Any] = {
        "task": task,
        "filter": "none",
        "scorer": metric.name,
        "metric": metric,
        "baseline": "old",
        "system": "new",
        "baseline_value": float(x.mean()),
        "system_value": float(y.mean()),
        "test": paired_difference(x, y, low=metric.low, high=metric.high),
        "n": len(x),
        "gained": int(better.sum()),
        "lost": int(worse.sum()),
        "flips": tuple(Flip(task, f"s{i}", float(x[i]), float(y[i])) for i in changed),
        "left_out": LeftOut(),
        "signature": f"{metric.name}|version:1",
    }
    return Comparison(**fields | more)


def run(name: str, source: str | None = None) -> RunScores:
    manifest = {
        "id": f"id-{name}",
        "status": "complete",
        "created": "2026-01-01",
        "evalkit": "0.1.0",
        "model": {"name": name},
    }
    return RunScores(name, source or f"runs/{name}", Path("runs") / name, manifest, {})
