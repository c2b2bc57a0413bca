"""Is a quotation in its source? A judge that quotes from memory, or makes its evidence up, is found out here."""

from __future__ import annotations

import unicodedata

from evalkit.scorers.ngram.rouge_words import unicode_words

#: Words that a quotation must have to show anything ("the" is in every text), unless it is the whole source.
LEAST_WORDS = 3

_QUOTES = str.maketrans(
    {**dict.fromkeys("‘’‚‛′`´ʼ", "'"), **dict.fromkeys("“”„‟″«»‹›「」『』", '"'), **dict.fromkeys("‐‑‒–—―−", "-")}
)
_OUTER = "\"' "
_ENDS = " .,;:!?…。"


def quoted_span(quote: str, source: str) -> tuple[int, int] | None:
    """Where ``quote`` stands in ``source``: start and end in characters; ``None`` where it does not.

    Exact but for letter case, white space, the shape of quotation marks and dashes, compatibility forms, quotation marks
    around it and punctuation at its end. Words left out ("a ... b") are not found, nor is a part of a word, nor what has
    fewer than `LEAST_WORDS` words and is not all of the source.
    """
    wanted, _ = _plain(quote)
    wanted = wanted.strip(_OUTER)
    text, places = _plain(source)
    if len(unicode_words(wanted)) < min(LEAST_WORDS, max(1, len(unicode_words(source)))):
        return None
    for form in dict.fromkeys((wanted, wanted.rstrip(_ENDS).strip(_OUTER))):
        start = text.find(form) if form else -1
        while start >= 0:
            end = start + len(form)
            if not _inside(text, start) and not _inside(text, end):
                return places[start], places[end - 1] + 1
            start = text.find(form, start + 1)
    return None


def _plain(text: str) -> tuple[str, list[int]]:
    """The text as it is compared, and for each of its characters the place in ``text`` that it comes from."""
    found: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        if unicodedata.category(character) == "Cf":  # soft hyphens, marks of direction: nobody sees them
            continue
        for part in unicodedata.normalize("NFKD", character.translate(_QUOTES)).casefold().translate(_QUOTES):
            blank = part.isspace()
            if blank and (not found or found[-1] == " "):
                continue
            found.append(" " if blank else part)
            places.append(place)
    return "".join(found), places


def _inside(text: str, at: int) -> bool:
    """Whether a word goes on over the boundary before ``at``; scripts without spaces between words have none to keep."""
    return 0 < at < len(text) and _spaced(text[at - 1]) and _spaced(text[at])


def _spaced(character: str) -> bool:
    """A digit, a letter of a script with capitals, or an accent on one."""
    return character.isdigit() or character.upper() != character.lower() or bool(unicodedata.combining(character))
