"""Stands in for ``transformers.data.metrics.squad_metrics``, which transformers 5 no longer has.

CoQA, ReCoRD and some twenty other task folders score with it. The rules are those of SQuAD's official script
(Rajpurkar et al. 2016; version 2.0 for answers that are empty).
"""

from __future__ import annotations

import re
import string
from collections import Counter

_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(s: str) -> str:
    """Lower case, without ASCII punctuation and English articles, single spaces."""
    return " ".join(re.sub(r"\b(?:a|an|the)\b", " ", s.lower().translate(_PUNCTUATION)).split())


def compute_exact(a_gold: str, a_pred: str) -> int:
    """1 where both are the same answer once normalised, else 0."""
    return int(normalize_answer(a_gold) == normalize_answer(a_pred))


def compute_f1(a_gold: str, a_pred: str) -> float:
    """F1 of the words that both share; where either has no words, 1 if neither has, else 0."""
    gold, predicted = (normalize_answer(text).split() if text else [] for text in (a_gold, a_pred))
    if not gold or not predicted:
        return int(gold == predicted)
    shared = sum((Counter(gold) & Counter(predicted)).values())
    return 2 * shared / (len(gold) + len(predicted))
