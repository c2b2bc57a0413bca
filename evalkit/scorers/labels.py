"""Which label a record was given and which it should have: from choices, or from text."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Sequence

from evalkit.scorers.choices import ranked, split_results
from evalkit.scorers.common import answers, references
from evalkit.types import Record

_LETTER = re.compile(r"^[\(\[\*\"']*([A-Za-z])(?:[\)\].:,\*\"']|\s*$)")


def parse_label(text: str, labels: Sequence[str]) -> int | None:
    """The index of the label that ``text`` names; ``None`` where it names none, or it cannot be told which.

    In order: the whole text (case and outer punctuation aside), a leading option letter (``B``, ``(b)``, ``B.``), the
    label mentioned first as whole words, the longer one where two begin at the same place.
    """
    plain = _fold(text)
    folded = [_fold(label) for label in labels]
    if plain in folded:
        return folded.index(plain)
    letter = _LETTER.match(text.strip())
    if letter:
        index = string.ascii_lowercase.index(letter.group(1).lower())
        if index < len(labels):
            return index
    places = []
    for index, label in enumerate(folded):
        found = re.search(rf"(?<!\w){re.escape(label)}(?!\w)", plain) if label else None
        if found:
            places.append((found.start(), -len(label), index))
    return min(places)[2] if places else None


def _fold(text: str) -> str:
    return text.strip().strip(string.punctuation + string.whitespace).casefold()


def gold_labels(record: Record, labels: Sequence[str]) -> tuple[int, ...]:
    """Indices of the right labels; empty where the target is not among them."""
    golds = references(record.sample)
    return tuple(labels.index(gold) for gold in golds if gold in labels)


def predicted(record: Record, labels: Sequence[str], ranking: str = "acc") -> list[int | None] | str:
    """The labels a record was given, one an answer: the best choice, or what the text names; or why there is none."""
    if record.requests and record.requests[0].kind != "generate":
        split = split_results(record)
        if isinstance(split, str):
            return split
        choices = record.sample.choices or ()
        if ranking == "acc_mutual_info" and split[1] is None:
            return "acc_mutual_info needs unconditional log-likelihoods, which were not requested"
        best = ranked(ranking, split[0], choices, split[1])
        if tuple(labels) == choices:  # by position: two choices may read the same
            return [best]
        return [labels.index(choices[best]) if choices[best] in labels else None]
    given = answers(record)
    if given is None:
        return "no text answer"
    return [parse_label(answer, labels) for answer in given]


def common_labels(records: Iterable[Record]) -> tuple[str, ...]:
    """The labels of a task: its choices where all samples share them, else every choice and target there is, sorted.

    Choices that are nobody's target belong to them: an answer that names one is wrong, not missing.
    """
    shared: set[tuple[str, ...] | None] = set()
    found: set[str] = set()
    for record in records:
        choices = record.sample.choices
        if len(shared) < 2:
            shared.add(choices)
        found.update(choices or (), references(record.sample))
    return (next(iter(shared)) if len(shared) == 1 else None) or tuple(sorted(found))
