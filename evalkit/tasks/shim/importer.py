"""Imports the Python files of task folders.

Each module gets an ``__import__`` of its own, so that ``import utils`` finds the file beside it, and ``lm_eval.*`` the
shim and the folder's other tasks, without a change to ``sys.path`` or to how anything else imports: two folders may both
have a ``utils.py``, an installed lm-eval is neither loaded nor shadowed, and imports inside functions work long after.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

#: The shim always wins over an installed lm-eval: loading that takes seconds, and a task must not depend on its version.
_SHIM = {
    "lm_eval.utils": "evalkit.tasks.shim.utils",
    "lm_eval.api.filter": "evalkit.tasks.shim.filters",
    "lm_eval.api.metrics": "evalkit.tasks.shim.metrics",
    "lm_eval.api.registry": "evalkit.tasks.shim.registry",
    "lm_eval.filters.extraction": "evalkit.tasks.shim.filters",
    "transformers.data.metrics.squad_metrics": "evalkit.tasks.shim.squad",
}
#: The packages around them: lm_eval, lm_eval.api, transformers, transformers.data, ...
_PACKAGES = frozenset(name.rsplit(".", depth)[0] for name in _SHIM for depth in range(1, name.count(".") + 1))

_modules: dict[Path, tuple[str, ModuleType]] = {}
_folders: dict[Path, ModuleType] = {}
_lock = threading.RLock()


def module_at(path: Path) -> ModuleType:
    """The module in the file ``path``, executed once for each content of the file. Raises whatever its code raises."""
    path = path.resolve()
    source = path.read_bytes()
    # The name goes into fingerprints of mapped datasets: other code must be another name. Flat, so that it pickles.
    digest = hashlib.blake2b(str(path).encode() + b"\0" + source, digest_size=8).hexdigest()
    name = f"evalkit_task_{digest}_{path.stem}"
    with _lock:
        known = _modules.get(path)
        if known is not None and known[0] == name:
            return known[1]
        module = ModuleType(name)
        module.__file__ = str(path)
        _modules[path] = (name, module)  # before it runs: modules may import each other
        sys.modules[name] = module  # dataclasses and pickle look a class's module up
        try:
            _run(module, path, source)
        except BaseException:
            del _modules[path], sys.modules[name]
            raise
        return module


def find(folder: Path, name: str) -> ModuleType:
    """The module called ``name`` as a file in ``folder`` would import it. Raises ModuleNotFoundError."""
    module: ModuleType = _Importer(folder)(name, fromlist=("*",))
    return module


def file_of(folder: Path, name: str) -> Path | None:
    """The source file of what `find` would give, without running any; None where it has no file or is not there."""
    if (shim := _SHIM.get(name)) is None and name.startswith("lm_eval.tasks."):
        parts = name.split(".")[2:]
        root = _task_root(folder, parts)
        return root and _source(root, parts)
    if shim is None and (own := _source(folder, name.split("."))) is not None:
        return own
    if shim is not None:
        return Path(__file__).parent / f"{shim.rpartition('.')[2]}.py"
    top, *below = name.split(".")
    try:
        spec = importlib.util.find_spec(top)  # of a dotted name it would run the packages on the way
    except (ImportError, ValueError):
        return None
    if spec is None or not below:
        return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None
    found = (_source(Path(place), below) for place in spec.submodule_search_locations or ())
    return next((path for path in found if path is not None), None)


def _source(folder: Path, parts: Sequence[str]) -> Path | None:
    path = folder.joinpath(*parts)
    return next((p for p in (path.with_name(path.name + ".py"), path / "__init__.py") if p.is_file()), None)


def _run(module: ModuleType, path: Path, source: bytes) -> None:
    module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _Importer(path.parent)}
    exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)


def _folder_module(folder: Path) -> ModuleType:
    """A folder as a package whose parts are imported when they are looked up."""
    with _lock:
        if folder in _folders:
            return _folders[folder]
        module = _folders[folder] = _lazy(folder.name, lambda part: _part(folder, part))
        module.__path__ = [str(folder)]
        init = folder / "__init__.py"
        if init.is_file() and not _is_task_root(folder):  # in lm-eval's own folder that file is the harness itself
            try:
                module.__file__ = str(init)
                _run(module, init, init.read_bytes())
            except BaseException:
                del _folders[folder]
                raise
        return module


def _part(folder: Path, name: str) -> ModuleType | None:
    """The module or package ``name`` inside ``folder``, imported; None where there is neither."""
    if (file := folder / f"{name}.py").is_file():
        return module_at(file)
    if (inner := folder / name).is_dir():
        return _folder_module(inner.resolve())
    return None


def _lazy(name: str, look_up: Callable[[str], Any]) -> ModuleType:
    module = ModuleType(name)

    def __getattr__(part: str) -> Any:
        found = None if part.startswith("__") else look_up(part)
        if found is None:
            raise AttributeError(f"module {name!r} has no attribute {part!r}")
        return found

    module.__dict__.update(__getattr__=__getattr__, __look_up__=look_up)
    return module


def _inside(module: ModuleType, part: str) -> Any:
    """What ``part`` of ``module`` is, or None. Not by getattr: an AttributeError of the part's own code must show."""
    if part in vars(module):
        return vars(module)[part]
    look_up = vars(module).get("__look_up__")
    return look_up(part) if look_up is not None else None


class _Importer:
    """The ``__import__`` of modules in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self, name: str, globals: Any = None, locals: Any = None, fromlist: Sequence[str] | None = (), level: int = 0
    ) -> Any:
        chain: list[ModuleType] | None = None
        parts = name.split(".") if name else []
        if level:
            base = self.folder if level == 1 else self.folder.parents[level - 2]
            chain = self._walk([_folder_module(base)], parts, name)[-1:]
        elif parts[:2] == ["lm_eval", "tasks"]:
            root = _task_root(self.folder, [*parts[2:], *(fromlist or ())])
            chain = None if root is None else self._walk([_shim_package(root, "lm_eval")], parts[1:], name)
        elif (parts[0] == "lm_eval" and name in _PACKAGES) or any(full in _SHIM for full in (name, *_full(name, fromlist))):
            chain = self._walk([_shim_package(None, parts[0])], parts[1:], name)
        elif _is_beside(self.folder, parts[0]) and not _is_installed(parts[0]):
            first = _part(self.folder, parts[0])
            assert first is not None, "it is beside"
            chain = self._walk([first], parts[1:], name)
        if chain is None:
            return builtins.__import__(name, globals, locals, fromlist or (), 0)
        for part in fromlist or ():
            _inside(chain[-1], part)  # imported here, so that what its code raises is seen
        return chain[-1] if fromlist else chain[0]

    def _walk(self, chain: list[ModuleType], parts: Sequence[str], name: str) -> list[ModuleType]:
        for part in parts:
            if (found := _inside(chain[-1], part)) is None:
                raise ModuleNotFoundError(f"no module {name!r} for {self.folder}", name=name)
            chain.append(found)
        return chain


def _full(package: str, parts: Sequence[str] | None) -> list[str]:
    return [f"{package}.{part}" for part in parts or ()]


@cache
def _shim_package(root: Path | None, name: str) -> ModuleType:
    """A package around the stand-ins; ``root`` is the folder that ``lm_eval.tasks`` means."""

    def look_up(part: str) -> Any:
        full = f"{name}.{part}"
        if full == "lm_eval.tasks":
            return None if root is None else _folder_module(root)
        if full in _SHIM:
            return importlib.import_module(_SHIM[full])
        if full in _PACKAGES:
            return _shim_package(root, full)
        return None if name.startswith("lm_eval") else getattr(importlib.import_module(name), part, None)

    return _lazy(name, look_up)


def _task_root(folder: Path, below: Sequence[str]) -> Path | None:
    """The folder that ``lm_eval.tasks`` means to files in ``folder``: one so named above it, else one with ``below``."""
    above = [folder, *folder.parents]
    named = next((path for path in above if _is_task_root(path)), None)
    return named or next((path for path in above if below and _is_beside(path, below[0])), None)


def _is_task_root(folder: Path) -> bool:
    return folder.name == "tasks" and folder.parent.name == "lm_eval"


def _is_beside(folder: Path, name: str) -> bool:
    return (folder / f"{name}.py").is_file() or (folder / name).is_dir()


@cache
def _is_installed(name: str) -> bool:
    """Whether ``name`` is the standard library's or an installed package's: these win over a file of the same name."""
    if name in sys.stdlib_module_names:
        return True
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    places = [] if spec is None else [spec.origin or "", *(spec.submodule_search_locations or ())]
    return any("site-packages" in place or "dist-packages" in place for place in places)
