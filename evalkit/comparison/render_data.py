"""Comparisons and rankings as data: one document for JSON, and flat rows for CSV. `docs/comparing-runs.md` has the fields.

Numbers are plain and unrounded; what is not there is ``None``. Whoever writes them makes the JSON strict and the CSV safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from evalkit.comparison.base import Comparison, RunScores
from evalkit.comparison.numbers import is_share
from evalkit.comparison.ranks import Ranked, Ranking
from evalkit.comparison.render import LEVEL, Line
from evalkit.scorers.base import MetricInfo
from evalkit.types import Json

#: Of the document; grows by one where a field changes its meaning or goes.
FORMAT = 1
_LEFT_OUT = "left_out_"


def comparison_document(
    found: Sequence[Line], baseline: RunScores, system: RunScores, *, level: float = LEVEL, seed: int = 0
) -> dict[str, Json]:
    """Everything about two runs: all flips, every field of every comparison."""
    return {
        "format": FORMAT,
        "level": level,
        "seed": seed,
        "baseline": run_entry(baseline),
        "system": run_entry(system),
        "comparisons": [line_entry(line, level) for line in found],
    }


def ranking_document(
    rankings: Sequence[Ranking], runs: Sequence[RunScores], *, level: float = LEVEL, seed: int = 0
) -> dict[str, Json]:
    """Everything about several runs; the first is the baseline."""
    return {
        "format": FORMAT,
        "level": level,
        "seed": seed,
        "baseline": runs[0].name,
        "systems": [run_entry(run) for run in runs],
        "rankings": [ranking_entry(found, level) for found in rankings],
    }


def run_entry(run: RunScores) -> dict[str, Json]:
    """What identifies a run."""
    keys = ("id", "status", "created", "evalkit", "config_hash", "model")
    return {"name": run.name, "source": run.source, **{key: run.manifest.get(key) for key in keys}}


def line_entry(line: Line, level: float = LEVEL) -> dict[str, Json]:
    """One comparison with all its fields; ``flips`` worst first."""
    c = line.comparison
    return {
        **comparison_entry(c, level),
        "p_adjusted": line.p_adjusted,
        "significant": line.p_adjusted is not None and line.p_adjusted < 1 - level,
        "flips": [asdict(flip) for flip in c.flips],
        "detail": dict(c.detail),
    }


def comparison_entry(c: Comparison, level: float = LEVEL) -> dict[str, Json]:
    """A comparison's own fields, flips and detail aside."""
    test = c.test
    ci = None if test is None else test.interval(level)
    return {
        "task": c.task,
        "filter": c.filter,
        "slice": c.slice,
        "scorer": c.scorer,
        **metric_entry(c.metric),
        "baseline": c.baseline,
        "system": c.system,
        "baseline_value": c.baseline_value,
        "system_value": c.system_value,
        "difference": None if test is None else test.value,
        "stderr": None if test is None else test.stderr,
        "ci": None if ci is None else list(ci),
        "method": None if test is None else test.method,
        "p": None if test is None else test.p_two_sided(),
        "p_method": None if test is None else test.p_method,
        "n": c.n,
        "units": None if test is None else test.units,
        "gained": c.gained,
        "lost": c.lost,
        "left_out": asdict(c.left_out),
        "notes": list(c.notes),
        "signature": c.signature,
    }


def metric_entry(metric: MetricInfo) -> dict[str, Json]:
    """What a metric is; ``share``: differences are told in percentage points."""
    return {
        "metric": metric.name,
        "higher_is_better": metric.higher_is_better,
        "low": metric.low,
        "high": metric.high,
        "ideal": metric.ideal,
        "share": is_share(metric),
        "headline": metric.headline,
    }


def ranking_entry(found: Ranking, level: float = LEVEL) -> dict[str, Json]:
    """One ranking, best system first."""
    return {
        "task": found.task,
        "filter": found.filter,
        "slice": found.slice,
        "scorer": found.scorer,
        **metric_entry(found.metric),
        "n": found.n,
        "pairs": found.pairs,
        "left_out": dict(found.left_out),
        "notes": list(found.notes),
        "systems": [_ranked_entry(system, level) for system in found.systems],
    }


def _ranked_entry(system: Ranked, level: float) -> dict[str, Json]:
    return {
        "system": system.system,
        "value": system.value,
        "ci": None if system.ci is None else list(system.ci),
        "ranks": None if system.ranks is None else list(system.ranks),
        "groups": list(system.groups),
        "p_adjusted": system.p_adjusted,
        "to_first": None if system.to_first is None else comparison_entry(system.to_first, level),
    }


def comparison_rows(found: Sequence[Line], level: float = LEVEL) -> list[dict[str, Any]]:
    """A row a comparison; intervals and counts of what is left out in columns of their own."""
    rows = []
    for line in found:
        entry = line_entry(line, level)
        rows.append(_flat({key: value for key, value in entry.items() if key not in ("flips", "detail")}))
    return rows


def ranking_rows(rankings: Sequence[Ranking], level: float = LEVEL) -> list[dict[str, Any]]:
    """A row a system and ranking."""
    rows = []
    for found in rankings:
        entry = ranking_entry(found, level)
        shared = {key: entry[key] for key in ("task", "filter", "slice", "scorer", "metric", "higher_is_better", "n")}
        for system in entry["systems"]:
            first = system["to_first"] or {}
            rows.append(
                {
                    **shared,
                    "system": system["system"],
                    "rank_best": system["ranks"] and system["ranks"][0],
                    "rank_worst": system["ranks"] and system["ranks"][1],
                    "groups": "".join(system["groups"]),
                    **_ends("value", system["value"], system["ci"]),
                    **_ends("difference", first.get("difference"), first.get("ci")),
                    **{key: first.get(key) for key in ("p", "method", "p_method", "gained", "lost")},
                    "p_adjusted": system["p_adjusted"],
                }
            )
    return rows


def _ends(name: str, value: float | None, ci: Sequence[float] | None) -> dict[str, float | None]:
    low, high = ci or (None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _flat(entry: dict[str, Json]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key, value in entry.items():
        if key == "ci":
            row |= {"ci_low": value and value[0], "ci_high": value and value[1]}
        elif key == "left_out":
            row |= {f"{_LEFT_OUT}{why}": n for why, n in value.items()}
        elif key == "notes":
            row[key] = "; ".join(value)
        else:
            row[key] = value
    return row
