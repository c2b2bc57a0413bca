"""Evaluate language models: right numbers, with error bars, fast, and nothing ever lost.

>>> import evalkit
>>> run = evalkit.run(tasks="quickstart", model="demo/smollm2")  # doctest: +SKIP
>>> run.summary()  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalkit.api import (
        ClassifierReport,
        Columns,
        Comparison,
        GateResult,
        GivenOptions,
        Imported,
        ImportedRatings,
        JudgeCalibration,
        PairedScores,
        PairOptions,
        PairReport,
        Progress,
        Run,
        RunOptions,
        Scores,
        StudyReport,
        Sweep,
        TaskPlan,
        TextColumns,
        Validation,
        calibrate_judge,
        compare,
        evaluate_classifier,
        export_study,
        gate,
        import_ratings,
        import_runs,
        judge_pairs,
        open_run,
        plan,
        rescore,
        run,
        score,
        study_report,
        sweep,
        validate_metrics,
    )

__all__ = [
    "ClassifierReport",
    "Columns",
    "Comparison",
    "GateResult",
    "GivenOptions",
    "Imported",
    "ImportedRatings",
    "JudgeCalibration",
    "PairOptions",
    "PairReport",
    "PairedScores",
    "Progress",
    "Run",
    "RunOptions",
    "Scores",
    "StudyReport",
    "Sweep",
    "TaskPlan",
    "TextColumns",
    "Validation",
    "calibrate_judge",
    "compare",
    "evaluate_classifier",
    "export_study",
    "gate",
    "import_ratings",
    "import_runs",
    "judge_pairs",
    "open_run",
    "plan",
    "rescore",
    "run",
    "score",
    "study_report",
    "sweep",
    "validate_metrics",
]


def __getattr__(name: str) -> Any:
    # Public names load on first use: `import evalkit` and `evalkit --help` stay quick.
    if name in __all__:
        return getattr(import_module("evalkit.api"), name)
    raise AttributeError(f"module 'evalkit' has no attribute {name!r}")
