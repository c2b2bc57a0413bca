"""The edits of TER (Snover et al. 2006) as sacrebleu counts them (2.6.0, after Tercom), in a fraction of the time.

A row of the table of edit distances is two whole numbers, whose bits say where it rises and falls (Myers 1999, Hyyrö 2003).
Shifts are computed from the first word that moves, and those that cannot be the best one by a bound are not tried.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

#: Tercom's limits: the words of a shift, how far it goes, cells on both sides of the diagonal; and sacrebleu's, of shifts.
_LONGEST, _FARTHEST, _BEAM, _MOST = 10, 50, 25, 1000

Words = Sequence[str]


def ter_row(answer: Words, references: Sequence[Words]) -> list[float]:
    """What sacrebleu keeps of an answer: the fewest edits over the references, and the mean length of these."""
    fewest: int | None = None
    for reference in dict.fromkeys(map(tuple, references)):
        if fewest is None or at_least(answer, reference) < fewest:
            found = edits(answer, reference)
            fewest = found if fewest is None else min(fewest, found)
    return [float(fewest or 0), sum(map(len, references)) / len(references)]


def at_least(answer: Words, reference: Words) -> int:
    """No fewer edits than this in whatever order: the words that one side has more often than the other."""
    return max(len(answer), len(reference)) - sum((Counter(answer) & Counter(reference)).values())


def edits(answer: Words, reference: Words) -> int:
    """Shifts of runs of words, and then insertions, deletions and substitutions, that make ``answer`` the ``reference``.

    By Tercom's greedy search: again and again the shift that lowers the edit distance most, until none does.
    """
    if not reference:
        return len(answer)
    places: dict[str, int] = {}
    for j, word in enumerate(reference):
        places[word] = places.get(word, 0) | 1 << j
    words = [places.get(word, 0) for word in answer]
    search = _Search(words, len(reference))
    least, shifts, tried = at_least(answer, reference), 0, 0
    while search.distance > least:
        best, tried = search.best_shift(search.distance - least, tried)
        if best is None or tried >= _MOST:
            break
        search.do(best)
        shifts += 1
    return shifts + search.distance


class _Row(NamedTuple):
    """A row of the table: the distances of the answer's first words from the reference's first 0, 1, 2, ...

    Bit j - 1 of each number is about column j. ``up`` and ``down``: the distance is one more, one less than in the column
    before. ``level``: it is the one diagonally above. ``more``: it is one more than above. ``first``: the one in column 0.
    """

    up: int
    down: int
    level: int = 0
    more: int = 0
    first: int = 0

    @property
    def last(self) -> int:
        """The distance in the last column."""
        return self.first + self.up.bit_count() - self.down.bit_count()


class _Beam:
    """The columns of each row that are computed: all, or those near the diagonal.

    What is outside counts as rising away from the beam: no way through it is then shorter than one inside.
    """

    def __init__(self, height: int, width: int, *, all_columns: bool = False) -> None:
        ratio = width / height if height else 1.0
        half = math.ceil(ratio / 2 + _BEAM) if ratio / 2 > _BEAM else _BEAM
        half = width + 1 if all_columns else half
        middles = [math.floor(i * ratio) for i in range(1, height + 1)]
        self.low = [0, *(max(0, middle - half) for middle in middles)]
        self.high = [width + 1, *(min(width + 1, middle + half) for middle in middles[:-1]), width + 1]
        self.width, self.full = width, (1 << width) - 1
        self.all = not any(self.low) and min(self.high) > width

    def rows(self, above: Sequence[_Row], words: Sequence[int]) -> list[_Row]:
        """All rows for ``words``, of which those in ``above`` are known."""
        rows = list(above) or [_Row(self.full, 0)]
        for i in range(len(rows), len(words) + 1):
            rows.append(self._row(rows[-1], words[i - 1], i))
        return rows

    def last(self, above: _Row, words: Sequence[int], i: int) -> int:
        """The distance in the last column, when ``words`` come below ``above``, row ``i`` first."""
        if not self.all:
            for at, word in enumerate(words, i):
                above = self._row(above, word, at)
            return above.last
        full, up, down = self.full, above.up, above.down
        for word in words:  # as in `_row`, without what only the way back needs
            same = word | down
            level = ((((same & up) + up) ^ up) | same) & full
            raised = (down | (full ^ (up | level))) << 1 | 1
            down, up = raised & level, ((up & level) << 1 | ((raised | level) ^ full)) & full
        return above.first + len(words) + up.bit_count() - down.bit_count()

    def _row(self, above: _Row, word: int, i: int) -> _Row:
        """Row ``i`` below row ``above``, for a ``word`` of the answer."""
        full, (up, down, _, _, first) = self.full, above
        if left := max(self.low[i - 1], self.low[i] - 1):  # the first column above that counts
            outside = (1 << left) - 1
            first += (up & outside).bit_count() - (down & outside).bit_count() + left
            up, down = up & ~outside, down | outside
        same = (word & ((1 << self.high[i - 1]) - 1)) | down
        level = ((((same & up) + up) ^ up) | same) & full
        more = down | (full ^ (up | level))
        raised = more << 1 | 1
        down, up = raised & level, ((up & level) << 1 | ((raised | level) ^ full)) & full
        if self.high[i] <= self.width:
            inside = (1 << (self.high[i] - 1)) - 1
            up, down = up | (full & ~inside), down & inside
        return _Row(up, down, level, more, first + 1)


class _Shift(NamedTuple):
    """``length`` words from ``start`` on go before the word at ``to`` (to sacrebleu's own rule where that is among them)."""

    length: int
    start: int
    to: int

    def moved(self, words: Sequence[int]) -> tuple[int, list[int]]:
        """Where the words begin to change, and what stands there then, up to the last that changes."""
        start, end = self.start, self.start + self.length
        if self.to < start:
            return self.to, [*words[start:end], *words[self.to : start]]
        last = self.to if self.to > end else self.length + self.to
        return start, [*words[end:last], *words[start:end]]


def _rank(shift: _Shift) -> tuple[int, int, int]:
    return -shift.length, shift.start, shift.to


class _Search:
    """An answer's words and the tables of their distances from a reference of ``width`` words.

    A word is the bits of the reference's places that have it. ``free`` is the table without a beam: never above the other,
    and quicker to compute.
    """

    def __init__(self, words: list[int], width: int) -> None:
        self.words = words
        self.beam = _Beam(len(words), width)
        self.whole = self.beam if self.beam.all else _Beam(len(words), width, all_columns=True)
        self.rows = self.free = self.whole.rows((), words)
        if not self.beam.all:
            self.rows = self.beam.rows((), words)

    @property
    def distance(self) -> int:
        return self.rows[-1].last

    def do(self, shift: _Shift) -> None:
        """Shift the words."""
        at, moved = shift.moved(self.words)
        self.words[at : at + len(moved)] = moved
        self.free = self.whole.rows(self.free[: at + 1], self.words)
        self.rows = self.free if self.beam.all else self.beam.rows(self.rows[: at + 1], self.words)

    def best_shift(self, most: int, tried: int) -> tuple[_Shift | None, int]:
        """The shift that lowers the distance most, by at most ``most``; of several the longest, then the first one.

        ``None`` where no shift lowers it. Also how many were considered by now, those not computed too.
        """
        candidates, tried = self._candidates(tried)
        distance, words = self.distance, self.words
        spare = distance - self.free[-1].last  # a shift of n words moves the free distance by 2n at most
        best, gain = None, 0
        for shift in sorted(candidates, key=_rank):
            if gain >= min(most, 2 * shift.length + spare):
                break
            at, moved = shift.moved(words)
            rest = [*moved, *words[at + len(moved) :]]
            won = distance - self.whole.last(self.free[at], rest, at + 1)
            if won > gain and not self.beam.all:
                won = distance - self.beam.last(self.rows[at], rest, at + 1)
            if won > gain:
                best, gain = shift, won
        return best, tried

    def _candidates(self, tried: int) -> tuple[set[_Shift], int]:
        """The shifts of words that stand in the reference too, where neither place is right yet."""
        align, wrong, missed = self._aligned()
        words = self.words
        found: set[_Shift] = set()
        for start in range(len(words)):
            places = words[start]
            while places:
                place = (places & -places).bit_length() - 1
                places &= places - 1
                if abs(place - start) > _FARTHEST:
                    continue
                length, targets = 0, [align[place - 1] + 1 if place else 0]
                while length < _LONGEST and start + length < len(words) and words[start + length] >> (place + length) & 1:
                    to = align[place + length] + 1
                    if to != targets[-1]:
                        targets.append(to)
                    length += 1
                    run = (1 << length) - 1
                    if not wrong >> start & run or not missed >> place & run or start <= align[place] < start + length:
                        continue
                    found.update(_Shift(length, start, to) for to in targets)
                    tried += len(targets)
                    if tried >= _MOST:
                        return found, tried
        return found, tried

    def _aligned(self) -> tuple[list[int], int, int]:
        """The answer's word that stands for each of the reference (-1: none before it), and the bits of those that differ.

        Of equally short ways the one that keeps or substitutes a word, else the one that deletes one of the answer's.
        """
        words, beam = self.words, self.beam
        i, j = len(words), beam.width
        align, wrong, missed = [-1] * j, 0, 0
        while i or j:
            bit = 1 << j >> 1
            row = self.rows[i]
            low, high = beam.low[i - 1], beam.high[i - 1]
            same = words[i - 1] & bit if i else 0
            if i and j and low < j <= high and (same or not row.level & bit):
                i, j = i - 1, j - 1
                align[j] = i
                if not same:
                    wrong, missed = wrong | 1 << i, missed | bit
            elif i and (not j or (low <= j < high and row.more & bit)):
                i -= 1
                wrong |= 1 << i
            else:
                j -= 1
                align[j] = i - 1
                missed |= bit
        return align, wrong, missed
