"""How a provider of models is declared: its name, one line about it, and the ``-M key=value`` options it takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from evalkit.errors import ModelError, nearest
from evalkit.models.base import Model, ModelOptions
from evalkit.types import EMPTY

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
        return self.build(name, parse_args(options.args, self.args, f"{self.provider}/{name}", options.flags), options)


def parse_args(
    given: Mapping[str, str], known: tuple[Arg, ...], model: str, flags: Mapping[str, str] = EMPTY
) -> dict[str, Any]:
    """All ``known`` options by name, parsed or default; ``given`` as ``-M``, or by the ``flags`` of their own.

    Raises ModelError for a key or value that is wrong, and for a flag that contradicts an ``-M``.
    """
    table = {arg.name: arg for arg in known}
    values = {arg.name: arg.default for arg in known}
    values |= {key: _parsed(table, key, text, model, f"-M {key}={text}") for key, text in given.items()}
    for key, text in flags.items():
        written = f"{flag_of(key)} {text}"
        value = _parsed(table, key, text, model, written)
        if key in given and value != values[key]:
            raise ModelError(f"{written} contradicts -M {key}={given[key]}: give one of them")
        values[key] = value
    return values


def _parsed(table: Mapping[str, Arg], key: str, text: str, model: str, written: str) -> Any:
    if key not in table:
        hint = nearest(key, table) or f"; it takes {', '.join(table) or 'none'}"
        raise ModelError(f"{written}: {model} has no option {key!r}{hint}")
    try:
        return table[key].parse(str(text))
    except ValueError as error:
        raise ModelError(f"{written}: {error} ({table[key].help})") from error


def refuse_flags(options: ModelOptions, model: str) -> None:
    """Raises ModelError where the run has flags for a model that is not loaded by evalkit."""
    for key, text in options.flags.items():
        raise ModelError(f"{flag_of(key)} {text}: {model} is not loaded by evalkit; leave it out")


def flag_of(option: str) -> str:
    """The command-line flag of an option."""
    return "--" + option.replace("_", "-")
