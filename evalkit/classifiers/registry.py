"""From what a user wrote to a classifier."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from evalkit.classifiers.base import Classifier
from evalkit.errors import ScorerError, nearest
from evalkit.registry import Registry

_HERE = "evalkit.classifiers"

#: Kind -> factory; what stands behind the colon of a name is its first parameter.
CLASSIFIERS = Registry(
    "classifier",
    {
        "guard": f"{_HERE}.guard:GuardClassifier",
        "hf": f"{_HERE}.hf:HFClassifier",
        "moderation": f"{_HERE}.moderation:ModerationClassifier",
        "profanity": f"{_HERE}.lexical:ProfanityClassifier",
        "wordlist": f"{_HERE}.lexical:WordListClassifier",
    },
    ScorerError,
)


def build(spec: str | Mapping[str, Any] | Classifier) -> Classifier:
    """See `evalkit.classifiers.base.classifier`."""
    if isinstance(spec, str):
        name, given = spec, {}
    elif isinstance(spec, Mapping):
        given = dict(spec)
        name = str(given.pop("name", ""))
        if not name:
            raise ScorerError(f"classifier {dict(spec)!r} has no name; known: {', '.join(CLASSIFIERS.names())}")
    else:
        return spec
    kind, colon, rest = name.partition(":")
    factory = CLASSIFIERS.get(kind.strip())
    parameters = inspect.signature(factory).parameters
    if colon and rest.strip():
        first = next(iter(parameters))
        if first in given or first not in _NAMED:
            raise ScorerError(f"classifier {name!r}: nothing can stand behind {kind}:")
        given[first] = rest.strip()
    for key in given:
        if key not in parameters:
            hint = nearest(key, parameters) or f"; it has {', '.join(parameters)}"
            raise ScorerError(f"classifier {name!r} has no parameter {key!r}{hint}")
    for key, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and key not in given:
            raise ScorerError(f"classifier {name!r} needs its {key}: {kind}:{key.upper()}")
    built: Classifier = factory(**given)
    return built


#: First parameters that are given behind the colon.
_NAMED = ("model", "format", "path")
