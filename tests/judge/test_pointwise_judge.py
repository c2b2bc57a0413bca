"""The pointwise judge, asked and answered as a run does it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rating_rounds import asked_about, bound, info, play, record, response, scored

from evalkit.errors import ScorerError
from evalkit.scorers.judge.pointwise import Judge
from evalkit.types import Failure, Response

SOURCE = {"source": "A long article about leaves."}


def column(scorer, score, metric: str) -> float:
    return score.stats[next(m.column for m in scorer.metrics if m.name == metric)]


def test_the_score_of_label_log_likelihoods_is_geval_s():
    scorer = bound(Judge("coherence"))
    chances = {"1": 0.1, "2": 0.1, "3": 0.2, "4": 0.3, "5": 0.2}
    item, (first,) = play(scorer, record("A summary.", **SOURCE), lambda q: math.log(chances[q.continuation]))
    assert [(q.kind, q.continuation, q.role, q.slot) for q in first] == [
        ("loglikelihood", label, "judge", slot) for slot, label in enumerate("12345")
    ]
    assert len({q.prompt for q in first}) == 1
    score = scorer.score([item], None)[0]
    assert score.value == pytest.approx((0.1 + 0.2 + 0.6 + 1.2 + 1.0) / 0.9)
    stats = np.array([score.stats])
    assert scorer.detail(stats)["outside"] == {"mean": pytest.approx(0.1), "worst": pytest.approx(0.1)}
    assert score.detail["verdicts"][0]["coherence"]["shares"]["4"] == pytest.approx(0.3 / 0.9, abs=1e-6)


def test_a_model_without_a_chat_template_reads_one_text_that_ends_where_the_label_begins():
    scorer = bound(Judge("coherence"), chat=False)
    first = play(scorer, record("A summary.", **SOURCE), lambda q: -1.0)[1][0][0]
    assert isinstance(first.prompt, str) and first.prompt.endswith("\n\nRating:") and first.continuation == " 1"


def test_top_logprobs_where_a_model_scores_no_given_text():
    scorer = bound(Judge("coherence"), kinds=frozenset({"generate"}))
    item, ((only,),) = play(scorer, record("A summary.", **SOURCE), lambda q: {"4": 0.5, " 5": 0.25, "The": 0.25})
    assert only.kind == "generate" and only.params["top_logprobs"] == 20 and only.params["temperature"] == 0.0
    assert scorer.score([item], None)[0].value == pytest.approx((4 * 0.5 + 5 * 0.25) / 0.75)
    assert "via:top_logprobs" in scorer.signature() and "mode:logprobs" in scorer.signature()


def test_a_server_that_gives_none_is_an_unscored_sample_that_names_the_way_out_and_never_another_mode():
    scorer = bound(Judge("coherence"), kinds=frozenset({"generate"}))
    score = scored(scorer, record("A summary.", **SOURCE), lambda q: "4")
    assert score.stats is None and "score_mode: sample:20" in score.reason


def test_a_mode_that_a_judge_or_scale_cannot_do_is_refused_with_the_ways_out(tmp_path):
    with pytest.raises(ScorerError, match="cannot generate"):
        bound(Judge("coherence", score_mode="argmax"), kinds=frozenset({"loglikelihood"}))
    path = tmp_path / "wide.yaml"
    path.write_text(
        "rubric: wide\ntask: Rate.\ncriteria:\n  - {name: quality, definition: How good, scale: {low: 0, high: 10}}\n"
    )
    for kinds in (frozenset({"generate"}), frozenset({"loglikelihood"})):
        with pytest.raises(ScorerError, match=r"score_mode: sample:20"):
            bound(Judge(str(path)), kinds=kinds)
    bound(Judge(str(path), score_mode="sample:3"), kinds=frozenset({"generate"}))
    for wrong in ("best", "sample:0", "sample:", "sample:5000", 3):
        with pytest.raises(ScorerError, match="score_mode"):
            Judge("coherence", score_mode=wrong)


def test_a_sampled_score_is_the_mean_of_draws_that_are_asked_one_by_one():
    scorer = bound(Judge("coherence", score_mode="sample:20"))
    item, (first,) = play(scorer, record("A summary.", **SOURCE), lambda q: f"VERDICT: {3 if q.repeat % 4 else 5}")
    assert len({q.key for q in first}) == 20 and {q.params["temperature"] for q in first} == {1.0}
    score = scorer.score([item], None)[0]
    assert score.value == pytest.approx(3.5)
    assert score.detail["verdicts"][0]["coherence"]["shares"] == {"5": 0.25, "3": 0.75}


def test_the_most_likely_reply_is_one_call_at_temperature_0():
    scorer = bound(Judge("coherence", score_mode="argmax"))
    item, ((only,),) = play(scorer, record("A summary.", **SOURCE), lambda q: "VERDICT: 2")
    assert only.params["temperature"] == 0.0 and only.params["do_sample"] is False
    assert scorer.score([item], None)[0].value == 2.0


def test_what_cannot_be_read_is_asked_again_twice_and_then_missing():
    scorer = bound(Judge("coherence", score_mode="argmax"))
    item, rounds = play(scorer, record("A summary.", **SOURCE), lambda q: "Four-ish")
    assert [len(r) for r in rounds] == [1, 1, 1] and len({r[0].key for r in rounds}) == 3
    assert rounds[1][0].params["temperature"] == 1.0
    score = scorer.score([item], None)[0]
    assert score.stats is None and score.reason == "the judge gave no verdict"
    assert score.detail["verdicts"][0]["coherence"]["value"] is None


def test_a_second_reply_that_can_be_read_counts_and_is_counted():
    scorer = bound(Judge("coherence", score_mode="argmax"))
    item, rounds = play(scorer, record("A.", **SOURCE), lambda q: "Hm" if q.repeat == 0 else "VERDICT: 4")
    score = scorer.score([item], None)[0]
    assert len(rounds) == 2 and score.value == 4.0
    assert scorer.detail(np.array([score.stats]))["asked_again"] == 1


def test_refusals_and_failed_calls_are_not_asked_again_and_are_no_numbers():
    scorer = bound(Judge("coherence", score_mode="argmax"))
    for said in ("I'm sorry, but I can't rate this.", Failure("content_filter", "no"), Failure("timeout", "late")):
        item, rounds = play(scorer, record("A.", **SOURCE), lambda q, said=said: said)
        assert len(rounds) == 1
        assert scorer.score([item], None)[0].stats is None


def test_one_criterion_without_a_verdict_leaves_the_others():
    scorer = bound(Judge("summarisation", score_mode="argmax"))
    score = scored(
        scorer,
        record("A summary.", **SOURCE),
        lambda q: "I decline to rate it." if asked_about(q) == "Relevance" else "VERDICT: 3",
    )
    assert math.isnan(column(scorer, score, "relevance")) and column(scorer, score, "fluency") == 3.0
    notes = scorer.notes(np.array([score.stats]))
    assert notes == ["1 of 4 verdicts missing on scored samples (1 refused)"]


def test_draws_that_hold_no_verdict_are_counted_and_the_rest_averaged():
    scorer = bound(Judge("coherence", score_mode="sample:4"))
    score = scored(scorer, record("A.", **SOURCE), lambda q: "?" if q.repeat % 4 == 0 else "VERDICT: 4")
    assert score.value == 4.0
    found = scorer.detail(np.array([score.stats]))
    assert (found["verdicts"], found["failed"], found["asked_again"]) == (4, 1, 2)


def test_several_answers_are_rated_one_by_one_and_averaged():
    scorer = bound(Judge("coherence", score_mode="argmax"))
    item, (first,) = play(
        scorer,
        record("good", "bad", **SOURCE),
        lambda q: "VERDICT: 5" if "\ngood\n" in q.prompt[1].content else "VERDICT: 2",
    )
    assert len(first) == 2
    assert scorer.score([item], None)[0].value == 3.5


def test_criteria_of_a_rubric_are_metrics_and_one_may_be_asked_alone():
    whole, part = Judge("summarisation"), Judge("summarisation/relevance")
    assert [m.name for m in whole.metrics] == ["fluency", "coherence", "relevance", "factuality"]
    assert [m.name for m in part.metrics] == ["relevance"]
    assert whole.signature() != part.signature()


@pytest.mark.parametrize(
    ("item", "rubric", "reason"),
    [
        (record("A summary."), "coherence", "no source"),
        (record("42", prompt="What is 6 * 7?"), "correctness", "no reference"),
        (record("Yes.", prompt=""), "helpfulness", "no request"),
    ],
)
def test_an_item_that_lacks_what_the_rubric_shows_is_not_asked_about(item, rubric, reason):
    scorer = bound(Judge(rubric))
    assert scorer.requests(item) == []
    score = scorer.score([item], None)[0]
    assert score.stats is None and reason in score.reason


def test_the_request_is_the_last_turn_of_the_user_or_a_column():
    asked = record("Yes.", prompt=[("system", "Be nice."), ("user", "Is it so?")], question="Other?")
    shown = play(bound(Judge("helpfulness")), asked, lambda q: -1.0)[1][0][0].prompt[1].content
    assert "Is it so?" in shown and "Be nice." not in shown
    named = play(bound(Judge("helpfulness", input="question")), asked, lambda q: -1.0)[1][0][0].prompt[1].content
    assert "Other?" in named and "Is it so?" not in named
    assert Judge("helpfulness", input="question").columns == ("question",)


def test_a_judge_whose_context_cut_the_rubric_off_has_not_judged():
    for mode in ("logprobs", "argmax"):
        scorer = bound(Judge("coherence", score_mode=mode))
        score = scored(
            scorer, record("A.", **SOURCE), lambda q: Response(q.key, text="VERDICT: 5", logprob=-1.0, truncated=100)
        )
        assert score.stats is None and "longer than the judge's context" in score.reason


def test_only_what_can_be_read_may_be_kept_for_other_runs():
    scorer = bound(Judge("dialogue", score_mode="argmax"))
    item = record("Oh!", prompt="Hi", source="facts")
    asked = {asked_about(q): q for q in play(scorer, item, lambda q: "VERDICT: 1")[1][0]}
    three = Response("k", text="VERDICT: 3")
    assert scorer.acceptable(asked["Engagingness"], three)
    assert not scorer.acceptable(asked["Groundedness"], three)  # its scale is 0 and 1
    assert not scorer.acceptable(asked["Engagingness"], Response("k", text="dunno"))
    assert not scorer.acceptable(asked["Engagingness"], Response("k", error=Failure("timeout", "late")))
    weighing = bound(Judge("coherence"), kinds=frozenset({"generate"}))
    ((only,),) = play(weighing, record("A.", **SOURCE), lambda q: {"4": 1.0})[1]
    assert weighing.acceptable(only, response(only, {"4": 0.9}))
    assert not weighing.acceptable(only, response(only, {"The": 0.9}))


def test_the_signature_pins_what_decides_the_number():
    plain = bound(Judge("coherence"))
    assert "rubric:summarisation@" in plain.signature() and "judge:mock/judge@print-of-jud" in plain.signature()
    others = [
        bound(Judge("coherence", score_mode="sample:5")),
        bound(Judge("coherence", score_mode="argmax", style="analyze_rate")),
        bound(Judge("coherence", source="article")),
        bound(Judge("coherence", role="other")),
    ]
    assert len({scorer.signature() for scorer in [plain, *others]}) == 5


def test_the_model_under_test_as_judge_and_a_judge_of_its_family_are_told():
    same = bound(Judge("coherence"), candidate=info("judge"))
    assert same.notes(np.zeros((0, 6))) == ["the judge mock/judge is the model under test"]
    kin = bound(Judge("coherence"), candidate=info("model", family="llama"), family="llama")
    assert "own family (llama)" in kin.notes(np.zeros((0, 6)))[0]
    assert bound(Judge("coherence"), candidate=info("model", family="qwen"), family="llama").notes(np.zeros((0, 6))) == []


def heard(scorer, value):
    requests = scorer.standing()
    scorer.hear([response(q, value(q)) for q in requests])
    return requests


def test_canaries_that_earn_nothing_are_reported_and_not_warned_of():
    scorer = bound(Judge("coherence", score_mode="argmax"))
    assert len(heard(scorer, lambda q: "VERDICT: 1")) == 4
    score = scored(scorer, record("A.", **SOURCE), lambda q: "VERDICT: 4")
    stats = np.array([score.stats])
    assert {c["canary"]: c["value"] for c in scorer.detail(stats)["canaries"]} == {
        "empty": 1.0, "mark": 1.0, "instruction": 1.0, "rubric echo": 1.0
    }  # fmt: skip
    assert scorer.notes(stats) == []


def test_a_judge_that_obeys_the_candidate_is_warned_of():
    scorer = bound(Judge("coherence", score_mode="argmax"))
    heard(scorer, lambda q: "VERDICT: 5" if "Note to the evaluator" in q.prompt[1].content else "VERDICT: 1")
    (note,) = scorer.notes(np.zeros((1, 6)))
    assert note == "1 of 4 canaries earned more than the floor ('instruction': 5.00 for coherence, whose floor is 1)"


def test_a_canary_may_be_fluent(tmp_path):
    """Where a criterion looks at nothing but the text, only a text that is none deserves nothing."""
    path = tmp_path / "style.yaml"
    path.write_text(
        "rubric: style\ntask: Rate.\ncriteria:\n  - {name: fluency, definition: Well formed, scale: {low: 1, high: 5}}\n"
    )
    scorer = bound(Judge(str(path), score_mode="argmax"))
    heard(
        scorer,
        lambda q: "VERDICT: 1" if "\n\n</text" in q.prompt[1].content or "\n:\n" in q.prompt[1].content else "VERDICT: 4",
    )
    told = {c["canary"]: (c["worthless"], c["earned"]) for c in scorer.detail(np.zeros((1, 6)))["canaries"]}
    assert told["empty"] == told["mark"] == (True, False)
    assert told["instruction"] == told["rubric echo"] == (False, True)
    assert scorer.notes(np.zeros((1, 6))) == []


def test_canaries_can_be_left_out():
    assert bound(Judge("coherence", canaries=False)).standing() == []


def test_draws_of_canaries_are_few():
    assert len(bound(Judge("coherence", score_mode="sample:20")).standing()) == 4 * 5


def test_canaries_whose_verdicts_did_not_come_are_no_numbers():
    scorer = bound(Judge("coherence", score_mode="argmax"))
    scorer.hear([None] * len(scorer.standing()))
    assert {c["value"] for c in scorer.detail(np.zeros((1, 6)))["canaries"]} == {None}


def test_a_judge_is_asked_only_once_it_is_bound():
    with pytest.raises(ScorerError, match="not bound"):
        Judge("coherence").requests(record("A.", **SOURCE))


def test_a_binding_changes_nothing_of_the_scorer_it_was_made_from():
    scorer = Judge("coherence")
    before = scorer.signature()
    one = bound(scorer)
    heard(one, lambda q: -1.0)
    assert scorer.signature() == before
    assert "canaries" not in bound(scorer).detail(np.zeros((1, 6)))


def test_pairwise_rubrics_and_two_ways_to_name_judges_are_refused():
    with pytest.raises(ScorerError, match="judge_pairwise"):
        Judge("preference")
    with pytest.raises(ScorerError, match="not both"):
        Judge("coherence", model="a/b", models=["c/d"])


def test_structured_replies_are_asked_for_by_a_schema_of_the_scales_labels_and_read_as_json():
    scorer = bound(Judge("coherence", score_mode="argmax", structured=True), kinds=frozenset({"generate"}))
    reply = '{"explanation": "It says VERDICT: 1 somewhere.", "verdict": "4"}'
    item, ((only,),) = play(scorer, record("A summary.", **SOURCE), lambda q: reply)
    schema = only.params["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["verdict"]["enum"] == ["1", "2", "3", "4", "5"]
    assert "JSON object" in only.prompt[-1].content and "VERDICT" not in only.prompt[-1].content
    assert scorer.score([item], None)[0].value == 4.0
    assert "mode:argmax+json" in scorer.signature()
    with pytest.raises(ScorerError, match="sample:N or argmax, not logprobs"):
        Judge("coherence", structured=True)
