"""Judges have to earn their place in a gate: their stored agreement with people, and what it must be at least.

A calibration is a JSON file, written when a judge was compared with human ratings:

    {"schema": 1, "judge": "<the scorer's signature>", "rubric": "<hash>", "alpha": {"value": 0.71, "ci": [0.63, 0.78]},
     "n": 240, "created": "2026-11-02T09:00:00+00:00"}

Of a judge of several criteria, ``by_metric`` has ``alpha`` and ``n`` of each, and ``alpha`` at the top is the lowest.
``judge`` must be the signature of the scorer that the gate compares: another model, prompt or rubric is another instrument.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evalkit.comparison.base import Comparison, RunScores
from evalkit.errors import NotComparable
from evalkit.gating.names import measured_of
from evalkit.gating.policy import Check, Policy
from evalkit.yamlmodel import explained, first_error

FOLDER = "calibration"


class Alpha(BaseModel):
    """Krippendorff's alpha between the judge and people, with its 95 % interval where there is one."""

    model_config = ConfigDict(extra="allow", frozen=True)

    value: float = Field(ge=-1, le=1, allow_inf_nan=False)
    ci: tuple[float, float] | None = None


class OfMetric(BaseModel):
    """One of several criteria."""

    model_config = ConfigDict(extra="allow", frozen=True)

    alpha: Alpha
    n: int = Field(ge=1)


class Calibration(BaseModel):
    """A judge's calibration file. Further keys may be there: a gate does not read them."""

    model_config = ConfigDict(extra="allow", frozen=True)

    version: Literal[1] = Field(1, alias="schema")
    judge: str = Field(min_length=1, description="The signature of the judge's scorer.")
    rubric: str | None = Field(None, description="The rubric's hash.")
    alpha: Alpha
    n: int = Field(ge=1, description="Items that people rated, too.")
    by_metric: dict[str, OfMetric] = Field({}, description="By criterion, where the judge has several.")
    created: str | None = Field(None, description="When it was made (ISO 8601).")


def doubt(policy: Policy, check: Check, found: Comparison, candidate: RunScores) -> str | None:
    """Why the judge behind ``found`` does not decide; ``None`` where its calibration meets ``min_judge_alpha``.

    The file is the check's ``calibration``, or ``calibration/SCORER.json`` (or ``TASK.SCORER.json``) in the candidate's run.
    Raises NotComparable for a file that was named and is missing, is broken, or is another judge's.
    """
    if check.min_judge_alpha is None:
        return None
    path = _path(policy, check, found, candidate)
    if path is None:
        return "the judge has no calibration: compare it with human ratings, and name the file in calibration:"
    calibration = read_calibration(path)
    if calibration.judge not in _signatures(found, candidate):
        raise NotComparable(
            f"{path} calibrates {calibration.judge}, but {found.task} is judged by {found.signature}: calibrate this judge"
        )
    if calibration.by_metric and found.metric.name not in calibration.by_metric:
        return f"the judge was compared with people on {', '.join(calibration.by_metric)}, not on {found.metric.name}"
    measured = calibration.by_metric.get(found.metric.name, calibration)
    if measured.alpha.value >= check.min_judge_alpha:
        return None
    return (
        f"the judge agrees too little with people: alpha {measured.alpha.value:.2f} < {check.min_judge_alpha:.2f} "
        f"({measured.n} items); calibrate it or use another judge"
    )


def read_calibration(path: Path) -> Calibration:
    """The calibration in a file. Raises NotComparable for one that is missing or broken."""
    try:
        return Calibration.model_validate(json.loads(path.read_text("utf-8")))
    except OSError as error:
        raise NotComparable(f"calibration {path} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        raise NotComparable(f"{path}: {explained(first_error(error), Calibration)}") from error
    except ValueError as error:
        raise NotComparable(f"{path} is not JSON: {error}") from error


def _path(policy: Policy, check: Check, found: Comparison, candidate: RunScores) -> Path | None:
    if check.calibration is not None:
        return policy.beside(check.calibration)
    if candidate.path is None:
        return None
    names = (f"{found.task}.{found.scorer}", found.scorer)  # the first where several tasks have a judge of that name
    paths = (candidate.path / FOLDER / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name)}.json" for name in names)
    return next((path for path in paths if path.is_file()), None)


def _signatures(found: Comparison, candidate: RunScores) -> set[str]:
    """What the judge's scorer calls itself: with and without what only the scored data tells."""
    sources = [measured for _, measured in measured_of(candidate, found)]
    return {found.signature, *(name for m in sources for name in (m.signature, m.scorer.signature()))}
