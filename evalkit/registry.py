"""Names to implementations: built-ins as strings, imported on use; third parties through entry points.

An entry point in group ``evalkit.models``, ``evalkit.scorers``, ``evalkit.loaders`` or ``evalkit.reporters`` adds a name.
Entry points are scanned only when a name is not a built-in (a scan costs about 100 ms).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from evalkit.errors import UsageError, nearest


class Registry:
    """A table of names for one kind of plug-in; ``error`` is raised, with the nearest names, for an unknown one."""

    def __init__(self, kind: str, builtins: Mapping[str, str], error: type[UsageError] = UsageError) -> None:
        self.kind = kind
        self.group = f"evalkit.{kind}s"
        self._targets: dict[str, str] = dict(builtins)
        self._objects: dict[str, Any] = {}
        self._error = error

    def add(self, name: str, value: Callable[..., Any]) -> None:
        """Register ``value`` under ``name`` for this process; it wins over a built-in of that name."""
        self._objects[name] = value

    def names(self) -> list[str]:
        """All known names, built-in, added and third-party, sorted."""
        return sorted({*self._targets, *self._objects, *self._entry_points()})

    def get(self, name: str) -> Any:
        """The implementation called ``name``, imported now if it was not yet."""
        if name not in self._objects:
            if name in self._targets:
                module, _, attribute = self._targets[name].partition(":")
                self._objects[name] = getattr(importlib.import_module(module), attribute)
            else:
                points = self._entry_points()
                if name not in points:
                    known = self.names()
                    hint = nearest(name, known) or f"; known: {', '.join(known)}"
                    raise self._error(f"unknown {self.kind} {name!r}{hint}")
                self._objects[name] = points[name].load()
        return self._objects[name]

    def _entry_points(self) -> Mapping[str, Any]:
        from importlib.metadata import entry_points

        return {point.name: point for point in entry_points(group=self.group)}
