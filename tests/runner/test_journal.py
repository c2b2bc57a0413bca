"""The journal: last success wins, failures never hide answers, numbers are never NaN."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.runner.journal import Journal, decode, encode
from evalkit.types import Failure, Response

A, B = "a" * 32, "b" * 32


def test_responses_survive_closing_and_opening(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", write=True)
    answer = Response(A, text="été \ud800", tokens=3, finish="stop", latency_s=0.25, extra={"reasoning": "x"})
    journal.append(answer)
    journal.close()
    again = Journal(tmp_path / "j")
    assert again.get(A) == answer
    assert A in again
    assert again.get(B) is None
    again.release()
    journal.release()


def test_a_failure_is_kept_but_does_not_count_as_an_answer(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", write=True)
    journal.append(Response(A, error=Failure("timeout", "too slow", retryable=True)))
    assert A not in journal
    assert journal.failures == 1
    failed = journal.get(A)
    assert failed is not None and failed.error is not None and failed.error.retryable
    journal.append(Response(A, text="late"))
    journal.append(Response(A, error=Failure("timeout", "again")))
    found = journal.get(A)
    assert found is not None and found.text == "late"
    assert journal.failures == 0
    journal.release()


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), float("inf")])
def test_a_log_probability_that_is_no_number_is_a_failure(tmp_path: Path, value: float) -> None:
    journal = Journal(tmp_path / "j", write=True)
    stored = journal.append(Response(A, logprob=value, is_greedy=False))
    assert stored.error is not None and stored.error.kind == "non-finite"
    assert A not in journal
    journal.release()


def test_only_what_differs_from_the_defaults_is_written() -> None:
    text = encode(Response(A, logprob=-1.5, is_greedy=True))
    assert text == '{"logprob":-1.5,"is_greedy":true}'
    assert decode(A, text.encode()) == Response(A, logprob=-1.5, is_greedy=True)
