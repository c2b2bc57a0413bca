"""The parts of COMET by themselves: sparsemax, joint rows, error spans."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.scorers.neural.comet.inputs import Piece, joint, translation_tokens
from evalkit.scorers.neural.comet.networks import sparsemax
from evalkit.scorers.neural.comet.spans import Span, mqm, spans

LABELS = ("minor", "major", "critical")


def piece(*ids: int) -> Piece:
    return Piece((0, *ids, 2), ((0, 0),) * (len(ids) + 2), 0, not ids)


def chances(labels: list[int]) -> np.ndarray:
    return (np.eye(4, dtype=np.float32) * 0.8 + 0.05)[labels]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([0.0, 0.0], [0.5, 0.5]), ([3.0, 0.0, 0.0], [1.0, 0.0, 0.0]), ([0.5, 0.0, -1.0], [0.75, 0.25, 0.0]), ([7.0], [1.0])],
)
def test_sparsemax(scores: list[float], expected: list[float]) -> None:
    import torch

    assert sparsemax(torch.tensor(scores)).tolist() == pytest.approx(expected)


@given(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=30))
def test_sparsemax_is_the_nearest_distribution(scores: list[float]) -> None:
    """The projection's own condition: every kept weight is its score less one threshold, all others are below it."""
    import torch

    weights = sparsemax(torch.tensor(scores, dtype=torch.float64))
    assert float(weights.sum()) == pytest.approx(1)
    assert (weights >= 0).all()
    thresholds = (torch.tensor(scores, dtype=torch.float64) - weights)[weights > 0]
    assert float(thresholds.max() - thresholds.min()) < 1e-9
    assert all(score <= float(thresholds.max()) + 1e-9 for score, w in zip(scores, weights, strict=True) if w == 0)


def test_joint_rows() -> None:
    row = joint(piece(5, 6), [piece(7), piece(8, 9)], separators=2, most=50, types=False)
    assert row.ids == (0, 5, 6, 2, 2, 7, 2, 2, 8, 9, 2) and row.types is None
    assert translation_tokens(row) == 4 and sum(row.special) == 6
    row = joint(piece(5, 6), [piece(7)], separators=1, most=50, types=True)
    assert row.ids == (0, 5, 6, 2, 7, 2) and row.types == (0, 0, 0, 0, 1, 1)
    assert translation_tokens(joint(piece(), [piece(7)], separators=2, most=50, types=False)) == 2


def test_joint_rows_are_cut_at_the_end() -> None:
    row = joint(piece(5, 6), [piece(7, 8, 9), piece(10)], separators=2, most=8, types=True)
    assert row.ids == (0, 5, 6, 2, 2, 7, 8, 9) and row.types == (0,) * 4 + (1,) * 4
    assert row.cut == 4 and not row.blank
    assert joint(piece(5), [piece()], separators=2, most=8, types=False).blank


def test_spans_are_runs_of_errors() -> None:
    text = "one two three four"
    offsets = [(0, 0), (0, 3), (4, 7), (8, 13), (14, 18), (0, 0)]
    found = spans(text, offsets, chances([0, 1, 2, 0, 3, 0]), LABELS)
    assert [(s.text, s.start, s.end, s.severity) for s in found] == [
        ("one two", 0, 7, "minor"),  # the first token's severity
        ("four", 14, 18, "critical"),
    ]
    assert found[0].confidence == pytest.approx(0.85)
    assert spans(text, offsets, chances([0, 0, 0, 0, 1, 1]), LABELS) == ()  # still open at the end


def test_mqm() -> None:
    def errors(*severities: str) -> list[Span]:
        return [Span("", 0, 0, severity, 1.0) for severity in severities]

    assert mqm([]) == 1
    assert mqm(errors("minor", "major", "critical")) == pytest.approx(1 - 16 / 25)
    assert mqm(errors("critical", "critical", "critical")) == 0
    assert mqm(errors("BAD")) == 1
