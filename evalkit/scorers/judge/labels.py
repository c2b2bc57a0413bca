"""G-Eval's score: the sum over a scale's points of probability times value, from log-probabilities of its labels.

Liu et al., "G-Eval" (EMNLP 2023), section 2: score = sum_i p(s_i) s_i. What falls on anything but a label is reported, and
the rest is renormalised.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from evalkit.errors import ScorerError
from evalkit.scorers.judge.base import Verdict, Via

#: What may surround a label in a token: blanks, quotes, brackets, the marks that tokenisers write for a blank.
_MARKS = " \t\r\n()[].:*\"'▁Ġ"

#: Labels that together hold less than this say nothing about each other.
LEAST_MASS = 1e-6


def check_labels(points: Mapping[str, float], via: Via, rubric: str) -> None:
    """Raises ScorerError for a scale whose labels' probabilities cannot be told apart this way, with the ways out."""
    ways = "use a scale of up to ten points (or of single letters), or score_mode: sample:20"
    labels = [label.casefold() for label in points]
    for label in labels:
        if any(other != label and other.startswith(label) for other in labels):
            raise ScorerError(
                f"rubric {rubric}: the label {label!r} begins another one, so that probabilities of labels cannot be "
                f"told apart; {ways}"
            )
    long = next((label for label in points if len(label) > 1), None)
    if via == "top_logprobs" and long is not None:
        raise ScorerError(
            f"rubric {rubric}: the label {long!r} may be several tokens, and servers give those of single ones; {ways}"
        )


def from_loglikelihoods(points: Mapping[str, float], logprobs: Sequence[float]) -> Verdict:
    """The weighted score from the log-probability (natural) of each label, in the order of ``points``."""
    return _weighted(points, [math.exp(value) for value in logprobs])


def from_top_logprobs(points: Mapping[str, float], top: Mapping[str, float]) -> Verdict:
    """The weighted score from the likeliest first tokens of an answer: token text -> natural log-probability.

    Tokens that are a label but for blanks and marks count for it. A label that is not listed is less likely than those that
    are, and counts as 0; how much is not accounted for stands in `Verdict.outside`.
    """
    masses = dict.fromkeys(points, 0.0)
    spelled = {label.casefold(): label for label in points}
    for token, logprob in top.items():
        label = spelled.get(token.strip(_MARKS).casefold())
        if label is not None:
            masses[label] += math.exp(logprob)
    return _weighted(points, list(masses.values()))


def _weighted(points: Mapping[str, float], masses: Sequence[float]) -> Verdict:
    total = math.fsum(masses)
    if not math.isfinite(total) or total < LEAST_MASS:
        return Verdict("error", outside=1.0, reason="none of the scale's labels is among the judge's likely answers")
    shares = {label: mass / total for label, mass in zip(points, masses, strict=True)}
    value = math.fsum(share * points[label] for label, share in shares.items())
    best = max(shares, key=shares.__getitem__)
    return Verdict("score", value, best, shares, outside=min(1.0, max(0.0, 1.0 - total)))
