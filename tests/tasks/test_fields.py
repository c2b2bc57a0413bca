import numpy as np
import pytest

from evalkit.errors import TemplateError
from evalkit.tasks.fields import Fields, column_or_template

DOC = {"question": "Why?", "label": 2, "letter": "B", "choices": ["x", "y", "z"], "n": "3", "07": "odd"}


def fields(text="question", target="label", choice=None):
    return Fields(text, target, choice, frozenset(DOC), has_choices=choice is not None)


@pytest.mark.parametrize(
    ("text", "choice", "expected"),
    [
        ("question", None, "Why?"),  # a column, untouched
        ("label", None, 2),
        ("{{question}} {{letter}}", None, "Why? B"),
        ("{{n}}", None, "3"),
        ("{{n}}", ["a"], 3),  # all digits, and there are choices: the gold index of several inputs
        ("{{'07'}}", ["a"], "07"),
        ("plain", None, "plain"),
        ("", None, ""),
        (1, None, 1),
        (lambda doc: doc["letter"] * 2, None, "BB"),
    ],
)
def test_doc_to_text(text, choice, expected):
    assert fields(text=text, choice=choice).doc_to_text(DOC) == expected


@pytest.mark.parametrize(
    ("target", "choice", "expected"),
    [
        ("label", None, 2),
        ("letter", ["A", "B"], "B"),
        ("{{label}}", None, "2"),
        ("{{label}}", ["A", "B"], 2),
        ("{{choices}}", None, ["x", "y", "z"]),
        ("[{{label}}, oops]", None, "[2, oops]"),  # not a literal: stays text
        ("[", None, "["),
        (["a", "b"], None, ["a", "b"]),
        (0, None, 0),
        (None, None, None),
    ],
)
def test_doc_to_target(target, choice, expected):
    assert fields(target=target, choice=choice).doc_to_target(DOC) == expected


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("choices", ["x", "y", "z"]),
        ("{{[question, letter]}}", ["Why?", "B"]),
        (["no", "yes"], ["no", "yes"]),
        ([0, 1], ["0", "1"]),
        ({"a": "no", "b": "yes"}, ["no", "yes"]),
        (lambda doc: (doc["letter"], "other"), ["B", "other"]),
    ],
)
def test_doc_to_choice(choice, expected):
    assert fields(choice=choice).doc_to_choice(DOC) == expected


@pytest.mark.parametrize("choice", ["question", "{{question}}", "{{label}}", lambda doc: [], "{{[}}"])
def test_choices_that_are_no_list_are_refused(choice):
    with pytest.raises(TemplateError):
        fields(choice=choice).doc_to_choice(DOC)


def test_a_question_of_digits_stays_text_in_a_task_with_one_input():
    assert fields(text="{{n}}", choice=["a"]).question(DOC) == "3"
    with pytest.raises(TemplateError, match="must give text"):
        fields(text="label").question(DOC)


def test_a_failing_function_is_named():
    def broken(doc):
        return doc["nope"]

    with pytest.raises(TemplateError, match="doc_to_text: function broken raised KeyError"):
        fields(text=broken).doc_to_text(DOC)


def test_a_number_of_numpy_is_an_index():
    found = fields(target=lambda doc: np.int32(doc["label"]), choice="choices").doc_to_target(DOC)
    assert found == 2
    assert type(found) is int


def test_column_or_template():
    assert column_or_template("letter", DOC) == "B"
    assert column_or_template("<{{letter}}>", DOC) == "<B>"
    assert column_or_template("", DOC) is None
    assert column_or_template("gone", {"gone": None}) is None
