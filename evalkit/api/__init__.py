"""The public Python API: what the command line does, for notebooks and training loops.

Every name loads what it needs on first use, so that a run does not wait for gates, studies and sweeps.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalkit.api.comparing import compare
    from evalkit.api.gating import gate
    from evalkit.api.importing import import_runs
    from evalkit.api.judging import judge_pairs
    from evalkit.api.running import open_run, plan, rescore, run
    from evalkit.api.scoring import score
    from evalkit.api.sweeping import sweep
    from evalkit.calibrate.classifier import ClassifierReport, evaluate_classifier
    from evalkit.calibrate.columns import Columns
    from evalkit.calibrate.judge import JudgeCalibration, calibrate_judge
    from evalkit.calibrate.labelled_texts import TextColumns
    from evalkit.calibrate.pair_figures import PairReport
    from evalkit.calibrate.pairs import PairOptions
    from evalkit.calibrate.validate import Validation, validate_metrics
    from evalkit.comparison.base import Comparison
    from evalkit.comparison.resampled import PairedScores, Scores
    from evalkit.gating.base import GateResult
    from evalkit.human.export import export_study
    from evalkit.human.import_ratings import ImportedRatings, import_ratings
    from evalkit.human.study_report import StudyReport, study_report
    from evalkit.importers.write import Imported
    from evalkit.report.sweep import Sweep
    from evalkit.runner.given import GivenOptions
    from evalkit.runner.options import RunOptions
    from evalkit.runner.plan import TaskPlan
    from evalkit.runner.run import Run
    from evalkit.runner.session import Progress

__all__ = [
    "ClassifierReport", "Columns", "Comparison", "GateResult", "GivenOptions", "Imported", "ImportedRatings",
    "JudgeCalibration", "PairOptions", "PairReport", "PairedScores", "Progress", "Run", "RunOptions", "Scores",
    "StudyReport", "Sweep", "TaskPlan", "TextColumns", "Validation", "calibrate_judge", "compare",
    "evaluate_classifier", "export_study", "gate", "import_ratings", "import_runs", "judge_pairs", "open_run", "plan",
    "rescore", "run", "score", "study_report", "sweep", "validate_metrics",
]  # fmt: skip

_HOMES = {
    "evalkit.api.comparing": ("compare",),
    "evalkit.api.gating": ("gate",),
    "evalkit.api.importing": ("import_runs",),
    "evalkit.api.judging": ("judge_pairs",),
    "evalkit.api.running": ("open_run", "plan", "rescore", "run"),
    "evalkit.api.scoring": ("score",),
    "evalkit.api.sweeping": ("sweep",),
    "evalkit.calibrate.classifier": ("ClassifierReport", "evaluate_classifier"),
    "evalkit.calibrate.columns": ("Columns",),
    "evalkit.calibrate.judge": ("JudgeCalibration", "calibrate_judge"),
    "evalkit.calibrate.labelled_texts": ("TextColumns",),
    "evalkit.calibrate.pair_figures": ("PairReport",),
    "evalkit.calibrate.pairs": ("PairOptions",),
    "evalkit.calibrate.validate": ("Validation", "validate_metrics"),
    "evalkit.comparison.base": ("Comparison",),
    "evalkit.comparison.resampled": ("PairedScores", "Scores"),
    "evalkit.gating.base": ("GateResult",),
    "evalkit.human.export": ("export_study",),
    "evalkit.human.import_ratings": ("ImportedRatings", "import_ratings"),
    "evalkit.human.study_report": ("StudyReport", "study_report"),
    "evalkit.importers.write": ("Imported",),
    "evalkit.report.sweep": ("Sweep",),
    "evalkit.runner.given": ("GivenOptions",),
    "evalkit.runner.options": ("RunOptions",),
    "evalkit.runner.plan": ("TaskPlan",),
    "evalkit.runner.run": ("Run",),
    "evalkit.runner.session": ("Progress",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # a type checker would take every name for one that is there

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = found = getattr(import_module(_HOME[name]), name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
