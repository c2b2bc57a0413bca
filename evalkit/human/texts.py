"""Whether the texts of a returned row are those that its id was given out with: what finds rows torn apart by sorting."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

from evalkit.human.base import Level, Row, Study
from evalkit.human.cells import date_like
from evalkit.human.digests import normal, text_digest
from evalkit.human.layout import text_cells

#: A text of which this share of the words (of the letters, if it is short) is left in order was edited, not exchanged.
_ALIKE = 0.8

#: Letters from which on the beginning of a text tells which text it is.
_LONG = 1000

#: Letters from A to Z that tell which text it is where all others were lost.
_ENOUGH = 20

#: Words from which on words are compared and no letters.
_SHORT = 12

#: Letters up to which a text may be taken for a number or a date.
_CELL = 40

_INVISIBLE = re.compile("[\u200b-\u200f\u2060-\u2064\u00ad\ufeff]")
_LOOKS = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201a": "'", "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u00ab": '"', "\u00bb": '"'}
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-")
)
_NUMBER = re.compile(r"[-+]?[$\u20ac\u00a3]?\d[\d.,]*(?:e[-+]?\d+)?\s*[%$\u20ac\u00a3]?")
_WINDOWS = {code: letter for code in range(128, 160) if (letter := bytes([code]).decode("cp1252", "ignore"))}

#: Encodings that programs take text for, or save it in, when nobody says which.
_ENCODINGS = (
    "cp1252", "latin-1", "cp1250", "mac_roman", "cp1251", "ascii", "cp850", "cp932", "gbk", "big5", "cp949",
)  # fmt: skip

#: The same texts are looked at again for every row that is not as it was.
_plain = lru_cache(maxsize=16384)(normal)

Kind = Literal["text-torn", "text-changed", "text-missing", "text-edited", "text-damaged"]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a text cell; ``text-edited`` and ``text-damaged`` are warnings, for the text is still known."""

    kind: Kind
    column: str
    message: str

    @property
    def level(self) -> Level:
        return "warning" if self.kind in ("text-edited", "text-damaged") else "error"


class Texts:
    """The texts of all rows of a study, to hold returned ones against."""

    def __init__(self, study: Study) -> None:
        self._cells = {row.id: text_cells(study, row) for row in study.rows}
        self._mates = {row.id: row.annotator for row in study.rows}
        self._rows: dict[str, list[str]] = {}
        self._known: dict[tuple[str, str], list[str]] = {}
        for row in study.rows:
            self._rows.setdefault(row.digest, []).append(row.id)
            for column, text in self._cells[row.id].items():
                for form in {_plain(text), _folded(text)}:
                    self._known.setdefault((column, form), []).append(row.id)

    def of(self, cells: Mapping[str, str]) -> list[str]:
        """The ids of the rows that have exactly these texts; a cell more or less matches none."""
        return self._rows.get(text_digest(*cells.values()), [])

    def problems(self, row: Row, cells: Mapping[str, str]) -> list[Problem]:
        """What is wrong with the texts that came back under a row's id, a column at a time."""
        own = self._cells[row.id]
        if cells.keys() == own.keys() and text_digest(*(cells[column] for column in own)) == row.digest:
            return []
        found = (self._problem(row, column, own[column], text) for column, text in cells.items())
        return [problem for problem in found if problem]

    def _problem(self, row: Row, column: str, own: str, given: str) -> Problem | None:
        if _plain(own) == _plain(given):
            return None
        if not given.strip():
            return Problem("text-missing", column, f"the text of {row.id} is gone; take it from the sheet that was sent out")
        if len(own) <= _CELL and (reason := _retyped(_plain(own), _plain(given))):
            return Problem("text-damaged", column, f"{reason}; it is still the text of {row.id}")
        others = self._known.get((column, _plain(given))) or (
            self._known.get((column, _folded(given))) if _folded(given) != _folded(own) else None
        )
        if others:
            return _torn(row, column, others)
        elsewhere = [name for name, text in self._cells[row.id].items() if name != column and _plain(text) == _plain(given)]
        if elsewhere:
            message = f"the text of {elsewhere[0]} of {row.id} stands here; put the columns back as they were"
            return Problem("text-torn", column, message)
        if problem := self._damaged(row, column, own, given):
            return problem
        alike = _likeness(own, given)
        if alike < _ALIKE:
            message = f"the text does not belong to {row.id}, nor to any other row; put back the text that was sent out"
            return Problem("text-changed", column, message)
        nearer = self._nearer(row, column, given, alike)
        if nearer:
            return _torn(row, column, nearer)
        return Problem("text-edited", column, f"the text was edited (about {100 * alike:.0f}% is left of that of {row.id})")

    def _damaged(self, row: Row, column: str, own: str, given: str) -> Problem | None:
        """A text that a program changed in a way that can be told for sure, unless it did the same to other texts."""
        if _folded(own) == _folded(given):
            return Problem("text-damaged", column, f"blanks or signs were changed; it is still the text of {row.id}")
        if len(given) > _LONG and _plain(own).startswith(_plain(given)):
            reason, like = f"the text was cut after {len(given)} letters", self._beginning(row, column, _plain(given))
        else:
            if not own.isascii() and self._bare.get((column, _skeleton(given))) == {own}:
                message = (
                    f"letters other than A to Z were damaged or lost (a wrong encoding); it is still the text of {row.id}"
                )
                return Problem("text-damaged", column, message)
            made = (self._made.get((column, form), {}) for form in (_plain(given), _marks(given)))
            found = next((texts for texts in made if own in texts), {})
            if own not in found:
                return None
            reason, like = f"letters were {found[own]}", len(found)
        if like > 1:
            message = f"{reason}; {like} texts look like this now, and it cannot be told whose it is: mend the file"
            return Problem("text-changed", column, message)
        return Problem("text-damaged", column, f"{reason}; it is still the text of {row.id}")

    def _beginning(self, row: Row, column: str, start: str) -> int:
        """How many texts of the sheet begin like this."""
        mine = {texts[column] for name, texts in self._cells.items() if self._mates[name] == row.annotator}
        return sum(_plain(text).startswith(start) for text in mine)

    @cached_property
    def _bare(self) -> dict[tuple[str, str], set[str]]:
        """(column, what all encodings share of a text) -> the texts, where that is enough to tell one."""
        bare: dict[tuple[str, str], set[str]] = {}
        for texts in self._cells.values():
            for column, text in texts.items():
                if len(skeleton := _skeleton(text)) > _ENOUGH:
                    bare.setdefault((column, skeleton), set()).add(text)
        return bare

    @cached_property
    def _made(self) -> dict[tuple[str, str], dict[str, str]]:
        """(column, what became of a text) -> the texts that it became of, and how. Made when a text is not as it was."""
        made: dict[tuple[str, str], dict[str, str]] = {}
        for column, text in {(column, text) for texts in self._cells.values() for column, text in texts.items()}:
            for form, how in () if text.isascii() else _forms(text):
                made.setdefault((column, form), {}).setdefault(text, how)
        return made

    def _nearer(self, row: Row, column: str, given: str, alike: float) -> list[str]:
        """Rows of the same annotator whose text is more like the given one than the row's own."""
        words = Counter(given.split())
        nearer = []
        for other, texts in self._cells.items():
            text = texts[column]
            if other == row.id or self._mates[other] != row.annotator or text == self._cells[row.id][column]:
                continue
            shared = (words & Counter(text.split())).total()
            if 2 * shared >= alike * (words.total() + len(text.split())) and _likeness(text, given) > alike:
                nearer.append(other)
        return nearer


def _torn(row: Row, column: str, others: list[str]) -> Problem:
    whose = others[0] if len(set(others)) == 1 else f"{others[0]} (and {len(set(others)) - 1} more)"
    message = (
        f"the text does not belong to {row.id} but to {whose}: rows were torn apart, as by sorting one column alone; "
        "undo the sorting, or fill the ratings into a fresh sheet"
    )
    return Problem("text-torn", column, message)


def _forms(text: str) -> Iterator[tuple[str, str]]:
    """What programs make of a text that is not all ASCII, each with what happened, in words."""
    plain = _plain(text)
    for encoding in _ENCODINGS:
        yield _plain(_misread(text.encode("utf-8", "surrogatepass"), encoding)), f"damaged: UTF-8 was opened as {encoding}"
        saved = text.encode(encoding, "replace")
        if (left := _marks(saved.decode(encoding, "replace"))) != _marks(plain):
            yield left, f"lost: the file was saved as {encoding}"
        if encoding != "cp1252":
            yield _plain(_misread(saved, "cp1252")), f"damaged: {encoding} was read as Windows-1252"


def _retyped(own: str, given: str) -> str:
    """A short text that the spreadsheet took for a number, a truth value or a date."""
    if own.casefold() == given.casefold():
        return "the spreadsheet changed capitals"
    if _NUMBER.fullmatch(own.casefold()) and _NUMBER.fullmatch(given.casefold()) and _numbers(own) & _numbers(given):
        return f"the spreadsheet took {own!r} for a number and wrote {given!r}"
    whole = {int(number) for number in re.findall(r"\d+", given)}
    parts = [int(number) for number in re.findall(r"\d+", own)]
    if date_like(given) and date_like(own) and parts and all(part in whole or part + 2000 in whole for part in parts):
        return f"the spreadsheet took {own!r} for a date and wrote {given!r}"
    return ""


def _numbers(text: str) -> set[float]:
    """Every number that a text may mean, with commas and points for thousands or decimals."""
    percent = 0.01 if "%" in text else 1.0
    bare = re.sub(r"[$\u20ac\u00a3%\s+]", "", text.casefold())
    readings = {bare, bare.replace(",", ""), bare.replace(".", "").replace(",", "."), bare.replace(",", ".")}
    values = set()
    for reading in readings:
        try:
            values.add(round(float(reading) * percent, 12))
        except ValueError:
            continue  # not a number in this reading
    return values


@lru_cache(maxsize=16384)
def _folded(text: str) -> str:
    """Without anything that autocorrection changes: kind of quotes, dashes, blanks, width, case."""
    plain = unicodedata.normalize("NFKC", _INVISIBLE.sub("", _plain(text))).translate(_LOOKS)
    return "".join(plain.split()).casefold().replace("--", "-")


def _misread(data: bytes, encoding: str) -> str:
    """Bytes taken for another encoding, as programs do it: bytes without a letter become control characters."""
    return data.decode("latin-1").translate(_WINDOWS) if encoding == "cp1252" else data.decode(encoding, "replace")


def _marks(text: str) -> str:
    """Letters that an encoding does not have become question marks, one or two each."""
    return re.sub(r"\?+", "?", _plain(text))


def _skeleton(text: str) -> str:
    """The letters A to Z and digits of a text, which all encodings share."""
    return re.sub(r"[^A-Za-z0-9]", "", text)


def _likeness(own: str, given: str) -> float:
    """The share of words (of letters in short texts) that both have in the same order, in [0, 1]."""
    one, two = _plain(own).split(), _plain(given).split()
    if min(len(one), len(two)) < _SHORT:
        return difflib.SequenceMatcher(None, _plain(own).casefold(), _plain(given).casefold(), autojunk=False).ratio()
    return difflib.SequenceMatcher(None, one, two, autojunk=False).ratio()
