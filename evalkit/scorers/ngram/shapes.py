"""Whether predictions and references belong together, by shape alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evalkit.errors import ScorerError


def check_references(predictions: Sequence[str], references: Sequence[str | Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """The references of each prediction: ``references`` holds one text, or one list of texts, for each of them.

    ``None`` in a list stands for a reference that is missing. Raises ScorerError with both lengths where they differ, and
    says so where the references are transposed: K lists of N, one a reference, as sacrebleu takes them, instead of N lists
    of K, one a prediction.
    """
    if isinstance(predictions, str) or isinstance(references, str):
        side = "predictions" if isinstance(predictions, str) else "references"
        raise ScorerError(f"the {side} are one text, not a list of texts: write [text] for a single one")
    n, k = len(predictions), len(references)
    if k != n:
        raise ScorerError(_mismatch(n, references))
    return tuple(_of_one(i, golds) for i, golds in enumerate(references))


def _mismatch(n: int, references: Sequence[str | Sequence[str]]) -> str:
    k = len(references)
    counts = f"{n} predictions but {k} references"
    lists = [golds for golds in references if _is_list(golds)]
    if lists and len(lists) == k and all(len(golds) == n for golds in lists):
        streams = "list" if k == 1 else "lists"
        return (
            f"the references are transposed: {k} {streams} of {n} for {n} predictions, where {n} lists are expected, one a "
            f"prediction, with its {k} reference{'s' if k > 1 else ''}; list(zip(*references)) turns them"
        )
    if n == 1 and not lists:
        return f"{counts}: write [[...]] for several references of the one prediction"
    return f"{counts}: there must be one reference, or one list of references, for each prediction"


def _of_one(position: int, golds: Any) -> tuple[str, ...]:
    texts = (golds,) if isinstance(golds, str) else golds
    if not _is_list(texts):
        raise ScorerError(f"the references of prediction {position + 1} must be a text or a list of texts, not {golds!r}")
    kept = tuple(text for text in texts if text is not None)
    for text in kept:
        if not isinstance(text, str):
            raise ScorerError(f"a reference of prediction {position + 1} is no text: {text!r}")
    return kept


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
