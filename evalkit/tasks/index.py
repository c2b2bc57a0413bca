"""Names to task files: a fast look over whole folders, kept on disk.

lm-eval's folder has 13,900 task files. Only the few keys that a listing needs are read, and they are cached by each
file's time and size, so that a second look costs a directory walk.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from evalkit.errors import TaskError

EntryKind = Literal["task", "group", "tag", "class"]

_IGNORED = frozenset({"__pycache__", ".ipynb_checkpoints"})
_KEYS = frozenset({"task", "group", "tag", "task_alias", "group_alias", "class", "summary", "ability", "include"})
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class TaskEntry:
    """A name that can be asked for. ``path`` is None for a tag, which lives in its members' files.

    ``children`` are a group's direct members in file order, or a tag's tasks sorted by name.
    """

    name: str
    kind: EntryKind
    path: Path | None = None
    tags: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    alias: str | None = None
    summary: str | None = None
    ability: str | None = None


@dataclass(slots=True)
class TaskIndex:
    """The entries of one folder, by name. ``broken`` maps files that cannot be read to the reason."""

    entries: dict[str, TaskEntry] = field(default_factory=dict)
    broken: dict[Path, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def cache_dir() -> Path:
    """The cache folder of evalkit: ``$EVALKIT_CACHE``, else ``$XDG_CACHE_HOME/evalkit``, else ``~/.cache/evalkit``."""
    if own := os.environ.get("EVALKIT_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "evalkit"


def build(root: Path, *, cache: bool = True) -> TaskIndex:
    """The index of every ``**/*.yaml`` under ``root``, in order of path; the first file to claim a name has it.

    Raises TaskError only where ``root`` is no folder: a broken file is reported in the index, not raised.
    """
    root = Path(os.path.abspath(root.expanduser()))  # noqa: PTH100 (resolve() would follow links, and is slow)
    if not root.is_dir():
        raise TaskError(f"task folder not found: {root}")
    headers = _Headers(root, cache)
    index = TaskIndex()
    included: set[str] = set()
    nameless: list[str] = []
    tags: dict[str, list[str]] = {}
    for path, stamp in sorted(_yaml_files(str(root))):
        header = headers.merged(path, stamp, included)
        if "error" in header:
            index.broken[Path(path)] = header["error"]
            index.warnings.append(header["error"])
        elif (entry := entry_of(header, Path(path))) is None:
            nameless.append(path)
        else:
            _add(index, entry, tags)
    headers.save()
    for name, members in tags.items():
        index.entries.setdefault(name, TaskEntry(name, "tag", children=tuple(sorted(set(members)))))
    index.warnings += [f"{p}: neither `task` nor `group`: not a task file" for p in nameless if p not in included]
    return index


def entry_of(header: Mapping[str, Any], path: Path) -> TaskEntry | None:
    """The entry that a file with these keys (includes merged) declares, None for a template without a name."""
    task, group = header.get("task"), header.get("group")
    tags = tuple(dict.fromkeys(_names(header.get("tag"))))
    facts = {key: None if header.get(key) is None else str(header[key]) for key in ("summary", "ability")}
    alias = header.get("group_alias" if group is not None else "task_alias")
    common: dict[str, Any] = {"path": path, "alias": None if alias is None else str(alias), **facts}
    if "class" in header and task is not None:
        return TaskEntry(str(task), "class", tags=tags, **common)
    if isinstance(group, str) and not isinstance(task, str):
        return TaskEntry(group, "group", tags=tags, children=tuple(_names(task)), **common)
    if isinstance(task, str | int | float):
        # Before 0.4.5 a task file's `group` was what `tag` is now.
        return TaskEntry(str(task), "task", tags=(*tags, *_names(group)), **common)
    return None


def _add(index: TaskIndex, entry: TaskEntry, tags: dict[str, list[str]]) -> None:
    known = index.entries.get(entry.name)
    if known is not None:
        index.warnings.append(f"{entry.path}: {entry.name!r} is already defined in {known.path}; this file is not used")
        return
    index.entries[entry.name] = entry
    if entry.kind != "group":
        for tag in entry.tags:
            tags.setdefault(tag, []).append(entry.name)


def _names(value: Any) -> list[str]:
    """Names in a ``tag`` or a group's ``task`` value; members given as mappings by their own ``group`` or ``task``."""
    names = []
    for item in value if isinstance(value, list) else [] if value is None else [value]:
        name = item.get("group", item.get("task")) if isinstance(item, Mapping) else item
        if name is not None:
            names.append(str(name))
    return names


def _yaml_files(folder: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Every ``*.yaml`` below ``folder`` as (path, (time in ns, size)); links to folders are not followed."""
    with os.scandir(folder) as items:
        for item in items:
            if item.is_dir(follow_symlinks=False):
                if item.name not in _IGNORED:
                    yield from _yaml_files(item.path)
            elif item.name.endswith(".yaml"):
                with contextlib.suppress(OSError):  # a dangling link, or gone since
                    stat = item.stat()
                    yield item.path, (stat.st_mtime_ns, stat.st_size)


class _Headers:
    """The listing keys of files, from the cache where the file has not changed since."""

    def __init__(self, root: Path, cache: bool) -> None:
        name = hashlib.blake2b(str(root).encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
        self._file = cache_dir() / "tasks" / f"{name}.json" if cache else None
        self._old: dict[str, Any] = self._read()
        self._new: dict[str, Any] = {}
        self._merged: dict[str, dict[str, Any]] = {}

    def merged(self, path: str, stamp: tuple[int, int], included: set[str], trail: tuple[str, ...] = ()) -> dict[str, Any]:
        """The keys of ``path`` with those of its includes below them, or just ``error``. Adds includes to ``included``."""
        own = self._own(path, stamp)
        targets = own.get("include")
        if targets is None:
            return own
        if path in self._merged:
            return self._merged[path]
        result: dict[str, Any] = {}
        for target in targets:
            full = os.path.normpath(os.path.join(os.path.dirname(path), target))  # noqa: PTH118, PTH120 (speed: 13,000 times)
            included.add(full)
            if full in trail or full == path:
                return {"error": f"{path}: include goes round in a circle at {full}"}
            try:
                stat = os.stat(full)  # noqa: PTH116
            except OSError:
                return {"error": f"{path}: included file not found: {full}"}
            part = self.merged(full, (stat.st_mtime_ns, stat.st_size), included, (*trail, path))
            result.update(part)
            if "error" in part:
                return part
        result.update(own)
        self._merged[path] = result
        return result

    def _own(self, path: str, stamp: tuple[int, int]) -> dict[str, Any]:
        found = self._new.get(path) or self._old.get(path)
        match found:
            case [time, size, dict() as header] if (time, size) == stamp:
                self._new[path] = found
            case _:
                header = _header(Path(path))
                self._new[path] = [*stamp, header]
        return header

    def _read(self) -> dict[str, Any]:
        if self._file is None:
            return {}
        try:
            stored = json.loads(self._file.read_bytes())
            files = stored["files"] if stored["format"] == _FORMAT else {}
            return files if isinstance(files, dict) else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}  # missing or spoilt: the files are read again and the cache is written anew

    def save(self) -> None:
        """Write the cache where something changed. A cache that cannot be written only costs time, so that is no error."""
        if self._file is None or self._new == self._old:
            return
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self._file.parent, suffix=".tmp")
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                json.dump({"format": _FORMAT, "files": self._new}, out, separators=(",", ":"))
            Path(temporary).replace(self._file)


def _header(path: Path) -> dict[str, Any]:
    """The listing keys of one file as JSON values, or ``error``."""
    from evalkit.tasks.yamlfile import includes, read

    try:
        raw = read(path, _KEYS)
        header = {key: value for key, value in raw.items() if key in _KEYS - {"class", "include"} and value is not None}
        targets = [t for t in includes(raw.get("include"), path) if isinstance(t, Path)]
    except TaskError as error:
        return {"error": str(error)}
    if targets:
        header["include"] = [str(target) for target in targets]
    if "class" in raw:
        header["class"] = True
    if isinstance(header.get("task"), list | dict):
        header["task"] = _names(header["task"])
    for key in ("tag", "group"):
        if key in header:
            header[key] = header[key] if isinstance(header[key], str) else _names(header[key])
    return {key: value if isinstance(value, str | list | bool) else str(value) for key, value in header.items()}
