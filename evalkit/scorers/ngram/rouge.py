"""ROUGE per sample (Lin, 2004), equal to Google's ``rouge-score`` 0.1.2 to the last bit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from evalkit.errors import ScorerError
from evalkit.scorers.base import Array, BaseScorer, MetricInfo
from evalkit.scorers.common import one_of, serves
from evalkit.scorers.ngram.pairs import score_pairs
from evalkit.scorers.ngram.rouge_backends import BACKENDS, Engine, make_engine
from evalkit.scorers.ngram.rouge_counts import Prf
from evalkit.scorers.ngram.rouge_words import TOKENIZERS, has_words, one_sentence_a_line
from evalkit.types import Json, Record, Score

_REPORTS = ("fmeasure", "precision", "recall")
#: An answer's values and whether the answer, or all its references, have no words at all.
_Row = tuple[float, ...]


class Rouge(BaseScorer):
    """ROUGE in [0, 1] of each type: ``rouge1`` to ``rouge9``, ``rougeL``, ``rougeLsum`` (one sentence a line).

    F is reported as ``rouge1``; precision and recall, where asked for, as ``rouge1_precision`` and ``rouge1_recall``.
    Several answers of a record count with their mean. How many answers and references have no words at all (such a pair
    scores 0) stands in the detail.
    """

    name = "rouge"

    def __init__(
        self,
        types: Sequence[str] = ("rouge1", "rougeL"),
        use_stemmer: bool = False,
        tokenizer: str = "default",
        report: Sequence[str] = "fmeasure",
        multi_reference: str = "best",
        split_sentences: bool = False,
        backend: str = "auto",
    ) -> None:
        self._types = _listed("types", types)
        wrong = [kind for kind in self._types if not re.fullmatch(r"rouge([1-9]|L|Lsum)", str(kind))]
        if wrong or not self._types:
            named = f"{wrong[0]!r}" if wrong else "nothing"
            raise ScorerError(f"scorer parameter 'types' must list rouge1 to rouge9, rougeL or rougeLsum, not {named}")
        asked = [one_of("report", part, (*_REPORTS, "all")) for part in _listed("report", report) or ("",)]
        self._report = _REPORTS if "all" in asked else tuple(asked)
        self._stem = bool(use_stemmer)
        self._tokenizer = one_of("tokenizer", tokenizer, TOKENIZERS)
        self._reduce = one_of("multi_reference", multi_reference, ("best", "mean"))
        self._split = bool(split_sentences)
        self._backend = one_of("backend", backend, BACKENDS)
        self.metrics = tuple(
            MetricInfo(
                kind if part == "fmeasure" else f"{kind}_{part}",
                low=0.0,
                high=1.0,
                ideal=1.0,
                mean=True,
                column=column,
                headline=part == self._report[0],
            )
            for column, (kind, part) in enumerate((kind, part) for kind in self._types for part in self._report)
        )

    def parameters(self) -> Mapping[str, Json]:
        """What decides the numbers; the backend does not."""
        return {
            "types": ",".join(self._types),
            "stemmer": self._stem,
            "tokenizer": self._tokenizer,
            "multi_reference": self._reduce,
            "split_sentences": self._split,
            "report": ",".join(self._report),
            "as": "rouge-score 0.1.2",
        }

    def prepare(self, records: Iterable[Record]) -> Engine:
        return make_engine(self._backend, self._types, self._stem, self._tokenizer)

    def score(self, records: Sequence[Record], state: Any) -> Sequence[Score]:
        return score_pairs(records, partial(self._rows, state or self.prepare(())), self._verdict)

    def results(self, engine: Engine, answers: Sequence[str], references: Sequence[Sequence[str]]) -> list[dict[str, Prf]]:
        """Precision, recall and F by type for each answer against its references."""
        if self._split:
            lines = partial(one_sentence_a_line, tokenizer_name=self._tokenizer)
            answers, references = (
                [lines(text) for text in answers],
                [[lines(text) for text in golds] for golds in references],
            )
        found = engine(answers, references)
        if self._reduce == "best":
            return [{kind: max(column, key=_fmeasure) for kind, column in self._columns(rows)} for rows in found]
        return [
            {
                kind: Prf(*(sum(part) / len(part) for part in zip(*column, strict=True)))
                for kind, column in self._columns(rows)
            }
            for rows in found
        ]

    def _columns(self, rows: Sequence[Sequence[Prf]]) -> Iterable[tuple[str, tuple[Prf, ...]]]:
        return zip(self._types, zip(*rows, strict=True), strict=True)

    def _rows(self, engine: Engine, answers: Sequence[str], references: Sequence[Sequence[str]]) -> list[_Row]:
        rows: list[_Row] = []
        for result, answer, golds in zip(self.results(engine, answers, references), answers, references, strict=True):
            values = tuple(getattr(result[kind], part) for kind in self._types for part in self._report)
            blank = (0.0, 0.0)
            if not any(values):
                blank = (
                    float(not has_words(answer, self._tokenizer)),
                    float(not any(has_words(gold, self._tokenizer) for gold in golds)),
                )
            rows.append((*values, *blank))
        return rows

    def _verdict(self, rows: Sequence[_Row]) -> Score:
        stats = rows[0] if len(rows) == 1 else tuple(sum(column) / len(rows) for column in zip(*rows, strict=True))
        without = [side for side, blank in zip(("answer", "reference"), stats[-2:], strict=True) if blank]
        return Score(stats, stats[0], detail={"without_words": without} if without else {})

    def detail(self, stats: Array) -> Mapping[str, Json]:
        """How many samples have an answer, or references, without words as the tokenizer knows them."""
        answers, golds = ((stats[:, -2:] > 0).sum(axis=0)).tolist()
        if not answers and not golds:
            return {}
        counts: dict[str, Json] = {"answers_without_words": answers, "references_without_words": golds}
        if self._tokenizer == "default":
            counts["hint"] = "the default tokenizer knows a-z and 0-9 only; tokenizer: unicode reads every script"
        return counts


def rouge_scores(
    answers: Sequence[str], references: Sequence[Sequence[str]], types: Sequence[str] = ("rouge1", "rougeL"), **options: Any
) -> list[dict[str, Prf]]:
    """ROUGE of texts without records: (precision, recall, F) by type for each answer.

    ``references`` holds the references of each answer, one or more. ``options`` are those of the scorer `rouge`.
    """
    scorer = Rouge(types, **options)
    return scorer.results(scorer.prepare(()), answers, references)


def _fmeasure(result: Prf) -> float:
    return result.fmeasure


def _listed(name: str, value: Any) -> tuple[str, ...]:
    """One name or several (a list, or with commas), each once."""
    if not isinstance(value, str | list | tuple):
        raise ScorerError(f"scorer parameter {name!r} must be a name or a list of names, not {value!r}")
    names = value.split(",") if isinstance(value, str) else map(str, value)
    return tuple(dict.fromkeys(name.strip() for name in names))


@serves("generate_until")
def rouge(
    types: Sequence[str] = ("rouge1", "rougeL"),
    use_stemmer: bool = False,
    tokenizer: str = "default",
    report: Sequence[str] = "fmeasure",
    multi_reference: str = "best",
    split_sentences: bool = False,
    backend: str = "auto",
) -> Rouge:
    """ROUGE against the reference text, one metric a type.

    ``tokenizer``: default (a-z and 0-9, as rouge-score) or unicode (letters of every script). ``report``: fmeasure,
    precision, recall, a list of them, or all. ``multi_reference``: best takes, by type, the reference of the best F, mean
    averages over the references. ``split_sentences`` puts each sentence on a line of its own, as rougeLsum wants.
    ``backend``: auto, python, rust or rouge-score; they give the same numbers.
    """
    return Rouge(types, use_stemmer, tokenizer, report, multi_reference, split_sentences, backend)
