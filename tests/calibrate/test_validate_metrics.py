"""Scorers and computed numbers against ratings, through the public function."""

from __future__ import annotations

import math
from typing import Any

import pytest

import evalkit
from evalkit.errors import DataError, ScorerError, UsageError

WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and", "runs", "far", "away", "from", "here"]


def rated_rows(items: int = 6, systems: int = 4) -> list[dict[str, Any]]:
    """System k keeps the reference's first words, more with k: people and n-gram metrics agree."""
    rows = []
    for item in range(items):
        reference = " ".join(WORDS[item % 3 :])
        for k in range(systems):
            kept = 3 + 2 * k + (item + k) % 2
            rows.append(
                {
                    "id": f"i{item}",
                    "system": f"s{k}",
                    "output": " ".join(reference.split()[:kept] + ["zzz"] * (12 - kept)),
                    "reference": reference,
                    "rating": kept,
                    "noise": math.sin(7 * item + 3 * k),
                }
            )
    return rows


def test_scorers_and_columns_side_by_side() -> None:
    found = evalkit.validate_metrics(rated_rows(), ["bleu", "ter"], columns={"computed": ["noise"]}, replicates=100)
    assert [metric.name for metric in found.metrics] == ["bleu", "ter", "noise"]
    for metric in ("bleu", "ter"):  # TER falls as quality rises: it counts negated
        for level in ("segment", "summary", "system"):
            assert (found.find(metric, "rating", level).coefficients["kendall"].value or 0) > 0.9
    assert abs(found.find("noise", "rating", "segment").coefficients["pearson"].value or 1) < 0.5
    assert [metric.negated for metric in found.metrics] == [False, True, False]
    assert found.metrics[0].signature.startswith("bleu|nrefs:1|")


def test_a_corpus_metric_has_its_corpus_value_for_a_system() -> None:
    from evalkit.scorers.ngram.corpus import corpus_scores

    rows = rated_rows()
    found = evalkit.validate_metrics(rows, ["bleu"], replicates=0)
    by_system = [[row for row in rows if row["system"] == f"s{k}"] for k in range(4)]
    corpus = [
        corpus_scores("bleu", [r["output"] for r in some], [[r["reference"]] for r in some]).score for some in by_system
    ]
    means = [sum(r["rating"] for r in some) / len(some) for some in by_system]
    import numpy as np

    value = found.find("bleu", "rating", "system").coefficients["pearson"].value
    assert value == pytest.approx(float(np.corrcoef(corpus, means)[0, 1]))


def test_every_metric_of_a_scorer_is_correlated() -> None:
    found = evalkit.validate_metrics(rated_rows(), ["rouge:types=rouge2,label=a", "chrf"], levels=["summary"], replicates=0)
    assert [row.metric for row in found.rows] == [metric.name for metric in found.metrics]


def test_outputs_without_a_value_are_left_out_and_counted() -> None:
    rows = rated_rows()
    rows[0]["output"] = None
    rows[1]["reference"] = None
    del rows[2]["rating"]
    found = evalkit.validate_metrics(rows, ["bleu"], replicates=0)
    assert found.metrics[0].missing == {"no output": 1, "the sample has no reference (no doc_to_target)": 1}
    assert found.find("bleu", "rating", "segment").n == len(rows) - 3
    told = found.to_dict()
    assert told["data"]["rated"] == {"rating": len(rows) - 1} and told["metrics"][0]["values"] == len(rows) - 2


def test_the_table_has_the_same_keys_in_every_row() -> None:
    rows = rated_rows()
    for row in rows:
        row["constant"] = 1
    flat = evalkit.validate_metrics(rows, columns={"computed": ["constant"]}, replicates=0).flat()
    assert len({tuple(line) for line in flat}) == 1
    assert {line["pearson"] for line in flat} == {None} and flat[0]["reason"] == "the metric is the same everywhere"


def test_levels_that_the_data_does_not_have_are_not_shown() -> None:
    rows = [{"id": row["id"], "rating": row["rating"], "noise": row["noise"]} for row in rated_rows()]
    found = evalkit.validate_metrics(rows, columns={"computed": "noise"}, replicates=0)
    assert [row.level.name for row in found.rows] == ["segment", "summary"]
    alone = evalkit.validate_metrics(rows[::4], columns={"computed": "noise"}, replicates=0)
    assert [row.level.name for row in alone.rows] == ["segment"]


def test_two_metrics_of_one_name_are_told_apart() -> None:
    found = evalkit.validate_metrics(rated_rows(), ["bleu", "bleu:smooth_method=floor"], levels=["segment"], replicates=0)
    assert [row.metric for row in found.rows] == ["bleu/bleu#1", "bleu/bleu#2"]


@pytest.mark.parametrize(
    ("scorers", "options", "error", "message"),
    [
        ([], {}, DataError, "nothing to validate; name scorers"),
        (["blue"], {}, ScorerError, "unknown scorer 'blue' (did you mean bleu"),
        (["pair_consistency:group=id"], {}, ScorerError, "it has no value for a single output"),
        (["llm_judge_yes_no:question=Good?"], {}, ScorerError, "which needs a run"),
        (["bleu"], {"levels": ["document"]}, UsageError, "unknown level 'document'"),
        (["acc"], {}, ScorerError, "scores multiple_choice"),
    ],
)
def test_bad_input_is_one_line(scorers: list[str], options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        evalkit.validate_metrics(rated_rows(), scorers, **options)
    assert message in str(caught.value)


def test_data_without_outputs_or_references_says_which_option_names_them() -> None:
    rows = [{"id": row["id"], "rating": row["rating"], "reference": "x"} for row in rated_rows()]
    with pytest.raises(DataError, match="--prediction"):
        evalkit.validate_metrics(rows, ["bleu"])
    rows = [{"id": row["id"], "rating": row["rating"], "output": "x"} for row in rated_rows()]
    with pytest.raises(ScorerError, match="--references"):
        evalkit.validate_metrics(rows, ["bleu"])
