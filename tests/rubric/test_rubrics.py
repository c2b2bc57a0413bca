"""Rubric files: what ships is sound, what is wrong is told with its line, and the hash pins every word."""

from __future__ import annotations

import pytest
import yaml

from evalkit.errors import RubricError
from evalkit.rubric.load import load_criteria, load_rubric, shipped
from evalkit.rubric.schema import Scale

GOOD = {
    "rubric": "mine",
    "task": "Rate it.",
    "criteria": [{"name": "tone", "definition": "Kind?", "scale": {"low": 1, "high": 3}, "levels": {1: "rude", 3: "kind"}}],
}


@pytest.mark.parametrize("name", list(shipped()))
def test_every_shipped_rubric_loads_under_its_name_and_anchors_its_scale(name):
    rubric = load_rubric(name)
    assert rubric.rubric == name and rubric.summary
    for criterion in rubric.criteria:
        if rubric.form == "pointwise":
            points = list(criterion.scale.points)
            assert {points[0], points[-1]} <= criterion.levels.keys(), f"{name}/{criterion.name} has no anchors"


def test_what_the_lecture_and_the_dialogue_papers_rate_is_there_by_name():
    for name in ("fluency", "coherence", "relevance", "factuality", "engagingness", "groundedness", "correctness",
                 "helpfulness", "instruction_following", "harmlessness", "adequacy", "preference"):  # fmt: skip
        _, criteria = load_criteria(name)
        assert [criterion.name for criterion in criteria] == [name]


def test_a_rubric_and_one_of_its_criteria(tmp_path):
    rubric, criteria = load_criteria("summarisation")
    assert len(criteria) == 4
    assert load_criteria("summarisation/fluency") == (rubric, criteria[:1])
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(GOOD))
    assert load_criteria("mine.yaml/tone", tmp_path)[1][0].scale.points == {"1": 1.0, "2": 2.0, "3": 3.0}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("coherenc", r"no rubric or criterion 'coherenc' \(did you mean coherence"),
        ("summarization", r"did you mean summarisation"),
        ("summarisation/fluancy", r"rubric summarisation has no criterion 'fluancy' \(did you mean fluency"),
        ("nowhere.yaml", r"nowhere.yaml cannot be read: No such file"),
    ],
)
def test_what_is_not_there_is_told_with_the_nearest(name, message):
    with pytest.raises(RubricError, match=message):
        load_criteria(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"criterias": []}, r"mine.yaml:\d+: unknown key 'criterias' \(did you mean criteria"),
        ({"criteria": []}, r"mine.yaml:1: criteria: "),
        ({"needs": ["source"]}, "needs must name output"),
        ({"form": "pairwise"}, "the scale of tone in a pairwise rubric is|in a pairwise rubric the scale of tone is"),
        ({"criteria": [{**GOOD["criteria"][0], "levels": {9: "?"}}]}, r"mine.yaml:\d: .*level '9' is not on the scale"),
        ({"criteria": [{**GOOD["criteria"][0], "scale": {"low": 3, "high": 1}}]}, "a scale needs low < high"),
        ({"criteria": [{**GOOD["criteria"][0], "scale": {"labels": ["a", "A"]}}]}, "all different"),
        ({"criteria": [GOOD["criteria"][0]] * 2}, "two criteria are called 'tone'"),
    ],
)
def test_a_wrong_file_is_told_in_one_line(tmp_path, change, message):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**GOOD, **change}))
    with pytest.raises(RubricError, match=message) as told:
        load_rubric(path)
    assert "\n" not in str(told.value)


def test_the_hash_changes_with_every_word_that_is_read_and_with_nothing_else(tmp_path):
    path = tmp_path / "mine.yaml"

    def hashed(**change):
        path.write_text(yaml.safe_dump({**GOOD, **change}))
        load_rubric.__globals__["_read"].cache_clear()
        return load_rubric(path).hash

    assert hashed() == hashed(summary="what for", version=2)
    assert len({hashed(), hashed(task="Rate."), hashed(style="analyze_rate"), hashed(guidelines="Be strict.")}) == 4


def test_labels_are_valued_from_worst_to_best():
    assert Scale(labels=("no", "yes")).points == {"no": 1.0, "yes": 2.0}
    assert Scale(labels=("fail", "pass"), values=(0, 1)).points == {"fail": 0.0, "pass": 1.0}


def test_a_criterion_where_a_rubric_is_wanted_names_its_rubric():
    with pytest.raises(RubricError, match=r"'coherence' is a criterion, not a rubric.*: summarisation"):
        load_rubric("coherence")
    with pytest.raises(RubricError, match=r"'summarisation/coherence' is a criterion, not a rubric.*: summarisation"):
        load_rubric("summarisation/coherence")
