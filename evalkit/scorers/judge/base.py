"""What the parts of a judge share: verdicts in three states, and how scores are had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

#: A verdict is a score, or a reply that holds none (``error``), or the judge's declining to judge.
State = Literal["score", "error", "refusal"]

#: How a judge is asked. ``loglikelihood``: the log-probability of every label is asked for (local models, or servers that
#: score given texts). ``top_logprobs``: one short answer with its likeliest first tokens. ``text``: the reply is read.
Via = Literal["loglikelihood", "top_logprobs", "text"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of asking a judge once. ``value`` is ``None`` unless ``state`` is ``score``: never 0, never NaN.

    ``label`` is the scale's point that was given (the likeliest one where probabilities are weighted), ``probabilities`` its
    distribution over the points, renormalised, and ``outside`` the probability that fell on anything else.
    """

    state: State
    value: float | None = None
    label: str | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    outside: float | None = None
    reason: str | None = None
    reply: str = ""


@dataclass(frozen=True, slots=True)
class Texts:
    """What a judge may be shown of an item, by part; ``output`` is what is rated (``other`` beside it in a pair)."""

    output: str
    input: str | None = None
    source: str | None = None
    reference: str | None = None
    other: str | None = None
