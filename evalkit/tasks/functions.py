"""``!function`` references of task files: refused, or imported from the file beside the YAML."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from evalkit.errors import CodeRefused, EvalkitError, TaskError, nearest
from evalkit.tasks.schema import FunctionRef
from evalkit.tasks.shim import importer


def load(ref: FunctionRef, *, allow_code: bool) -> Callable[..., Any]:
    """The function or class that ``ref`` names: from ``<folder>/module/path.py`` where that is a file, else from a module.

    Raises CodeRefused without ``allow_code``; TaskError for a missing file, package or function, and for a module that
    fails as it is imported.
    """
    path = source_of(ref)
    shown = path or f"module {ref.module}"
    if not allow_code:
        raise CodeRefused(f"{shown}: the task needs {ref.name}() from this file; if you trust its code, pass --allow-code")
    module = _module(ref, shown)
    value = getattr(module, ref.name, None)
    if value is None:
        hint = nearest(ref.name, [name for name, item in vars(module).items() if callable(item)])
        raise TaskError(f"{shown}: no function {ref.name!r}{hint}, named by {ref} in {ref.folder}")
    if not callable(value):
        raise TaskError(f"{shown}: {ref.name!r} is no function but {type(value).__name__}, named by {ref} in {ref.folder}")
    result: Callable[..., Any] = value
    return result


def source_hash(ref: FunctionRef) -> str:
    """Hex hash of the source file, without running it. Raises TaskError where there is none."""
    path = source_of(ref)
    if path is None:
        raise TaskError(
            f"{ref.folder}: no file {ref.module.replace('.', '/')}.py and no module {ref.module!r}, named by {ref}"
        )
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def source_of(ref: FunctionRef) -> Path | None:
    """The Python file that holds the function; None where it is not there (or is a compiled module)."""
    beside = ref.folder / f"{ref.module.replace('.', '/')}.py"
    return beside if beside.is_file() else importer.file_of(ref.folder, ref.module)


def _module(ref: FunctionRef, shown: Path | str) -> ModuleType:
    beside = ref.folder / f"{ref.module.replace('.', '/')}.py"
    try:
        return importer.module_at(beside) if beside.is_file() else importer.find(ref.folder, ref.module)
    except EvalkitError:
        raise
    except ModuleNotFoundError as error:
        raise TaskError(_missing(ref, shown, error)) from error
    except (Exception, SystemExit) as error:  # a task folder's own code: anything can be raised
        reason = " ".join(str(error).split())
        raise TaskError(f"{shown}: failed on import with {type(error).__name__}: {reason}") from error


def _missing(ref: FunctionRef, shown: Path | str, error: ModuleNotFoundError) -> str:
    name = error.name
    if not name:  # raised by the task's own code, with advice of its own
        return f"{shown}: {' '.join(str(error).split())}"
    if name == ref.module:
        return f"{ref.folder}: no file {ref.module.replace('.', '/')}.py and no module {name!r}, named by {ref}"
    package = name.partition(".")[0]
    if package == "lm_eval":
        return f"{shown}: imports {name}, which evalkit has no stand-in for; install lm-eval"
    if package != name and find_spec(package) is not None:
        return f"{shown}: needs the Python module {name!r}, which the installed {package!r} does not have"
    return f"{shown}: needs the Python package {package!r}, which is not installed"
