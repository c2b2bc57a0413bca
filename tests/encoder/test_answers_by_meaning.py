"""Agreement of answers by their embeddings is that of `embedding_similarity`, whose numbers are pinned next door."""

from __future__ import annotations

import pytest

from evalkit.scorers.judge.selfcheck import EmbeddingCheck
from evalkit.scorers.neural.embedding import EmbeddingSimilarity
from evalkit.scorers.self_consistency import EmbeddingAgreement
from evalkit.types import Record, Sample


def record(answer, target=None):
    return Record(Sample("t", "1", 0, {}, target), filter="all", answer=answer)


def one(scorer, given):
    return scorer.score([given], None)[0].value


def test_two_answers_agree_as_much_as_one_is_like_the_other(bert):
    folder = str(bert)
    alike = one(EmbeddingSimilarity(folder, device="cpu"), record("The cat sat on the mat.", "The dog ate 12 apples."))
    pair = record(["The cat sat on the mat.", "The dog ate 12 apples."])
    scorer = EmbeddingAgreement(folder, device="cpu")
    scorer.check()
    assert one(scorer, pair) == pytest.approx(alike, abs=1e-6)
    assert one(EmbeddingCheck(folder, device="cpu"), pair) == pytest.approx(1 - alike, abs=1e-6)
    assert "pooling:mean" in scorer.signature() and "weights:" in scorer.signature()


def test_meaning_tells_what_was_made_up(minilm):
    known = ["Paris is the capital of France.", "The capital of France is Paris.", "France's capital city is Paris."]
    made_up = ["He was born in Bergen in 1874.", "His father was a Spanish painter.", "She wrote two books on chess."]
    assert one(EmbeddingAgreement(str(minilm), device="cpu"), record(known)) > 0.8
    assert one(EmbeddingAgreement(str(minilm), device="cpu"), record(made_up)) < 0.4
    check = EmbeddingCheck(str(minilm), device="cpu")
    assert one(check, record(known)) < 0.2 < 0.5 < one(check, record(made_up))
