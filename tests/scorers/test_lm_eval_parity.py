"""Values and standard errors of lm-eval's metrics, pinned from lm-eval 0.4.13's own process_results and aggregations.

Both sides made the same synthetic documents from the same seeds; the figures are in lm_eval_figures.json, one
[value, stderr] a metric (bootstrapped standard errors with 20,000 replicates; 100 or more for bleu, chrf and ter).
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from scorer_records import choice_record, estimates, likelihood_record, rolling_record, text_record

from evalkit.scorers.base import MetricSpec, ScorerSpec, ScoringPlan
from evalkit.scorers.registry import build_scorers
from evalkit.types import OutputType, Record

FIGURES: dict[str, dict[str, list[float | None]]] = json.loads(
    (Path(__file__).parent / "lm_eval_figures.json").read_text(encoding="utf-8")
)
CLOSED_FORM = {"acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match"}


def documents(n: int = 200, k: int = 4, seed: int = 7) -> list[dict[str, Any]]:
    r = random.Random(seed)
    words = ["yes", "no", "perhaps", "certainly not", "été", "a long choice indeed"]
    docs = []
    for i in range(n):
        choices = [words[r.randrange(6)] + str(j) for j in range(k)]
        lls = [round(r.uniform(-12, -1), 3) for _ in range(k)]
        if k > 2 and i % 17 == 0:
            lls[1] = lls[2] = max(lls)
        greedy = [r.random() < 0.3 for _ in range(k)]
        unconditional = [round(r.uniform(-9, -1), 3) for _ in range(k)]
        target, also = r.randrange(k), r.randrange(k)
        docs.append({"c": choices, "ll": lls, "g": greedy, "u": unconditional, "t": target, "also": also})
    return docs


def check(
    key: str, output_type: OutputType, records: Sequence[Record], metrics: Sequence[MetricSpec], several: bool = False
) -> None:
    plan = ScoringPlan(output_type, tuple(metrics), multiple_targets=several)
    found = {name: e for scorer in build_scorers(plan) for name, e in estimates(scorer, records).items()}
    assert list(found) == [m.metric for m in metrics]
    for name, (value, stderr) in FIGURES[key].items():
        assert found[name].value == pytest.approx(value, abs=5e-7), name
        assert found[name].n == len(records)
        if stderr is None:
            continue
        if name in CLOSED_FORM:
            assert found[name].stderr == pytest.approx(stderr, abs=5e-7), name
        else:
            assert found[name].stderr == pytest.approx(stderr, rel=0.03 if name not in ("bleu", "chrf", "ter") else 0.12), (
                name
            )


def specs(*names: str) -> list[MetricSpec]:
    return [MetricSpec(name) for name in names]


def test_multiple_choice() -> None:
    records = [choice_record(d["ll"], d["t"], d["c"], d["g"]) for d in documents()]
    check("mc", "multiple_choice", records, specs("acc", "acc_norm", "acc_bytes", "exact_match", "brier_score", "mcc"))


def test_mutual_information_reads_the_unconditional_requests() -> None:
    records = [choice_record(d["ll"] + d["u"], d["t"], d["c"], d["g"] * 2) for d in documents()]
    check("mutual", "multiple_choice", records, specs("acc", "acc_norm", "acc_mutual_info"))


def test_several_right_choices() -> None:
    records = [choice_record(d["ll"], (d["t"], d["also"]), d["c"], d["g"]) for d in documents()]
    check("multi", "multiple_choice", records, specs("acc", "acc_norm", "acc_bytes", "exact_match"), several=True)


def test_two_choices() -> None:
    records = [choice_record(d["ll"], d["t"], d["c"], d["g"]) for d in documents(150, 2, 11)]
    check("two", "multiple_choice", records, specs("acc", "f1", "mcc", "brier_score"))


def test_loglikelihood() -> None:
    records = [likelihood_record(d["ll"][0], d["g"][0]) for d in documents()]
    check("loglikelihood", "loglikelihood", records, specs("perplexity", "acc"))


def test_rolling() -> None:
    records = [rolling_record(d["ll"][0] * 9, " ".join(d["c"]) + "\n x") for d in documents()]
    check("rolling", "loglikelihood_rolling", records, specs("word_perplexity", "byte_perplexity", "bits_per_byte"))


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("plain", {}),
        ("case_punct", {"ignore_case": True, "ignore_punctuation": True}),
        ("numbers", {"ignore_numbers": True}),
        ("regex", {"regexes_to_ignore": ["the ", "\\s+"], "ignore_case": True}),
    ],
)
@pytest.mark.parametrize("several", [False, True])
def test_exact_match_and_its_options(name: str, params: dict[str, Any], several: bool) -> None:
    r = random.Random(3)
    pool = ["Paris", "paris", "Paris.", "The 3 cats", "the cats", "London 12", "42", "forty-two", " Paris"]
    records = []
    for _ in range(120):
        target, also, answer = (pool[r.randrange(9)] for _ in range(3))
        records.append(text_record(answer, (target, also) if several else target))
    key = f"em_{'multi_' if several else ''}{name}"
    check(key, "generate_until", records, [MetricSpec("exact_match", params=params)], several)


def test_translation_metrics() -> None:
    r = random.Random(5)
    words = ["the", "a", "cat", "dog", "sat", "on", "mat", "in", "house", "tree", "ran", "under", "over", "big", "small"]
    records = []
    for _ in range(80):
        reference = [words[r.randrange(15)] for _ in range(r.randrange(5, 12))]
        answer = [w if r.random() < 0.75 else words[r.randrange(15)] for w in reference]
        if r.random() < 0.3:
            answer = answer[:-1]
        records.append(text_record(" ".join(answer) + ".", " ".join(reference) + "."))
    check("translation", "generate_until", records, specs("bleu", "chrf", "chrf++", "ter"))


def test_median_takes_the_upper_element() -> None:
    def score(doc: dict[str, Any], results: list[Any]) -> dict[str, float]:
        return {"ll": results[0][0]}

    records = [choice_record(d["ll"], d["t"], d["c"], d["g"]) for d in documents()]
    plan = ScoringPlan("multiple_choice", (MetricSpec("ll", "median"),), process_results=score)
    (scorer,) = build_scorers(plan)
    found = estimates(scorer, records)["ll"]
    value, stderr = FIGURES["agg"]["median"]
    assert found.value == value
    assert found.stderr == pytest.approx(stderr, rel=0.03)


def test_truthfulqa_generation() -> None:
    r = random.Random(9)
    words = "the sky is blue and water wet when rain falls on green hills .".split()  # noqa: SIM905

    def text() -> str:
        return " ".join(r.choice(words) for _ in range(r.randrange(4, 10))) + "."

    records = []
    for _ in range(30):
        doc = {"correct_answers": [text() for _ in range(3)], "incorrect_answers": [text() for _ in range(2)]}
        records.append(text_record(text(), None, doc=doc))
    (scorer,) = build_scorers(ScoringPlan("generate_until", scorers=(ScorerSpec("truthfulqa_gen"),)))
    found = {name: e.value for name, e in estimates(scorer, records).items()}
    assert found == pytest.approx(
        {
            "bleu_max": 11.144956619730513,
            "bleu_acc": 0.5333333333333333,
            "bleu_diff": 0.43385571035616005,
            "rouge1_max": 44.94954392013214,
            "rouge1_acc": 0.5666666666666667,
            "rouge1_diff": 6.019271033976918,
            "rouge2_max": 10.895983645983645,
            "rouge2_acc": 0.4,
            "rouge2_diff": 3.60954785954786,
            "rougeL_max": 36.33939535410124,
            "rougeL_acc": 0.43333333333333335,
            "rougeL_diff": 3.081570934512111,
        },
        abs=1e-6,
    )
