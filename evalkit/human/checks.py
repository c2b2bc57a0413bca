"""Attention checks: a real output with its words shuffled, among the others, on which an attentive rater cannot be wrong."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from evalkit.errors import UsageError, nearest
from evalkit.human.base import Output
from evalkit.rubric.schema import Rubric, Scale

#: Criteria that shuffled words must fail, whatever is said with them.
FAILED_BY_SHUFFLED_WORDS = (
    "fluency", "target_fluency", "coherence", "naturalness", "grammar", "grammaticality", "readability", "clarity",
    "quality", "helpfulness", "preference",
)  # fmt: skip

#: Words that a text must have before shuffling them surely destroys it; letters, in a script without blanks.
WORDS, LETTERS = 8, 24

#: Outputs that are looked at, of each group, before a check is given up.
_TRIES = 200


@dataclass(frozen=True, slots=True)
class Check:
    """What is shown, and what an attentive rater says of it: at most that value, or that side of a pair."""

    first: Output
    second: Output | None
    expected: dict[str, str | float]


def checked_criteria(rubric: Rubric, named: Sequence[str] = ()) -> tuple[str, ...]:
    """The criteria that a check is held to: the ``named`` ones, else those known to be failed by shuffled words.

    Raises UsageError for one that the rubric does not have.
    """
    for name in named:
        if name not in rubric.names:
            hint = nearest(name, rubric.names) or f"; it has {', '.join(rubric.names)}"
            raise UsageError(f"the rubric has no criterion {name!r} to check attention by{hint}")
    return tuple(named) or tuple(name for name in rubric.names if name in FAILED_BY_SHUFFLED_WORDS)


def highest(scale: Scale) -> float:
    """The highest point of a scale that a ruined text may get: within its lowest quarter, 2 of 1 to 5."""
    limit = scale.floor + 0.25 * (scale.ceiling - scale.floor)
    return max(value for value in scale.points.values() if value <= limit)


def make_checks(
    items: Mapping[str, tuple[Output, ...]],
    groups: Sequence[Sequence[str]],
    count: int,
    rubric: Rubric,
    criteria: Sequence[str],
    draw: random.Random,
) -> list[Check]:
    """Up to ``count`` checks, each on another item; ``groups`` of items are looked through one after the other.

    Fewer where the outputs are too short to be ruined by shuffling.
    """
    found: list[Check] = []
    if criteria:
        for item in _candidates(groups, draw):
            if len(found) == count:
                break
            outputs = [output for output in items[item] if _words(output.text)]
            if len(outputs) > (rubric.form == "pairwise"):
                found.append(_check(outputs, rubric, criteria, draw, "A" if len(found) % 2 else "B"))
    return found


def _candidates(groups: Iterable[Sequence[str]], draw: random.Random) -> Iterator[str]:
    for group in groups:
        yield from draw.sample(list(group), min(_TRIES, len(group)))


def _check(
    outputs: Sequence[Output], rubric: Rubric, criteria: Sequence[str], draw: random.Random, side: Literal["A", "B"]
) -> Check:
    ruined, *others = draw.sample(list(outputs), len(outputs))
    shuffled = replace(ruined, system="", text=shuffled_words(ruined.text, draw))
    if rubric.form == "pairwise":
        first, second = (others[0], shuffled) if side == "A" else (shuffled, others[0])
        return Check(first, second, dict.fromkeys(criteria, side))
    return Check(shuffled, None, {name: highest(rubric.criterion(name).scale) for name in criteria})


def shuffled_words(text: str, draw: random.Random) -> str:
    """``text`` with its words in another order, blanks and lines as they were; the letters of a script without blanks.

    Of some orders the one that leaves the fewest neighbours together.
    """
    words = _words(text)
    together = {*pairwise(words)}
    orders = [draw.sample(words, len(words)) for _ in range(8)]
    best = min(orders, key=lambda order: sum(pair in together for pair in pairwise(order)))
    pieces = iter(best)
    if words == text.split():
        return re.sub(r"\S+", lambda match: next(pieces), text.strip())
    return re.sub(r"\S", lambda match: next(pieces), text.strip())


def _words(text: str) -> list[str]:
    """What is shuffled of a text; nothing where it is too short to be ruined."""
    words = text.split()
    if len(words) >= WORDS:
        return words if len({*words}) > WORDS // 2 else []
    letters = [letter for letter in text if not letter.isspace()]
    foreign = sum(ord(letter) > 0x2E80 for letter in letters)
    return letters if len(letters) >= LETTERS and foreign > len(letters) // 2 and len({*letters}) > LETTERS // 2 else []
