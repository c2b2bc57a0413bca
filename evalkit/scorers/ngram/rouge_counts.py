"""ROUGE of one text against another (Lin, 2004): the arithmetic of ``rouge-score`` 0.1.2 to the last bit, only faster.

Everything that one text alone decides (words, n-gram counts, positions) is computed once and kept with it, so that a
reference shared by many systems is read once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import NamedTuple

from evalkit.scorers.ngram.rouge_lcs import lcs_length, lcs_positions, positions
from evalkit.scorers.ngram.rouge_words import Tokenizer

#: Characters of prepared references that are kept; a character takes some 60 bytes.
_KEPT = 1_000_000


class Prf(NamedTuple):
    """Precision, recall and their harmonic mean, each in [0, 1]."""

    precision: float
    recall: float
    fmeasure: float


_NOTHING = Prf(0.0, 0.0, 0.0)


class Words:
    """A text's words with all that ROUGE counts of them."""

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self._ngrams: dict[int, Counter[object]] = {}

    def ngrams(self, n: int) -> Counter[object]:
        """How often each n-gram stands here."""
        found = self._ngrams.get(n)
        if found is None:
            words = self.words
            found = self._ngrams[n] = Counter(words if n == 1 else zip(*(words[i:] for i in range(n)), strict=False))
        return found

    @cached_property
    def masks(self) -> dict[str, int]:
        """Positions of each word, as bits."""
        return positions(self.words)


class Text(Words):
    """A text as a whole and line by line."""

    def __init__(self, text: str, tokenize: Tokenizer) -> None:
        super().__init__(tokenize(text))
        self._text, self._tokenize = text, tokenize

    @cached_property
    def lines(self) -> list[Words]:
        """The lines that have words; they are the sentences of rougeLsum."""
        if "\n" not in self._text:
            return [self] if self.words else []
        found = [words for line in self._text.split("\n") if line and (words := self._tokenize(line))]
        return [self] if len(found) == 1 else [Words(words) for words in found]


def rouge_n(n: int, reference: Text, answer: Text) -> Prf:
    """N-gram overlap, each n-gram counted as often as both texts have it."""
    wanted, given = reference.ngrams(n), answer.ngrams(n)
    total_wanted, total_given = max(len(reference.words) - n + 1, 0), max(len(answer.words) - n + 1, 0)
    shared = wanted.keys() & given.keys()
    hits = len(shared)
    if len(wanted) < total_wanted and len(given) < total_given:  # some n-gram stands twice on both sides
        hits = sum([min(wanted[ngram], given[ngram]) for ngram in shared])
    return _prf(hits, max(total_given, 1), max(total_wanted, 1))


def rouge_l(reference: Text, answer: Text) -> Prf:
    """Longest common subsequence of the whole texts, line breaks ignored."""
    m, n = len(reference.words), len(answer.words)
    if not m or not n:
        return _NOTHING
    return _prf(lcs_length(reference.masks, m, answer.words), n, m)


def rouge_l_sum(reference: Text, answer: Text) -> Prf:
    """Summary-level LCS: for each line of the reference the union of its LCS with every line of the answer.

    A word counts at most as often as each side has it, as in ROUGE 1.5.5 and rouge-score.
    """
    ours, theirs = reference.lines, answer.lines
    if not ours or not theirs:
        return _NOTHING
    if len(ours) == len(theirs) == 1:  # one common subsequence never holds a word more often than a side does
        return rouge_l(reference, answer)
    m, n = len(reference.words), len(answer.words)
    # what is left of a word on both sides: each hit takes one of either, so the smaller count is what matters
    left: dict[object, int] = {}
    wanted, given = reference.ngrams(1), answer.ngrams(1)
    hits = 0
    for line in ours:
        masks, words, length = line.masks, line.words, len(line.words)
        union = 0
        for other in theirs:
            union |= lcs_positions(masks, length, other.words)
        while union:
            bit = union & -union
            union ^= bit
            word = words[bit.bit_length() - 1]
            rest = left.get(word)
            if rest is None:
                rest = min(wanted[word], given[word])
            if rest:
                hits += 1
            left[word] = rest - 1 if rest else 0
    return _prf(hits, n, m)


def _prf(hits: int, given: int, wanted: int) -> Prf:
    """Precision, recall and F in the order of operations of rouge-score, so that the last bit agrees."""
    if not hits:
        return _NOTHING
    precision, recall = hits / given, hits / wanted
    return Prf(precision, recall, 2 * precision * recall / (precision + recall))


def measure(kind: str) -> Callable[[Text, Text], Prf]:
    """The measure called ``kind``: rouge1 to rouge9, rougeL or rougeLsum."""
    return {"rougeL": rouge_l, "rougeLsum": rouge_l_sum}.get(kind) or partial(rouge_n, int(kind[5:]))


class PythonRouge:
    """ROUGE of answers against references; prepared references are kept for the next answer."""

    def __init__(self, types: Sequence[str], tokenize: Tokenizer) -> None:
        self._measures = [measure(kind) for kind in types]
        self._tokenize = tokenize
        self._references: dict[str, Text] = {}
        self._kept = 0

    def __call__(self, answers: Sequence[str], references: Sequence[Sequence[str]]) -> list[list[list[Prf]]]:
        """For each answer and each of its references the results, one a type."""
        found = []
        for answer, golds in zip(answers, references, strict=True):
            text = Text(answer, self._tokenize)
            found.append([[one(gold, text) for one in self._measures] for gold in map(self._reference, golds)])
        return found

    def _reference(self, text: str) -> Text:
        known = self._references.get(text)
        if known is None:
            if self._kept > _KEPT:
                self._references.clear()
                self._kept = 0
            known = self._references[text] = Text(text, self._tokenize)
            self._kept += len(text)
        return known
