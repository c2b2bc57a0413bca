"""Several answers drawn for one prompt, as scorers that need no reference read them: whole, and sentence by sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evalkit.scorers.common import no_answer
from evalkit.scorers.ngram.rouge_words import one_sentence_a_line, unicode_words
from evalkit.scorers.repeats import repeated_answers
from evalkit.types import Record

#: What ends in a full stop without ending a sentence: titles, abbreviations, initials, the number of a list's item.
_NO_END = re.compile(
    r"(?:(?:^|[\s(])(?:Dr|Mr|Mrs|Ms|Mx|Prof|St|Sr|Jr|Gen|Col|Capt|Rev|Gov|Sen|vs|cf|approx|Fig|e\.g|i\.e|(?:[A-Z]\.)*[A-Z])"
    r"|^\W*\d{1,3})\.$"
)


def drawn(record: Record) -> list[str] | str:
    """The answers of a record, two at least, in the order drawn; the reason where there are fewer."""
    given = repeated_answers(record)
    if given is None:
        return no_answer(record)
    if len(given) < 2:
        return (
            f"agreement needs two answers and filter {record.filter!r} keeps {len(given)}; set repeats in the task, "
            "do_sample and a temperature in its generation_kwargs, and end a filter with take_first_k"
        )
    return given


def greedy(record: Record) -> bool:
    """Whether the answers were not drawn at random, so that they agree whatever the model knows."""
    return bool(record.requests) and not any(request.sampled for request in record.requests)


def greedy_note(count: int) -> Sequence[str]:
    """What a reader must know of such records, where there are any."""
    if not count:
        return ()
    return (f"{count} with answers that were not drawn at random (do_sample is off), which agree by construction",)


def sentences(text: str) -> list[str]:
    """The sentences of ``text``, stripped: split at line ends and after . ! ? 。！？, except behind titles, initials and the
    numbers of lists. Pieces without a letter or digit are left out.
    """
    found: list[str] = []
    for line in text.splitlines():
        joined = ""
        for piece in one_sentence_a_line(line, "unicode").split("\n"):
            joined = f"{joined} {piece}".strip()
            if not _NO_END.search(joined):
                found.append(joined)
                joined = ""
        found.append(joined)
    return [sentence for sentence in found if unicode_words(sentence)]
