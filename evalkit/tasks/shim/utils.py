"""Stands in for ``lm_eval.utils``."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

eval_logger = logging.getLogger("evalkit.tasks")

_JOINS = ((" n't", "n't"), (" )", ")"), ("( ", "("), ('" ', '"'), (' "', '"'))


def general_detokenize(string: str) -> str:
    """Undo the spaces that a Penn Treebank tokeniser leaves around clitics, brackets, quotes and punctuation."""
    for spaced, joined in _JOINS:
        string = string.replace(spaced, joined)
    return re.sub(r" (?=['.,])", "", string)


def weighted_f1_score(items: Iterable[tuple[Any, Any]]) -> float:
    """F1 of each class, averaged with the number of its golds as weight; ``items`` are (gold, prediction) pairs.

    A class that is never predicted has F1 0, as in scikit-learn's ``f1_score(average="weighted")``.
    """
    pairs = [(gold, prediction) for gold, prediction in items]
    golds = Counter(gold for gold, _ in pairs)
    predictions = Counter(prediction for _, prediction in pairs)
    hits = Counter(gold for gold, prediction in pairs if gold == prediction)
    return sum(n * 2 * hits[label] / (n + predictions[label]) for label, n in golds.items()) / len(pairs)
