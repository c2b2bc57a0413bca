"""What every scorer promises: weights count rows, unscored is not zero, names and parameters are checked, signatures pin."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scorer_records import choice_record, estimates, likelihood_record, rolling_record, rows, text_record, values

from evalkit.errors import CodeRefused, ScorerError
from evalkit.scorers.base import MetricSpec, ScorerSpec, ScoringPlan
from evalkit.scorers.registry import build_scorers, scorers_listing
from evalkit.types import OutputType, Record


def choice_records(n: int, choices: int = 3, seed: int = 0) -> list[Record]:
    r = random.Random(seed)
    return [
        choice_record(
            [r.uniform(-9, -1) for _ in range(choices)],
            r.randrange(choices),
            [f"label {i}" for i in range(choices)],
            [r.random() < 0.5 for _ in range(choices)],
            {"pair": i // 2, "x": (i // 2) * 0.1, "mc2_targets": {"labels": [1] + [0] * (choices - 1)}},
            index=i,
        )
        for i in range(n)
    ]


def text_records(n: int, seed: int = 0) -> list[Record]:
    r = random.Random(seed)
    words = ["alpha", "beta", "gamma ray", "delta 4"]
    doc = {"pattern": "[a-z]+", "correct_answers": words[:2], "incorrect_answers": words[2:]}
    return [text_record(r.choice(words), r.choice(words), words, doc, index=i) for i in range(n)]


RECORDS: dict[OutputType, Any] = {
    "multiple_choice": choice_records,
    "generate_until": text_records,
    "loglikelihood": lambda n: [likelihood_record(-0.3 * (i % 7) - 0.1, i % 2 == 0) for i in range(n)],
    "loglikelihood_rolling": lambda n: [rolling_record(-3.0 * (i % 5 + 1), "a few words " * (i % 3 + 1)) for i in range(n)],
}
NEEDED = {
    "pair_consistency": {"group": "pair"},
    "group_correlation": {"group": "pair", "x": "x"},
    "llm_judge_yes_no": {"question": "Is it kind?"},
}


def cases() -> list[tuple[str, OutputType]]:
    skip = {
        "pair_consistency",
        "group_correlation",
        "llm_judge_yes_no",
        "letter_logprobs",
        "moderation",
        "tool_calls",
        "bbq_accuracy",  # these want columns of their task, and have tests of their weights
        "bbq_bias",
        "crows_pairs",
        "stereoset",
        "coreference_bias",
        "coreference_choice",
        "coreference_pairs",
        "stereotype_pairs",
        "self_consistency",  # these want several answers, or a judge
        "selfcheck",
        "claims",
    }  # units of their own, tested apart
    for item in scorers_listing():  # these need a checkpoint, or a parameter that has no default
        if "batch_tokens" in item.params or "required" in item.params.values():
            skip.add(item.name)
    found = [(item.name, kind) for item in scorers_listing() for kind in item.output_types or tuple(RECORDS)]
    return [(name, kind) for name, kind in found if name not in skip]


@pytest.mark.parametrize(("name", "kind"), cases())
@settings(max_examples=8, deadline=None)
@given(counts=st.lists(st.integers(0, 3), min_size=12, max_size=12).filter(any))
def test_weights_count_rows(name: str, kind: OutputType, counts: list[int]) -> None:
    (scorer,) = build_scorers(ScoringPlan(kind, scorers=(ScorerSpec(name),)))
    records = RECORDS[kind](12)
    if name in ("f1", "label_auc", "label_average_precision"):
        records = choice_records(12, 2)
    if name == "acc_mutual_info":
        records = [choice_record([-1.0, -2, -3, -4, -1, -2 - i], i % 3, ["a", "b", "c"]) for i in range(12)]
    stats = rows(scorer, records)
    assert len(stats) == 12
    weights = np.array(counts, dtype=float)
    by_weight = scorer.aggregate(stats, weights)
    repeated = np.repeat(stats, counts, axis=0)
    by_rows = scorer.aggregate(repeated, np.ones(len(repeated)))
    stacked = scorer.aggregate(stats, np.stack([weights, np.ones(12)]))
    assert set(by_weight) == {m.name for m in scorer.metrics}
    for metric in by_weight:
        assert float(by_weight[metric]) == pytest.approx(float(by_rows[metric]), rel=1e-9, nan_ok=True)
        assert stacked[metric].shape == (2,)
        assert float(stacked[metric][0]) == pytest.approx(float(by_weight[metric]), rel=1e-9, nan_ok=True)
    json.dumps(dict(scorer.detail(stats)), allow_nan=False)


@pytest.mark.parametrize(
    ("kind", "metrics"),
    [
        ("multiple_choice", ["acc", "acc_norm"]),
        ("loglikelihood", ["perplexity", "acc"]),
        ("loglikelihood_rolling", ["word_perplexity", "byte_perplexity", "bits_per_byte"]),
        ("generate_until", ["exact_match"]),
    ],
)
def test_defaults_of_each_kind_of_task(kind: OutputType, metrics: list[str]) -> None:
    found = [m.name for scorer in build_scorers(ScoringPlan(kind)) for m in scorer.metrics]
    assert found == metrics


def test_named_scorers_replace_the_defaults_and_extra_ones_come_on_top() -> None:
    named = ScoringPlan("multiple_choice", scorers=(ScorerSpec("accuracy"),))
    assert [s.name for s in build_scorers(named)] == ["accuracy"]
    extra = ScoringPlan("multiple_choice", extra=(ScorerSpec("calibration_error", {"bins": 5}),))
    assert [m.name for s in build_scorers(extra) for m in s.metrics] == ["acc", "acc_norm", "ece", "brier_top"]
    assert "bins:5" in build_scorers(extra)[-1].signature()


def test_a_scorer_asked_for_twice_is_built_once() -> None:
    plan = ScoringPlan("multiple_choice", (MetricSpec("brier_score"),), (ScorerSpec("brier_score"),))
    assert len(build_scorers(plan)) == 1


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (ScoringPlan("multiple_choice", scorers=(ScorerSpec("acuracy"),)), "unknown scorer 'acuracy' .*accuracy"),
        (
            ScoringPlan("multiple_choice", scorers=(ScorerSpec("accuracy", {"rankin": "acc"}),)),
            "parameter 'rankin' .*ranking",
        ),
        (ScoringPlan("multiple_choice", scorers=(ScorerSpec("accuracy", {"ranking": "x"}),)), "must be one of acc,"),
        (ScoringPlan("multiple_choice", scorers=(ScorerSpec("bleu"),)), "scores generate_until tasks, not multiple_choice"),
        (ScoringPlan("multiple_choice", scorers=(ScorerSpec("pair_consistency"),)), "needs the parameter 'group'"),
        (ScoringPlan("multiple_choice", scorers=(ScorerSpec("calibration_error", {"bins": 0}),)), "'bins' must be a whole"),
        (ScoringPlan("generate_until", (MetricSpec("exact_mach"),)), "no metric 'exact_mach' .*exact_match"),
        (ScoringPlan("multiple_choice", (MetricSpec("acc_nrm"),)), "no metric 'acc_nrm' .*acc_norm"),
        (ScoringPlan("multiple_choice", (MetricSpec("acc", "maen"),)), "unknown aggregation 'maen' .*mean"),
        (
            ScoringPlan("generate_until", (MetricSpec("exact_match", params={"ignore_cas": True}),)),
            "no parameter 'ignore_cas' .*ignore_case",
        ),
        (
            ScoringPlan("generate_until", (MetricSpec("exact_match", params={"regexes_to_ignore": ["("]}),)),
            "is not a pattern",
        ),
        (ScoringPlan("generate_until", (MetricSpec("acc"),)), "needs an aggregation function"),
        (ScoringPlan("generate_until", scorers=(ScorerSpec("pass_at_k", {"k": [0]}),)), "'k' must be a whole number"),
    ],
)
def test_slips_are_named_with_the_nearest(plan: ScoringPlan, message: str) -> None:
    with pytest.raises(ScorerError, match=message):
        build_scorers(plan)


def test_a_hub_metric_is_code_and_needs_permission() -> None:
    plan = ScoringPlan("generate_until", (MetricSpec("wer", "mean", hf_evaluate=True),))
    with pytest.raises(CodeRefused, match="'wer' is code from the Hugging Face hub"):
        build_scorers(plan)


def test_direction_of_the_task_file_wins() -> None:
    plan = ScoringPlan("multiple_choice", (MetricSpec("acc", higher_is_better=False), MetricSpec("brier_score")))
    assert [m.higher_is_better for s in build_scorers(plan) for m in s.metrics] == [False, False]


def test_bypass_means_answers_only() -> None:
    assert build_scorers(ScoringPlan("generate_until", (MetricSpec("bypass"),))) == ()


def test_the_listing_tells_parameters_and_kinds() -> None:
    listing = {item.name: item for item in scorers_listing()}
    assert listing["pair_consistency"].params["group"] == "required"
    assert listing["calibration_error"].params["bins"] == "10"
    assert listing["bleu"].output_types == ("generate_until",)
    assert all(item.summary.endswith(".") for item in listing.values())


def test_a_target_outside_the_choices_is_unscored_not_wrong() -> None:
    good, bad = choice_record([-1, -2], 0), choice_record([-1, -2], 5)
    for name in ("acc", "likelihood", "brier", "mcc", "accuracy", "calibration_error"):
        (scorer,) = build_scorers(ScoringPlan("multiple_choice", scorers=(ScorerSpec(name),)))
        kept, lost = scorer.score([good, bad], None)
        assert kept.stats is not None
        assert lost.stats is None and "5" in str(lost.reason)


def test_targets_may_be_texts() -> None:
    records = [choice_record([-1, -2], "no", ["yes", "no"]), choice_record([-3, -2], "no", ["yes", "no"])]
    (scorer,) = build_scorers(ScoringPlan("multiple_choice", (MetricSpec("acc"),)))
    assert values(scorer, records) == {"acc": 0.5}


def test_chance_is_one_in_the_number_of_choices() -> None:
    (scorer,) = build_scorers(ScoringPlan("multiple_choice", (MetricSpec("acc"),)))
    one, two = scorer.score([choice_record([-1, -2, -3, -4], 0), choice_record([-1, -2, -3, -4], (0, 3))], None)
    assert (one.chance, two.chance) == (0.25, 0.5)


def test_repeats_are_reduced_first() -> None:
    records = [text_record(["a", "b", "a", "a"], "a"), text_record(["b", "b", "b", "b"], "a")]
    (scorer,) = build_scorers(ScoringPlan("generate_until"))
    assert rows(scorer, records).tolist() == [[0.75], [0.0]]
    assert estimates(scorer, records)["exact_match"].n == 2
