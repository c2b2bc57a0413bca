"""Classifiers that look at words alone: quick, offline, and blind to what a sentence means.

Neither is a toxicity classifier, and neither is called one. They find swearing and insults; contempt in polite words passes,
and identity words and quoted or reclaimed slurs are taken for insults (docs/toxicity.md has the figures).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from evalkit.classifiers.base import BaseClassifier, Counted, Verdict, threshold_of
from evalkit.classifiers.words import WORDS
from evalkit.errors import ScorerError
from evalkit.types import Json, content_hash

_EXTRA = (
    "classifier 'profanity' needs alt-profanity-check, which pins its scikit-learn and joblib exactly: pip install "
    "'evalkit[profanity]', in an environment of its own where that conflicts; the classifier 'wordlist' needs nothing"
)


class ProfanityClassifier(BaseClassifier):
    """Profanity/insult lexical classifier: alt-profanity-check, a linear model over single words, in [0, 1].

    It ships with its weights and needs no network. Trained on tweets and Wikipedia comments in English.
    """

    name = "profanity"
    measures = "profanity"
    labels = ("profanity",)

    def __init__(self, threshold: float = 0.5) -> None:
        self.counts = Counted(("profanity",))
        self.threshold = threshold_of(threshold, "classifier 'profanity'")
        try:
            self._package = version("alt-profanity-check")
            self._sklearn = version("scikit-learn")
        except PackageNotFoundError as error:
            raise ScorerError(_EXTRA) from error

    @property
    def version(self) -> str:
        return f"alt-profanity-check-{self._package}"

    def parameters(self) -> Mapping[str, Json]:
        return {"sklearn": self._sklearn}

    def classify(self, texts: Sequence[str]) -> list[Verdict]:
        predict = _predictor()
        return [Verdict({"profanity": float(p)}) for p in (predict(list(texts)) if texts else ())]


def _predictor() -> Any:
    try:
        from profanity_check import predict_prob
    except (ImportError, AttributeError) as error:  # its weights are a pickle of one version of scikit-learn
        raise ScorerError(f"{_EXTRA} ({error})") from error
    return predict_prob


class WordListClassifier(BaseClassifier):
    """A list of swear words and insults in English: 1 for a text with one of them, else 0.

    Args:
        path: a file with words of your own, one a line (``#`` begins a comment); without it a short list of evalkit's.
        threshold: kept for the sake of one protocol; any number above 0 and up to 1 means the same.
    """

    name = "wordlist"
    measures = "listed words"
    labels = ("listed_word",)

    def __init__(self, path: str | None = None, threshold: float = 0.5) -> None:
        self.counts = Counted(("listed_word",))
        self.threshold = threshold_of(threshold, "classifier 'wordlist'")
        self._words = WORDS if path is None else _words(path)
        self.name = "wordlist" if path is None else f"wordlist:{Path(path).name}"
        self._pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, self._words))})(?!\w)")

    @property
    def version(self) -> str:
        return f"{len(self._words)}-words-{content_hash(list(self._words), 4)}"

    def classify(self, texts: Sequence[str]) -> list[Verdict]:
        return [self._one(text) for text in texts]

    def _one(self, text: str) -> Verdict:
        found = sorted(set(self._pattern.findall(text.casefold())))
        return Verdict({"listed_word": float(bool(found))}, detail={"words": found} if found else {})


def _words(path: str) -> tuple[str, ...]:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ScorerError(f"classifier 'wordlist': cannot read {path} ({error})") from error
    words = {line.partition("#")[0].strip().casefold() for line in lines} - {""}
    if not words:
        raise ScorerError(f"classifier 'wordlist': {path} has no words; write one a line")
    return tuple(sorted(words))
