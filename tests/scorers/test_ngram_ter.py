"""The edits of TER against sacrebleu's, with Tercom's limits and with narrow ones that short texts already reach."""

import random

import pytest
from sacrebleu.metrics import lib_ter

from evalkit.scorers.ngram import ter
from evalkit.scorers.ngram.corpus import corpus_scores


def words(draw, most, vocabulary):
    return [str(min(vocabulary, int(draw.expovariate(3 / vocabulary)))) for _ in range(draw.randint(0, most))]


def shuffled(draw, reference, vocabulary):
    """``reference`` with some runs of words moved, replaced or left out."""
    found = list(reference)
    for _ in range(draw.randint(0, 6)):
        start, length = draw.randint(0, len(found)), draw.randint(1, 12)
        run, to = found[start : start + length], draw.randint(0, len(found))
        del found[start : start + length]
        if draw.random() < 0.7:
            found[to:to] = run
        elif draw.random() < 0.5:
            found[to:to] = [str(draw.randint(0, vocabulary))]
    return found


def pair(draw, most, vocabulary):
    reference = words(draw, most, vocabulary)
    if draw.random() < 0.5:
        return shuffled(draw, reference, vocabulary), reference
    return words(draw, draw.choice((3, most, 2 * most)), vocabulary), reference


@pytest.mark.parametrize("seed", range(20))
def test_edits_are_sacrebleus_under_narrow_limits(seed, monkeypatch):
    draw = random.Random(seed)
    limits = {"_BEAM_WIDTH": "_BEAM", "_MAX_SHIFT_CANDIDATES": "_MOST", "_MAX_SHIFT_DIST": "_FARTHEST"}
    for theirs, value in zip(
        limits, (draw.choice((1, 2, 4)), draw.choice((5, 20, 1000)), draw.choice((3, 50))), strict=True
    ):
        monkeypatch.setattr(lib_ter, theirs, value)
        monkeypatch.setattr(ter, limits[theirs], value)
    for _ in range(60):
        answer, reference = pair(draw, draw.choice((3, 8, 15)), draw.choice((2, 5, 20, 100)))
        assert ter.edits(answer, reference) == lib_ter.translation_edit_rate(answer, reference)[0], (answer, reference)


@pytest.mark.parametrize(("most", "vocabulary", "count"), [(25, 6, 40), (40, 60, 40), (90, 200, 8)])
def test_edits_are_sacrebleus(most, vocabulary, count):
    draw = random.Random(most)
    for _ in range(count):
        answer, reference = pair(draw, most, vocabulary)
        assert ter.edits(answer, reference) == lib_ter.translation_edit_rate(answer, reference)[0], (answer, reference)


@pytest.mark.parametrize(
    ("answer", "reference", "wanted"),
    [
        ("", "", 0),
        ("", "a b", 2),
        ("a b", "", 2),
        ("a b c", "a b c", 0),
        ("d a b c", "a b c d", 1),  # one shift
        ("c d a b", "a b c d", 1),  # of two words
        ("a x c", "a b c", 1),
        ("x " * 300, "a", 300),  # much longer than the reference: the beam gets wider
        ("a", "x " * 60 + "a", 60),
    ],
)
def test_edits_by_hand(answer, reference, wanted):
    assert ter.edits(answer.split(), reference.split()) == wanted


def test_the_nearest_reference_counts_and_lengths_are_averaged():
    references = [["x", "y", "z"], ["a", "b", "c", "d"], ["a", "b", "c", "d"]]
    assert ter.ter_row(["a", "b", "d"], references) == [1.0, 11 / 3]
    assert ter.ter_row([], [[], ["a", "b"]]) == [0.0, 1.0]


def test_references_are_those_of_their_own_answer_however_often_they_come(monkeypatch):
    answers = ["a b c", "a b c", "c b a", "a b c"]
    golds = [["a b c"], ["a b"], ["a b c"], ["c", "a b c d"]]
    for name in ("bleu", "chrf", "ter"):
        expected = corpus_scores(name, answers, golds).stats.tolist()
        monkeypatch.setattr("evalkit.scorers.ngram.corpus._KEPT", 4)  # room for hardly any
        assert corpus_scores(name, answers, golds).stats.tolist() == expected
        assert expected == [corpus_scores(name, [a], [g]).stats[0].tolist() for a, g in zip(answers, golds, strict=True)]
        monkeypatch.undo()
