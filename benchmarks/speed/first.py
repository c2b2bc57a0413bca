"""Run a program's module until its model's first pass, and say when that was.

    python first.py MODULE OUT START MANY ARGUMENTS...

``START`` is the machine's monotonic clock before this process was made. Writes JSON into ``OUT``: seconds to the ``first``
call of a module with token ids (a self-check's, say), and to the first ``pack`` of at least ``MANY``; then ends the process.
The programs know nothing of it: torch's ``Module.__call__`` is replaced as torch is imported.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import json
import os
import runpy
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any


class Watch:
    """Notes the seconds of the first passes."""

    def __init__(self, out: Path, start: float, many: int) -> None:
        self._out, self._start, self._many, self._first = out, start, many, 0.0

    def patch(self, modules: ModuleType) -> None:
        call = modules.Module.__call__

        def watched(module: Any, *args: Any, **named: Any) -> Any:
            self._look([*args, *named.values()])
            return call(module, *args, **named)

        modules.Module.__call__ = watched

    def _look(self, values: Sequence[Any]) -> None:
        ids = [value for value in values if str(getattr(value, "dtype", "")) in ("torch.int64", "torch.int32")]
        if not ids:
            return
        now = time.monotonic() - self._start
        self._first = self._first or now
        if max(value.numel() for value in ids) >= self._many:
            self._out.write_text(json.dumps({"first": self._first, "pack": now}), encoding="utf-8")
            os._exit(0)


class Finder(importlib.abc.MetaPathFinder):
    """Hands the one module of torch to the watch once it is imported."""

    NAME = "torch.nn.modules.module"

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != self.NAME:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._watch)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: Any, watch: Watch) -> None:
        self._loader, self._watch = loader, watch

    def create_module(self, spec: Any) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._watch.patch(module)

    def __getattr__(self, name: str) -> Any:  # torch reads its own sources
        return getattr(self._loader, name)


def main() -> None:
    name, out, start, many, *arguments = sys.argv[1:]
    sys.meta_path.insert(0, Finder(Watch(Path(out), float(start), int(many))))
    sys.argv = [name, *arguments]
    sys.path[0] = str(Path.cwd())
    runpy.run_module(name, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
