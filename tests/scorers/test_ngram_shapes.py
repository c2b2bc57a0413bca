"""References that cannot belong to the predictions are refused by shape, with what to do."""

import pytest
from scorer_records import text_record, values

from evalkit.errors import ScorerError
from evalkit.scorers.base import ScorerSpec, ScoringPlan
from evalkit.scorers.ngram.shapes import check_references
from evalkit.scorers.registry import build_scorer


def test_references_become_one_tuple_a_prediction():
    assert check_references(["a", "b", "c"], ["x", ["y", None, "z"], ("w",)]) == (("x",), ("y", "z"), ("w",))
    assert check_references([], []) == ()
    assert check_references(["a", "b"], [["x", "y"], ["z", "w"]]) == (("x", "y"), ("z", "w"))  # square: as it stands


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        (
            ["a"] * 3,
            [["x"] * 3, ["y"] * 3],
            r"transposed: 2 lists of 3 for 3 predictions.*3 lists.*list\(zip\(\*references\)\)",
        ),
        (["a"] * 3, [["x"] * 3], "transposed: 1 list of 3 for 3 predictions, .* with its 1 reference;"),
        (["a"] * 3, ["x"] * 2, "^3 predictions but 2 references: there must be one"),
        (["a"] * 3, [["x"], ["x", "y"]], "^3 predictions but 2 references: there must be one"),
        (["a"], ["x", "y"], r"1 predictions but 2 references: write \[\[...\]\]"),
        (["a"], [], "1 predictions but 0 references"),
        ("a", ["x"], "the predictions are one text"),
        (["a"], "x", "the references are one text"),
        (["a", "b"], ["x", 5], "references of prediction 2 must be a text or a list of texts, not 5"),
        (["a", "b"], ["x", [5]], "a reference of prediction 2 is no text: 5"),
    ],
)
def test_what_does_not_fit_is_refused(predictions, references, message):
    with pytest.raises(ScorerError, match=message) as refused:
        check_references(predictions, references)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("answer", "target", "exact", "f1"),
    [
        ("The  Eiffel Tower!", "eiffel tower", 1.0, 1.0),
        ("a tower", ("bridge", "the tower."), 1.0, 1.0),
        ("Paris, France", "Paris", 0.0, 2 / 3),
        ("the", "", 1.0, 1.0),
        ("yes", "", 0.0, 0.0),
        (["Paris", "London"], "paris", 0.5, 0.5),
    ],
)
def test_squad_rules(answer, target, exact, f1):
    for name, wanted in (("squad_exact_match", exact), ("token_f1", f1)):
        scorer = build_scorer(ScorerSpec(name), ScoringPlan("generate_until"))
        assert values(scorer, [text_record(answer, target)])[name] == pytest.approx(wanted)
