"""Ids that survive a spreadsheet: letters only, no vowels, and a check letter.

Such an id is never taken for a number, a date, ``1e5``, ``TRUE``, ``NA`` or a formula, spells no word, and is the same in
capitals. There are 19 letters, a prime, and every place has a weight of its own: a wrong letter, and any two letters that
changed places, are noticed.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

#: Without vowels, ``y``, and ``l`` that looks like 1 and I.
LETTERS = "bcdfghjkmnpqrstvwxz"

#: What a row's id begins with, and a study's.
ROW, STUDY = "x", "s"

_BODY = 6
_PLACE = {letter: place for place, letter in enumerate(LETTERS)}


def new_ids(n: int, seed: int | str, prefix: str = ROW) -> list[str]:
    """``n`` different ids, the same for the same ``seed``, in no order that tells anything."""
    draw = random.Random(f"ids {prefix} {seed}")
    found: dict[str, None] = {}
    while len(found) < n:
        body = "".join(draw.choices(LETTERS, k=_BODY))
        found[prefix + body + check_letter(body)] = None
    return list(found)


def check_letter(body: str) -> str:
    """The letter that makes the weighted sum of all a multiple of 19: weight 1 for itself, 2, 3, ... for the others."""
    total = sum(weight * _PLACE[letter] for weight, letter in enumerate(body, 2))
    return LETTERS[-total % len(LETTERS)]


def folded(text: str) -> str:
    """An id as it was given out: small letters, no blanks around."""
    return text.strip().casefold()


def valid(text: str, prefix: str = ROW) -> bool:
    """Whether ``text`` can be an id that was given out, in capitals or not."""
    word = folded(text)
    body = word[len(prefix) : -1]
    if not word.startswith(prefix) or len(body) != _BODY or not all(letter in _PLACE for letter in word[len(prefix) :]):
        return False
    return word[-1] == check_letter(body)


def nearest(text: str, known: Iterable[str]) -> str | None:
    """The one known id that ``text`` is with one letter wrong, missing, too many or two neighbours swapped.

    ``None`` where there is none, or more than one: then nobody can know which one was meant.
    """
    word = folded(text)
    close = [name for name in known if _one_slip(word, name)]
    return close[0] if len(close) == 1 else None


def _one_slip(word: str, name: str) -> bool:
    if len(word) == len(name):
        wrong = [at for at, (a, b) in enumerate(zip(word, name, strict=True)) if a != b]
        swapped = (
            len(wrong) == 2
            and wrong[1] == wrong[0] + 1
            and word[wrong[0]] + word[wrong[1]] == name[wrong[1]] + name[wrong[0]]
        )
        return len(wrong) <= 1 or swapped
    short, long = sorted((word, name), key=len)
    return len(long) == len(short) + 1 and any(long[:at] + long[at + 1 :] == short for at in range(len(long)))
