"""BERTScore's arithmetic on vectors written by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from evalkit.encoder.base import Tokens
from evalkit.scorers.neural.bertscore_match import Frequencies, Match, best, is_blank, match, plain_weights

ONE, TWO, BACK = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]


def rows(*vectors: list[float]) -> np.ndarray:
    return np.array(vectors, dtype=np.float32)


def test_each_token_is_matched_with_the_most_similar_one() -> None:
    found = match(rows(ONE, TWO), rows(ONE), np.ones(2), np.ones(1))
    assert (found.precision, found.recall) == (0.5, 1.0) and found.f1 == pytest.approx(2 / 3)


def test_a_negative_best_similarity_stays_negative() -> None:
    assert match(rows(ONE), rows(BACK), np.ones(1), np.ones(1)).precision == -1.0


def test_tokens_without_weight_can_still_be_matched() -> None:
    found = match(rows(ONE, TWO), rows(ONE, TWO), np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    assert (found.precision, found.recall, found.f1) == (1.0, 1.0, 1.0)
    nothing = match(rows(ONE), rows(ONE), np.ones(1), np.zeros(1))
    assert nothing.precision == 1.0 and math.isnan(nothing.recall) and math.isnan(nothing.f1)


def test_a_pair_without_any_similarity_scores_zero() -> None:
    assert match(rows(ONE), rows(TWO), np.ones(1), np.ones(1)) == Match(0.0, 0.0, 0.0)


def test_the_best_of_several_references_is_taken_number_by_number() -> None:
    found = best([Match(0.9, 0.1, 0.18), Match(0.2, 0.8, 0.32), Match(math.nan, 0.9, math.nan)])
    assert found == Match(0.9, 0.9, 0.32)
    assert math.isnan(best([Match(math.nan, 0.5, math.nan)]).f1)


def test_frequencies_count_a_sentence_once_and_a_repeated_one_each_time() -> None:
    counted = Frequencies()
    counted.add([Tokens((1, 5, 5, 2)), Tokens((1, 6, 2))])
    counted.add([Tokens((1, 6, 2))])
    weights = counted.weights()
    assert weights.of((1, 5, 6, 7)).tolist() == pytest.approx([0.0, math.log(4 / 2), math.log(4 / 3), math.log(4)])
    assert weights.sentences == 3 and weights.digest


def test_without_idf_only_separator_and_class_token_have_no_weight() -> None:
    weights = plain_weights(SimpleNamespace(sep_token_id=2, cls_token_id=None))  # T5 has no class token
    assert weights.of((1, 2, 3)).tolist() == [1.0, 0.0, 1.0]


def test_a_single_token_beside_special_ones_is_not_blank() -> None:
    assert not is_blank(Tokens((5, 1), (False, True)))
    assert is_blank(Tokens((1,), (True,))) and is_blank(Tokens((0, 2), (True, True)))
