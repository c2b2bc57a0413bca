"""A gate's result as one strict JSON document for programs, its shape versioned."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from evalkit.errors import EvalkitError
from evalkit.gating.base import GateResult
from evalkit.types import Json

#: Of the document. New members may come within a version; what a member means changes only with it.
FORMAT, VERSION = "evalkit-gate", 1


def document(result: GateResult) -> dict[str, Json]:
    """The result as JSON-like data: the fields of `GateResult`, of its checks and of its sides by their names.

    What is no number (NaN, infinite) is ``null``. ``error`` is ``null``: there is a verdict.
    """
    return {"format": FORMAT, "version": VERSION, "error": None, **_plain(asdict(result))}


def refused(gate: str, error: EvalkitError) -> dict[str, Json]:
    """The document where there is no verdict: ``verdict`` is ``null``, ``error`` says why, ``checks`` is empty."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "error": str(error),
        "gate": gate,
        "verdict": None,
        "exit_code": error.exit_code,
        "headline": f"cannot gate: {error}",
        "checks": [],
    }


def render(document: Mapping[str, Json]) -> str:
    """The document as text; characters that UTF-8 cannot write (lone surrogates) as JSON's own escapes."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    return _plain(value.tolist()) if hasattr(value, "tolist") else str(value)  # numpy's scalars and arrays
