"""Gaps between groups of people: means, differences to the rest, and what chance alone would give."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scorer_records import estimates, rows
from toxicity_kit import Stated, generated

from evalkit.errors import ScorerError
from evalkit.scorers.toxicity_gaps import compared
from evalkit.scorers.toxicity_groups import GroupGap
from evalkit.types import Record


def record(value: float, group: str, axis: str = "colour", block: int = 0, index: int = 0) -> Record:
    return generated([f"{value}"], {"group": group, "axis": axis, "block": block}, index)


def balanced(shift: float = 0.2, blocks: int = 10) -> list[Record]:
    base = np.linspace(0.1, 0.6, blocks)
    found = [
        record(round(float(base[b]) + (shift if group == "red" else 0.01 * (b % 2)), 4), group, block=b)
        for b in range(blocks)
        for group in ("red", "green", "blue")
    ]
    return found


def test_the_gap_is_the_highest_less_the_lowest_mean() -> None:
    records = [record(0.2, "a"), record(0.4, "a"), record(0.8, "b"), record(0.6, "b"), record(0.5, "c")]
    found = estimates(GroupGap(Stated(), group="group"), records)
    assert found["toxicity_gap"].value == pytest.approx(0.7 - 0.3)
    assert found["toxicity_average"].value == pytest.approx(0.5)


def test_groups_are_compared_within_their_axis() -> None:
    records = [
        record(v, g, x) for v, g, x in [(0.1, "a", "x"), (0.3, "b", "x"), (0.9, "a", "y"), (0.5, "c", "y"), (0, "d", "z")]
    ]
    scorer = GroupGap(Stated(), group="group", axis="axis")
    assert estimates(scorer, records)["toxicity_gap"].value == pytest.approx((0.2 + 0.4) / 2)
    detail = scorer.detail(rows(scorer, records))
    assert "x: means" in detail and "y: against the rest" in detail and not any(key.startswith("z") for key in detail)
    assert [g["label"] for g in detail["x: means"]["groups"]] == ["a", "b"]
    json.dumps(dict(detail), allow_nan=False)


def test_several_answers_to_a_prompt_are_averaged_first() -> None:
    scorer = GroupGap(Stated(), group="group")
    (score,) = scorer.score([generated(["0.2", "0.8", "?"], {"group": "a"})], None)
    assert score.value == pytest.approx(0.5) and score.detail["unscored"] == {"no number": 1}


def test_matched_prompts_show_what_others_hide() -> None:
    scorer = GroupGap(Stated(), group="group", axis="axis", block="block")
    detail = scorer.detail(rows(scorer, balanced()))
    against = detail["colour: against the rest"]
    assert against["ideal"] == 0.0 and against["correction"] == "Holm"
    red = next(g for g in against["groups"] if g["label"] == "red")
    assert red["value"] == pytest.approx(0.195, abs=1e-9) and red["n"] == 10
    assert red["ci"][0] > 0.19 and red["p"] < 0.01
    assert against["gap"] == pytest.approx(0.195) and against["gap_p"] < 0.01 and 0 < against["gap_by_chance"] < 0.1
    assert "gaps larger than by chance: colour" in " ".join(scorer.notes(rows(scorer, balanced())))
    loose = GroupGap(Stated(), group="group", axis="axis")
    wide = loose.detail(rows(loose, balanced()))["colour: against the rest"]
    assert wide["groups"][2]["p"] > red["p"] and wide["groups"][2]["ci"][0] < red["ci"][0]


def test_without_a_difference_nothing_is_told() -> None:
    scorer = GroupGap(Stated(), group="group", axis="axis", block="block")
    stats = rows(scorer, balanced(shift=0.005))
    assert "no gap is larger than chance makes it" in scorer.notes(stats)


def test_an_unmatched_difference_has_welchs_interval() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    one, other = rng.random(9), 0.3 * rng.random(14)
    values = np.concatenate([one, other])
    groups = [("one", np.arange(9)), ("other", np.arange(9, 23))]
    detail: Any = compared("", "toxicity", values, groups, None, (0.0, 1.0))["against the rest"]
    expected = stats.ttest_ind(one, other, equal_var=False).confidence_interval()
    assert detail["groups"][0]["ci"] == pytest.approx([expected.low, expected.high])
    assert detail["groups"][0]["value"] == pytest.approx(one.mean() - other.mean())


def test_a_resample_may_leave_a_group_out() -> None:
    scorer = GroupGap(Stated(), group="group")
    stats = rows(scorer, [record(0.2, "a"), record(0.8, "b"), record(0.5, "c")])
    weights = np.array([[1.0, 1, 1], [3, 0, 0], [1, 0, 2]])
    found = scorer.aggregate(stats, weights)["toxicity_gap"]
    assert found[0] == pytest.approx(0.6) and np.isnan(found[1]) and found[2] == pytest.approx(0.3)


def test_numbers_of_groups_do_not_hang_on_what_was_scored() -> None:
    records = [record(0.2, "b"), record(0.3, "a")]
    whole, part = GroupGap(Stated(), group="group"), GroupGap(Stated(), group="group")
    whole.prepare(records)
    part.prepare(records)
    (only,) = part.score(records[1:], None)
    both = whole.score(records, None)
    assert only.stats is not None and both[1].stats is not None and only.stats[1] == both[1].stats[1]


def test_sentiment_is_better_when_higher_and_an_empty_answer_has_none() -> None:
    classifier = Stated(direction="better", measures="sentiment")
    scorer = GroupGap(classifier, group="group")
    assert [m.name for m in scorer.metrics] == ["sentiment_gap", "sentiment_average"]
    gap, average = scorer.metrics
    assert (gap.higher_is_better, gap.ideal, average.higher_is_better, average.ideal) == (False, 0.0, True, 1.0)
    (score,) = scorer.score([generated(["", " "], {"group": "a"})], None)
    assert score.stats is None and score.reason == "the answer is empty"
    with pytest.raises(ScorerError, match="'empty' must be one of unscored"):
        GroupGap(classifier, group="group", empty="lowest")


def test_a_sample_without_a_group_is_unscored() -> None:
    scorer = GroupGap(Stated(), group="group")
    (score,) = scorer.score([generated(["0.4"], {"group": ""})], None)
    assert "no group in column 'group'" in str(score.reason)
    assert scorer.columns == ("group",)


@settings(max_examples=15, deadline=None)
@given(counts=st.lists(st.integers(0, 3), min_size=12, max_size=12).filter(any))
def test_weights_count_rows(counts: list[int]) -> None:
    scorer = GroupGap(Stated(), group="group", axis="axis")
    records = [record(0.07 * i, "abc"[i % 3], "xy"[i % 2], index=i) for i in range(12)]
    stats = rows(scorer, records)
    by_weight = scorer.aggregate(stats, np.array(counts, dtype=float))
    repeated = np.repeat(stats, counts, axis=0)
    by_rows = scorer.aggregate(repeated, np.ones(len(repeated)))
    assert float(by_weight["toxicity_average"]) == pytest.approx(float(by_rows["toxicity_average"]))
    whole_axes = all(len({i % 3 for i in range(12) if counts[i] and i % 2 == axis}) > 1 for axis in (0, 1))
    if whole_axes:  # an axis of which a resample has one group has no gap; in data it is not there
        assert float(by_weight["toxicity_gap"]) == pytest.approx(float(by_rows["toxicity_gap"]))


def test_the_report_can_draw_it() -> None:
    from evalkit.report import forest

    scorer = GroupGap(Stated(), group="group", axis="axis", block="block")
    detail = scorer.detail(rows(scorer, balanced()))
    means, against = (forest.given("toxicity", detail[f"colour: {which}"]) for which in ("means", "against the rest"))
    assert means is not None and against is not None and means.line is None and against.line == 0.0
    assert [group.label for group in against.groups if group.differs] == ["red"]
    assert "Holm" in against.test and "permutation" in against.test
