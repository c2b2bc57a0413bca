"""A judge's reply to a verdict: structured output first, then the last marked line, then a reply that is a label alone.

A number that merely occurs somewhere is no verdict: parsers that take the first digit they meet read list numbers, quoted
texts and echoed prompts, and give scores to replies that hold none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache

from evalkit.scorers.judge.base import Verdict
from evalkit.types import Json, Response

#: Keys under which a JSON reply may hold its verdict, best first.
KEYS = ("verdict", "score", "rating", "label", "answer", "choice", "preference")

#: Why a verdict on a prompt that did not fit is none: what is dropped is its beginning, where the rubric stands.
NOT_ALL_SEEN = "the prompt is longer than the judge's context"

_THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL | re.IGNORECASE)
_MARKS = r"(?:verdict|final\s+(?:score|rating|verdict))"
_REFUSAL = re.compile(
    r"\b(?:i\s*(?:'|’)?\s*(?:m|am)\s+(?:sorry|unable|not\s+able)|i\s+(?:can\s*(?:not|(?:'|’)?t)|won(?:'|’)?t|will\s+not|must\s+decline)"
    r"|(?:cannot|can(?:'|’)t)\s+(?:assist|help|comply|rate|judge|evaluate)|decline\s+to)\b",
    re.IGNORECASE,
)
_FIRST_DIGIT = re.compile(r"\d")


def response_verdict(response: Response | None, points: Mapping[str, float]) -> Verdict:
    """The verdict of an answered request: a failed call is an error, a content filter's stop a refusal."""
    if response is None:
        return Verdict("error", reason="the judge has not answered")
    if response.error is not None:
        if "filter" in response.error.kind or "refus" in response.error.kind:
            return Verdict("refusal", reason=f"the judge's provider refused ({response.error.kind})")
        return Verdict("error", reason=f"the judge failed ({response.error.kind})")
    if response.text is None:
        return Verdict("error", reason="the judge gave no text")
    if response.truncated:
        return Verdict("error", reason=NOT_ALL_SEEN, reply=response.text)
    found = read_verdict(response.text, points)
    if response.finish == "length" and (found.state == "error" or _unfinished(response.text, found, points)):
        return Verdict("error", reason="the judge's reply was cut off before its verdict", reply=response.text)
    return found


def read_verdict(reply: str, points: Mapping[str, float]) -> Verdict:
    """What ``reply`` says on a scale of ``points`` (label -> value). Letter case, bold marks and ``4/5`` or ``4.0`` for 4 do
    not matter; a value off the scale (3.5 among whole numbers, 7 of 5), several at once and none are errors. What stands
    between marks of thinking is no part of the reply, and what a block of JSON says counts less than a marked line after it.
    """
    said = spoken(reply)
    given = _structured(said)
    if given is None:
        given = _marked(said, points)
    if given is None and (boxed := re.findall(r"\[\[\s*([^\[\]\n]{1,40}?)\s*\]\]", said)):
        given = boxed[-1]
    if given is None and (alone := _alone(said)) is not None and _label(alone, points) is not None:
        given = alone
    if given is not None:
        return _on_scale(given, points, reply)
    if _REFUSAL.search(said):
        return Verdict("refusal", reason="the judge declined", reply=reply)
    reason = "the judge gave no verdict" if said.strip() else "the judge's reply is empty"
    return Verdict("error", reason=reason, reply=reply)


def spoken(reply: str) -> str:
    """A reply without what stands between marks of thinking."""
    return _THOUGHT.sub("", reply)


def first_digit(reply: str) -> float | None:
    """The first digit of a reply, whatever it stands for: Chiang and Lee's (2023) policy, kept to reproduce their numbers.

    It reads 1 from "1. Engagingness: 2". Use `read_verdict` for anything else.
    """
    found = _FIRST_DIGIT.search(reply)
    return float(found.group()) if found else None


def _plain(reply: str) -> str:
    """Without marks of emphasis, and with what follows a mark on the next line beside it."""
    text = re.sub(r"[*_`#]+", "", reply)
    return re.sub(rf"({_MARKS}\s*[:=]?)\s*\n\s*", r"\1 ", text, flags=re.IGNORECASE)


def _marked(reply: str, points: Mapping[str, float]) -> str | None:
    """What the last marked line says."""
    marked = list(re.finditer(rf"{_MARKS}\s*[:=]\s*(\S.*)", _plain(reply), re.IGNORECASE))
    return _head(marked[-1].group(1), points) if marked else None


def _structured(reply: str) -> Json | None:
    """The verdict in a reply that is a JSON object, or whose last fenced block is one; ``None`` where there is none.

    A block with a marked line behind it is no verdict: it may be quoted from the text that is judged.
    """
    fenced = [found for found in _FENCE.finditer(reply) if _marked(reply[found.end() :], {}) is None]
    for text in ([fenced[-1].group(1)] if fenced else []) + [reply]:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            lowered = {str(key).casefold(): value for key, value in found.items()}
            return next((lowered[key] for key in KEYS if key in lowered), None)
    return None


def _unfinished(reply: str, verdict: Verdict, points: Mapping[str, float]) -> bool:
    """Whether a reply that was cut off ends in a label that may be the beginning of another one: 1 of 10."""
    label = verdict.label or ""
    longer = any(other != label and other.startswith(label) for other in points)
    return longer and reply.rstrip().endswith(label)


def _head(text: str, points: Mapping[str, float]) -> str:
    """The label that a marked line begins with, as far as it reaches; the whole line where it begins with none."""
    text = text.strip().strip("\"'“”<>").strip()
    boxed = re.match(r"\[\[\s*(.*?)\s*\]\]", text)
    if boxed:
        return boxed.group(1)
    known = "|".join(re.escape(label) for label in sorted(points, key=len, reverse=True))
    found = re.match(rf"(?:{known})(?![\w])(?P<rest>.*)", text, re.IGNORECASE)
    if found is None:
        return text
    rest = found["rest"].strip()
    if re.match(r"(?:[-–—~/]|to\b|or\b|and\b|,)\s*(?:\d|A\b|B\b|tie\b)", rest, re.IGNORECASE):
        return text  # a range or several labels: 2-3, 4 or 5, 4/5
    if re.match(r"[.,]\d", rest):
        return text  # 3.5
    return text[: len(text) - len(found["rest"])]


def _alone(reply: str) -> str | None:
    """A reply, or its last line, that holds a label and nothing else but a name before it ("- Coherence: 3")."""
    lines = [line for line in _plain(reply).splitlines() if line.strip()]
    if not lines:
        return None
    found = re.fullmatch(r"\s*(?:[-•]\s*)?(?:[A-Za-z][A-Za-z \-]{0,40}[:=]\s*)?\(?([^:=]{1,40}?)\)?[.!]?\s*", lines[-1])
    return found.group(1) if found else None


def _label(given: Json, points: Mapping[str, float]) -> str | None:
    """The scale's own spelling of a label; ``None`` for what is not on the scale."""
    if isinstance(given, bool) or given is None:
        return None
    if isinstance(given, int | float):
        return next((label for label, value in points.items() if label.lstrip("-").isdigit() and value == given), None)
    text = str(given).strip().strip(".\"'")
    out_of = re.fullmatch(r"(-?\d+(?:[.,]\d+)?)\s*(?:/|out of)\s*(\d+)", text)
    if out_of and float(out_of.group(2)) == max(points.values()):
        text = out_of.group(1)
    if re.fullmatch(r"-?\d+[.,]0+", text):
        text = re.split(r"[.,]", text)[0]
    return _spellings(tuple(points)).get(text.casefold())


@lru_cache(maxsize=256)
def _spellings(labels: tuple[str, ...]) -> Mapping[str, str]:
    return {label.casefold(): label for label in labels}


def _on_scale(given: Json, points: Mapping[str, float], reply: str) -> Verdict:
    label = _label(given, points)
    if label is None:
        # said without the verdict, so that a summary can count how often it happened; the reply is kept beside
        return Verdict("error", reason="the judge's verdict is not one point of the scale", reply=reply)
    return Verdict("score", value=points[label], label=label, reply=reply)
