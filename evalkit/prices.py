"""What models cost: a table of patterns, in US dollars per million tokens. A price that is not known is never zero."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evalkit.errors import ConfigError, nearest
from evalkit.yamlmodel import first_error, read_model

#: Characters of text that stand for one token where nobody counted: English text has about four.
CHARACTERS_A_TOKEN = 4

_Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Tokens(NamedTuple):
    """What one answer, or many, took. ``cached`` is part of ``prompt`` and ``reasoning`` part of ``output``."""

    prompt: int | None
    output: int | None
    cached: int = 0
    reasoning: int = 0


class Price(BaseModel):
    """US dollars per million tokens. ``cached`` and ``reasoning`` cost what ``input`` and ``output`` do unless given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: _Dollars
    output: _Dollars
    cached: _Dollars | None = None
    reasoning: _Dollars | None = None


class Entry(Price):
    """A price and whom it is for: patterns on ``provider/name`` and on the base URL; ``date`` is when it was true."""

    model: str | list[str]
    endpoint: str | None = None
    date: datetime.date | None = None
    source: str | None = None
    note: str | None = None


class Table(BaseModel):
    """A file of prices. ``local`` are patterns of names or base URLs whose use has no bill."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    local: list[str] = []
    prices: list[Entry] = []


@dataclass(frozen=True, slots=True)
class Quote:
    """What is known of a model's price: ``price`` is None where nothing is; ``local`` where there is no bill at all."""

    price: Price | None = None
    local: bool = False
    origin: str = ""

    def public(self) -> dict[str, Any]:
        """For the manifest."""
        known = {}
        if self.price is not None:
            known = self.price.model_dump(mode="json", exclude_none=True, exclude={"model", "endpoint"})
        return {**known, "local": self.local, "origin": self.origin}


def cost_of(tokens: Tokens, price: Price | None) -> float | None:
    """US dollars; None where the price or a count is not known."""
    if price is None or tokens.prompt is None or tokens.output is None:
        return None
    cached = price.input if price.cached is None else price.cached
    reasoning = price.output if price.reasoning is None else price.reasoning
    total = (tokens.prompt - tokens.cached) * price.input + tokens.cached * cached
    total += (tokens.output - tokens.reasoning) * price.output + tokens.reasoning * reasoning
    return total / 1e6


def quote(model: str, endpoint: str | None, files: Sequence[Path | str] = ()) -> Quote:
    """The first entry that fits in ``files``, then in the user's table, then in the one that ships with evalkit.

    Raises ConfigError for a file that is wrong.
    """
    for path, table in [*((Path(file), load(Path(file))) for file in files), *_standing()]:
        for entry in table.prices:
            if _fits(entry, model, endpoint):
                return Quote(entry, origin=f"{path.name}{f' of {entry.date}' if entry.date else ''}")
        if any(fnmatchcase(text, pattern) for pattern in table.local for text in (model, endpoint or "")):
            return Quote(local=True, origin=path.name)
    return Quote()


def _fits(entry: Entry, model: str, endpoint: str | None) -> bool:
    if entry.endpoint is not None and endpoint is not None and not fnmatchcase(endpoint, entry.endpoint):
        return False
    patterns = [entry.model] if isinstance(entry.model, str) else entry.model
    return any(fnmatchcase(model, pattern) for pattern in patterns)


def _standing() -> list[tuple[Path, Table]]:
    own = user_table()
    return [(path, load(path)) for path in ([own] if own.is_file() else []) + [shipped_table()]]


def shipped_table() -> Path:
    """The table that comes with evalkit."""
    return Path(__file__).with_name("prices.yaml")


def user_table() -> Path:
    """Where a user's own table is looked for."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "evalkit" / "prices.yaml"


def load(path: Path) -> Table:
    """The table in ``path``; raises ConfigError naming file, line and key."""
    path = path.expanduser()
    try:
        stamp = path.stat().st_mtime_ns
        return _load(path, stamp)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"price table {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


@lru_cache(maxsize=8)
def _load(path: Path, stamp: int) -> Table:
    return read_model(path, Table, "price table", ConfigError)


def parse_price(value: str | Mapping[str, Any] | Price) -> Price:
    """``in=2.5,out=10[,cached=1.25][,reasoning=10]``, or a mapping of the same. Raises ValueError with the reason."""
    if isinstance(value, Price):
        return value
    if isinstance(value, str):
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        if wrong := [name for name, equals, _ in pairs if not equals]:
            raise ValueError(f"a price is written in=DOLLARS,out=DOLLARS per million tokens, got {wrong[0]!r}")
        value = {name.strip(): text for name, _, text in pairs}
    if not isinstance(value, Mapping):
        raise ValueError(f"a price is written in=DOLLARS,out=DOLLARS per million tokens, got {value!r}")
    names = {"in": "input", "out": "output", "cached_input": "cached"}
    try:
        return Price.model_validate({names.get(key, key): item for key, item in value.items()})
    except ValidationError as error:
        raise ValueError(_reason(first_error(error))) from error


def parse_roles(value: Any) -> dict[str, Price]:
    """Prices by role: ``in=1,out=2`` is the candidate's, ``judge:in=1,out=2`` the judge's; several as a list or a mapping.

    Raises ValueError with the reason.
    """
    if isinstance(value, Mapping) and not value.keys() & {"in", "input", "out", "output"}:
        return {str(role): parse_price(price) for role, price in value.items()}
    prices = {}
    for item in value if isinstance(value, list | tuple) else [value]:
        role, colon, text = item.partition(":") if isinstance(item, str) else ("", "", item)
        if isinstance(item, str) and (not colon or "=" in role):
            role, text = "", item
        prices[role or "model"] = parse_price(text)
    return prices


def _reason(error: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"{key} is missing: a price needs input and output"
    if error["type"] == "extra_forbidden":
        name = str(error["loc"][-1])
        return f"unknown key {name!r}{nearest(name, Price.model_fields) or '; there are ' + ', '.join(Price.model_fields)}"
    return f"{key}: {str(error['msg']).replace('Input should be', 'expected')}, got {error['input']!r}"
