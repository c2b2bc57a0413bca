"""A run's directory: manifest, samples, journal, scores. It survives ``kill -9`` at any moment.

::

    runs/20261122T044839Z_smollm2_1f0c93ab/
        run.json        what was asked for, on what, and how it went (rewritten atomically)
        samples/TASK/   each sample with its prompts and request keys, once (append-only log)
        journal/        every response (append-only log)
        scores/         one file a task, filter and scorer hash
        lock            held by the one process that writes
    and the derived files (summary.json, results.json, samples.jsonl.gz, *.csv, report.html)
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import IO, Any

from evalkit.errors import ConfigError, NotFound, StoreError, nearest
from evalkit.runner.files import clear_leftovers, unwritable, write_json
from evalkit.runner.journal import Journal
from evalkit.runner.samples import SampleLog
from evalkit.types import Json, content_hash

MANIFEST = "run.json"
SCHEMA = 1
#: What no manifest can do without.
_KEYS = ("name", "status", "config", "config_hash", "identity", "fingerprints", "tasks", "groups")


def slug(name: str) -> str:
    """``name`` fit for a file name, still readable."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80] or "run"


def file_name(name: str) -> str:
    """`slug`, with a hash where it would let two names meet in one file."""
    return slug(name) if slug(name) == name else f"{slug(name)}-{content_hash(name, 4)}"


class RunStore:
    """One run's directory, open for writing (with its lock) or for reading."""

    def __init__(self, path: Path, manifest: dict[str, Any], *, write: bool) -> None:
        self.path = path
        self.manifest = manifest
        self._samples: dict[str, SampleLog] = {}
        self._lock = take_lock(path) if write else None
        self._write = write
        if write:
            clear_leftovers(path)
            clear_leftovers(path / "scores")
        self.journal = Journal(path / "journal", write=write)

    @classmethod
    def create(cls, parent: Path, name: str, manifest: dict[str, Any]) -> RunStore:
        """A new run under ``parent``; raises StoreError where nothing can be written there."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        base = f"{stamp}_{slug(name)}_{manifest['config_hash'][:8]}"
        try:
            parent.mkdir(parents=True, exist_ok=True)
            path = _fresh_folder(parent, base)
        except OSError as error:
            raise unwritable(parent, error) from error
        manifest = {"schema": SCHEMA, "id": path.name, **manifest}
        try:
            for folder in ("journal", "samples", "scores"):
                (path / folder).mkdir()
            write_json(path / MANIFEST, manifest)
            _point_latest(parent, path)
        except OSError as error:
            shutil.rmtree(path, ignore_errors=True)  # no run began here
            raise unwritable(parent, error) from error
        return cls(path, manifest, write=True)

    @classmethod
    def open(cls, path: Path, *, write: bool = False) -> RunStore:
        """An existing run; raises StoreError where ``path`` is none or (writing) another process holds it."""
        return cls(path, read_manifest(path), write=write)

    def require_whole(self) -> None:
        """Raise StoreError where samples or answers of a finished run are gone: numbers from the rest would be wrong."""
        if self.manifest["status"] != "complete":
            return
        again = f"evalkit run --resume {self.path}"
        for task, entry in self.manifest["tasks"].items():
            left = len(self.samples(task))
            if left < entry["samples"]:
                lost = f"{entry['samples'] - left} of {entry['samples']} samples of {task} cannot be read"
                raise StoreError(f"run {self.path.name} is damaged: {lost}; {again} writes them anew (no answer is lost)")
        answers = self.manifest.get("counts", {}).get("answers", 0)
        if len(self.journal) < answers:
            lost = f"{answers - len(self.journal)} of {answers} answers cannot be read"
            raise StoreError(f"run {self.path.name} is damaged: {lost}; {again} asks for them again")

    def update(self, **changes: Json) -> None:
        """Change the manifest, in memory and on disk."""
        self.manifest.update(changes)
        try:
            write_json(self.path / MANIFEST, self.manifest)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def samples(self, task: str) -> SampleLog:
        """The stored samples of a task."""
        if task not in self._samples:
            self._samples[task] = SampleLog(self.path / "samples" / file_name(task), write=self._write)
        return self._samples[task]

    def close(self) -> None:
        """Make everything durable and give up the lock. Reading goes on working."""
        self.journal.close()
        for log in self._samples.values():
            log.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        self._write = False


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a run directory."""
    try:
        manifest = json.loads((path / MANIFEST).read_text("utf-8"))
    except FileNotFoundError:
        others = [p.parent.name for p in path.parent.glob(f"*/{MANIFEST}")] if path.parent.is_dir() else []
        raise StoreError(f"{path} is not a run directory (no {MANIFEST}){nearest(path.name, others)}") from None
    except (ValueError, OSError) as error:
        raise StoreError(f"{path / MANIFEST} cannot be read: {error}") from error
    if not isinstance(manifest, dict):
        raise StoreError(f"{path / MANIFEST} is damaged: it holds no mapping")
    if manifest.get("schema") != SCHEMA:
        raise StoreError(f"{path} was written by another evalkit (schema {manifest.get('schema')}, this one reads {SCHEMA})")
    if missing := [key for key in _KEYS if key not in manifest]:
        raise StoreError(f"{path / MANIFEST} is damaged: it lacks {', '.join(missing)}")
    return manifest


def newest_unfinished(parent: Path, config_hash: str) -> Path | None:
    """The newest run of this configuration that did not finish."""
    for path in sorted(parent.glob(f"*_{config_hash[:8]}*/{MANIFEST}"), reverse=True):
        try:
            manifest = read_manifest(path.parent)
        except StoreError:
            continue  # damaged, so nothing to go on with
        if manifest["config_hash"] == config_hash:
            return None if manifest["status"] == "complete" else path.parent
    return None


def find_run(name: str, parent: Path) -> Path:
    """A run by path, by name under ``parent``, by a unique part of its name, or ``latest``.

    A whole name (``base``) wins over names that it is a part of (``base-2``). Raises NotFound where there is none,
    StoreError where several fit.
    """
    for path in (Path(name), parent / name):
        if (path / MANIFEST).is_file():
            return path.resolve()
    every = [p.parent for p in parent.glob(f"*/{MANIFEST}") if not p.parent.is_symlink()]
    matches = [path for path in every if fnmatch(path.name, f"*{name}*")]
    named = [path for path in matches if path.name.partition("_")[2].rpartition("_")[0] == slug(name)]
    if len(named or matches) == 1:
        return (named or matches)[0].resolve()
    if matches:
        raise StoreError(f"{name!r} fits {len(matches)} runs in {parent}: {', '.join(sorted(p.name for p in matches)[:5])}")
    known = [p.parent.name for p in parent.glob(f"*/{MANIFEST}")]
    if not known:
        raise NotFound(f"no run {name!r} here, and no runs at all in {parent} (--output-dir names another folder)")
    raise NotFound(f"no run {name!r} here or in {parent}{nearest(name, known)}")


def require_same_config(path: Path, old: Json, new: Json) -> None:
    """Refuse to resume ``path`` with another configuration; the message names what differs."""
    differences = list(_differences(old, new))
    if differences:
        shown = "; ".join(differences[:4]) + (f"; and {len(differences) - 4} more" if len(differences) > 4 else "")
        raise ConfigError(f"cannot resume {path.name}, its configuration differs: {shown}. Use --new for a new run")


def _differences(old: Json, new: Json, where: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from _differences(old.get(key), new.get(key), f"{where}.{key}" if where else str(key))
    elif old != new:
        yield f"{where} was {_short(old)}, is {_short(new)}"


def _short(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _fresh_folder(parent: Path, base: str) -> Path:
    for n in range(1, 1000):
        path = parent / (base if n == 1 else f"{base}-{n}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise StoreError(f"{parent} already holds a thousand runs called {base}")


def _point_latest(parent: Path, path: Path) -> None:
    """Let ``latest`` point at the run. Convenience only: some file systems have no symlinks."""
    temporary = parent / f".latest.{os.getpid()}"
    try:
        temporary.symlink_to(path.name)
        temporary.replace(parent / "latest")
    except OSError:
        temporary.unlink(missing_ok=True)


def take_lock(path: Path) -> IO[str]:
    """The open file that holds a directory's lock until it is closed; a StoreError where another process has it."""
    try:
        file = (path / "lock").open("a+")
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        raise StoreError(f"{path.name} is in use by process {holder}; wait for it, or use --new for a new run") from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file
