"""Longest common subsequences of words by bit-parallel dynamic programming on Python's long integers.

Bit ``i`` of a column vector V_j is 0 where the table of LCS lengths t grows from row ``i`` to ``i + 1`` in column ``j``
(Crochemore et al. 2001; Hyyrö 2004). A column costs four operations on integers as long as the reference, however long
that is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

#: For each word the positions (bits) where it stands.
Masks = Mapping[str, int]


def positions(words: Sequence[str]) -> dict[str, int]:
    """The masks of a text's words."""
    masks: dict[str, int] = {}
    get = masks.get
    bit = 1
    for word in words:
        masks[word] = get(word, 0) | bit
        bit <<= 1
    return masks


def lcs_length(masks: Masks, length: int, words: Iterable[str]) -> int:
    """Length of the longest common subsequence of ``words`` and a text of ``length`` words with these ``masks``."""
    column = full = (1 << length) - 1
    get = masks.get
    for word in words:
        mask = get(word)
        if mask is not None:
            hit = column & mask
            column = (column + hit) | (column - hit)
    return length - (column & full).bit_count()


def lcs_positions(masks: Masks, length: int, words: Sequence[str]) -> int:
    """Positions (bits) in the text with these ``masks`` of one longest common subsequence: the one rouge-score reads out.

    From the end: a match is taken, else the step is to the left if t[i][j-1] > t[i-1][j], else up. Without a match at
    (i, j) the left cell is the larger one just where t grows from row i-1 to i in column j, a zero bit of V_j; so the
    next row where something happens in a column is the highest bit of (matches | ~V_j) below the present row.
    """
    column = full = (1 << length) - 1
    get = masks.get
    columns = []
    for word in words:
        mask = get(word, 0)
        if mask:
            hit = column & mask
            column = ((column + hit) | (column - hit)) & full
        columns.append((mask, column ^ full))
    if column == full:
        return 0
    found = 0
    below = full
    for mask, grows in reversed(columns):
        at = ((mask | grows) & below).bit_length()
        if not at:
            break
        top = 1 << (at - 1)
        if mask & top:
            found |= top
            below = top - 1
        else:
            below = (top << 1) - 1
    return found
