"""inspect's scores as numbers: by the rules of its own ``value_to_float``, and none where there is none."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

_LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
_WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}


def number(value: Any) -> float | None:
    """A score's value: C(orrect) 1, P(artial) 0.5, I(ncorrect) and N(o answer) 0, numbers themselves; else ``None``.

    NaN is how inspect marks a sample without a score.
    """
    if isinstance(value, str):
        found = _LETTERS.get(value, _WORDS.get(value.lower()))
        if found is not None:
            return found
        try:
            value = float(value)
        except ValueError:
            return None
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def numbers(scores: Mapping[str, Any] | None) -> Iterator[tuple[str, float | None]]:
    """Metric and value of every score of a sample; a score of several values gives ``scorer.value``."""
    for name, score in (scores or {}).items():
        value = score.get("value") if isinstance(score, Mapping) else score
        if isinstance(value, Mapping):
            for part, inner in value.items():
                yield f"{name}.{part}", number(inner)
        elif isinstance(value, list):
            for position, inner in enumerate(value):
                yield f"{name}.{position}", number(inner)
        else:
            yield str(name), number(value)
