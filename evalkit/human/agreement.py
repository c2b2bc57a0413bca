"""How far annotators agree: coefficients for each criterion, and the outputs that they disagree on most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from evalkit.human.results import Answers, Table, table
from evalkit.human.systems import codes
from evalkit.stats.gwet import gwet_ac
from evalkit.stats.means import Array
from evalkit.stats.reliability import (
    Coefficient,
    alphas,
    fleiss,
    mean_pairwise_kappa,
    percent_agreement,
    value_counts,
    with_interval,
)

#: Outputs that are listed as the most disputed ones.
DISPUTED = 15


@dataclass(frozen=True, slots=True)
class CriterionAgreement:
    """Agreement on one criterion. Coefficients are ``None`` where they are not defined, with the ``reason``.

    ``outputs`` have two ratings or more; ``commonest`` is the value given most often and ``share`` its share, which tells
    how much there was to agree on. ``alpha_*`` are Krippendorff's, ``ac1`` and ``ac2`` (quadratic) Gwet's, ``kappa`` is the
    mean of the pairs' quadratic kappas. Intervals draw items.
    """

    criterion: str
    outputs: int
    ratings: int
    annotators: int
    commonest: float | None
    share: float | None
    percent: Coefficient
    alpha_nominal: Coefficient
    alpha_ordinal: Coefficient
    alpha_interval: Coefficient
    ac1: Coefficient
    ac2: Coefficient
    kappa: float | None
    fleiss: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Disputed:
    """One output's ratings on one criterion by annotator; ``spread`` is the mean squared difference of two of them."""

    criterion: str
    item: str
    system: str
    spread: float
    ratings: dict[str, float]


_NONE = Coefficient(None)


def criteria_agreement(answers: Answers, *, seed: int = 0) -> list[CriterionAgreement]:
    """A row for each criterion."""
    tables = {name: table(answers.rated(name), answers.annotators, answers.systems) for name in answers.criteria}
    return [agreement_of(name, rated, answers.points[name], seed) for name, rated in tables.items()]


def agreement_of(criterion: str, rated: Table, points: Sequence[float], seed: int = 0) -> CriterionAgreement:
    """All coefficients of one criterion's ratings on the scale ``points``, worst first."""
    n = len(rated.values)
    counts = value_counts(rated.units, rated.values, points)
    shared = counts.sum(axis=1) > 1
    totals = counts.sum(axis=0)
    top = int(totals.argmax()) if n else 0
    head = (criterion, int(shared.sum()), int(counts[shared].sum()), len(np.unique(rated.raters)))
    value, share = (float(points[top]), float(totals[top] / n)) if n else (None, None)
    if not shared.any():
        why = "no output was rated by two annotators" if n else "no ratings"
        return CriterionAgreement(*head, value, share, _NONE, _NONE, _NONE, _NONE, _NONE, _NONE, None, None, why)
    width = len(points)

    def found(of: partial[Array], cost: int) -> Coefficient:
        return with_interval(lambda draws: of(draws=draws), len(counts), cost, clusters=rated.unit_items, seed=seed)

    constant = (counts[shared].sum(axis=0) > 0).sum() < 2
    return CriterionAgreement(
        *head,
        commonest=value,
        share=share,
        percent=found(partial(percent_agreement, counts), 1),
        alpha_nominal=found(partial(alphas, counts, points, "nominal"), width**2),
        alpha_ordinal=found(partial(alphas, counts, points, "ordinal"), width**2),
        alpha_interval=found(partial(alphas, counts, points, "interval"), width**2),
        ac1=_NONE if constant else found(partial(gwet_ac, counts, points, "none"), width),
        ac2=_NONE if constant else found(partial(gwet_ac, counts, points, "quadratic"), width),
        kappa=mean_pairwise_kappa(rated.units, rated.raters, codes(rated.values, points), width),
        fleiss=fleiss(counts),
        reason="all ratings are the same: there is nothing to agree on" if constant else None,
    )


def most_disputed(answers: Answers, most: int = DISPUTED) -> list[Disputed]:
    """The outputs whose ratings lie farthest apart, by share of the criterion's scale; none on which all agree."""
    found: list[tuple[float, Disputed]] = []
    names, systems = answers.annotators, answers.systems
    for criterion in answers.criteria:
        rated = table(answers.rated(criterion), names, systems)
        span = (max(answers.points[criterion], default=0) - min(answers.points[criterion], default=0)) ** 2
        spread = _spread(rated)
        for unit in np.argsort(-spread, kind="stable")[:most].tolist():
            if spread[unit] > 0:
                mine = np.flatnonzero(rated.units == unit)
                by = {names[rated.raters[i]]: float(rated.values[i]) for i in mine}
                item, system = rated.unit_names[unit]
                found.append((spread[unit] / span, Disputed(criterion, item, system, float(spread[unit]), by)))
    return [row for _, row in sorted(found, key=lambda entry: -entry[0])[:most]]


def _spread(rated: Table) -> Array:
    """The mean squared difference of two ratings of each unit, 0 for those with one."""
    n = np.bincount(rated.units, minlength=len(rated.unit_names)).astype(np.float64)
    mean = np.bincount(rated.units, weights=rated.values, minlength=len(n)) / np.maximum(n, 1)
    squares = np.bincount(rated.units, weights=(rated.values - mean[rated.units]) ** 2, minlength=len(n))
    return np.where(n > 1, 2 * squares / np.maximum(n - 1, 1), 0.0)
