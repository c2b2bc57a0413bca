"""A task folder's own functions: process_results, metric functions and aggregations, called as lm-eval calls them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scorer_records import choice_record, estimates, rolling_record, rows, text_record, values

from evalkit.errors import ScorerError
from evalkit.scorers.base import MetricSpec, ScoringPlan
from evalkit.scorers.estimate import estimate
from evalkit.scorers.registry import build_scorers
from evalkit.types import OutputType


def plan(kind: OutputType, *metrics: MetricSpec, process: Any = None, several: bool = False) -> ScoringPlan:
    return ScoringPlan(kind, metrics, process_results=process, multiple_targets=several)


def test_process_results_sees_what_lm_eval_hands_over() -> None:
    seen: list[Any] = []

    def process(doc: dict[str, Any], results: Any) -> dict[str, float]:
        seen.append((doc, results))
        return {"acc": 1.0}

    for kind, record in (
        ("multiple_choice", choice_record([-1.0, -2.0], 0, doc={"q": "x"})),
        ("generate_until", text_record("an answer", "t")),
        ("generate_until", text_record(["one", "two"], "t")),
        ("loglikelihood_rolling", rolling_record(-7.5, "text")),
    ):
        (scorer,) = build_scorers(plan(kind, process=process))  # type: ignore[arg-type]
        scorer.score([record], None)
    assert seen == [
        ({"q": "x"}, [(-1.0, False), (-2.0, False)]),
        ({}, ["an answer"]),
        ({}, [["one", "two"]]),
        ({}, [-7.5]),
    ]


def test_process_results_replaces_all_built_in_scoring() -> None:
    def process(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
        return {"long": len(results[0]) > 3, "size": len(results[0]), "pair": (results[0], "gold text here now")}

    spec = (MetricSpec("long", "mean", True), MetricSpec("pair", "bleu"), MetricSpec("never", "mean"))
    (scorer,) = build_scorers(plan("generate_until", *spec, process=process))
    found = estimates(scorer, [text_record("four words of text", "t"), text_record("abc", "t")])
    assert list(found) == ["long", "pair", "size"]  # declared first, undeclared by mean, never seen not at all
    assert found["long"].value == 0.5 and found["long"].ci_method == "wilson"
    assert found["size"].value == 10.5 and found["size"].ci_method == "t"
    assert found["pair"].value is not None


def test_a_metric_that_some_documents_lack_has_a_smaller_n() -> None:
    def process(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
        return {"all": 1.0, **({"some": float(results[0] == "a")} if results[0] != "c" else {})}

    specs = (MetricSpec("all", "mean"), MetricSpec("some", "mean"))
    (scorer,) = build_scorers(plan("generate_until", *specs, process=process))
    found = estimates(scorer, [text_record(x, "t") for x in "aabcc"])
    assert (found["all"].n, found["some"].n) == (5, 3)
    assert found["some"].value == pytest.approx(2 / 3)


def test_nanmean_leaves_nan_out() -> None:
    def process(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
        return {"m": float(results[0])}

    (scorer,) = build_scorers(plan("generate_until", MetricSpec("m", "nanmean"), process=process))
    found = estimates(scorer, [text_record(x, "t") for x in ("1", "nan", "3")])
    assert found["m"].value == 2.0


def test_tuple_items_reach_weighted_aggregations() -> None:
    def process(doc: dict[str, Any], results: list[float]) -> dict[str, Any]:
        return {"word_perplexity": (results[0], 3), "bits_per_byte": (results[0], 11)}

    (scorer,) = build_scorers(
        plan("loglikelihood_rolling", MetricSpec("word_perplexity"), MetricSpec("bits_per_byte"), process=process)
    )
    found = values(scorer, [rolling_record(-6.0, "x"), rolling_record(-3.0, "y")])  # type: ignore[arg-type]
    assert found["word_perplexity"] == pytest.approx(np.exp(9 / 6))
    assert found["bits_per_byte"] == pytest.approx(9 / 22 / np.log(2))


def test_an_aggregation_function_gets_the_items_themselves() -> None:
    given: list[Any] = []

    def pairs(items: list[Any]) -> float:
        given.append(items)
        return sum(a == b for a, b in items) / len(items)

    records = [choice_record([-1, -2, -3], 0), choice_record([-1, -2, -3], 2)]
    (scorer,) = build_scorers(plan("multiple_choice", MetricSpec("f1", pairs)))
    assert values(scorer, records) == {"f1": 0.5}  # type: ignore[arg-type]
    assert given[0] == [(0, 0), (2, 0)]


def test_pass_through_metrics_give_target_and_answer() -> None:
    def agg(items: list[Any]) -> float:
        return float(items == [["gold", "answer"]])

    for name in ("acc", "f1"):
        (scorer,) = build_scorers(plan("generate_until", MetricSpec(name, agg)))
        assert values(scorer, [text_record("answer", "gold")]) == {name: 1.0}  # type: ignore[arg-type]


def test_metric_functions_by_keyword_then_as_one_list() -> None:
    def keyword(references: list[str], predictions: list[str], k: int = 0) -> dict[str, float]:
        return {f"hit@{k}": float(references[0] in predictions[0]), "size": float(len(predictions[0]))}

    def listed(items: list[str]) -> float:
        return float(items[0] == items[1])

    specs = (MetricSpec(keyword, "mean", params={"k": 3}), MetricSpec(listed, "mean"))
    scorers = build_scorers(plan("generate_until", *specs))
    records = [text_record("a b", "a"), text_record("a", "a")]
    found = {name: e.value for s in scorers for name, e in estimates(s, records).items()}
    assert found == {"hit@3": 1.0, "size": 2.0, "listed": 0.5}


def test_several_targets_collapse_to_any_as_in_lm_eval() -> None:
    def overlap(references: list[str], predictions: list[str]) -> float:
        return 0.25 if references[0] in predictions[0] else 0.0

    (scorer,) = build_scorers(plan("generate_until", MetricSpec(overlap, "mean"), several=True))
    records = [text_record("x y", ("z", "y")), text_record("x", ("z", "y"))]
    assert values(scorer, records) == {"overlap": 0.5}  # type: ignore[arg-type]


def test_targets_by_index_are_the_text_of_the_choice() -> None:
    (scorer,) = build_scorers(plan("generate_until", MetricSpec("exact_match")))
    assert values(scorer, [text_record("no", 1, ["yes", "no"])]) == {"exact_match": 1.0}  # type: ignore[arg-type]


def test_a_function_that_fails_costs_its_sample_only() -> None:
    def process(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
        return {"m": 1 / len(results[0])}

    (scorer,) = build_scorers(plan("generate_until", MetricSpec("m", "mean"), process=process))
    good, bad = scorer.score([text_record("ab", "t"), text_record("", "t")], None)
    assert good.stats == (0.5,)
    assert bad.stats is None and bad.reason == "process_results failed: ZeroDivisionError: division by zero"


def test_an_aggregation_that_fails_says_so() -> None:
    def broken(items: list[Any]) -> float:
        raise KeyError("oops")

    (scorer,) = build_scorers(plan("generate_until", MetricSpec("exact_match", broken)))
    with pytest.raises(ScorerError, match="aggregation 'broken' of metric 'exact_match' failed on 1 items: KeyError"):
        values(scorer, [text_record("a", "a")])  # type: ignore[arg-type]


def test_items_of_the_wrong_shape_are_unscored_with_the_reason() -> None:
    def process(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
        return {"m": "seven"}

    (scorer,) = build_scorers(plan("generate_until", MetricSpec("m", "mean"), process=process))
    (score,) = scorer.score([text_record("ab", "t")], None)
    assert score.reason == "m: 'seven' is not a number"


def test_numpy_integers_are_targets_too() -> None:
    (scorer,) = build_scorers(plan("multiple_choice", MetricSpec("acc")))
    assert values(scorer, [choice_record([-1, -2], np.int64(0))]) == {"acc": 1.0}  # type: ignore[arg-type]


def test_signatures_name_the_functions() -> None:
    def process(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
        return {}

    def agg(items: list[Any]) -> float:
        return 0.0

    (scorer,) = build_scorers(plan("generate_until", MetricSpec("m", agg), process=process))
    assert "m:agg" in scorer.signature() and "process" in scorer.signature()
    assert " at 0x" not in scorer.signature()


def test_rows_of_one_filter_keep_their_meaning_when_another_yields_more_metrics() -> None:
    def process(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
        return {"a": 1.0} if results[0] == "first" else {"b": 3.0, "a": 2.0}

    (scorer,) = build_scorers(plan("generate_until", MetricSpec("a", "mean"), process=process))
    first = rows(scorer, [text_record("first", "t")] * 3)
    second = rows(scorer, [text_record("second", "t")] * 3)
    by_name = {m.name: m for m in scorer.metrics}
    assert [estimate(scorer, by_name["a"], stats).value for stats in (first, second)] == [1.0, 2.0]
    assert [estimate(scorer, by_name["b"], stats).value for stats in (first, second)] == [None, 3.0]
