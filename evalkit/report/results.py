"""``results.json``: lm-eval's keys, so that dashboards made for it read evalkit's runs, and an ``evalkit`` block beside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from evalkit.report import base, strict
from evalkit.report.base import ReportableRun
from evalkit.runner.files import atomic
from evalkit.types import Json, Summary

_CARRIED = (
    "id",
    "config_hash",
    "fingerprints",
    "model",
    "environment",
    "warnings",
    "counts",
    "timing",
    "usage",
    "prices",
    "created",
    "ended",
)


def results(run: ReportableRun) -> dict[str, Json]:
    """The document. Keys follow lm-eval 0.4's result file; ``evalkit`` holds what that has no place for."""
    summaries = run.summary()
    whole = [s for s in summaries if s.slice is None]
    members = base.groups(run)
    tables = {name: _metrics(run, name, whole) for name, _ in base.outline(run)}
    tasks = base.part(run, "tasks")
    model, options, seconds = base.part(run, "model"), base.part(run, "config"), base.seconds(run)
    groups = {name: tables[name] for name in members if len(tables[name]) > 3}
    document: dict[str, Json] = {
        "results": tables,
        **({"groups": groups} if groups else {}),
        "group_subtasks": {name: children for name, children in members.items()} or {name: [] for name in tasks},
        "configs": {name: task.get("config", {}) for name, task in tasks.items()},
        "versions": _versions(run),
        "n-shot": {s.task: s.n_shot for s in whole if s.task in tasks},
        "higher_is_better": _directions(whole),
        "n-samples": {name: {"original": t.get("size"), "effective": t.get("samples")} for name, t in tasks.items()},
        "config": _config(options, model),
        "date": _timestamp(run.manifest.get("created")),
        "model_source": str(options.get("model", "")).split("/", 1)[0],
        "model_name": options.get("model"),
        "max_length": model.get("max_length"),
        "chat_template_sha": model.get("chat_template_hash"),
        "system_instruction": options.get("system_instruction"),
        "fewshot_as_multiturn": options.get("fewshot_as_multiturn"),
        "task_hashes": {name: task.get("hash") for name, task in tasks.items()},
        "total_evaluation_time_seconds": "" if seconds is None else str(seconds),
        "evalkit": _own(run, summaries),
    }
    return document


def export_results(run: ReportableRun) -> Path:
    """Write ``results.json``; returns its path."""
    path = base.folder(run) / "results.json"
    with atomic(path, derived=True) as file:
        file.write(strict.dumps(results(run), indent=2) + b"\n")
    return path


def _metrics(run: ReportableRun, name: str, summaries: Iterable[Summary]) -> dict[str, Json]:
    own = [s for s in summaries if s.task == name]
    row: dict[str, Json] = {"alias": base.alias(run, name), "name": name, "sample_len": max((s.n for s in own), default=0)}
    for s in own:
        row[f"{s.metric},{s.filter}"] = s.value
        row[f"{s.metric}_stderr,{s.filter}"] = "N/A" if s.stderr is None else s.stderr
    return row


def _versions(run: ReportableRun) -> dict[str, Json]:
    groups = {group["group"]: (group.get("metadata") or {}).get("version") for group in run.manifest.get("groups", ())}
    return groups | {name: task.get("version") for name, task in base.part(run, "tasks").items()}


def _directions(summaries: Iterable[Summary]) -> dict[str, dict[str, bool | None]]:
    out: dict[str, dict[str, bool | None]] = {}
    for s in summaries:
        out.setdefault(s.task, {})[s.metric] = s.higher_is_better
    return out


def _config(options: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Json]:
    seed = options.get("seed")
    return {
        "model": options.get("model"),
        "model_args": dict(options.get("model_args") or {}),
        "model_num_parameters": model.get("parameters"),
        "model_dtype": model.get("dtype"),
        "model_revision": model.get("revision"),
        "model_sha": model.get("sha") or model.get("fingerprint"),
        "batch_size": options.get("batch_size") or "auto",
        "batch_sizes": [],
        "device": options.get("device") or model.get("device"),
        "use_cache": None,
        "limit": options.get("limit"),
        "bootstrap_iters": None,
        "gen_kwargs": dict(options.get("gen_kwargs") or {}),
        "random_seed": seed,
        "numpy_seed": seed,
        "torch_seed": seed,
        "fewshot_seed": seed,
    }


def _own(run: ReportableRun, summaries: Iterable[Summary]) -> dict[str, Json]:
    manifest = run.manifest
    return {
        "run": run.name,
        "status": run.status,
        "command": base.command(run),
        "summaries": [asdict(s) for s in summaries],
        **{key: manifest[key] for key in _CARRIED if key in manifest},
    }


def _timestamp(value: Json) -> float | None:
    """Seconds since 1970, as lm-eval's ``date``, from an ISO time or a number."""
    if isinstance(value, str):
        return datetime.fromisoformat(value).timestamp()
    return value if isinstance(value, int | float) else None
