"""Word and character error rates through jiwer: edits over the length of the reference, as speech recognition reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from evalkit.errors import ScorerError
from evalkit.scorers.base import Array, MetricInfo
from evalkit.scorers.common import one_of, serves
from evalkit.scorers.ngram.pairs import score_pairs
from evalkit.scorers.ngram.shapes import check_references
from evalkit.scorers.totals import TotalsScorer, ratio
from evalkit.types import Json, Record, Score

BLANK_REFERENCE = "the reference is blank: a rate of errors per word or character is undefined"


class Edits(NamedTuple):
    """What turns a reference into the answer, and the reference's length, all in words (or characters)."""

    substitutions: float
    deletions: float
    insertions: float
    length: float

    @property
    def rate(self) -> float:
        """Edits per word of the reference, 0 or more; above 1 where the answer is much longer."""
        return (self.substitutions + self.deletions + self.insertions) / self.length


class ErrorRate(TotalsScorer):
    """Edits over reference length, 0 or more, lower is better: total edits of the corpus over its total length.

    jiwer's defaults (text stripped, case and punctuation count), except that words end at any white space, line breaks too.
    With several references the one of the lowest rate counts; blank ones are left out, and a sample with no other is
    unscored. Several answers of a sample add the mean of their counts.
    """

    def __init__(self, name: str, lowercase: bool = False, remove_punctuation: bool = False) -> None:
        if find_spec("jiwer") is None:
            raise ScorerError(f"scorer {name!r} needs the package jiwer: pip install 'evalkit[metrics]'")
        self.name = name
        self._lowercase = bool(lowercase)
        self._bare = bool(remove_punctuation)
        self.metrics = (MetricInfo(name, higher_is_better=False, low=0.0, ideal=0.0),)

    def parameters(self) -> Mapping[str, Json]:
        from importlib.metadata import version

        return {"lowercase": self._lowercase, "remove_punctuation": self._bare, "jiwer": version("jiwer")}

    def score(self, records: Sequence[Record], state: Any) -> Sequence[Score]:
        return score_pairs(records, self.best, _verdict)

    def best(self, answers: Sequence[str], references: Sequence[Sequence[str]]) -> list[Edits | None]:
        """The edits of each answer from its nearest reference; ``None`` where all its references are blank."""
        pairs = [
            (i, self._cleaned(answer), clean)
            for i, (answer, golds) in enumerate(zip(answers, references, strict=True))
            for gold in golds
            if (clean := self._cleaned(gold)).strip()
        ]
        best: list[Edits | None] = [None] * len(answers)
        if pairs:
            found = self._edits([answer for _, answer, _ in pairs], [gold for _, _, gold in pairs])
            for (i, _, _), edits in zip(pairs, found, strict=True):
                known = best[i]
                if known is None or edits.rate < known.rate:
                    best[i] = edits
        return best

    def _cleaned(self, text: str) -> str:
        if self._lowercase:
            text = text.lower()
        if self._bare:
            text = _no_punctuation()(text)
        return " ".join(text.split()) if self.name == "wer" else text

    def _edits(self, answers: list[str], references: list[str]) -> list[Edits]:
        import jiwer

        process = jiwer.process_words if self.name == "wer" else jiwer.process_characters
        found = process(references, answers)
        return [_counted(chunks, len(words)) for chunks, words in zip(found.alignments, found.references, strict=True)]

    def finish(self, totals: Array) -> Mapping[str, Array]:
        return {self.name: ratio(totals[..., :3].sum(axis=-1), totals[..., 3])}

    def detail(self, stats: Array) -> Mapping[str, Json]:
        """The totals of each kind of edit, and of reference words (or characters)."""
        return dict(zip(Edits._fields, stats.sum(axis=0).tolist(), strict=True))


def error_rates(
    answers: Sequence[str], references: Sequence[str | Sequence[str]], unit: str = "word", **options: Any
) -> tuple[float, list[float | None]]:
    """Rate of the corpus and of each answer, by ``unit`` word or character; ``None`` where the reference is blank.

    Raises ScorerError for references that do not match the answers by shape.
    """
    scorer = (wer if one_of("unit", unit, ("word", "character")) == "word" else cer)(**options)
    found = scorer.best(answers, check_references(answers, references))
    totals = np.array([edits for edits in found if edits is not None], dtype=np.float64).reshape(-1, 4).sum(axis=0)
    return float(scorer.finish(totals)[scorer.name]), [None if edits is None else edits.rate for edits in found]


@cache
def _no_punctuation() -> Any:
    """What drops every character that Unicode calls punctuation; made once, as it looks through all of Unicode."""
    import jiwer

    return jiwer.RemovePunctuation()


def _counted(chunks: Sequence[Any], length: int) -> Edits:
    counts = {"substitute": 0, "delete": 0, "insert": 0, "equal": 0}
    for chunk in chunks:
        size = chunk.hyp_end_idx - chunk.hyp_start_idx if chunk.type == "insert" else chunk.ref_end_idx - chunk.ref_start_idx
        counts[chunk.type] += size
    return Edits(float(counts["substitute"]), float(counts["delete"]), float(counts["insert"]), float(length))


def _verdict(found: Sequence[Edits | None]) -> Score:
    known = [edits for edits in found if edits is not None]
    if not known:
        return Score.unscored(BLANK_REFERENCE)
    stats = np.mean(np.array(known, dtype=np.float64), axis=0)
    return Score(tuple(stats.tolist()), float(np.mean([edits.rate for edits in known])))


@serves("generate_until")
def wer(lowercase: bool = False, remove_punctuation: bool = False) -> ErrorRate:
    """Word error rate through jiwer: word edits over reference words; lower is better."""
    return ErrorRate("wer", lowercase, remove_punctuation)


@serves("generate_until")
def cer(lowercase: bool = False, remove_punctuation: bool = False) -> ErrorRate:
    """Character error rate through jiwer: character edits (spaces count) over reference characters; lower is better."""
    return ErrorRate("cer", lowercase, remove_punctuation)
