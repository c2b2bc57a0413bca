"""The stand-ins for lm-eval's helpers give what the originals give (figures from lm-eval 0.4.13, scikit-learn, SQuAD)."""

import math

import pytest

from evalkit.tasks.shim.metrics import (
    bits_per_byte,
    mean_stderr,
    metric_max_over_ground_truths,
    nanmean,
    perplexity,
    weighted_perplexity,
)
from evalkit.tasks.shim.squad import compute_exact, compute_f1, normalize_answer
from evalkit.tasks.shim.utils import general_detokenize, weighted_f1_score

PAIRS = [(0, 0), (0, 1), (1, 1), (2, 1), (2, 2), (2, 3), (1, 0), (0, 0)]


def test_weighted_f1():
    assert weighted_f1_score(PAIRS) == pytest.approx(0.5375, abs=1e-12)
    assert weighted_f1_score([("a", "b"), ("b", "a")]) == 0.0


def test_weighted_f1_is_scikit_learns():
    sklearn = pytest.importorskip("sklearn.metrics")
    golds, predictions = zip(*[pair for pair in PAIRS if pair[1] != 3], strict=True)
    expected = sklearn.f1_score(golds, predictions, average="weighted")
    assert weighted_f1_score(zip(golds, predictions, strict=True)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I do n't know .", "I don't know."),
        ("( a ) , b", "(a), b"),
        ('he said " yes " ', 'he said"yes"'),
        ("it 's fine", "it's fine"),
        ("keep ; this", "keep ; this"),
    ],
)
def test_detokenising(text, expected):
    assert general_detokenize(text) == expected


def test_likelihood_metrics():
    assert perplexity([-1.0, -3.0]) == pytest.approx(math.exp(2))
    assert weighted_perplexity([(-4.0, 2), (-2.0, 1)]) == pytest.approx(math.exp(2))
    assert bits_per_byte([(-math.log(2) * 8, 4), (-math.log(2) * 8, 4)]) == pytest.approx(2.0)
    assert mean_stderr([0, 1, 1, 1]) == pytest.approx(0.25)
    assert nanmean([1.0, math.nan, 3.0]) == 2.0
    assert math.isnan(nanmean([math.nan]))


def test_the_best_of_several_references_counts():
    assert metric_max_over_ground_truths(compute_f1, "a red car", ["blue car", "car"]) == pytest.approx(2 / 3)


def test_squad_rules():
    assert normalize_answer("The  U.S.A., an Area!") == "usa area"
    assert compute_exact("the cat", "Cat.") == 1
    assert compute_exact("cats", "cat") == 0
    assert compute_f1("in the year 1990", "1990") == pytest.approx(0.5)
    assert compute_f1("a b c", "d") == 0
    assert (compute_f1("", ""), compute_f1("", "x"), compute_f1("the", "")) == (1, 0, 1)
