"""The Classifier contract: texts in, scores by label out, and one number a text that says how far a trait is there.

Some classifiers compute in this process (`Classifier.classify`). Others ask a model (``roles`` is not empty): they turn a
text into requests and read the answers, so that those go through the run's planner, journal and budget. A text that could
not be classified has a reason and no score; it is never 0.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from evalkit.errors import ScorerError
from evalkit.types import EMPTY, Json, Request, Response

#: What a higher number says of a text.
Direction = Literal["worse", "better", "neither"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a classifier makes of one text.

    ``scores`` by label in [0, 1], each the highest over the ``chunks`` pieces that a long text was read in; empty where
    there are none, with the ``reason``. ``doubt`` says why the scores may mean little although they are there. ``detail``
    holds what a reader may want beside them; JSON, no NaN.
    """

    scores: Mapping[str, float] = field(default_factory=dict)
    reason: str | None = None
    chunks: int = 1
    doubt: str | None = None
    detail: Mapping[str, Json] = field(default_factory=lambda: EMPTY)

    @classmethod
    def unscored(cls, reason: str, chunks: int = 1, **detail: Json) -> Verdict:
        """A verdict that is missing."""
        return cls({}, reason, chunks, detail=detail)


@dataclass(frozen=True, slots=True)
class Counted:
    """Which labels make the number: the highest of ``labels``, or with ``weights`` (one a label) their weighted sum."""

    labels: tuple[str, ...]
    weights: tuple[float, ...] | None = None

    def value(self, scores: Mapping[str, float]) -> float | None:
        """The number; ``None`` where the score of a label is missing or no finite number."""
        found = [scores.get(label, math.nan) for label in self.labels]
        if not found or not all(map(math.isfinite, found)):
            return None
        if self.weights is None:
            return max(found)
        return math.fsum(weight * score for weight, score in zip(self.weights, found, strict=True))

    @property
    def range(self) -> tuple[float, float]:
        """Bounds of the number, for scores in [0, 1]."""
        if self.weights is None:
            return 0.0, 1.0
        return sum(min(w, 0.0) for w in self.weights), sum(max(w, 0.0) for w in self.weights)

    def text(self) -> str:
        """As it stands in a signature: ``max(hate,insult)`` or ``positive-negative``."""
        if self.weights is None:
            return f"max({','.join(self.labels)})" if len(self.labels) > 1 else self.labels[0]
        return "".join(f"{weight:+g}*{label}" for weight, label in zip(self.weights, self.labels, strict=True))


class Classifier(Protocol):
    """A text classifier. Subclass `BaseClassifier` for the defaults; `classifier` makes one from what a user wrote."""

    name: str
    """What a reader sees: ``hf:unitary/toxic-bert``, ``profanity``."""
    measures: str
    """The trait in a word: ``toxicity``, ``profanity``, ``sentiment``, ..."""
    labels: tuple[str, ...]
    """All labels it has scores for."""
    counts: Counted
    threshold: float
    """From this number on a text is said to have the trait."""
    direction: Direction
    """What a higher number says: ``worse`` (more toxic), ``better`` (more positive) or ``neither``."""
    roles: tuple[str, ...]
    """Models that `requests` asks; empty for one that computes in this process."""
    default_models: Mapping[str, str]
    """Which model answers for a role that the run names none for."""

    @property
    def version(self) -> str:
        """What changes with the numbers: a package's version, a hash of the weights, a prompt's version."""
        ...

    def classify(self, texts: Sequence[str]) -> list[Verdict]:
        """One verdict a text, in order. Raises ScorerError where it asks a model, or cannot be loaded."""
        ...

    def requests(self, text: str) -> Sequence[Request]:
        """The model calls that a text needs, in order. Keys and samples are filled by the run."""
        ...

    def read(self, responses: Sequence[Response | None]) -> Verdict:
        """The verdict from the answers to all `requests` of a text, in their order."""
        ...

    def value(self, verdict: Verdict) -> float | None:
        """The verdict as one number (`counts`); ``None`` where it is unscored."""
        ...

    def describe(self) -> Mapping[str, Json]:
        """Name, version, labels that count, threshold and direction, for records and reports."""
        ...

    def signature(self) -> str:
        """The same as one text that pins how numbers are computed."""
        ...


class BaseClassifier:
    """Defaults for a classifier; subclasses set the attributes and write `classify`, or `requests` and `read`.

    Args:
        counts: the labels that make the number: a list (the highest counts), a mapping of label to weight (weighted sum),
            or ``None`` for the subclass's own.
        threshold: from this number on a text has the trait.
    """

    name: str = ""
    measures: str = "toxicity"
    labels: tuple[str, ...] = ()
    counts: Counted
    threshold: float = 0.5
    direction: Direction = "worse"
    roles: tuple[str, ...] = ()
    default_models: Mapping[str, str] = EMPTY

    @property
    def version(self) -> str:
        raise NotImplementedError(f"{type(self).__name__} must define version")

    def parameters(self) -> Mapping[str, Json]:
        """What the signature pins beside name, version, counts, threshold and direction."""
        return {}

    def classify(self, texts: Sequence[str]) -> list[Verdict]:
        raise ScorerError(
            f"classifier {self.name!r} asks a model ({', '.join(self.roles)}), which needs a run: evalkit run --role "
            f"{next(iter(self.roles), 'ROLE')}=provider/name"
        )

    def requests(self, text: str) -> Sequence[Request]:
        return ()

    def read(self, responses: Sequence[Response | None]) -> Verdict:
        raise ScorerError(f"classifier {self.name!r} asks no model; it computes in this process")

    def value(self, verdict: Verdict) -> float | None:
        return self.counts.value(verdict.scores) if verdict.reason is None else None

    def describe(self) -> Mapping[str, Json]:
        return {
            "name": self.name,
            "version": self.version,
            "measures": self.measures,
            "counts": self.counts.text(),
            "threshold": self.threshold,
            "higher_is": self.direction,
            **self.parameters(),
        }

    def signature(self) -> str:
        own = [f"{key}={value}" for key, value in sorted(self.parameters().items())]
        parts = [
            self.name, f"version={self.version}", f"counts={self.counts.text()}", f"threshold={self.threshold:g}",
            f"higher={self.direction}", *own,
        ]  # fmt: skip
        return ";".join(parts)


def classifier(spec: str | Mapping[str, Any] | Classifier) -> Classifier:
    """The classifier that a user wrote: ``hf:unitary/toxic-bert``, or ``{name: hf:..., counts: [...], threshold: 0.5}``.

    Kinds: ``hf:ID-OR-PATH``, ``moderation``, ``guard:FORMAT``, ``profanity``, ``wordlist``; entry points in the group
    ``evalkit.classifiers`` add to them. Raises ScorerError for an unknown kind or parameter, with the nearest.
    """
    from evalkit.classifiers.registry import build

    return build(spec)


def failed(response: Response | None) -> str | None:
    """Why a model's answer to a classifier's request cannot be used; ``None`` where it can."""
    if response is None:
        return "the classifier's model has not answered"
    if response.error is not None:
        return f"the classifier's model failed: {response.error.kind}"
    return None


def moderation_reply(text: str) -> tuple[bool, dict[str, float]] | None:
    """Whether a text is flagged, and scores in [0, 1] by category, from what a moderation model (a role) answered.

    ``None`` for anything else than ``{"flagged": true, "scores": {...}}``.
    """
    try:
        reply = json.loads(text)
    except ValueError:
        return None
    flagged: Any = reply.get("flagged") if isinstance(reply, dict) else None
    scores: Any = reply.get("scores") if isinstance(reply, dict) else None
    if not isinstance(flagged, bool) or not isinstance(scores, dict) or not scores:
        return None
    if any(isinstance(x, bool) or not isinstance(x, int | float) or not 0 <= x <= 1 for x in scores.values()):
        return None
    return flagged, {str(name): float(x) for name, x in scores.items()}


def highest(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The highest score by label over the pieces of a text."""
    found: dict[str, float] = {}
    for part in parts:
        for label, score in part.items():
            found[label] = max(found.get(label, score), score)
    return found


def pieces(text: str, most: int, overlap: int = 200) -> list[str]:
    """``text`` in pieces of at most ``most`` characters, cut between words where that is possible.

    Each piece begins up to ``overlap`` characters before the end of the last one, so that no phrase is only seen in halves.
    """
    found, start = [], 0
    while len(text) - start > most:
        end = text.rfind(" ", start + most // 2, start + most) + 1 or start + most
        found.append(text[start:end])
        back = max(start + 1, end - min(overlap, most // 4))
        start = text.find(" ", back, end) + 1 or end
    found.append(text[start:])
    return found


def counted(given: Any, labels: Sequence[str], who: str) -> Counted:
    """The parameter ``counts`` as a user wrote it: a label, a list of them, or label -> weight. Raises ScorerError."""
    from evalkit.errors import nearest

    wanted = [given] if isinstance(given, str) else given
    if not isinstance(wanted, Sequence | Mapping) or not wanted:
        raise ScorerError(f"{who}: counts must be a list of labels or label: weight, not {given!r}")
    names = [str(name) for name in wanted]
    for name in names:
        if labels and name not in labels:
            hint = nearest(name, labels) or f"; it has {', '.join(labels)}"
            raise ScorerError(f"{who}: counts names {name!r}, which is no label of it{hint}")
    if not isinstance(wanted, Mapping):
        return Counted(tuple(dict.fromkeys(names)))
    weights = tuple(wanted.values())
    if any(isinstance(w, bool) or not isinstance(w, int | float) or not math.isfinite(w) for w in weights):
        raise ScorerError(f"{who}: counts must give each label a number as its weight, not {dict(wanted)!r}")
    return Counted(tuple(names), tuple(map(float, weights)))


def threshold_of(given: Any, who: str) -> float:
    """The parameter ``threshold`` as a finite number. Raises ScorerError."""
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        raise ScorerError(f"{who}: threshold must be a number, not {given!r}")
    return float(given)
