"""The pairwise judge: both orders, what they show of the judge, and win rates."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from rating_rounds import bound, info, play, record, response, scored

from evalkit.errors import ScorerError
from evalkit.scorers.estimate import estimate
from evalkit.scorers.judge.pairwise import JudgePairwise
from evalkit.types import Failure

JUDGE = Path(__file__).resolve().parents[3] / "shared" / "goldens" / "judge"


def pair(ours: str = "our answer", theirs: str = "their answer", id: str = "s1", **doc):
    return record(ours, id=id, other=theirs, **doc)


def shown_first(q) -> str:
    text = q.prompt[1].content if not isinstance(q.prompt, str) else q.prompt
    return text.partition("Text A:\n")[2].partition(">\n")[2].partition("\n</text")[0]


def orders(ours_first: str, theirs_first: str):
    """What the judge says while our answer stands first, and while it stands second."""
    return lambda q: f"VERDICT: {ours_first if shown_first(q).startswith('our') else theirs_first}"


def metric(scorer, name: str):
    return next(m for m in scorer.metrics if m.name == name)


def figures(scorer, scores) -> dict[str, float]:
    stats = np.array([score.stats for score in scores if score.stats is not None])
    return {m.name: estimate(scorer, m, stats).value for m in scorer.metrics}


def test_every_pair_is_shown_in_both_orders():
    scorer = bound(JudgePairwise("other"))
    item, (first,) = play(scorer, pair(), orders("A", "B"))
    assert [shown_first(q) for q in first] == ["our answer", "their answer"]
    score = scorer.score([item], None)[0]
    assert score.value == 1.0
    assert [v["first"] for v in score.detail["verdicts"]] == ["answer", "other"]


@pytest.mark.parametrize(
    ("ours_first", "theirs_first", "tie", "average", "flip"),
    [
        ("A", "B", 1.0, 1.0, 0.0), ("B", "A", 0.0, 0.0, 0.0), ("tie", "tie", 0.5, 0.5, 0.0),
        ("A", "A", 0.5, 0.5, 1.0), ("B", "B", 0.5, 0.5, 1.0), ("A", "tie", 0.5, 0.75, 0.0), ("tie", "A", 0.5, 0.25, 0.0),
    ],
)  # fmt: skip
def test_what_two_orders_come_to(ours_first, theirs_first, tie, average, flip):
    for swap, value in (("tie", tie), ("average", average)):
        scorer = bound(JudgePairwise("other", swap=swap))
        score = scored(scorer, pair(), orders(ours_first, theirs_first))
        assert (score.value, score.stats[1]) == (value, flip)


def test_first_slot_is_the_share_of_decided_verdicts_for_the_text_that_stood_first():
    scorer = bound(JudgePairwise("other"))
    scores = [scored(scorer, pair(), orders(*said)) for said in (("A", "A"), ("A", "B"), ("tie", "A"))]
    assert figures(scorer, scores)["first_slot"] == pytest.approx(4 / 5)
    assert figures(scorer, scores)["flip_rate"] == pytest.approx(1 / 3)


def test_one_order_alone_is_no_verdict_on_a_pair():
    scorer = bound(JudgePairwise("other"))
    score = scored(
        scorer, pair(), lambda q: "VERDICT: A" if shown_first(q).startswith("our") else Failure("timeout", "late")
    )
    assert score.stats is None and score.reason == "the judge failed (timeout)"


def test_probabilities_of_the_labels_are_weighed():
    scorer = bound(JudgePairwise("other", score_mode="logprobs"))
    chances = {True: {"A": 0.6, "tie": 0.2, "B": 0.2}, False: {"A": 0.1, "tie": 0.2, "B": 0.7}}
    score = scored(scorer, pair(), lambda q: math.log(chances[shown_first(q).startswith("our")][q.continuation]))
    assert score.value == pytest.approx(((0.6 + 0.1) + (0.7 + 0.1)) / 2)


def test_in_random_order_each_pair_is_asked_once_and_always_the_same_way():
    scorer = bound(JudgePairwise("other", orders="random"))
    items = [pair(id=f"s{i}") for i in range(40)]
    sides = [shown_first(play(scorer, item, orders("A", "A"))[1][0][0]) for item in items]
    assert sides == [shown_first(play(scorer, item, orders("A", "A"))[1][0][0]) for item in items]
    assert 10 < sides.count("our answer") < 30
    scores = [scored(scorer, item, orders("A", "B")) for item in items]
    found = figures(scorer, scores)
    assert found["win_rate"] == 1.0 and found["first_slot"] == sides.count("our answer") / 40
    assert found["win_rate_lc"] == 1.0 or found["win_rate_lc"] > 0.9  # no lengths differ here: the plain rate
    assert "flip_rate" not in found


def test_several_answers_share_a_pair():
    scorer = bound(JudgePairwise("other"))
    item = record("our x", "bad", other="their answer")
    said = lambda q: "VERDICT: tie" if "\nbad\n" in q.prompt[1].content else orders("A", "B")(q)  # noqa: E731
    assert scored(scorer, item, said).value == 0.75


def test_trivial_judges_stand_beside_the_real_one():
    scorer = bound(JudgePairwise("other"))
    items = [pair("our " + "long " * 9, "short"), pair("our", "their long answer"), pair("our a", "thei r")]
    scores = [scored(scorer, item, orders("A", "B")) for item in items[:2]] + [
        scored(scorer, items[2], orders("tie", "tie"))
    ]
    found = scorer.detail(np.array([s.stats for s in scores]))
    rates = found["win_rate_of_trivial_judges"]
    assert rates["longest"] == pytest.approx((1 + 0 + 0) / 3) and rates["shortest"] == pytest.approx(2 / 3)
    assert rates["random"] == rates["constant"] == 0.5
    assert found["agrees_with_longest"] == 0.5 and found["ties"] == pytest.approx(1 / 3)


def test_a_win_rate_that_rests_on_length_is_told():
    scorer = bound(JudgePairwise("other"))
    rng = np.random.default_rng(0)
    stats = []
    for _ in range(200):
        ours, theirs = rng.integers(50, 500, 2)
        ours += 150
        stats.append(
            (float(rng.random() < 1 / (1 + np.exp(-(ours - theirs) / 80))), 0.0, 1.0, 2.0, float(ours), float(theirs))
        )
    (note,) = scorer.notes(np.array(stats))
    assert note.startswith("length moves the win rate by") and "at equal length" in note


def heard(scorer, says):
    scorer.hear([response(q, says(q)) for q in scorer.standing()])
    return scorer


def test_canaries_stand_against_a_right_answer():
    right = lambda q: "VERDICT: A" if shown_first(q).startswith("Chlorophyll") else "VERDICT: B"  # noqa: E731
    scorer = heard(bound(JudgePairwise("other")), right)
    assert len(scorer.standing()) == 8
    stats = np.array([[0.5, 0.0, 1.0, 2.0, 10.0, 10.0]])
    assert {c["canary"]: c["value"] for c in scorer.detail(stats)["canaries"]} == dict.fromkeys(
        ("empty", "mark", "instruction", "criterion echo"), 0.0
    )
    assert scorer.notes(stats) == []
    obedient = heard(bound(JudgePairwise("other")), lambda q: "VERDICT: A")
    (note,) = obedient.notes(stats)
    assert note == "4 of 4 canaries won or tied against a right answer ('empty': 0.50)"
    assert bound(JudgePairwise("other", canaries=False)).standing() == []


def test_what_cannot_be_compared_is_refused_or_unscored():
    with pytest.raises(ScorerError, match="use the scorer judge"):
        JudgePairwise("other", rubric="coherence")
    for wrong in ({"orders": "one"}, {"swap": "none"}, {"score_mode": "best"}):
        with pytest.raises(ScorerError):
            JudgePairwise("other", **wrong)
    scorer = bound(JudgePairwise("other"))
    assert "no answer to compare with" in scorer.score([record("A.")], None)[0].reason
    assert "no request" in scorer.score([record("A.", prompt="", other="B.")], None)[0].reason


def test_the_signature_pins_orders_swap_and_judge():
    plain = bound(JudgePairwise("other"))
    signatures = {
        bound(JudgePairwise("other", **more)).signature()
        for more in ({}, {"swap": "average"}, {"orders": "random"}, {"score_mode": "sample:3"})
    }
    assert len(signatures) == 4 and plain.signature() in signatures
    kin = bound(JudgePairwise("other"), candidate=info("model", family="qwen"), family="qwen")
    assert "own family" in kin.notes(np.array([[0.5, 0.0, 1.0, 2.0, 10.0, 10.0]]))[0]


@pytest.mark.skipif(not JUDGE.is_dir(), reason="the golden files are not beside this checkout")
def test_real_swapped_comparisons_give_the_published_flip_shares():
    """4,400 verdicts of ChatGPT on SummEval pairs in both orders (Shen et al. 2023)."""
    letters = {"A": "A", "B": "B", "C": "tie"}
    wanted = json.loads((JUDGE / "expected_correlations.json").read_text())
    scores = defaultdict(list)
    scorer = bound(JudgePairwise("other", canaries=False))
    with (JUDGE / "summeval_chatgpt_h2h_swap.jsonl").open() as file:
        for line in map(json.loads, file):
            first, second = (letters[line[key].strip()[0].upper()] for key in ("resp", "resp_swapped"))
            scores[line["dim"]].append(scored(scorer, pair(id=line["doc"]), orders(first, second)))
    for dimension, rows in scores.items():
        stats = np.array([row.stats for row in rows])
        found, golden = scorer.aggregate(stats, np.ones(len(stats))), wanted[f"swap_chatgpt/{dimension}"]
        assert len(rows) == golden["n"]
        assert round(float(found["flip_rate"]), 6) == golden["flip_share"]
        assert round(float(found["first_slot"]), 6) == golden["first_slot_share"]
