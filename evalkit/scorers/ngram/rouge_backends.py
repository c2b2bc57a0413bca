"""Who counts ROUGE: evalkit in Python, the Rust package, or the original. All three give the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from evalkit.errors import ScorerError
from evalkit.scorers.ngram.rouge_counts import Prf, PythonRouge
from evalkit.scorers.ngram.rouge_words import tokenizer, unicode_words

BACKENDS = ("auto", "python", "rust", "rouge-score")

#: From answers and their references to results by answer, reference and type.
Engine = Callable[[Sequence[str], Sequence[Sequence[str]]], list[list[list[Prf]]]]


def make_engine(backend: str, types: Sequence[str], use_stemmer: bool, tokenizer_name: str) -> Engine:
    """The engine for one of `BACKENDS`; ``auto`` is Rust where it is installed and splits words as asked, else Python.

    Raises ScorerError where ``rust`` is asked for and cannot be had.
    """
    if backend == "rouge-score":
        return _original(types, use_stemmer, tokenizer_name)
    if backend == "rust" or (backend == "auto" and tokenizer_name == "default"):
        if tokenizer_name != "default":
            raise ScorerError(f"scorer 'rouge': backend rust has no tokenizer {tokenizer_name!r}; use backend python")
        try:
            return _rust(types, use_stemmer)
        except ImportError as error:
            if backend == "rust":
                raise ScorerError(
                    f"scorer 'rouge': backend rust needs the package rouge-score-rs ({error}); pip install 'evalkit[rouge]'"
                ) from error
    return PythonRouge(types, tokenizer(tokenizer_name, use_stemmer))


def _rust(types: Sequence[str], use_stemmer: bool) -> Engine:
    from rouge_score_rs import RougeScorer

    scorer = RougeScorer(list(types), use_stemmer=use_stemmer)

    def score(answers: Sequence[str], references: Sequence[Sequence[str]]) -> list[list[list[Prf]]]:
        pairs = [(gold, answer) for answer, golds in zip(answers, references, strict=True) for gold in golds]
        results = iter(scorer.score_batch([gold for gold, _ in pairs], [answer for _, answer in pairs]))
        return [[_by_type(next(results), types) for _ in golds] for golds in references]

    return score


def _original(types: Sequence[str], use_stemmer: bool, tokenizer_name: str) -> Engine:
    from rouge_score.rouge_scorer import RougeScorer

    class Unicode:
        tokenize = staticmethod(tokenizer(tokenizer_name, use_stemmer) if tokenizer_name == "unicode" else unicode_words)

    scorer = RougeScorer(list(types), use_stemmer, tokenizer=Unicode() if tokenizer_name == "unicode" else None)

    def score(answers: Sequence[str], references: Sequence[Sequence[str]]) -> list[list[list[Prf]]]:
        return [
            [_by_type(scorer.score(gold, answer), types) for gold in golds]
            for answer, golds in zip(answers, references, strict=True)
        ]

    return score


def _by_type(found: Any, types: Sequence[str]) -> list[Prf]:
    return [Prf(*found[kind]) for kind in types]
