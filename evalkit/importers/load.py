"""Which program wrote a file, and its logs as runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from evalkit.errors import DataError, nearest
from evalkit.importers.base import RunLog
from evalkit.importers.lmeval import is_results, load_json, read_lm_eval
from evalkit.tasks.load import TaskLibrary

KNOWN = "results_*.json of lm-eval, or .eval and .json logs of inspect"


def read_logs(path: Path, task_dirs: Sequence[Path] = ()) -> Iterator[RunLog]:
    """The logs at ``path``: a file, or every log below a folder (oldest first).

    Raises DataError for what is no log, a log that is damaged or not finished, and one of a newer version.
    """
    library = TaskLibrary(list(task_dirs))
    for file in _files(path):
        yield _read(file, library)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        known = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"there is no {path}{nearest(path.name, known)}")
    found = sorted(file for file in path.rglob("*.json") if is_results(load_json(file)))
    if not found:
        raise DataError(f"{path} holds no log to import: neither {KNOWN}")
    return found


def _read(file: Path, library: TaskLibrary) -> RunLog:
    document = load_json(file)
    if is_results(document):
        return read_lm_eval(file, document, library)
    raise DataError(f"{file} is no log that can be imported: expected {KNOWN}")
