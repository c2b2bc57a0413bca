"""Texts as a sheet can hold them, and a hash of a row's texts that notices rows torn apart but no harmless change."""

from __future__ import annotations

import hashlib
import re
import unicodedata

#: Ends of lines in every spelling.
_LINES = re.compile(r"\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
#: What XML cannot hold or a spreadsheet drops: control characters but tab and line feed, byte order marks, noncharacters.
_DROPPED = re.compile(r"[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
#: What some programs write instead of straight quotes.
_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'})

#: How a workbook writes an underscore that begins what would be an escape; not every program reads it back as one.
_UNDERSCORE = "_x005F_"

#: The sign before a text that a spreadsheet could take for a formula.
GUARD = "'"


def cleaned(text: str) -> str:
    """``text`` with line feeds as its only ends of lines, and without what no spreadsheet can hold."""
    return _SURROGATE.sub("\ufffd", _DROPPED.sub("", _LINES.sub("\n", text)))


def normal(text: str) -> str:
    """What of a text must come back from a spreadsheet.

    Ends of lines, blanks, one guard at the start, curly quotes and the composition of accents are not part of it.
    """
    plain = unicodedata.normalize("NFC", cleaned(text)).translate(_QUOTES).replace(_UNDERSCORE, "_")
    return " ".join(plain.strip().removeprefix(GUARD).split())


def text_digest(*texts: str) -> str:
    """SHA-256 (hex) over the texts of a row in the order of their columns, each as `normal` leaves it."""
    parts = [normal(text).encode("utf-8") for text in texts]
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "big"))
        whole.update(part)
    return whole.hexdigest()
