"""What a returned rating cell says: a point of the scale, ``N/A``, nothing, or something that no rating is."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from evalkit.errors import nearest
from evalkit.rubric.schema import Scale

State = Literal["value", "na", "empty", "wrong"]

#: What annotators write for "cannot be rated"; an empty cell is none of them.
_NOT_APPLICABLE = {"n/a", "na", "n.a.", "n.a", "n. a.", "n/a.", "not applicable"}

#: Invisible marks that copying and some keyboards leave, and byte order marks.
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u00ad\ufeff]")
_QUOTES = "\"'`\u00b4\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb"
_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d", "-"))

_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d*)?(?:e[+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}")
_MONTH = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mai|okt|dez|m\u00e4r|f\u00e9v|ao\u00fb"
_DATE = re.compile(
    rf"\d{{1,4}}[-/.]\d{{1,2}}(?:[-/.]\d{{1,4}})?\.?(?:[ t]\d{{1,2}}:.*)?"
    rf"|\d{{1,4}}[-/. ]*(?:{_MONTH})[a-z]*[-/., ]*\d{{0,4}}|(?:{_MONTH})[a-z]*[-/., ]*\d{{1,4}}.*|\d{{1,2}}:\d{{2}}.*"
)
_ERRORS = ("#ref!", "#name?", "#value!", "#div/0!", "#n/a", "#null!", "#num!", "#spill!", "#calc!", "err:")


@dataclass(frozen=True, slots=True)
class Cell:
    """A rating cell. ``value`` goes with the state ``value``, ``problem`` (in words) with ``wrong``."""

    state: State
    value: float | None = None
    problem: str = ""


def read_cell(text: str, scale: Scale) -> Cell:
    """A cell's text against its criterion's scale.

    A number may be written ``4``, ``4.0``, ``4,0``, with blanks, quotes or full-width digits; labels in capitals or not.
    Nothing is rounded: what is no point of the scale is wrong.
    """
    word = plain(text)
    if not word:
        return Cell("empty")
    for label, value in scale.points.items():
        if plain(label).casefold() == word.casefold():
            return Cell("value", value)
    if word.casefold() in _NOT_APPLICABLE:
        return Cell("na")
    if scale.labels:
        numbers = {number: value for label, value in scale.points.items() if (number := _number(plain(label))) is not None}
        if numbers and (asked := _number(word)) in numbers and asked is not None:
            return Cell("value", numbers[asked])
        return Cell("wrong", problem=_wrong_label(word, scale))
    return _on_numbers(word, scale)


def plain(text: str) -> str:
    """A short text without what spreadsheets, keyboards and copying add: blanks, quotes, width, invisible marks."""
    word = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).translate(_DASHES)
    return " ".join(word.strip().strip(_QUOTES).split())


def date_like(text: str) -> bool:
    """Whether a text is, or looks like, a date or a time as spreadsheets write them."""
    return _DATE.fullmatch(plain(text).casefold()) is not None


def _number(word: str) -> float | None:
    """With a decimal point or comma. A single separator is decimal: thousands are looked at where they could be meant."""
    return float(word.casefold().replace(",", ".")) if _NUMBER.fullmatch(word.casefold()) else None


def _on_numbers(word: str, scale: Scale) -> Cell:
    low, high = scale.floor, scale.ceiling
    number = _number(word)
    if number is None:
        return Cell("wrong", problem=_no_number(word, f"{low:g} to {high:g}"))
    if _THOUSANDS.fullmatch(word):
        grouped = float(re.sub("[.,]", "", word))
        if grouped in scale.points.values():
            return Cell("wrong", problem=f"{word!r} may be {number:g} or {grouped:g}; write it without a separator")
    if number in scale.points.values():
        return Cell("value", number + 0.0)
    if low < number < high:
        return Cell(
            "wrong", problem=f"{word!r} is between two points of the scale {low:g} to {high:g}; ask for a whole number"
        )
    return Cell("wrong", problem=f"{word!r} is not on the scale {low:g} to {high:g}")


def _no_number(word: str, scale: str) -> str:
    what = _kind(word)
    if what:
        return f"{word!r} is {what}, no rating from {scale}"
    return f"{word!r} is no rating from {scale}; write a number, or N/A where the criterion cannot be rated"


def _wrong_label(word: str, scale: Scale) -> str:
    what = _kind(word)
    labels = ", ".join(scale.labels)
    known = f"{word!r} is {what}, none of {labels}" if what else f"{word!r} is none of {labels}"
    return known + (nearest(word, scale.labels) if not what else "")


def _kind(word: str) -> str:
    """What a spreadsheet made of a cell, where it can be told."""
    folded = word.casefold()
    if word.startswith("=") or (folded.startswith(("+", "@")) and not _NUMBER.fullmatch(folded)):
        return "a formula (formulas are never computed; type the value)"
    if folded.startswith(_ERRORS):
        return "a spreadsheet's error"
    if folded in ("true", "false", "wahr", "falsch", "vrai", "faux", "verdadero", "falso"):
        return "a truth value (the spreadsheet may have made it of what was typed)"
    if "%" in folded:
        return "a percentage"
    if _DATE.fullmatch(folded):
        return "a date or time (the spreadsheet may have made it of what was typed; format the cells as text)"
    return ""
