"""A series of checkpoints as a directory: which there are, and which run evaluated each.

::

    runs/20261122T044839Z_checkpoints_sweep_1f0c93ab/
        sweep.json      the series (rewritten atomically): checkpoints, their runs by name, what became of them
        lock            held by the one process that writes
    and the derived files (sweep.html, sweep.csv)

The runs lie beside it. What became of one is what its own directory says: ``sweep.json`` only names it, so that a process
that is killed leaves nothing wrong behind.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from evalkit.errors import StoreError
from evalkit.runner.checkpoints import Checkpoint, ComputeSource, compute, split_pattern
from evalkit.runner.environment import installed
from evalkit.runner.files import clear_leftovers, unwritable, write_json
from evalkit.runner.options import RunOptions
from evalkit.runner.run import Run, open_run
from evalkit.runner.store import MANIFEST, read_manifest, slug, take_lock
from evalkit.secrets import redact_text, scrub_message
from evalkit.types import Json, content_hash

FILE = "sweep.json"
SCHEMA = 1
#: What of a run's options decides whether two commands mean the same series, beside those that can change a number.
_ASKED = ("tasks", "task_dirs", "data", "model_args", "roles", "form")


@dataclass(frozen=True, slots=True)
class Member:
    """One checkpoint of a series and its run (the name of a directory beside the series').

    ``status`` is that of the run, ``waiting`` before there is one, ``failed`` where the checkpoint could not be loaded
    (``error`` says why). ``parameters`` are the loaded model's where there is a run, else those of the file headers.
    ``args`` are the ``-M`` options that are its own.
    """

    name: str
    model: str
    step: int | None = None
    tokens: float | None = None
    flops: float | None = None
    parameters: int | None = None
    stamp: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    run: str | None = None
    status: str = "waiting"
    error: str | None = None

    @property
    def compute(self) -> tuple[float, ComputeSource] | None:
        """Training compute in floating-point operations, and where it comes from."""
        return compute(self.flops, self.parameters, self.tokens)

    @property
    def finished(self) -> bool:
        return self.status == "complete"

    def public(self) -> dict[str, Json]:
        found = self.compute or (None, None)
        own = {name: getattr(self, name) for name in self.__slots__}
        return {**own, "compute": found[0], "compute_source": found[1]}


def listed(checkpoint: Checkpoint) -> Member:
    """A checkpoint that nothing was done with yet."""
    known = ("name", "model", "step", "tokens", "flops", "parameters", "stamp", "args")
    return Member(**{name: getattr(checkpoint, name) for name in known})


class Series:
    """A series' directory. Made by `open_series`."""

    def __init__(self, path: Path, manifest: dict[str, Any], lock: IO[str] | None = None) -> None:
        self.path = path
        self.manifest = manifest
        self._lock = lock
        self.members = [self._now(_member(item)) for item in manifest["checkpoints"]]

    @property
    def name(self) -> str:
        return str(self.manifest["name"])

    @property
    def status(self) -> str:
        """``complete``; else ``running``, or ``incomplete`` or ``interrupted``: the same command goes on."""
        return str(self.manifest["status"])

    def run_of(self, member: Member) -> Run | None:
        """The run of a checkpoint; ``None`` where it has none, or its directory is gone."""
        if member.run is None or not (self.path.parent / member.run / MANIFEST).is_file():
            return None
        return open_run(self.path.parent / member.run)

    def keep(self, member: Member) -> None:
        """Put ``member`` in the place of the one of its name, or behind all others, and store the series."""
        names = [known.name for known in self.members]
        if member.name in names:
            self.members[names.index(member.name)] = member
        else:
            self.members.append(member)
        self.update()

    def update(self, **changes: Json) -> None:
        """Change what is stored of the series."""
        self.manifest.update(changes)
        self.manifest["checkpoints"] = [member.public() for member in self.members]
        try:
            write_json(self.path / FILE, self.manifest)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def close(self) -> None:
        """Give up the lock. Reading goes on working."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _now(self, member: Member) -> Member:
        """With what the run's own directory says: it is right where the process died before the series was written."""
        if member.run is None:
            return member
        try:
            manifest = read_manifest(self.path.parent / member.run)
        except StoreError:
            return replace(member, run=None, status="waiting")
        status = "interrupted" if manifest["status"] == "running" else str(manifest["status"])
        counted = manifest.get("model", {}).get("parameters")
        return replace(member, status=status, parameters=counted or member.parameters)


def open_series(pattern: str, checkpoints: Sequence[Checkpoint], options: RunOptions) -> Series:
    """The newest series of this command to go on with, its checkpoints brought up to date, or a new one.

    Checkpoints whose folder is gone stay where their run is complete: trainers delete old ones. Those that changed since
    their run are waiting again. Raises StoreError where another process has the series.
    """
    parent, key = Path(options.output_dir), series_key(pattern, options)
    path = (None if options.new else _newest(parent, key)) or _create(parent, pattern, key, options)
    lock = take_lock(path)
    clear_leftovers(path)
    return _merged(Series(path, read_series(path), lock), checkpoints)


def known_series(pattern: str, checkpoints: Sequence[Checkpoint], options: RunOptions) -> Series | None:
    """The series that `open_series` would go on with, to be read only; ``None`` where there is none."""
    path = _newest(Path(options.output_dir), series_key(pattern, options))
    return None if path is None else _merged(Series(path, read_series(path)), checkpoints)


def series_key(pattern: str, options: RunOptions) -> str:
    """A hash of what makes two sweeps the same one: checkpoints, tasks, and every option that can change a number."""
    provider, where = split_pattern(pattern)
    shown = options.public()
    asked = {name: shown[name] for name in _ASKED}
    return content_hash([provider, str(Path(where).expanduser().absolute()), asked, options.content()])


def read_series(path: Path) -> dict[str, Any]:
    """What ``sweep.json`` holds; raises StoreError where it is not there or damaged."""
    try:
        manifest = json.loads((path / FILE).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path / FILE} cannot be read: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise StoreError(f"{path / FILE} is damaged, or another evalkit's; --new starts another series")
    return manifest


def _member(item: Mapping[str, Any]) -> Member:
    known: dict[str, Any] = {name: item.get(name) for name in Member.__slots__}
    return Member(**known)


def _merged(series: Series, checkpoints: Sequence[Checkpoint]) -> Series:
    """With what is on the disk now beside what was done already, in order."""
    before = {member.name: member for member in series.members}
    order = {found.name: found.order for found in checkpoints}
    merged = []
    for found in map(listed, checkpoints):
        old = before.pop(found.name, None)
        if old is None or old.stamp != found.stamp:
            merged.append(found)  # its run stays on the disk; where the model is the same after all, it is found there
        else:
            merged.append(replace(old, model=found.model, args=found.args, parameters=old.parameters or found.parameters))
    for gone in before.values():
        if gone.finished:
            merged.append(gone)
            order[gone.name] = Checkpoint(gone.name, gone.model, Path(), gone.step, parameters=gone.parameters).order
    series.members = sorted(merged, key=lambda member: order[member.name])
    return series


def _newest(parent: Path, key: str) -> Path | None:
    for path in sorted(parent.glob(f"*_sweep_{key[:8]}*/{FILE}"), reverse=True):
        try:
            if read_series(path.parent)["key"] == key:
                return path.parent
        except (StoreError, KeyError):
            continue  # damaged, so nothing to go on with
    return None


def _create(parent: Path, pattern: str, key: str, options: RunOptions) -> Path:
    stamp = datetime.now(UTC)
    name = options.name or _default_name(pattern)
    path = parent / f"{stamp.strftime('%Y%m%dT%H%M%SZ')}_{slug(name)}_sweep_{key[:8]}"
    try:
        number = 1
        while path.exists():
            number += 1
            path = path.with_name(f"{path.name.rpartition(key[:8])[0]}{key[:8]}-{number}")
        path.mkdir(parents=True)
        manifest = {
            "schema": SCHEMA,
            "id": path.name,
            "name": name,
            "status": "running",
            "created": stamp.isoformat(timespec="seconds"),
            "evalkit": installed("evalkit"),
            "key": key,
            "pattern": pattern,
            "config": options.public(),
            "command": [scrub_message(redact_text(word)) for word in options.command],
            "checkpoints": [],
        }
        write_json(path / FILE, manifest)
    except OSError as error:
        raise unwritable(parent, error) from error
    return path


def _default_name(pattern: str) -> str:
    """The folder that the checkpoints are in."""
    parts = [part for part in Path(split_pattern(pattern)[1]).parts if not set(part) & set("*?[")]
    return slug(parts[-1]) if parts and parts[-1] not in ("/", ".", "..") else "checkpoints"
