"""What a study found, all of it: one object that the terminal, the JSON, the tables and the page are made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from evalkit.human.agreement import CriterionAgreement, Disputed, criteria_agreement, most_disputed
from evalkit.human.annotators import Annotator, Leniency, annotators, leniencies
from evalkit.human.correlations import Correlation, correlations, one_against_the_rest
from evalkit.human.datasheet import datasheet
from evalkit.human.pairwise import SideBias, Strength, WinRate, side_biases, strengths, win_rates
from evalkit.human.results import Answers, read_answers
from evalkit.human.systems import SystemDifference, SystemMean, system_differences, system_means
from evalkit.runner.run import Run
from evalkit.stats.correlation import COEFFICIENTS
from evalkit.types import Json


@dataclass(frozen=True, slots=True)
class StudyReport:
    """A study's results. ``systems`` and ``differences`` are of pointwise studies, the last three of pairs."""

    answers: Answers
    z: bool
    systems: tuple[SystemMean, ...]
    differences: tuple[SystemDifference, ...]
    agreement: tuple[CriterionAgreement, ...]
    leniency: tuple[Leniency, ...]
    annotators: tuple[Annotator, ...]
    disputed: tuple[Disputed, ...]
    correlations: tuple[Correlation, ...]
    win_rates: tuple[WinRate, ...]
    strengths: tuple[Strength, ...]
    sides: tuple[SideBias, ...]

    @property
    def name(self) -> str:
        """The study's id, or the file of the ratings."""
        study = self.answers.study
        return study.id if study else Path(self.answers.where).name

    @property
    def notes(self) -> list[str]:
        """What a reader must know before trusting the numbers, most serious first."""
        return _notes(self)

    def tables(self) -> dict[str, list[dict[str, Json]]]:
        """Every table by name, as rows of plain values."""
        rows = {
            "systems": [_flat(asdict(row)) for row in self.systems],
            "differences": [_flat(asdict(row)) for row in self.differences],
            "win_rates": [_flat(asdict(row)) for row in self.win_rates],
            "strengths": [_flat(asdict(row)) for row in self.strengths],
            "sides": [_flat(asdict(row)) for row in self.sides],
            "agreement": [_flat(asdict(row)) for row in self.agreement],
            "annotators": [_flat(asdict(row)) for row in self.annotators],
            "leniency": [_flat(asdict(row)) | {"straight_line": row.straight_line} for row in self.leniency],
            "disputed": [_flat(asdict(row)) for row in self.disputed],
            "correlations": [_correlation(row) for row in self.correlations],
        }
        return {name: table for name, table in rows.items() if table}

    def to_dict(self) -> dict[str, Json]:
        """Everything as JSON."""
        ceiling = {name: one_against_the_rest(self.leniency, name) for name in self.answers.criteria}
        return {
            "study": self.name,
            "z": self.z,
            "notes": list(self.notes),
            "datasheet": datasheet(self.answers),
            "one_annotator_against_the_rest": ceiling,
            **self.tables(),
        }


def study_report(path: str | Path, *, runs: Sequence[Run] = (), z: bool = False, seed: int = 0) -> StudyReport:
    """The results of a study's folder, or of a tidy table of ratings from elsewhere.

    Args:
        path: the folder that `evalkit human import` wrote to, or a file of ratings.
        runs: rated runs whose metrics and judges are held against the ratings.
        z: count each annotator's z-scores in means and differences.
        seed: of the bootstrap intervals.

    Raises:
        NotFound: no study, or nothing imported.
        StoreError, DataError: files that are damaged; runs that were not rated.
    """
    return report_of(read_answers(path), runs=runs, z=z, seed=seed)


def report_of(answers: Answers, *, runs: Sequence[Run] = (), z: bool = False, seed: int = 0) -> StudyReport:
    """The results of answers in memory."""
    pairs = answers.pairwise
    return StudyReport(
        answers,
        z,
        () if pairs else tuple(system_means(answers, z=z)),
        () if pairs else tuple(system_differences(answers, z=z)),
        tuple(criteria_agreement(answers, seed=seed)),
        tuple(leniencies(answers)),
        tuple(annotators(answers)),
        tuple(most_disputed(answers)),
        tuple(correlations(answers, runs, seed=seed)) if runs else (),
        tuple(win_rates(answers)) if pairs else (),
        tuple(strengths(answers, seed=seed)) if pairs else (),
        tuple(side_biases(answers)) if pairs else (),
    )


def _flat(row: dict[str, Json]) -> dict[str, Json]:
    """Intervals as two columns, a coefficient as three."""
    flat: dict[str, Json] = {}
    for name, value in row.items():
        if isinstance(value, dict) and set(value) == {"value", "ci"}:
            flat[name] = value["value"]
            flat[f"{name}_low"], flat[f"{name}_high"] = value["ci"] or (None, None)
        elif name == "ci":
            flat["ci_low"], flat["ci_high"] = value or (None, None)
        else:
            flat[name] = value
    return flat


def _correlation(row: Correlation) -> dict[str, Json]:
    level = row.level
    line: dict[str, Json] = {
        "criterion": row.criterion,
        "metric": row.metric,
        "scorer": row.scorer,
        "level": level.name,
        "n": level.n,
        "items": level.items,
        "systems": level.systems,
    }
    for name in COEFFICIENTS:
        found = level.coefficients[name]
        low, high = found.ci or (None, None)
        line |= {name: found.value, f"{name}_low": low, f"{name}_high": high, f"{name}_used": found.used}
    reason = next((found.reason for found in level.coefficients.values() if found.reason), None)
    return line | {"negated": row.negated, "reason": reason}


def _notes(report: StudyReport) -> list[str]:
    answers, notes = report.answers, []
    study = answers.study
    if study is not None:
        absent = [name for name in study.annotators if name not in answers.annotators]
        if absent and len(absent) < len(study.annotators):  # else another tool named them
            notes.append(f"nothing came back from {', '.join(absent)}")
    failed = [row for row in report.annotators if row.checks and row.passed < row.checks]
    notes += [f"{row.annotator} failed {row.checks - row.passed} of {row.checks} attention checks" for row in failed]
    straight: Counter[str] = Counter(row.annotator for row in report.leniency if row.straight_line)
    notes += [f"{name} gave nearly always the same value on {_criteria(count)}" for name, count in straight.items()]
    count = len(answers.annotators)
    if count == 1:
        notes.append("one annotator: intervals speak of that person's ratings only, and agreement cannot be known")
    elif count == 2:
        notes.append(
            "two annotators: intervals say little about what others would rate, and are too narrow if the two differ"
        )
    constant = [row.criterion for row in report.agreement if row.reason and row.share == 1]
    notes += [f"all ratings of {name} are the same: agreement is undefined" for name in constant]
    return notes


def _criteria(count: int) -> str:
    return f"{count} criteria" if count > 1 else "one criterion"
