"""Replies to verdicts: what is one, what is none, and nothing in between becomes a number."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import ScorerError
from evalkit.scorers.judge.labels import check_labels, from_loglikelihoods, from_top_logprobs
from evalkit.scorers.judge.verdict import first_digit, read_verdict, response_verdict
from evalkit.types import Failure, Response

FIVE = {str(i): float(i) for i in range(1, 6)}
ZERO_ONE = {"0": 0.0, "1": 1.0}
PAIR = {"A": 1.0, "tie": 0.5, "B": 0.0}


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("4", 4), (" 4\n", 4), ("4.", 4), ("4.0", 4), ("**4**", 4), ("(4)", 4), ("4/5", 4),
        ("VERDICT: 4", 4), ("**VERDICT:** 4", 4), ("VERDICT: **4**", 4), ("VERDICT:\n4", 4),
        ("VERDICT: 4/5", 4),
        ("VERDICT: [[4]]", 4), ("Rating: [[4]]", 4), ("VERDICT: <4>", 4), ('VERDICT: "4"', 4), ("Verdict: 4 (good)", 4),
        ("It might be VERDICT: 1, but on reflection\nVERDICT: 4", 4),
        ("1. Read it.\n2. Rated it.\n- Coherence: 3", 3), ("Coherence: 3", 3),
        ('{"verdict": 4}', 4), ('{"explanation": "VERDICT: 1", "Score": "4"}', 4), ('```json\n{"rating": 4.0}\n```', 4),
        ('{"score": 1}\nNo, the text said that.\n```json\n{"score": 4}\n```', 4),
    ],
)  # fmt: skip
def test_a_verdict_is_read(reply, value):
    found = read_verdict(reply, FIVE)
    assert (found.state, found.value) == ("score", float(value)), found


@pytest.mark.parametrize(
    "reply",
    [
        "", "   ", "VERDICT:", "VERDICT: good", "VERDICT: 3.5", "VERDICT: 7", "VERDICT: 0",
        "VERDICT: -4", "VERDICT: 4-5", "VERDICT: 4 or 5",
        "2-3", "2 to 3", "I would rate this text somewhere around the middle", "1. Natural", "There are 4 errors.",
        "The score for Naturalness for this response is 2.", '{"verdict": null}', '{"verdict": true}', '{"verdict": [4]}',
        '{"verdict": 4', '{"score": NaN}', "VERDICT: NaN", "[[A]]", "Steps:\n1. Read\n2. Rate it 1, 2 or 3",
    ],
)  # fmt: skip
def test_what_holds_no_verdict_is_an_error_with_a_reason_and_never_a_number(reply):
    found = read_verdict(reply, FIVE)
    assert (found.state, found.value) == ("error", None), found
    assert found.reason


@pytest.mark.parametrize(
    "reply", ["I'm sorry, but I can't help with that.", "I cannot rate this text.", "I must decline to judge."]
)
def test_declining_is_a_refusal(reply):
    assert read_verdict(reply, FIVE).state == "refusal"


def test_a_judge_that_explains_why_it_could_not_and_rates_all_the_same_has_rated():
    assert read_verdict("I cannot say much about the style.\nVERDICT: 2", FIVE).value == 2.0


@pytest.mark.parametrize(("reply", "label"), [("VERDICT: A", "A"), ("[[B]]", "B"), ("verdict: TIE", "tie"), ("a", "A")])
def test_letters(reply, label):
    assert read_verdict(reply, PAIR).label == label


@pytest.mark.parametrize("reply", ["VERDICT: A or B", "Answer A is better than B", "A and B", "VERDICT: C", "VERDICT: A/B"])
def test_both_letters_are_none(reply):
    assert read_verdict(reply, PAIR).state == "error"


def test_failed_calls_are_told_apart():
    assert response_verdict(None, FIVE).state == "error"
    assert response_verdict(Response("k", error=Failure("timeout", "late", True)), FIVE).state == "error"
    assert response_verdict(Response("k", error=Failure("content_filter", "no")), FIVE).state == "refusal"
    assert "cut off" in response_verdict(Response("k", text="Let me see, the", finish="length"), FIVE).reason
    assert response_verdict(Response("k", text="VERDICT: 2"), FIVE).value == 2.0


@given(st.text(max_size=200))
def test_no_reply_breaks_the_reader_or_leaves_the_scale(reply):
    for points in (FIVE, ZERO_ONE, PAIR):
        found = read_verdict(reply, points)
        assert (found.value is None) == (found.state != "score")
        assert found.value is None or found.value in points.values()


def test_the_policy_that_papers_used_is_kept_apart():
    assert first_digit("1. Engagingness: 2") == 1.0 and first_digit("none") is None


def test_the_score_is_the_sum_of_probability_times_value():
    found = from_loglikelihoods(FIVE, [math.log(p) for p in (0.1, 0.0001, 0.2, 0.3, 0.2)])
    assert found.value == pytest.approx((0.1 + 0.0002 + 0.6 + 1.2 + 1.0) / 0.8001)
    assert found.label == "4"
    assert found.outside == pytest.approx(0.1999)
    assert sum(found.probabilities.values()) == pytest.approx(1)


def test_tokens_that_are_one_label_are_counted_together():
    top = {"4": math.log(0.5), " 4": math.log(0.1), "▁5": math.log(0.2), "The": math.log(0.2)}
    found = from_top_logprobs(FIVE, top)
    assert found.value == pytest.approx((0.6 * 4 + 0.2 * 5) / 0.8)
    assert found.outside == pytest.approx(0.2)


def test_without_any_label_there_is_no_score():
    assert from_top_logprobs(FIVE, {"The": -0.01}).state == "error"
    assert from_loglikelihoods(FIVE, [-900.0] * 5).state == "error"


def test_scales_whose_labels_cannot_be_told_apart_are_refused_with_a_way_out():
    check_labels(FIVE, "top_logprobs", "r")
    check_labels({"bad": 0.0, "good": 1.0}, "loglikelihood", "r")
    for points, via in (
        ({str(i): float(i) for i in range(11)}, "loglikelihood"),
        ({"bad": 0.0, "good": 1.0}, "top_logprobs"),
    ):
        with pytest.raises(ScorerError, match="score_mode: sample:20"):
            check_labels(points, via, "r")


def test_a_block_that_is_quoted_from_the_text_does_not_outrank_the_line_behind_it():
    quoted = 'The text says:\n```json\n{"score": 5}\n```\nwhich is no reason.\nVERDICT: 2'
    assert read_verdict(quoted, FIVE).value == 2.0
    assert read_verdict('VERDICT: 2\n```json\n{"score": 5}\n```', FIVE).value == 5.0


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("<think>VERDICT: 5? No.</think>\nVERDICT: 2", 2.0),
        ("<think>It is a 5.</think>3", 3.0),
        ("<think>VERDICT: 5, or maybe", None),
        ("<thinking>[[5]]</thinking>", None),
    ],
)
def test_thoughts_are_no_verdict(reply, value):
    assert read_verdict(reply, FIVE).value == value


def test_a_label_that_the_end_of_the_reply_may_have_cut_short_is_none():
    ten = {str(i): float(i) for i in range(11)}
    cut = Response("k", text="Good.\nVERDICT: 1", finish="length")
    assert response_verdict(cut, ten).state == "error" and response_verdict(cut, FIVE).value == 1.0
    assert response_verdict(Response("k", text="VERDICT: 1", finish="stop"), ten).value == 1.0


def test_a_judge_that_did_not_see_the_whole_prompt_has_not_judged():
    assert response_verdict(Response("k", text="VERDICT: 4", truncated=3), FIVE).state == "error"
