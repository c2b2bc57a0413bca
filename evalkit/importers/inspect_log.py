"""A log of inspect as a run: one task, whose scorers' values came with it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.errors import DataError
from evalkit.importers.base import Answered, Reported, RunLog, TaskLog
from evalkit.importers.check import as_given
from evalkit.importers.inspect_archive import Archive, open_archive
from evalkit.importers.inspect_samples import SampleReader, failed, settings
from evalkit.importers.inspect_values import number, numbers
from evalkit.tasks.schema import TaskConfig
from evalkit.types import Json

#: The newest version of inspect's log format that is read.
VERSION = 2
_CHUNK = 1 << 20


def read_inspect(path: Path) -> RunLog:
    """The run that a log tells of.

    Raises DataError for a log that is damaged, not finished, of a newer format, or without samples.
    """
    archive = open_archive(path)
    _check(archive)
    spec = archive.header["eval"]
    version = str((spec.get("packages") or {}).get("inspect_ai") or "0")
    origin = f"inspect {version}"
    seen = _look_through(archive)
    if not seen.values:
        raise DataError(f"{path} holds no scores: score it first (inspect score)")
    task = _task(archive, seen, origin)
    stats = archive.header.get("stats") or {}
    model = str(spec.get("model"))
    return RunLog(
        origin=origin,
        source=path,
        files={path.name: _digest(path)},
        name=f"{model.rsplit('/', 1)[-1]}_{task.name.rsplit('/', 1)[-1]}",
        model={"name": model, "source": "inspect", "base_url": spec.get("model_base_url")},
        options={
            "tasks": (task.name,),
            "model": model,
            "limit": (spec.get("config") or {}).get("limit")
            if isinstance((spec.get("config") or {}).get("limit"), int)
            else None,
        },
        tasks=(task,),
        created=spec.get("created"),
        seconds=_seconds(stats),
        warnings=_warnings(seen),
        details={"run_id": spec.get("run_id"), "eval_id": spec.get("eval_id"), "revision": spec.get("revision")},
    )


def _check(archive: Archive) -> None:
    header, path = archive.header, archive.path
    if not isinstance(header.get("eval"), Mapping):
        raise DataError(f"{path} is no inspect log: it has no eval")
    if not isinstance(version := header.get("version", 1), int) or version > VERSION:
        raise DataError(f"{path} is of inspect's log format {version}; this evalkit reads up to {VERSION}")
    status = header.get("status")
    if status != "success":
        reason = str((header.get("error") or {}).get("message") or "").split("\n", 1)[0][:200]
        why = f" ({reason})" if reason else ""
        raise DataError(f"{path} is not finished, its status is {status}{why}: inspect eval-retry finishes it")
    if not archive.samples:
        raise DataError(f"{path} holds no samples (inspect leaves them out with --no-log-samples): nothing can be compared")


@dataclass(slots=True)
class _Seen:
    """What all samples tell together."""

    values: dict[str, tuple[float, float, bool]] = field(default_factory=dict)
    """Metric -> least and greatest value, and whether all are 0 or 1."""
    incomplete: int = 0
    """Samples of which some epochs failed, but not all."""
    epochs: int = 1


def _look_through(archive: Archive) -> _Seen:
    seen = _Seen()
    for _, epochs in archive.epochs():
        broken = sum(map(failed, epochs.values()))
        seen.incomplete += 0 < broken < len(epochs)
        seen.epochs = max(seen.epochs, len(epochs))
        for found in epochs.values():
            for metric, value in numbers(found.get("scores")):
                if value is not None:
                    low, high, shares = seen.values.get(metric, (value, value, True))
                    seen.values[metric] = min(low, value), max(high, value), shares and value in (0, 1)
    return seen


def _task(archive: Archive, seen: _Seen, origin: str) -> TaskLog:
    spec, plan = archive.header["eval"], archive.header.get("plan") or {}
    config = spec.get("config") or {}
    reducer = str((config.get("epochs_reducer") or ["mean"])[0]) if seen.epochs > 1 else "mean"
    params = settings(spec.get("model_generate_config"), plan.get("config"))
    cluster, slices = _groupings(spec)
    name, data = str(spec["task"]), spec.get("dataset") or {}
    reduced = None if reducer == "mean" else _reduced(archive, reducer)
    reader = SampleReader(name, str(spec.get("model")), params, slices, cluster, reduced)
    definition = TaskConfig(
        task=name,
        dataset_path=str(data.get("location") or data.get("name") or name),
        test_split="samples",
        doc_to_text="input",
        doc_to_target="target",
        output_type="generate_until",
        repeats=seen.epochs,
        num_fewshot=0,
        slices=list(slices),
        cluster=cluster,
        metadata={
            "version": spec.get("task_version", 0),
            **({"task_args": args} if (args := spec.get("task_args")) else {}),
        },
    )

    def records() -> Iterator[Answered]:
        for index, (sample, epochs) in enumerate(archive.epochs()):
            yield reader.record(index, sample, epochs)

    task = TaskLog(
        config=definition,
        multiple_inputs=False,
        multiple_targets=False,
        n_shot=0,
        size=int(data.get("samples") or len(archive.samples)),
        samples=len(archive.samples),
        records=records,
        reported=tuple(_reported(archive, seen, origin, reducer)),
        resolved={"num_fewshot": 0, "generation_kwargs": dict(params) or None},
    )
    return as_given(task, ())


def _groupings(spec: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """The metadata by which inspect's metrics group samples: its clusters (of stderr), and its groups (of grouped)."""
    found = [
        metric.get("options") or {} for scorer in spec.get("scorers") or () for metric in _metrics(scorer.get("metrics"))
    ]
    cluster = next((str(options["cluster"]) for options in found if options.get("cluster")), None)
    return cluster, tuple(dict.fromkeys(str(options["group_key"]) for options in found if options.get("group_key")))


def _metrics(value: Any) -> Iterator[Mapping[str, Any]]:
    """The metrics of a scorer, however they are nested (a list, or a list by name of value)."""
    if isinstance(value, Mapping):
        if "name" in value:
            yield value
        else:
            for inner in value.values():
                yield from _metrics(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _metrics(inner)


def _reported(archive: Archive, seen: _Seen, origin: str, reducer: str) -> Iterator[Reported]:
    """Each metric that samples have values of, with inspect's own mean where it made one."""
    scorers = {str(scorer.get("name")): scorer for scorer in archive.header["eval"].get("scorers") or ()}
    results = (archive.header.get("results") or {}).get("scores") or ()
    task = str(archive.header["eval"]["task"])
    for metric, (low, high, shares) in seen.values.items():
        scorer, _, part = metric.partition(".")
        own = [
            entry for entry in results
            if (entry.get("name"), entry.get("scorer")) in ((metric, scorer), (part, scorer), (metric, entry.get("scorer")))
            and entry.get("reducer") in (None, reducer)
        ]  # fmt: skip
        means = (own[0].get("metrics") or {}) if own else {}
        mean = next((means[name] for name in ("accuracy", "mean") if name in means), None)
        bounded = low >= 0 and high <= 1
        options = {**(scorers.get(scorer, {}).get("options") or {}), "epochs": f"{seen.epochs} by {reducer}"}
        given: dict[str, Json] = {
            "metric": metric,
            "origin": origin,
            "higher_is_better": True if "accuracy" in means or bounded else None,
            "options": {key: str(value) for key, value in options.items()},
            "shares": shares and seen.epochs == 1,
            "bounded": bounded,
        }
        value = None if mean is None else number(mean.get("value"))
        yield Reported(task, metric, "none", value, given)


def _reduced(archive: Archive, reducer: str) -> dict[tuple[str, str], float | None]:
    """The log's own value of each sample over its epochs."""
    found: dict[tuple[str, str], float | None] = {}
    for entry in archive.reductions():
        if entry.get("reducer") in (None, reducer):
            for sample in entry.get("samples") or ():
                for metric, value in numbers({str(entry["scorer"]): sample}):
                    found[(metric, str(sample.get("sample_id")))] = value
    return found


def _warnings(seen: _Seen) -> tuple[str, ...]:
    if not seen.incomplete:
        return ()
    return (
        f"{seen.incomplete} samples failed in some of their epochs and count as failed; inspect scores what is left of them",
    )


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _seconds(stats: Mapping[str, Any]) -> float | None:
    from datetime import datetime

    try:
        began, ended = (datetime.fromisoformat(str(stats[key])) for key in ("started_at", "completed_at"))
    except (KeyError, ValueError):
        return None
    return round((ended - began).total_seconds(), 3)
