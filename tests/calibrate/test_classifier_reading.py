"""Labelled texts as people keep them: labels of all kinds, groups in words or marks, one clear line for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalkit.calibrate.labelled_texts import TextColumns, read_labelled
from evalkit.errors import DataError, UsageError


def positives(labels: list[Any], *wanted: str) -> list[bool]:
    rows = [{"text": "t", "label": label} for label in labels]
    return read_labelled(rows, TextColumns(positive=wanted)).positive.tolist()


@pytest.mark.parametrize(
    "labels",
    [[1, 0], [True, False], ["1", "0"], [0.5, 0.49], ["Toxic", "Not Toxic"], ["hateful", "non-hateful"], ["true", "false"]],
)
def test_usual_labels_need_no_word(labels: list[Any]) -> None:
    assert positives(labels) == [True, False]


def test_the_positive_value_can_be_named() -> None:
    assert positives(["b", "A ", "c"], "a", "c") == [False, True, True]
    assert positives([2.0, 1.0, 0.0], "2") == [True, False, False]


def test_rows_without_a_label_are_left_out_and_counted() -> None:
    found = read_labelled([{"text": "a", "label": 1}, {"text": "b", "label": None}, {"text": "c", "label": 0}])
    assert (found.texts, found.unlabelled) == (("a", "c"), 1)


def test_a_text_is_positive_where_one_of_several_labels_is() -> None:
    rows = [{"prompt": "a", "H": 0, "V": 1}, {"prompt": "b", "H": 0}, {"prompt": "c"}, {"prompt": "d", "H": 1, "V": 0}]
    found = read_labelled(rows, TextColumns(label=("H", "V")))
    assert (found.texts, found.positive.tolist(), found.unlabelled) == (("a", "b", "d"), [True, False, True], 1)


def test_groups_are_words_marks_or_lists() -> None:
    rows = [
        {"text": "a", "label": 1, "who": "women", "muslim": 0.8, "all": ["x", "y"]},
        {"text": "b", "label": 0, "who": "", "muslim": None, "all": ["y"]},
        {"text": "c", "label": 0, "who": "men", "muslim": 0.2, "all": []},
    ]
    one = read_labelled(rows, TextColumns(groups=("who",))).groups
    assert {name: own.tolist() for name, own in one.items()} == {"men": [False, False, True], "women": [True, False, False]}
    several = read_labelled(rows, TextColumns(groups=("who", "muslim", "all"))).groups
    assert list(several) == ["who=men", "who=women", "muslim", "all=x", "all=y"]
    assert several["muslim"].tolist() == [True, False, False] and several["all=y"].tolist() == [True, True, False]


def test_computed_scores_need_no_texts_and_may_be_missing() -> None:
    rows = [{"label": 1, "s": 0.9}, {"label": 0, "s": None}, {"label": 0, "s": "0.25"}]
    found = read_labelled(rows, TextColumns(scores="s"))
    assert found.scores is not None
    np.testing.assert_array_equal(found.scores, [0.9, np.nan, 0.25])
    low = read_labelled(rows, TextColumns(scores="-s"))
    assert low.scores is not None and low.scores[0] == -0.9


def test_files_are_read_and_functionality_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    path.write_text("test_case,label_gold,functionality\nI hate it,hateful,derog_h\nfine,non-hateful,neutral_nh\n", "utf-8")
    found = read_labelled(path)
    assert (found.texts, found.positive.tolist()) == (("I hate it", "fine"), [True, False])
    assert found.functionality == ("derog_h", "neutral_nh") and found.positive_value == "label_gold is hateful"
    lines = tmp_path / "rows.jsonl"
    lines.write_text("".join(json.dumps({"prompt": p, "hate": h}) + "\n" for p, h in (("a", 1), ("b", 0))), "utf-8")
    assert read_labelled(lines).columns.described() == {"text": "prompt", "label": "hate"}


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([], {}, "no rows"),
        ([{"text": "a", "score": 1}], {}, "which column holds the labels"),
        ([{"body": "a", "label": 1}], {}, "which column holds the texts"),
        ([{"text": "a", "label": 1}], {"text": "txt"}, "no column 'txt' .did you mean text"),
        ([{"text": "a", "label": "good"}, {"text": "b", "label": "bad"}], {}, "which value of label is the positive class"),
        ([{"text": "a", "label": "x"}, {"text": "b", "label": "y"}], {"positive": ["z"]}, "no label 'z' in label"),
        ([{"text": "a", "label": 1}, {"text": "b", "label": 1}], {}, "2 of 2 texts are positive"),
        ([{"label": 1, "s": "high"}, {"label": 0, "s": 1}], {"scores": "s"}, "row 1: s must hold numbers, not 'high'"),
        ([{"text": "a", "label": 3}, {"text": "b", "label": 1}], {}, "which value of label"),
    ],
)
def test_bad_data_is_one_clear_line(rows: list[dict[str, Any]], columns: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_labelled(rows, TextColumns.of(columns))


def test_too_many_values_are_no_groups() -> None:
    rows = [{"text": "a", "label": i % 2, "id": f"n{i}"} for i in range(300)]
    with pytest.raises(DataError, match="300 different values"):
        read_labelled(rows, TextColumns(groups=("id",)))


def test_an_unknown_role_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean label"):
        TextColumns.of({"labels": "x"})
    assert TextColumns.of({"groups": "a"}).groups == ("a",)
