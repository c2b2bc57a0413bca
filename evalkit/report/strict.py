"""Strict JSON: never NaN, always UTF-8, whatever a task's data or a model put into it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Set
from functools import cache
from json.encoder import encode_basestring
from typing import Any

from evalkit.jsonlines import encoder
from evalkit.types import Json


def dumps(value: Any, *, indent: int | None = None) -> bytes:
    """``value`` as strict JSON. NaN and infinities become ``null``, what JSON does not know becomes text.

    A lone surrogate (half of a character, as a broken generation can end in) is written as its JSON escape.
    """
    encode = _encoder(indent)
    try:
        text = encode(value)
    except (ValueError, TypeError):  # a NaN, or a key that is no string: rare, so only then the slow way
        text = encode(plain(value))
    return text.encode("utf-8", "backslashreplace")


def indented(value: Any, line: str = "\n") -> str:
    """``json.dumps(plain(value), indent=2, ensure_ascii=False)`` in a third of its time; ``line`` starts a line."""
    inner = line + "  "
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, dict) and value:
        parts = [f"{encode_basestring(str(k))}: {indented(v, inner)}" for k, v in value.items()]
        return f"{{{inner}{f',{inner}'.join(parts)}{line}}}"
    if isinstance(value, list) and value:
        return f"[{inner}{f',{inner}'.join([indented(v, inner) for v in value])}{line}]"
    if type(value) is int:
        return str(value)
    if value is None or isinstance(value, bool | int):
        return json.dumps(value)
    found = plain(value)
    return indented(found, line) if isinstance(found, dict | list) and found else json.dumps(found, ensure_ascii=False)


@cache
def _encoder(indent: int | None) -> Callable[[Any], str]:
    if indent is None:
        return encoder(default=_plain, allow_nan=False)
    return json.JSONEncoder(indent=indent, ensure_ascii=False, allow_nan=False, default=_plain).encode


def plain(value: Any) -> Json:
    """``value`` made of dicts, lists, strings, finite numbers, booleans and None."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | Set):
        return [plain(v) for v in value]
    return plain(_plain(value))


def _plain(value: Any) -> Json:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Set):
        return sorted(value, key=str)
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return value.tolist()
    return str(value)
