"""lm-eval's output (0.4): a results file and, beside it, the samples of each task."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evalkit.errors import DataError
from evalkit.importers import lmeval_definition as definitions
from evalkit.importers.base import Answered, Reported, RunLog, TaskLog
from evalkit.importers.check import as_given
from evalkit.importers.lmeval_records import Reader
from evalkit.importers.lmeval_samples import Lines, find_lines, first_document
from evalkit.importers.own_keys import with_own_keys
from evalkit.tasks.load import TaskLibrary
from evalkit.tasks.schema import GroupConfig, GroupMetric
from evalkit.types import Json

_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(\.\d+)?")
_NEEDED = ("results", "configs", "versions", "n-shot", "config")


def is_results(document: Any) -> bool:
    """Whether a JSON document is lm-eval's results file."""
    return isinstance(document, Mapping) and "results" in document and "configs" in document


def read_lm_eval(path: Path, document: Mapping[str, Any], library: TaskLibrary) -> RunLog:
    """The run that a results file tells of.

    Raises DataError for a file of another version, one that is evalkit's own, and where samples are missing or damaged.
    """
    _check(path, document)
    version = str(document.get("lm_eval_version") or "0.4")
    origin = f"lm-eval {version}"
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    tasks: list[TaskLog] = []
    notes: list[str] = []
    for name, raw in document["configs"].items():
        lines_path = _samples(path, name)
        task, lines, told = _task(name, raw, lines_path, document, library, origin)
        notes += told
        files[lines_path.name] = lines.digest
        tasks.append(task)
    groups, of_groups = _groups(document, [task.name for task in tasks])
    return RunLog(
        origin=origin,
        source=path,
        files=files,
        name=_name(document, tasks),
        model=_model(document),
        options=_options(document, tasks),
        tasks=tuple(tasks),
        groups=groups,
        reported=of_groups,
        created=_time(document.get("date")),
        seconds=_seconds(document.get("total_evaluation_time_seconds")),
        warnings=tuple(notes),
        details={"git": document.get("git_hash"), "transformers": document.get("transformers_version")},
    )


def _check(path: Path, document: Mapping[str, Any]) -> None:
    if "evalkit" in document:
        raise DataError(f"{path} was written by evalkit: its run directory is there already ({path.parent})")
    if missing := [key for key in _NEEDED if not isinstance(document.get(key), Mapping)]:
        raise DataError(f"{path} is no whole results file of lm-eval: it lacks {', '.join(missing)}")
    version = str(document.get("lm_eval_version") or "0.4")
    if not re.match(r"0\.4(\.|$)", version):
        raise DataError(f"{path} was written by lm-eval {version}; this evalkit reads 0.4")
    if not document["configs"]:
        raise DataError(f"{path} holds no task")


def _samples(path: Path, task: str) -> Path:
    """The samples file of a task: that of the same date."""
    date = _DATE.search(path.name)
    found = path.parent / f"samples_{task}_{date[0]}.jsonl" if date else None
    if found is not None and found.is_file():
        return found
    others = sorted(path.parent.glob(f"samples_{task}_*.jsonl"))
    same = [other for other in others if _DATE.sub("", other.stem) == f"samples_{task}_"]
    if date is None and len(same) == 1:
        return same[0]
    wanted = f"samples_{task}_{date[0] if date else '*'}.jsonl"
    raise DataError(
        f"{path.name} has no samples of {task} beside it ({wanted}): lm-eval writes them with --log_samples, and without "
        "them nothing can be compared"
    )


def _task(
    name: str, raw: Mapping[str, Any], path: Path, document: Mapping[str, Any], library: TaskLibrary, origin: str
) -> tuple[TaskLog, Lines, list[str]]:
    config = definitions.task_config(name, raw, document["config"].get("model_args") or {})
    config, notes = with_own_keys(config, library, first_document(path))
    lines = find_lines(path, config.sample_id, name)
    numbers = document["results"].get(name) or {}
    metrics = list(dict.fromkeys(key.partition(",")[0] for key in numbers if "," in key))
    reader = Reader(config, lines.first, metrics, _seed(document))
    config = definitions.buildable(config, inputs=reader.multiple_inputs, targets=reader.multiple_targets)
    directions = (document.get("higher_is_better") or {}).get(name) or {}
    n_shot = int((document["n-shot"] or {}).get(name) or 0)
    size = ((document.get("n-samples") or {}).get(name) or {}).get("original") or len(lines)

    def records() -> Iterator[Answered]:
        for sample, found in lines.read():
            yield reader.record(sample, found)

    task = TaskLog(
        config=config,
        multiple_inputs=reader.multiple_inputs,
        multiple_targets=reader.multiple_targets,
        n_shot=n_shot,
        size=int(size),
        samples=len(lines),
        records=records,
        reported=definitions.reported(name, raw, config, numbers, origin, directions, lines.partial),
        resolved={"num_fewshot": n_shot, "generation_kwargs": reader.params(lines.first)},
    )
    return as_given(task, ()), lines, notes


def _groups(document: Mapping[str, Any], tasks: list[str]) -> tuple[tuple[GroupConfig, ...], tuple[Reported, ...]]:
    """Groups that have members here; how they weigh is found out from their numbers."""
    members: Mapping[str, list[str]] = {
        name: [m for m in found if m != name] for name, found in (document.get("group_subtasks") or {}).items() if found
    }
    groups, numbers = [], []
    for name, children in members.items():
        leaves = [leaf for leaf in _leaves(name, members) if leaf in tasks]
        if not leaves or name in tasks:
            continue
        row = document["results"].get(name) or {}
        rules = []
        for key, value in row.items():
            metric, comma, filter_ = key.partition(",")
            if comma and not metric.endswith("_stderr") and isinstance(value, int | float):
                by_size = _weighs_by_size(document, leaves, key, float(value))
                rules.append(GroupMetric(metric=metric, weight_by_size=by_size, filter_list=[filter_]))
                numbers.append(Reported(name, metric, filter_, float(value)))
        version = (document.get("versions") or {}).get(name)
        groups.append(
            GroupConfig(
                group=name,
                group_alias=row.get("alias"),
                children=[child for child in children if child in members or child in tasks],
                leaves=leaves,
                aggregate_metric_list=rules,
                metadata={} if version is None else {"version": version},
            )
        )
    return tuple(groups), tuple(numbers)


def _leaves(name: str, members: Mapping[str, list[str]], seen: frozenset[str] = frozenset()) -> list[str]:
    found: list[str] = []
    for child in members.get(name, ()):
        if child not in seen:
            found += _leaves(child, members, seen | {name}) if child in members else [child]
    return list(dict.fromkeys(found))


def _weighs_by_size(document: Mapping[str, Any], leaves: list[str], key: str, value: float) -> bool:
    parts = [document["results"].get(leaf) or {} for leaf in leaves]
    pairs = [(part[key], part.get("sample_len") or 0) for part in parts if isinstance(part.get(key), int | float)]
    if not pairs:
        return True
    plain = sum(v for v, _ in pairs) / len(pairs)
    total = sum(n for _, n in pairs)
    weighted = sum(v * n for v, n in pairs) / total if total else plain
    return bool(abs(weighted - value) <= abs(plain - value))


def _model(document: Mapping[str, Any]) -> dict[str, Json]:
    config = document["config"]
    return {
        "name": _model_name(document),
        "source": config.get("model"),
        "parameters": config.get("model_num_parameters"),
        "dtype": str(config["model_dtype"]).removeprefix("torch.") if config.get("model_dtype") else None,
        "revision": config.get("model_revision"),
        "sha": config.get("model_sha") or None,
        "device": config.get("device"),
        "max_length": document.get("max_length"),
        "chat_template_hash": document.get("chat_template_sha"),
    }


def _model_name(document: Mapping[str, Any]) -> str:
    config = document["config"]
    kind, args = str(config.get("model") or document.get("model_source") or "model"), config.get("model_args") or {}
    given = args if isinstance(args, Mapping) else dict(pair.split("=", 1) for pair in str(args).split(",") if "=" in pair)
    name = document.get("model_name") or given.get("pretrained") or given.get("model")
    return f"{kind}/{name}" if name else kind


def _options(document: Mapping[str, Any], tasks: list[TaskLog]) -> dict[str, Any]:
    config = document["config"]
    args = config.get("model_args") or {}
    limit = config.get("limit")
    shots = {task.n_shot for task in tasks}
    gen = config.get("gen_kwargs")
    return {
        "tasks": tuple(task.name for task in tasks),
        "model": _model_name(document),
        "model_args": {k: str(v) for k, v in args.items() if k == "dtype"} if isinstance(args, Mapping) else {},
        "num_fewshot": shots.pop() if len(shots) == 1 else None,
        "limit": int(limit) if isinstance(limit, float) and limit >= 1 else limit,
        "seed": _seed(document),
        "apply_chat_template": bool(document.get("chat_template")),
        "system_instruction": document.get("system_instruction"),
        "fewshot_as_multiturn": document.get("fewshot_as_multiturn"),
        "gen_kwargs": dict(gen) if isinstance(gen, Mapping) else {},
        "compat": "lm-eval",
    }


def _seed(document: Mapping[str, Any]) -> int:
    """What evalkit calls the seed: it draws the examples."""
    found = document["config"].get("fewshot_seed")
    return found if isinstance(found, int) else 1234


def _name(document: Mapping[str, Any], tasks: list[TaskLog]) -> str:
    model = Path(_model_name(document)).name
    return f"{model}_{tasks[0].name if len(tasks) == 1 else f'{len(tasks)}-tasks'}"


def _time(value: Any) -> str | None:
    return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds") if isinstance(value, int | float) else None


def _seconds(value: Any) -> float | None:
    try:
        return round(float(value), 3)
    except (TypeError, ValueError):
        return None


def load_json(path: Path) -> Any:
    """A JSON file; raises DataError where it is none."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}") from error
