"""Answers through a classifier: what every scorer of toxicity, sentiment or regard has in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from evalkit.classifiers.base import Classifier, Verdict, classifier
from evalkit.errors import ScorerError
from evalkit.scorers.base import Array, BaseScorer
from evalkit.scorers.common import no_answer, one_of
from evalkit.scorers.repeats import repeated_answers
from evalkit.types import Json, Record, Request

#: What an empty answer counts as.
EMPTY_RULES = ("lowest", "unscored")
#: The last columns of every row of statistics: how many answers to the prompt there are of each sort.
COUNTED = ("answers", "scored", "empty", "chunked", "doubtful")


@dataclass(slots=True)
class Texts:
    """The answers to one prompt as a classifier sees them.

    ``values`` are the numbers of those it scored, in order; ``asked`` counts all of them, ``empty`` those without anything
    but blanks, ``chunked`` those that were read in pieces, ``doubts`` those whose scores may mean little (and why);
    ``reasons`` says why the others are not in ``values``.
    """

    asked: int = 0
    values: list[float] = field(default_factory=list)
    empty: int = 0
    chunked: int = 0
    doubts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def counts(self) -> tuple[float, ...]:
        """`COUNTED` in its order, as columns of statistics."""
        return tuple(map(float, (self.asked, len(self.values), self.empty, self.chunked, self.doubts.total())))

    @property
    def detail(self) -> dict[str, Json]:
        """What a reader of the sample sees: every score, and what is not as usual."""
        told: dict[str, Json] = {"scores": [round(value, 6) for value in self.values]}
        told |= {name: count for name, count in (("empty", self.empty), ("chunked", self.chunked)) if count}
        told |= {name: dict(why) for name, why in (("doubts", self.doubts), ("unscored", self.reasons)) if why}
        return told

    @property
    def reason(self) -> str:
        """Why nothing has a score."""
        return self.reasons.most_common(1)[0][0] if self.reasons else "there is no answer"


class ClassifiedScorer(BaseScorer):
    """A scorer of answers through a classifier.

    Args:
        given: a classifier by name (``hf:unitary/toxic-bert``), or a mapping of its name and parameters.
        empty: an answer of nothing but blanks is no text that a classifier could judge. Where higher is worse it gets the
            ``lowest`` number there is (nothing bad was said), unless it shall be ``unscored``; else it is unscored always.
            It is counted either way.
        prompt: a column whose text is put before each answer, for classifiers of whole sentences; without it an answer is
            judged alone.
    """

    live = False

    def __init__(self, given: Any, empty: str | None, prompt: str | None) -> None:
        if not isinstance(given, str | Mapping) and not hasattr(given, "classify"):
            raise ScorerError(f"scorer parameter 'classifier' must be a name or a mapping with one, not {given!r}")
        self.classifier: Classifier = classifier(given)
        self.roles = tuple(self.classifier.roles)
        self.default_models: Mapping[str, str] = self.classifier.default_models
        bad = self.classifier.direction == "worse"
        self._empty = one_of("empty", empty or ("lowest" if bad else "unscored"), EMPTY_RULES if bad else EMPTY_RULES[1:])
        self._prompt = prompt
        self.columns = () if prompt is None else (prompt,)

    @cached_property
    def judge(self) -> Mapping[str, Json]:
        """The classifier as it stands in every record."""
        told = self.classifier.describe()
        return {name: told[name] for name in ("name", "version", "counts", "threshold", "higher_is")}

    @property
    def trait(self) -> str:
        """What is measured, as a part of a metric's name."""
        return "_".join(self.classifier.measures.casefold().split())

    def parameters(self) -> Mapping[str, Json]:
        own = {"classifier": self.classifier.signature(), "empty": self._empty}
        return own if self._prompt is None else {**own, "prompt": self._prompt}

    def requests(self, record: Record) -> Sequence[Request]:
        """What the classifier asks about every answer that is not empty."""
        if not self.roles:
            return ()
        asked = [request for text in self._texts(record) or () if text for request in self.classifier.requests(text)]
        return tuple(_at(request, slot) for slot, request in enumerate(asked))

    def classified(self, records: Sequence[Record]) -> list[Texts | str]:
        """The answers of each record with their numbers; or why a record has no answers at all."""
        texts = [self._texts(record) for record in records]
        if self.roles:
            verdicts = [self._read(record, each) for record, each in zip(records, texts, strict=True)]
        else:
            wanted = list(dict.fromkeys(text for each in texts for text in each or () if text))
            known = dict(zip(wanted, self.classifier.classify(wanted), strict=True)) if wanted else {}
            verdicts = [[known[text] for text in each or () if text] for each in texts]
        return [
            no_answer(record) if each is None else self._gathered(each, found)
            for record, each, found in zip(records, texts, verdicts, strict=True)
        ]

    def _texts(self, record: Record) -> list[str] | None:
        """What is judged: each answer, after its prompt where that is wanted; empty for an empty one."""
        given = repeated_answers(record)
        if given is None:
            return None
        before = "" if self._prompt is None else record.sample.doc.get(self._prompt) or ""
        if not isinstance(before, str):
            raise ScorerError(
                f"scorer {self.name!r}: column {self._prompt!r} holds {type(before).__name__}, not a prompt's text"
            )
        return [_joined(before, answer) if answer.strip() else "" for answer in given]

    def _read(self, record: Record, texts: Sequence[str] | None) -> list[Verdict]:
        replies = record.judged.get(self.name, ())
        found, at = [], 0
        for text in texts or ():
            if text:
                count = len(self.classifier.requests(text))
                own = replies[at : at + count]
                at += count
                found.append(self.classifier.read(own) if own else Verdict.unscored("the classifier's model was not asked"))
        return found

    def _gathered(self, texts: Sequence[str], verdicts: Sequence[Verdict]) -> Texts:
        found, each = Texts(asked=len(texts)), iter(verdicts)
        for text in texts:
            if not text:
                found.empty += 1
                if self._empty == "lowest":
                    found.values.append(self.classifier.counts.range[0])
                else:
                    found.reasons["the answer is empty"] += 1
                continue
            verdict = next(each)
            value = self.classifier.value(verdict)
            if value is None:
                found.reasons[verdict.reason or "the classifier has no score for the labels that count"] += 1
            else:
                found.values.append(value)
                found.chunked += verdict.chunks > 1
                if verdict.doubt is not None:
                    found.doubts[verdict.doubt] += 1
        return found


def gaps_told(counts: Array, empty_rule: str) -> list[str]:
    """Notes on columns of `Texts.counts` (n, 5): what was not scored, was empty, or was read in pieces."""
    asked, scored, empty, chunked, doubtful = (int(x) for x in counts.sum(axis=0))
    notes = []
    if scored < asked:
        partial = int((counts[:, 1] < counts[:, 0]).sum())
        notes.append(f"{asked - scored} of {asked} answers unscored, in {partial} prompts whose other answers count")
    if empty:
        taken = "count as the lowest score" if empty_rule == "lowest" else "are unscored"
        notes.append(f"{empty} of {asked} answers are empty and {taken}")
    if chunked:
        notes.append(f"{chunked} of {asked} answers read in pieces, the highest counts")
    if doubtful:
        notes.append(f"{doubtful} of {asked} scores are doubtful: the samples say why")
    return notes


def totals_told(counts: Array) -> dict[str, Json]:
    """The same as numbers."""
    return dict(zip(COUNTED, (int(x) for x in counts.sum(axis=0)), strict=True))


def _joined(before: str, answer: str) -> str:
    if not before or before[-1].isspace() or answer[0].isspace():
        return before + answer
    return f"{before} {answer}"


def _at(request: Request, slot: int) -> Request:
    return replace(request, slot=slot)
