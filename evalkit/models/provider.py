"""How a provider of models is declared: its name, one line about it, and the ``-M key=value`` options it takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from evalkit.errors import ModelError, nearest
from evalkit.models.base import Model, ModelOptions

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def flag(text: str) -> bool:
    """``true``/``false`` as people write it."""
    low = text.strip().lower()
    if low in _TRUE or low in _FALSE:
        return low in _TRUE
    raise ValueError("expected true or false")


def whole(text: str, least: int = 0) -> int:
    """A whole number of at least ``least``."""
    if not text.strip().lstrip("+").isdecimal() or int(text) < least:
        raise ValueError(f"expected a whole number of at least {least}")
    return int(text)


def positive(text: str) -> int:
    """A whole number of at least 1."""
    return whole(text, 1)


def mapping(text: str) -> dict[str, Any]:
    """A JSON object."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("expected a JSON object")
    return value


def one_of(*choices: str) -> Callable[[str], str]:
    """One of ``choices``."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return text

    return parse


@dataclass(frozen=True, slots=True)
class Arg:
    """One ``-M`` option. ``parse`` turns its text into a value and raises ValueError for text that does not fit."""

    name: str
    help: str
    parse: Callable[[str], Any] = str
    default: Any = None


@dataclass(frozen=True, slots=True)
class Provider:
    """A factory of models, called as ``provider(name, options)``.

    ``names`` lists the models there are; empty means that the name is free (a path, an id). ``build`` gets the name, every
    option of ``args`` by name (parsed, or its default) and the run's options.
    """

    provider: str
    summary: str
    build: Callable[[str, Mapping[str, Any], ModelOptions], Model]
    args: tuple[Arg, ...] = ()
    names: Mapping[str, str] | None = None

    def __call__(self, name: str, options: ModelOptions) -> Model:
        if self.names is not None and name not in self.names:
            hint = nearest(name, self.names) or f"; there are {', '.join(self.names)}"
            raise ModelError(f"unknown model {self.provider}/{name}{hint}")
        return self.build(name, parse_args(options.args, self.args, f"{self.provider}/{name}"), options)


def parse_args(given: Mapping[str, str], known: tuple[Arg, ...], model: str) -> dict[str, Any]:
    """All ``known`` options by name, parsed or default. Raises ModelError for a key or value that is wrong."""
    values = {arg.name: arg.default for arg in known}
    table = {arg.name: arg for arg in known}
    for key, text in given.items():
        if key not in table:
            hint = nearest(key, table) or f"; it takes {', '.join(table) or 'none'}"
            raise ModelError(f"-M {key}={text}: {model} has no option {key!r}{hint}")
        try:
            values[key] = table[key].parse(str(text))
        except ValueError as error:
            raise ModelError(f"-M {key}={text}: {error} ({table[key].help})") from error
    return values
