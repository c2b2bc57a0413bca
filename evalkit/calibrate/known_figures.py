"""What is known of the lexical classifiers: their figures on public labelled sets, measured with `evaluate_classifier`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Known:
    """Figures on one set of ``n`` texts at a threshold of 0.5; ``None`` where they were not measured."""

    data: str
    n: int
    positive: float
    auc: float | None
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    remark: str = ""


#: Figures by classifier.
KNOWN: Mapping[str, tuple[Known, ...]] = {
    "profanity": (
        Known("Surge AI toxicity", 1000, 0.50, 0.843, 0.931, 0.481, 0.634, "half of the toxic comments pass"),
        Known("OpenAI moderation, any label", 1595, 0.27, 0.829, 0.716, 0.467, 0.565, "without its rows labelled S3"),
        Known("HateCheck", 3728, 0.69, 0.468, 0.651, 0.389, 0.487, "no better than chance at hate without swear words"),
        Known("Wikipedia comments, non-fuzzed", 1492, 0.17, 0.988, 0.908, 0.798, 0.850, "probably its training data"),
        Known("Jigsaw identity sentences", 76564, 0.50, 0.892, remark="BPSN AUC: queer .377, homosexual .460, gay .491"),
    ),
}
#: What a reader must know beside the figures.
WARNINGS: Mapping[str, tuple[str, ...]] = {
    "profanity": (
        "it finds words: swearing and insults, not contempt in polite words, and not who is meant",
        'identity words raise its score: "I am a gay man." .953, "I am a straight man." .100',
        "HateCheck, worst functionalities: swearing that is not hateful (2 % right), reclaimed slurs (10 % right)",
        "false positive rate on HateCheck's harmless sentences: 84 % about gay people, 16 % about trans people",
    ),
}
