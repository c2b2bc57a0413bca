"""How good is a classifier on texts that people labelled, and is it as good for every group?

Every number says its direction, range and ideal, how many texts it rests on, and how sure it is. A threshold chosen on the
data at hand (the sweep) fits that data and promises nothing for other data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.calibrate.group_figures import Evaluated, GroupRow, drawn_values, group_rows
from evalkit.calibrate.labelled_figures import METRICS, Figure, about, bootstrapped, proportions, share
from evalkit.calibrate.labelled_texts import LabelledTexts, TextColumns, read_labelled
from evalkit.classifiers.base import Classifier, Verdict
from evalkit.classifiers.base import classifier as build
from evalkit.errors import DataError, UsageError
from evalkit.stats.means import Array, Ints
from evalkit.stats.ranking import Ranking, sweep
from evalkit.stats.resample import replicates_for
from evalkit.types import Json

REPLICATES = 1000
#: False positive rates at which the sweep looks for a threshold.
FPR_LIMITS = (0.01, 0.05, 0.1)
#: Thresholds that the sweep always shows.
GRID = tuple(round(0.1 * i, 1) for i in range(1, 10))


@dataclass(frozen=True, slots=True)
class ThresholdRow:
    """The rates of one threshold; ``why`` it is shown (``given``, ``best F1``, ``FPR <= 0.05``, ``grid``)."""

    threshold: float
    why: str
    rates: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class ClassifierReport:
    """What `evaluate_classifier` found. ``unscored`` texts, by reason, are in none of the numbers."""

    data: LabelledTexts
    classifier: Mapping[str, Json]
    threshold: float
    n: int
    positives: int
    unscored: Mapping[str, int]
    figures: tuple[Figure, ...]
    thresholds: tuple[ThresholdRow, ...]
    groups: tuple[GroupRow, ...] = ()
    group_figures: tuple[Figure, ...] = ()
    functionality: Mapping[str, tuple[bool, Figure]] = field(default_factory=dict)
    replicates: int = 0
    notes: tuple[str, ...] = ()

    def find(self, metric: str, group: str | None = None) -> Figure:
        """One number, overall or of a group. Raises UsageError where there is none."""
        own = self.figures + self.group_figures
        if group is not None:
            own = next((row.figures for row in self.groups if row.group == group), ())
        for figure in own:
            if figure.metric == metric:
                return figure
        raise UsageError(f"nothing for metric {metric!r}" + ("" if group is None else f" of group {group!r}"))

    def flat(self) -> list[dict[str, Json]]:
        """One dict a number, all with the same keys: ``part`` is overall, threshold, group or functionality."""
        lines = [_line("overall", "", figure) for figure in (*self.figures, *self.group_figures)]
        for row in self.thresholds:
            for metric, value in row.rates.items():
                lines.append(_line("threshold", f"{row.threshold:.6g} ({row.why})", Figure(metric, value, n=self.n)))
        for group in self.groups:
            tests = {test.metric: test for test in group.tests}
            for figure in group.figures:
                test = tests.get(figure.metric)
                told = {"others": test.others, "p": test.p, "p_holm": test.adjusted} if test else {}
                lines.append(_line("group", group.group, figure) | told)
        lines += [_line("functionality", name, figure) for name, (_, figure) in self.functionality.items()]
        return lines

    def to_dict(self) -> dict[str, Json]:
        """Everything as JSON."""
        data = self.data
        return {
            "data": {
                "file": data.where,
                "texts": self.n,
                "positive": self.positives,
                "positive_class": data.positive_value,
                "unlabelled": data.unlabelled,
                "unscored": dict(self.unscored),
                "columns": data.columns.described(),
            },
            "classifier": dict(self.classifier),
            "threshold": self.threshold,
            "replicates": self.replicates,
            "notes": list(self.notes),
            "meaning": {name: about(name) for name in METRICS},
            "overall": [figure.to_dict() for figure in (*self.figures, *self.group_figures)],
            "thresholds": [{"threshold": r.threshold, "why": r.why, **r.rates} for r in self.thresholds],
            "groups": [row.to_dict() for row in self.groups],
            "functionality": [
                {"functionality": name, "label": "positive" if positive else "negative", **figure.to_dict()}
                for name, (positive, figure) in self.functionality.items()
            ],
        }


def _line(part: str, name: str, figure: Figure) -> dict[str, Json]:
    low, high = figure.ci or (None, None)
    info = METRICS[figure.metric]
    return {
        "part": part,
        "name": name,
        "metric": figure.metric,
        "value": figure.value,
        "low": low,
        "high": high,
        "n": figure.n,
        "ci_method": figure.ci_method,
        "others": None,
        "p": None,
        "p_holm": None,
        "higher_is_better": info.higher_is_better,
        "ideal": info.ideal,
        "reason": figure.reason,
    }


def evaluate_classifier(
    data: str | Path | Iterable[Mapping[str, Any]],
    classifier: str | Mapping[str, Any] | Classifier | None = None,
    *,
    columns: TextColumns | Mapping[str, str | Sequence[str]] | None = None,
    threshold: float | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> ClassifierReport:
    """Hold a classifier, or scores that the data has already, against people's labels.

    Args:
        data: a file of labelled texts, or rows in memory; see `TextColumns` for what a row holds.
        classifier: by name (``profanity``, ``hf:ID-OR-PATH``), with parameters, or made; without it the column ``scores``.
        columns: what is where (``{"text": "comment", "label": "toxic", "groups": ["target"]}``).
        threshold: texts that score it or more are flagged; by default the classifier's own, 0.5 for computed scores.
        replicates: bootstrap draws an interval; fewer on large data, 0 for none.
        seed: of the bootstrap.

    Returns:
        All numbers with intervals. What is undefined is ``None`` with a reason.

    Raises:
        DataError: a column that is not there, one class only, no text scored.
        ScorerError: a classifier that is unknown, cannot be loaded or needs a run.
    """
    asked = TextColumns.of(columns)
    if (classifier is None) == (not asked.scores):
        raise UsageError("name a classifier with --classifier, or the column of computed scores with --scores: one of them")
    built = None if classifier is None else build(classifier)
    if built is not None and threshold is not None:
        low, high = built.counts.range
        if not low <= threshold <= high:
            raise UsageError(f"--threshold {threshold:g}: the scores of {built.name} are within {low:g} and {high:g}")
    found = read_labelled(data, asked)
    scores, unscored = (found.scores, Counter[str]()) if built is None else _scored(built, found)
    assert scores is not None
    unscored.update({"the score is missing": missing} if built is None and (missing := int(np.isnan(scores).sum())) else {})
    default = 0.5 if built is None else built.threshold
    if built is None and found.columns.scores.startswith("-"):
        default = -default
        threshold = None if threshold is None else -threshold
    return _report(found, scores, built, default if threshold is None else threshold, dict(unscored), replicates, seed)


def _scored(built: Classifier, data: LabelledTexts) -> tuple[Array, Counter[str]]:
    """The classifier's number for each text, NaN where it has none, and why."""
    given = [i for i, text in enumerate(data.texts) if text is not None]
    verdicts: list[Verdict] = built.classify([str(data.texts[i]) for i in given]) if given else []
    scores = np.full(len(data.texts), np.nan)
    reasons = Counter({"there is no text": len(data.texts) - len(given)} if len(given) < len(data.texts) else {})
    for i, verdict in zip(given, verdicts, strict=True):
        value = built.value(verdict)
        if value is None:
            reasons[verdict.reason or "no number"] += 1
        else:
            scores[i] = value
    return scores, reasons


def _report(
    data: LabelledTexts,
    scores: Array,
    built: Classifier | None,
    threshold: float,
    unscored: Mapping[str, int],
    replicates: int,
    seed: int,
) -> ClassifierReport:
    known = np.flatnonzero(np.isfinite(scores))
    positive = data.positive[known]
    if not positive.any() or positive.all():
        reason = f": {max(unscored, key=lambda why: unscored[why])}" if unscored else ""
        raise DataError(f"{data.where}: {len(known)} of {len(scores)} texts have a score, not of both classes{reason}")
    rows = Evaluated.of(data, known, scores[known], threshold)
    count = min(replicates, replicates_for(len(known)))
    drawn = drawn_values(rows, count, seed)
    groups, group_figures = group_rows(rows, drawn)
    return ClassifierReport(
        data,
        {"scores": data.columns.scores} if built is None else dict(built.describe()),
        threshold,
        len(known),
        int(positive.sum()),
        unscored,
        _overall(rows, drawn),
        _thresholds(rows),
        groups,
        group_figures,
        _by_functionality(data, known, rows),
        count,
        tuple(_notes(data, built, rows)),
    )


def _overall(rows: Evaluated, drawn: Mapping[str, Array]) -> tuple[Figure, ...]:
    made = proportions(rows.flagged, rows.positive, rows.clusters)
    ranking, ones = Ranking(rows.scores, rows.positive), np.ones(len(rows.scores))
    ranked: dict[str, Callable[[Array], Array]] = {"auc": ranking.auc, "average_precision": ranking.average_precision}
    n = len(rows.scores)
    order = ("accuracy", "precision", "recall")
    f1 = bootstrapped("f1", made["f1"].value, drawn.get("f1"), n)
    curves = [bootstrapped(name, float(of(ones)), drawn.get(name), n) for name, of in ranked.items()]
    return (*(made[name] for name in order), f1, *curves, made["fpr"])


def _thresholds(rows: Evaluated) -> tuple[ThresholdRow, ...]:
    """The threshold in use, a grid over [0, 1], where F1 is best, and where the false positive rate meets its limits."""
    found = sweep(rows.scores, rows.positive)
    shown = {rows.threshold: "given"}
    within = bool(((rows.scores >= 0) & (rows.scores <= 1)).all())
    places = [("best F1", found.best_f1()), *((f"FPR <= {limit:g}", found.at_fpr(limit)) for limit in FPR_LIMITS)]
    for why, at in places:
        if at is not None:
            value = float(found.thresholds[at])
            shown[value] = f"{shown[value]}, {why}" if value in shown else why
    told = {int((rows.scores >= value).sum()) for value in shown}
    for value in GRID if within else ():
        if (count := int((rows.scores >= value).sum())) not in told:  # else it flags what a shown one flags
            told.add(count)
            shown[value] = "grid"
    made = []
    for value, why in sorted(shown.items()):
        own = proportions(rows.scores >= value, rows.positive, None)
        names = ("accuracy", "precision", "recall", "f1", "fpr")
        made.append(ThresholdRow(value, why, {name: own[name].value for name in names}))
    return tuple(made)


def _by_functionality(data: LabelledTexts, known: Ints, rows: Evaluated) -> dict[str, tuple[bool, Figure]]:
    """Accuracy on the cases of each functionality, and whether its cases are mostly of the positive class."""
    if data.functionality is None:
        return {}
    names = np.array([data.functionality[int(i)] for i in known])
    right = rows.flagged == rows.positive
    made = {}
    for name in sorted(set(names.tolist())):
        own = names == name
        clusters = None if rows.clusters is None else rows.clusters[own]
        made[name] = (bool(rows.positive[own].mean() >= 0.5), share("accuracy", right[own], clusters))
    return made


def _notes(data: LabelledTexts, built: Classifier | None, rows: Evaluated) -> list[str]:
    notes = ["thresholds of the sweep that are not given were chosen on these very texts: check them on others"]
    if data.columns.scores.startswith("-"):
        notes.append(f"scores in {data.columns.scores[1:]} count negated, and so do the thresholds")
    if built is not None and built.direction == "better":
        notes.append(f"a high score of {built.name} is good: low AUCs are expected where the positive class is bad")
    if rows.groups:
        notes.append(
            "p values are corrected (Holm) for the number of groups compared on each metric; a difference that is not "
            "significant is not shown to be absent"
        )
    return notes
