"""Stands in for ``lm_eval.api.registry``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from evalkit.tasks.filters import FILTERS

_Class = TypeVar("_Class", bound=Callable[..., Any])


def register_filter(name: str) -> Callable[[_Class], _Class]:
    """Class decorator: from now on task files may use the filter by ``name``."""

    def register(cls: _Class) -> _Class:
        FILTERS.add(name, cls)
        return cls

    return register
