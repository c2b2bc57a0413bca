"""A task's resolved definition as JSON: what the manifest records and hashes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from evalkit.tasks.schema import FunctionRef, TaskConfig
from evalkit.types import Json

#: Where the file lies and how it is listed does not change what is measured.
_LEFT_OUT = frozenset({"source", "tags", "summary", "licence", "content_warning"})


def definition(config: TaskConfig, resolved: Mapping[str, Json]) -> dict[str, Json]:
    """The definition without empty keys, with ``resolved`` settings (shots, generation) over what the file says.

    Functions appear as their name and a hash of their source: changed code is a changed definition.
    """
    shown = {key: getattr(config, key) for key in TaskConfig.model_fields if key not in _LEFT_OUT}
    return {
        key: _plain(value) for key, value in {**shown, **resolved}.items() if value is not None and value not in ([], {})
    }


def _plain(value: Any) -> Json:
    if isinstance(value, FunctionRef):
        from evalkit.tasks.functions import source_hash

        return {"function": f"{value.module}.{value.name}", "source_hash": source_hash(value)}
    if isinstance(value, BaseModel):
        given = {**{key: getattr(value, key) for key in type(value).model_fields}, **(value.model_extra or {})}
        return {key: _plain(item) for key, item in given.items() if item is not None}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
