"""Error spans from word probabilities, and the MQM score they make (XCOMET, Guerreiro et al., 2024)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evalkit.types import Json

#: MQM's penalty of one error, by severity, and the most that one text can get.
PENALTIES: Mapping[str, int] = {"minor": 1, "major": 5, "critical": 10}
MOST = 25


@dataclass(frozen=True, slots=True)
class Span:
    """One error: characters ``start`` to ``end`` of the translation, and the mean probability of its tokens' labels."""

    text: str
    start: int
    end: int
    severity: str
    confidence: float

    def json(self) -> dict[str, Json]:
        return {
            "text": self.text, "start": self.start, "end": self.end, "severity": self.severity,
            "confidence": round(self.confidence, 6),
        }  # fmt: skip


def spans(
    text: str, offsets: Sequence[tuple[int, int]], chances: npt.NDArray[np.float32], labels: Sequence[str]
) -> tuple[Span, ...]:
    """Runs of tokens whose likeliest label is an error.

    ``offsets`` are characters of ``text`` by token; ``chances`` (tokens, labels + 1) has "no error" first. As in COMET, a
    run has the severity of its first token, and one that is still open at the last token is dropped.
    """
    found = []
    best = chances.argmax(axis=1)
    first: int | None = None
    for at, label in enumerate(best):
        if label and first is None:
            first = at
        elif not label and first is not None:
            start, end = offsets[first][0], offsets[at - 1][1]
            confidence = float(chances[np.arange(first, at), best[first:at]].mean())
            found.append(Span(text[start:end], start, end, labels[best[first] - 1], confidence))
            first = None
    return tuple(found)


def mqm(found: Iterable[Span]) -> float:
    """1 less the penalties' share of the most there can be, in [0, 1]; an error of another name costs nothing."""
    return (MOST - min(MOST, sum(PENALTIES.get(span.severity, 0) for span in found))) / MOST
