"""JSON on one line, for what is written or hashed once a sample: the standard library's encoder, made once."""

from __future__ import annotations

import json
from collections.abc import Callable
from json import encoder as library
from typing import Any


def encoder(*, default: Callable[[Any], Any] = str, allow_nan: bool = True, sort_keys: bool = False) -> Callable[[Any], str]:
    """As ``json.JSONEncoder(..., ensure_ascii=False, separators=(",", ":")).encode``, which is made anew at every call.

    Where the library has its C encoder that costs more than a short line itself. Values must not contain themselves.
    Raises what ``json.dumps`` raises.
    """
    make: Any = getattr(library, "c_make_encoder", None)
    text: Any = getattr(library, "c_encode_basestring", None)
    if make is None or text is None:
        plain = json.JSONEncoder(
            ensure_ascii=False, separators=(",", ":"), default=default, allow_nan=allow_nan, sort_keys=sort_keys
        )
        return plain.encode
    # markers, default, encoder, indent, key separator, item separator, sort keys, skip keys, allow NaN
    parts: Any = make(None, default, text, None, ":", ",", sort_keys, False, allow_nan)
    return lambda value: "".join(parts(value, 0))
