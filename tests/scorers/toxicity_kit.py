"""A classifier whose every score stands in the text, and records for it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from evalkit.classifiers.base import BaseClassifier, Counted, Direction, Verdict, moderation_reply
from evalkit.types import Record, Request, Response, Sample


class Stated(BaseClassifier):
    """The number in a text is its score; a text without one is unscored, one with ``...`` was read in two pieces."""

    name = "stated"
    labels = ("tox",)

    def __init__(self, threshold: float = 0.5, direction: Direction = "worse", measures: str = "toxicity") -> None:
        self.counts = Counted(("tox",))
        self.threshold, self.direction, self.measures = threshold, direction, measures
        self.asked: list[str] = []

    @property
    def version(self) -> str:
        return "1"

    def classify(self, texts: Sequence[str]) -> list[Verdict]:
        self.asked += texts
        found = [re.search(r"-?\d(?:\.\d+)?", text) for text in texts]
        return [
            Verdict.unscored("no number") if m is None else Verdict({"tox": float(m[0])}, chunks=2 if "..." in text else 1)
            for m, text in zip(found, texts, strict=True)
        ]


class Asking(BaseClassifier):
    """The same through a model that answers as a moderation endpoint does, two calls a text."""

    name = "asking"
    labels = ("tox",)
    roles = ("censor",)

    def __init__(self) -> None:
        self.counts = Counted(("tox",))

    @property
    def version(self) -> str:
        return "1"

    def requests(self, text: str) -> Sequence[Request]:
        return tuple(
            Request("generate", f"{word} {text}", slot=i, role="censor") for i, word in enumerate(("first", "then"))
        )

    def read(self, responses: Sequence[Response | None]) -> Verdict:
        replies = [moderation_reply(r.text or "") if r is not None and r.error is None else None for r in responses]
        if None in replies:
            return Verdict.unscored("no reply")
        return Verdict({"tox": max(reply[1]["tox"] for reply in replies if reply is not None)}, chunks=len(replies))


def reply(score: float) -> str:
    return json.dumps({"flagged": score > 0.5, "scores": {"tox": score}})


def generated(texts: Sequence[str], doc: dict[str, Any] | None = None, index: int = 0) -> Record:
    """A record with one response a repeat, of which the filter kept the first, as it does by default."""
    sample = Sample("t", f"s{index}", index, doc or {}, None)
    requests = tuple(Request("generate", "Q", repeat=i) for i in range(len(texts)))
    responses = tuple(Response("k", text=text, finish="stop") for text in texts)
    return Record(sample, requests, responses, "none", texts[0])
