"""What a plan promises, against figures computed elsewhere, and against simulated studies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_pool import pool

from evalkit.human import plan
from evalkit.human.make import Settings, make_study, shape
from evalkit.rubric.load import load_rubric


def test_intervals_of_means_and_shares() -> None:
    assert [round(plan.half_width(n, 0.9), 2) for n in (25, 50, 100, 200, 400)] == [0.35, 0.25, 0.18, 0.12, 0.09]
    assert [round(100 * plan.half_width(n, 0.5), 1) for n in (50, 100, 200, 400)] == [13.9, 9.8, 6.9, 4.9]
    assert plan.items_for_half_width(0.2, 0.9) == 78
    assert plan.half_width(78, 0.9) <= 0.2 < plan.half_width(77, 0.9)


def test_items_for_a_paired_difference() -> None:
    assert [plan.items_for_difference(size, 1.0) for size in (0.5, 0.3, 0.2, 0.1)] == [32, 88, 197, 785]


def test_pairs_for_a_win_rate() -> None:
    assert [plan.pairs_for_win_rate(rate) for rate in (0.55, 0.6, 0.65, 0.7)] == [783, 194, 85, 47]
    assert plan.detectable_win_rate(194) == pytest.approx(0.6, abs=1e-3)


def test_intervals_of_correlations() -> None:
    found = {
        (rho, n): plan.correlation_interval(rho, n) for rho, n in [(0.5, 30), (0.5, 50), (0.5, 100), (0.5, 200), (0.7, 50)]
    }
    assert {key: (round(low, 2), round(high, 2)) for key, (low, high) in found.items()} == {
        (0.5, 30): (0.15, 0.74),
        (0.5, 50): (0.24, 0.69),
        (0.5, 100): (0.33, 0.64),
        (0.5, 200): (0.38, 0.60),
        (0.7, 50): (0.50, 0.83),
    }


def test_the_power_is_what_simulated_studies_have() -> None:
    draw = np.random.default_rng(3)
    differences = draw.normal(0.3, 1.0, (4000, plan.items_for_difference(0.3, 1.0)))
    z = differences.mean(1) / (differences.std(1, ddof=1) / math.sqrt(differences.shape[1]))
    assert np.mean(z > 1.96) == pytest.approx(0.8, abs=0.02)
    wins = draw.binomial(plan.pairs_for_win_rate(0.6), 0.6, 4000) / plan.pairs_for_win_rate(0.6)
    found = (wins - 0.5) / (0.5 / math.sqrt(plan.pairs_for_win_rate(0.6))) > 1.96
    assert np.mean(found) == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize("rubric", ["summarisation", "preference", "harmlessness"])
def test_the_planned_rows_are_the_rows_of_the_study(rubric: str) -> None:
    made, options = pool(60, 3), Settings(n=50, annotators=3, overlap=11, seed=2)
    planned = shape(made, load_rubric(rubric), options)
    study = make_study(made, load_rubric(rubric), options)
    for annotator, counts in zip(study.annotators, planned.sheets, strict=True):
        rows = [row.kind for row in study.rows if row.annotator == annotator]
        assert [rows.count(kind) for kind in ("item", "repeat", "check")] == [counts.items, counts.repeats, counts.checks]


def test_answers_are_on_the_rubrics_own_scale() -> None:
    rubric = load_rubric("summarisation")
    found = plan.answers(shape(pool(120), rubric, Settings(n=100)), rubric, plan.Wanted())
    assert found[0].here == "+-0.18" and dict(found[0].needed)["+-0.2"] == 78
    assert dict(found[1].needed) == {"0.5": 32, "0.3": 88, "0.2": 197, "0.1": 785}
    wanted = plan.answers(shape(pool(120), rubric, Settings(n=100)), rubric, plan.Wanted(difference=0.25, sd=1.1))
    assert dict(wanted[1].needed) == {"0.25": 152}
    alone = plan.answers(shape(pool(120, systems=1), rubric, Settings(n=100)), rubric, plan.Wanted())
    assert not any("difference" in line.question for line in alone)


def test_advice_is_given_where_it_is_needed() -> None:
    rubric = load_rubric("summarisation")
    few = plan.advice(shape(pool(80), rubric, Settings(n=60, overlap=5)))
    assert len(few) == 1 and "--overlap 30 or more" in few[0]
    everything = plan.advice(shape(pool(80), rubric, Settings(n=60, overlap=60)))
    assert len(everything) == 1 and "more items" in everything[0]
    assert plan.advice(shape(pool(80), rubric, Settings(n=60, overlap=40))) == []
