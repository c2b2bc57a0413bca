"""Several judges: how their verdicts become one, and what is told of their disagreement."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rating_rounds import bound, play, record, scored

from evalkit.errors import ScorerError
from evalkit.scorers.estimate import estimate
from evalkit.scorers.judge.panel import combine, disagreement, majority
from evalkit.scorers.judge.pointwise import Judge
from evalkit.types import Failure

FIVE = (1.0, 2.0, 3.0, 4.0, 5.0)
SOURCE = {"source": "An article."}
NAMES = ["a/one", "b/two", "c/three"]


def panel(**settings):
    return Judge("coherence", models=NAMES, score_mode="argmax", **settings)


def says(one, two, three):
    given = {"judge_1": one, "judge_2": two, "judge_3": three}

    def answer(q):
        said = given[q.role]
        return said if not isinstance(said, int) else f"VERDICT: {said}"

    return answer


def test_every_judge_has_a_role_and_a_metric_of_its_own():
    scorer = panel()
    assert scorer.default_models == {"judge_1": "a/one", "judge_2": "b/two", "judge_3": "c/three"}
    assert [(m.name, m.headline) for m in scorer.metrics] == [
        ("coherence", True), ("coherence@judge_1", False), ("coherence@judge_2", False), ("coherence@judge_3", False)
    ]  # fmt: skip
    assert Judge("coherence", models=["a/one"]).roles == ("judge",)


@pytest.mark.parametrize(("how", "value"), [("mean", 8 / 3), ("median", 2.0), ("majority", 2.0)])
def test_the_ways_to_combine(how, value):
    score = scored(bound(panel(combine=how)), record("A.", **SOURCE), says(2, 2, 4))
    assert score.value == pytest.approx(value)
    assert score.stats[1:4] == (2.0, 2.0, 4.0)


def test_a_judge_that_fails_is_left_out_of_the_item_and_counted():
    scorer = bound(panel())
    score = scored(scorer, record("A.", **SOURCE), says(2, Failure("timeout", "late"), 4))
    assert score.value == 3.0 and math.isnan(score.stats[2])
    stats = np.array([score.stats])
    assert scorer.notes(stats) == ["1 of 3 verdicts missing on scored samples (1 unreadable)"]
    assert scorer.detail(stats)["panel"]["coherence"]["incomplete"] == 1
    own = next(m for m in scorer.metrics if m.name == "coherence@judge_2")
    assert estimate(scorer, own, stats).value is None


def test_without_any_verdict_there_is_no_score():
    gone = Failure("timeout", "late")
    assert scored(bound(panel()), record("A.", **SOURCE), says(gone, gone, gone)).stats is None


def test_answers_are_combined_one_by_one():
    """Of each answer two judges say the same: a majority over means of answers would see no two alike."""
    scorer = bound(panel(combine="majority"))
    given = {("judge_1", "x"): 1, ("judge_2", "x"): 1, ("judge_3", "x"): 5, ("judge_1", "y"): 5, ("judge_2", "y"): 3,
             ("judge_3", "y"): 5}  # fmt: skip
    score = scored(
        scorer,
        record("x", "y", **SOURCE),
        lambda q: f"VERDICT: {given[q.role, 'x' if chr(10) + 'x' + chr(10) in q.prompt[1].content else 'y']}",
    )
    assert score.value == 3.0


def test_a_majority_is_of_points_of_the_scale():
    assert majority([3.4, 2.6, 5.0], FIVE) == 3.0  # two weighted scores near 3
    assert majority([2.5, 2.0, 4.0], FIVE) == 2.0  # halfway: the lower one, never more than was earned
    assert majority([1.0, 3.0], FIVE) == 2.0
    assert majority([0.6, 0.4, 0.9], (0.0, 0.5, 1.0)) == 0.5
    assert combine([math.nan, 4.0, 4.4, 1.0], "majority", FIVE) == 4.0
    assert math.isnan(combine([math.nan], "mean", FIVE))


def test_disagreement_by_hand():
    values = np.array([[1.0, 3.0], [2.0, 2.0], [4.0, np.nan], [np.nan, np.nan]])
    found = disagreement(values, ["p", "q"], "mean", FIVE)
    assert (found["items"], found["incomplete"]) == (3, 1)
    assert found["spread"] == pytest.approx(math.sqrt(2) / 2)
    assert found["mean"] == {"p": pytest.approx(7 / 3), "q": 2.5}
    assert found["without"] == {"p": 2.5, "q": pytest.approx(7 / 3)}
    # pairs (1,3) and (2,2): observed 2 * 4 / 4 = 2, expected over 1,3,2,2: (4 + 1*4) * 2 / 12 = 4/3
    assert found["alpha"] == pytest.approx(1 - 2 / (4 / 3))


def test_leaving_one_judge_out_combines_the_rest_as_the_panel_does():
    values = np.array([[1.0, 1.0, 5.0], [2.0, 2.0, 5.0]])
    assert disagreement(values, ["a", "b", "c"], "majority", FIVE)["without"]["c"] == 1.5
    assert disagreement(values, ["a", "b", "c"], "median", FIVE)["without"]["a"] == 3.25


def test_judges_that_always_say_the_same_have_no_alpha():
    assert disagreement(np.full((4, 2), 5.0), ["a", "b"], "mean", FIVE)["alpha"] is None


def test_all_judges_are_asked_the_same():
    (first,) = play(bound(panel()), record("A.", **SOURCE), says(1, 2, 3))[1]
    assert {q.role for q in first} == {"judge_1", "judge_2", "judge_3"} and len({q.prompt for q in first}) == 1


def test_an_unknown_way_to_combine_is_refused():
    with pytest.raises(ScorerError, match="combine"):
        panel(combine="best")
