"""Every kind of metric as totals: the value by way of `paired_metric` is the scorer's own."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.scorers.base import MetricSpec, ScorerSpec, ScoringPlan
from evalkit.scorers.paired import paired_metric
from evalkit.scorers.registry import build_scorers
from evalkit.types import Record, Request, Response, Sample

ANSWERS = [("the cat sat", "a cat sat"), ("dogs run", "dogs run"), ("", "it rains"), ("blue sky today", "a blue sky")]


def records() -> list[Record]:
    return [
        Record(Sample("t", str(i), i, {}, gold), (Request("generate", ""),), (Response("k", text=said),), answer=said)
        for i, (said, gold) in enumerate(ANSWERS)
    ]


@pytest.mark.parametrize(
    "plan",
    [
        ScoringPlan("generate_until", scorers=(ScorerSpec("bleu"), ScorerSpec("chrf"), ScorerSpec("ter"))),
        ScoringPlan(
            "generate_until", scorers=(ScorerSpec("rouge", {"types": ["rouge1", "rougeL"]}), ScorerSpec("token_f1"))
        ),
        ScoringPlan("generate_until", scorers=(ScorerSpec("exact_match", {"label": "strict"}),)),
        ScoringPlan("generate_until", metrics=(MetricSpec("bleu"), MetricSpec("exact_match"))),
    ],
)
def test_totals_give_the_scorers_values(plan):
    for scorer in build_scorers(plan):
        given = records()
        scores = scorer.score(given, scorer.prepare(given))
        stats = np.array([score.stats for score in scores])
        weights = np.array([[1.0, 1.0, 1.0, 1.0], [2.0, 0.0, 1.0, 1.0]])
        for metric in scorer.metrics:
            form = paired_metric(scorer, metric)
            assert form is not None, metric.name
            assert form.known(stats).all()
            value = form.finish(weights @ form.table(stats))
            assert value == pytest.approx(scorer.aggregate(stats, weights)[metric.name], abs=1e-9), metric.name


def test_rows_without_a_value_are_not_known():
    (scorer,) = build_scorers(ScoringPlan("generate_until", scorers=(ScorerSpec("exact_match"),)))
    form = paired_metric(scorer, scorer.metrics[0])
    assert form is not None
    assert form.known(np.array([[1.0], [np.nan]])).tolist() == [True, False]
