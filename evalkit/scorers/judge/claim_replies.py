"""What a judge writes about claims, read: its list of them, and for each one a verdict with a quotation."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from evalkit.scorers.judge.base import Verdict
from evalkit.scorers.judge.quotes import quoted_span
from evalkit.scorers.judge.verdict import spoken

#: What a claim comes to. ``unverified``: called supported without words that stand in the source.
Standing = Literal["supported", "contradicted", "not_in_source", "unverified"]
STANDINGS: tuple[Standing, ...] = ("supported", "contradicted", "not_in_source", "unverified")

#: Labels that a judge may give, by the place of their class in `STANDINGS`. It is asked for the first three; the others are
#: the same said otherwise.
POINTS: Mapping[str, float] = {
    "supported": 0.0, "contradicted": 1.0, "absent": 2.0,
    "not in source": 2.0, "not in the source": 2.0, "not_in_source": 2.0, "not mentioned": 2.0,
}  # fmt: skip

_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL | re.IGNORECASE)
_ITEM = re.compile(r"\s*(?:[-*•]|\(?\d{1,3}[.)])\s+(\S.*)")
_QUOTE = re.compile(
    r"^\W*quot(?:e|ation)\W*?:[*_ \t]*(.*?)(?=^\W*verdict\b|(?-i:VERDICT\s*:)|\Z)", re.DOTALL | re.IGNORECASE | re.MULTILINE
)
_QUOTE_KEYS = ("quote", "quotation", "evidence", "span")
_CLAIM_KEYS = ("claim", "text", "statement", "fact")
_NOTHING = frozenset({"", "none", "n/a", "null", "-"})


def read_claims(reply: str) -> tuple[str, ...] | None:
    """The claims in a reply, each once, in order; ``None`` where it holds no list of them.

    A JSON list of texts (or of objects with a ``claim``), alone, in an object, in a fenced block or as the last thing of the
    reply; else a reply whose lines are all items of a list. An empty JSON list is one: there is nothing to check.
    """
    reply = spoken(reply)
    for text in (*reversed(_FENCE.findall(reply)), reply):
        try:
            found = _listed(json.loads(text))
        except (ValueError, RecursionError):
            continue
        if found is not None:
            return found
    found = _last_list(reply)
    if found is not None:
        return found
    lines = [line for line in reply.splitlines() if line.strip()]
    items = [_ITEM.fullmatch(line) for line in lines]
    kept = [item.group(1) for item in items if item]
    return _unique(kept) if kept and len(kept) == len(lines) else None


def _last_list(reply: str) -> tuple[str, ...] | None:
    """The last list of claims among other words."""
    decoder, found, at = json.JSONDecoder(), None, 0
    while (at := reply.find("[", at)) >= 0:
        try:
            value, at = decoder.raw_decode(reply, at)
        except (ValueError, RecursionError):
            at += 1
            continue
        listed = _listed(value)
        found = found if listed is None else listed
    return found


def _listed(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, dict):
        lists = [item for item in value.values() if isinstance(item, list)]
        return _listed(lists[0]) if len(lists) == 1 else None
    if not isinstance(value, list):
        return None
    texts: list[str] = []
    for item in value:
        text = next((item[key] for key in _CLAIM_KEYS if key in item), None) if isinstance(item, dict) else item
        if not isinstance(text, str):
            return None
        texts.append(text)
    return _unique(texts)


def _unique(texts: Sequence[str]) -> tuple[str, ...]:
    """Each claim once, without blank ones; white space made one blank."""
    clean = [" ".join(text.split()) for text in texts]
    return tuple({text.casefold(): text for text in reversed(clean) if text}.values())[::-1]


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one claim. ``standing`` is ``None`` where the judge gave no verdict; ``span`` is the quotation's place in
    the source, start and end in characters, ``None`` where it is not there (or none was given).
    """

    claim: str
    standing: Standing | None
    quote: str | None = None
    span: tuple[int, int] | None = None
    state: str = "score"
    reason: str | None = None


def finding(claim: str, verdict: Verdict, source: str) -> Finding:
    """The claim's standing: what the judge said, but never supported without a quotation that is in ``source``."""
    if verdict.value is None:
        return Finding(claim, None, state=verdict.state, reason=verdict.reason)
    quote = read_quote(verdict.reply)
    span = None if quote is None else quoted_span(quote, source)
    said = STANDINGS[int(verdict.value)]
    if said != "supported" or span is not None:
        return Finding(claim, said, quote, span)
    reason = "the judge quoted nothing" if quote is None else "the judge's quotation is not in the source"
    return Finding(claim, "unverified", quote, reason=reason)


def read_quote(reply: str) -> str | None:
    """The quotation in a reply: of its JSON object, else what stands between the last QUOTE: and the verdict."""
    reply = spoken(reply)
    for text in (*reversed(_FENCE.findall(reply)), reply):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            lowered = {str(key).casefold(): value for key, value in found.items()}
            quote = next((lowered[key] for key in _QUOTE_KEYS if key in lowered), None)
            return _given(quote) if isinstance(quote, str) else None
    marked = _QUOTE.findall(reply)
    return _given(marked[-1]) if marked else None


def _given(quote: str) -> str | None:
    """The quotation, or None where it says that there is none."""
    text = quote.strip()
    return None if text.strip("*_.\"'<>[]() ").casefold() in _NOTHING else text
