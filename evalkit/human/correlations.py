"""How metrics and judges of the rated runs go together with the people's ratings: by item and system, at three levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.errors import DataError
from evalkit.human.annotators import Leniency
from evalkit.human.results import Answers
from evalkit.ratings.base import Rating, mean_ratings
from evalkit.ratings.joining import Means, Texts, match_runs, rated_views
from evalkit.runner.run import Run
from evalkit.runner.values import metric_names, values
from evalkit.stats.levels import LEVELS, Level, agreement, rated


@dataclass(frozen=True, slots=True)
class Correlation:
    """One metric (or judge) against one criterion at one level. Higher is better: ``negated`` where it was not."""

    criterion: str
    metric: str
    scorer: str
    negated: bool
    level: Level
    shared: bool = False
    """Whether a criterion of the ratings has the metric's name."""

    @property
    def label(self) -> str:
        """The metric's name; with its scorer's where people's criteria are called so, too, as those of a judge are."""
        return f"{self.metric} ({self.scorer})" if self.shared else self.metric


def correlations(answers: Answers, runs: Sequence[Run], *, seed: int = 0) -> list[Correlation]:
    """Every metric that the runs have for single outputs against every criterion, at the levels that the ratings have.

    Raises DataError for a run that was not rated, and for ratings of pairs.
    """
    if answers.pairwise:
        raise DataError(
            "ratings of pairs cannot be held against metrics of single outputs; evalkit judge calibrate takes pairs"
        )
    ratings = [r for name in answers.criteria for r in ratings_of(answers, name)]
    means = mean_ratings(ratings)
    found: dict[tuple[str, str, bool], dict[tuple[str, str], float]] = {}
    systems = match_runs(runs, answers.systems)
    rows = answers.study.rows if answers.study else ()
    shown = {(row.first.item, row.first.system): row.first.text for row in rows}
    for run, system in zip(runs, systems, strict=True):
        _collect(run, system, means, shown, found)
    if not found:
        raise DataError(f"no item of the ratings is in {', '.join(str(run.path) for run in runs)}, or none has a score")
    several = len(systems) > 1
    levels = [level for level in LEVELS if several or level == "segment"]
    return [
        Correlation(
            criterion, metric, scorer, negated, _level(given, means, criterion, level, seed), metric in answers.criteria
        )
        for criterion in answers.criteria
        for level in levels
        for (metric, scorer, negated), given in found.items()
    ]


def ratings_of(answers: Answers, criterion: str) -> list[Rating]:
    """The ratings of one criterion as the tidy table has them."""
    return [Rating(a.annotator, a.item, a.system, criterion, a.value or 0.0) for a in answers.rated(criterion)]


def _collect(
    run: Run,
    system: str,
    means: Means,
    shown: Texts,
    found: dict[tuple[str, str, bool], dict[tuple[str, str], float]],
) -> None:
    """Put the values of the rated outputs of ``run`` into ``found``, by metric."""
    names = metric_names(run)
    lower = {(s.scorer, s.metric) for s in run.summary() if s.higher_is_better is False}
    for key, view in rated_views(run, system, means, shown):
        scorers = {metric: scorer for (task, filter_, scorer), metrics in names.items() for metric in metrics
                   if (task, filter_) == (view.task, view.filter)}  # fmt: skip
        for metric, value in values(view, names).items():
            if value is not None:
                scorer = scorers.get(metric, metric)
                negated = (scorer, metric) in lower
                found.setdefault((metric, scorer, negated), {})[key] = -value if negated else value


def _level(
    given: Mapping[tuple[str, str], float],
    means: Mapping[tuple[str, str], Mapping[str, float]],
    criterion: str,
    level: str,
    seed: int,
) -> Level:
    keys = [key for key in given if criterion in means[key]]
    x = np.array([given[key] for key in keys])
    y = np.array([means[key][criterion] for key in keys])
    rows, _ = rated(x, y, [item for item, _ in keys], [system for _, system in keys])
    return agreement(rows, level, seed=seed)


def one_against_the_rest(leniencies: Sequence[Leniency], criterion: str) -> float | None:
    """The mean Spearman of an annotator with the mean of the others: what a metric may be measured by.

    ``None`` where no annotator has one. Annotators count with the outputs that they share.
    """
    known = [(row.spearman, row.outputs) for row in leniencies if row.criterion == criterion and row.spearman is not None]
    return sum(value * n for value, n in known) / sum(n for _, n in known) if known else None
