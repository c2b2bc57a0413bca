"""From what a model wrote to the letter that it chose."""

from __future__ import annotations

import re
from typing import Any

from evalkit.tasks.filters import ResponseFilter

NONE = "[invalid]"
_OPEN = r"[\s*_`\"'(\[{$\\]*(?:boxed\{|text\{)?[\s*_`\"'(\[{]*"
_CLOSE = r"(?![A-Za-z0-9'’])"

#: The answer is a letter and nothing else.
_ALONE = re.compile(r"^\W*([A-Za-z])\W*$")
#: It says which one it is: the last such words count.
_SAID = re.compile(
    rf"(?i:\b(?:answer|option|choice)\b(?:\s+is|\s+would\s+be|\s*[:=])(?:\s*(?:the\s+)?(?:option|choice|letter)\b)?)"
    rf"[\s:]*{_OPEN}([A-Z]){_CLOSE}"
)
_BOXED = re.compile(rf"\\boxed\{{{_OPEN}([A-Z]){_CLOSE}")
#: It begins with the letter as options do, ``B.``, ``(B)``, ``B\n``; letters that are words need such a mark.
_FIRST = re.compile(r"^[\s*_`\"'(\[]*(?:([A-Z])(?=[.):,\]*}\n]|\s+[-–—])|([B-HJ-Z])(?=\s))")
_MARKED = re.compile(r"\(([A-Z])\)")


class ChoiceLetterFilter(ResponseFilter):
    r"""``choice_letter``: the capital letter that an answer names; ``fallback`` where it names none, or several.

    In this order: a letter alone; the last ``answer is X``, ``Answer: X``, ``option X is ...`` wording; ``\boxed{X}``; a
    letter at the beginning, marked as options are; the only letter in parentheses.
    """

    def __init__(self, fallback: str = NONE) -> None:
        self.fallback = fallback

    def one(self, response: Any) -> str:
        return letter_of(response) or self.fallback if isinstance(response, str) else self.fallback


def letter_of(text: str) -> str | None:
    """The letter that a text names; None where it names none, or several."""
    text = text.strip()
    if alone := _ALONE.match(text):
        return alone[1].upper()
    for pattern in (_SAID, _BOXED):
        if found := pattern.findall(text):
            return str(found[-1])
    if first := _FIRST.match(text):
        return first[1] or first[2]
    marked = set(_MARKED.findall(text))
    return marked.pop() if len(marked) == 1 else None
