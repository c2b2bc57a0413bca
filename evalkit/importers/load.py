"""Which program wrote a file, and its logs as runs."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from evalkit.errors import DataError, nearest
from evalkit.importers.base import RunLog
from evalkit.importers.inspect_log import read_inspect
from evalkit.importers.lmeval import is_results, load_json, read_lm_eval
from evalkit.runner.store import MANIFEST
from evalkit.tasks.load import TaskLibrary

#: How the two kinds of JSON document begin, so that a folder's large files need not be read whole to tell them apart.
_BEGINNING = 4096
KNOWN = "results_*.json of lm-eval (beside its samples), or a .eval or .json log of inspect"


def read_logs(path: Path, task_dirs: Sequence[Path] = ()) -> Iterator[RunLog]:
    """The logs at ``path``: a file, or every log below a folder, by name.

    Raises DataError for what is no log, a log that is damaged or not finished, and one of a newer version.
    """
    library = TaskLibrary(list(task_dirs))
    if path.is_file():
        yield _read(path, library)
        return
    if not path.is_dir():
        known = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"there is no {path}{nearest(path.name, known)}")
    found = [file for file in sorted(path.rglob("*")) if file.suffix == ".eval" or _may_be_log(file)]
    if not found:
        lines = any(path.rglob("samples_*.jsonl"))
        why = "sample files without the results_*.json they belong to" if lines else f"no log to import: no {KNOWN}"
        raise DataError(f"{path} holds {why}")
    for file in found:
        yield _read(file, library)


def _may_be_log(file: Path) -> bool:
    """Whether a file of a folder is to be read: lm-eval's results or an inspect log, and nothing of a run of our own."""
    if file.suffix != ".json" or not file.is_file() or (file.parent / MANIFEST).is_file():
        return False
    with file.open("rb") as opened:
        start = opened.read(_BEGINNING).decode("utf-8", "replace").lstrip()
    return start.startswith("{") and ('"results"' in start or '"eval"' in start)


def _read(file: Path, library: TaskLibrary) -> RunLog:
    if file.suffix == ".eval" or zipfile.is_zipfile(file):
        return read_inspect(file)
    if file.suffix == ".jsonl":
        raise DataError(f"{file} holds samples alone: name the results_*.json beside it, or the folder of both")
    if '"eval"' in _start(file):
        return read_inspect(file)
    document = load_json(file)
    if is_results(document):
        return read_lm_eval(file, document, library)
    raise DataError(f"{file} is no log that can be imported: expected {KNOWN}")


def _start(file: Path) -> str:
    with file.open("rb") as opened:
        return opened.read(_BEGINNING).decode("utf-8", "replace")
