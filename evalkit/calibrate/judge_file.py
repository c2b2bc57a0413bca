"""Calibrations as files in the run that was judged, where reports and gates find them: ``calibration/SCORER.json``.

Where several tasks of a run have a scorer of that name, ``calibration/TASK.SCORER.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from evalkit.calibrate.judge import JudgeCalibration
from evalkit.errors import DataError, StoreError
from evalkit.runner.files import atomic
from evalkit.types import Json

FOLDER = "calibration"


def calibration_path(run: Path, scorer: str, task: str | None = None) -> Path:
    """Where a scorer's calibration stands in a run; ``task`` where several tasks have a scorer of that name."""
    name = scorer if task is None else f"{task}.{scorer}"
    return run / FOLDER / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name)}.json"


def write_calibration(found: JudgeCalibration) -> list[Path]:
    """Write ``found`` into each of its runs, whole or not at all; returns the files.

    Gates read ``by_metric``; ``alpha`` and ``n`` at the top are those of the criterion that agrees least: nobody must be
    satisfied by one good criterion among bad ones. Raises DataError where no alpha is defined, StoreError where a run cannot
    be written to.
    """
    told = found.to_dict()
    alphas = {
        name: one.agreement["alpha_interval"]
        for name, one in found.criteria.items()
        if one.agreement["alpha_interval"]["value"] is not None
    }
    if len(alphas) < len(found.criteria):
        lost = next(name for name in found.criteria if name not in alphas)
        raise DataError(f"not kept: alpha of {lost} is not defined, all ratings are the same; leave it out with --criterion")
    least = min(alphas, key=lambda name: alphas[name]["value"])
    document = {
        "schema": 1,
        "judge": told["judge"],
        "rubric": told["rubric"],
        "alpha": {"value": alphas[least]["value"], "ci": alphas[least]["ci"], "scale": "interval", "criterion": least},
        "n": found.criteria[least].items,
        "by_metric": {name: {"alpha": alphas[name], "n": one.items} for name, one in found.criteria.items()},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **told,
    }
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    paths = []
    for run in found.runs:
        path = calibration_path(run.path, run.scorer, run.task if run.shared else None)
        try:
            path.parent.mkdir(exist_ok=True)
            with atomic(path) as file:
                file.write(text)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
        paths.append(path)
    return paths


def read_calibration(run: Path | None, scorer: str, signature: str, task: str) -> Mapping[str, Json] | None:
    """The calibration of a run's judge on ``task``; ``None`` where none can be read, or it is another judge's or task's."""
    if run is None:
        return None
    path = calibration_path(run, scorer, task)
    try:
        found = json.loads((path if path.is_file() else calibration_path(run, scorer)).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("criteria"), dict):
        return None
    return found if (found.get("judge"), found.get("task", task)) == (signature, task) else None
