"""The task library: all folders of tasks that are at hand, and names resolved to definitions."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from evalkit.errors import TaskError, nearest
from evalkit.resources import builtin_dir
from evalkit.tasks import index
from evalkit.tasks.index import TaskEntry, TaskIndex

if TYPE_CHECKING:  # a listing needs neither YAML nor the schema, which take longer to import than 14,000 names to list
    from evalkit.tasks.groups import Expander
    from evalkit.tasks.schema import GroupConfig, TaskConfig
    from evalkit.tasks.yamlfile import YamlReader


@dataclass(frozen=True, slots=True)
class Selection:
    """What names stood for: leaf tasks and groups, each once, in order of first mention.

    ``warnings`` are for the user: keys without effect, Python tasks that a pattern matched and that were left out.
    """

    tasks: tuple[TaskConfig, ...]
    groups: tuple[GroupConfig, ...]
    warnings: tuple[str, ...] = ()


class TaskLibrary:
    """Tasks by name from ``dirs``, from packages (entry points ``evalkit.tasks``) and from those that ship with evalkit.

    A name in ``dirs`` wins over a package's, and that over a built-in; of several ``dirs`` the later wins, as in lm-eval.
    Folders are read when a name is first asked for. ``cache=False`` neither reads nor writes the index on disk.
    """

    def __init__(self, dirs: Sequence[Path] = (), *, cache: bool = True) -> None:
        self._dirs = [Path(folder) for folder in dirs]
        self._cache = cache

    @cached_property
    def _reader(self) -> YamlReader:
        from evalkit.tasks.yamlfile import YamlReader

        return YamlReader()

    @cached_property
    def _indexes(self) -> list[TaskIndex]:
        """One index a folder, the strongest last."""
        builtin = builtin_dir("tasks")
        folders = [*([builtin] if builtin.is_dir() else []), *_package_folders(), *self._dirs]
        return [index.build(folder, cache=self._cache) for folder in folders]

    @cached_property
    def entries(self) -> Mapping[str, TaskEntry]:
        """Every name that can be asked for."""
        return {name: entry for part in self._indexes for name, entry in part.entries.items()}

    @property
    def warnings(self) -> list[str]:
        """What is wrong in the folders: broken files, names defined twice, files that are no tasks."""
        return [warning for part in self._indexes for warning in part.warnings]

    def listing(self) -> list[TaskEntry]:
        """All tasks, groups and tags, sorted by name."""
        return sorted(self.entries.values(), key=lambda entry: entry.name)

    def resolve(self, names: Sequence[str]) -> Selection:
        """The tasks that ``names`` stand for: tasks, groups, tags, patterns (``mmlu_*``), YAML files and folders.

        A folder means every task and group below it. Raises TaskError for an unknown name (with the nearest ones), for a
        definition that is wrong and for Python task classes that are named, or are a member of what is named.
        """
        from evalkit.tasks.groups import Expander

        skipped: list[str] = []
        expander = Expander(self.entries, self._reader)
        for name in names:
            if (entry := self.entries.get(name)) is not None:
                expander.add(entry)
            elif any(sign in name for sign in "*?[") and (matches := fnmatch.filter(self.entries, name)):
                _add_all(expander, [self.entries[match] for match in sorted(matches)], skipped)
            elif (path := Path(name).expanduser()).is_dir():
                below = index.build(path, cache=self._cache)
                expander.entries = {**self.entries, **below.entries}
                skipped += below.warnings
                if not below.entries:
                    raise TaskError(f"no tasks in folder {path}")
                _add_all(expander, [entry for entry in below.entries.values() if entry.kind != "tag"], skipped)
            elif path.is_file():
                self._add_file(expander, path)
            else:
                raise self._unknown(name)
            expander.entries = self.entries
        warnings = tuple(dict.fromkeys([*skipped, *expander.warnings]))
        return Selection(tuple(expander.tasks.values()), tuple(expander.groups.values()), warnings)

    def _add_file(self, expander: Expander, path: Path) -> None:
        file = self._reader.load(path)
        entry = index.entry_of({**file.data, **({"class": True} if "class" in file.data else {})}, file.path)
        if entry is None:
            raise TaskError(f"{path}: neither `task` nor `group`: not a task file")
        if entry.kind == "group":  # its members may be its neighbours
            expander.entries = {**self.entries, **index.build(file.path.parent, cache=self._cache).entries}
        expander.add(entry)

    def _unknown(self, name: str) -> TaskError:
        """The error for a name that nothing has: the reason where a broken file would have had it."""
        claim = re.compile(rf"^(task|group)\s*:\s*[\"']?{re.escape(name)}[\"']?\s*(#.*)?$", re.MULTILINE)
        for part in reversed(self._indexes):
            for path, reason in part.broken.items():
                if path.stem == name or (path.is_file() and claim.search(path.read_text("utf-8", "replace"))):
                    return TaskError(reason)
        if name.endswith((".yaml", ".yml")) or "/" in name:
            return TaskError(f"no task file or folder {name}")
        if any(sign in name for sign in "*?["):
            return TaskError(f"no task, group or tag matches {name!r}; `evalkit ls tasks` lists them")
        return TaskError(f"unknown task {name!r}{nearest(name, self.entries) or '; `evalkit ls tasks` lists them'}")


def _add_all(expander: Expander, entries: Sequence[TaskEntry], skipped: list[str]) -> None:
    """Add what a pattern or folder matched, leaving out the Python classes that nobody asked for by name."""
    for entry in entries:
        if entry.kind == "class":
            skipped.append(f"{entry.path}: {entry.name!r} is a Python task class and is left out; evalkit runs YAML tasks")
        else:
            expander.add(entry)


def _package_folders() -> list[Path]:
    """Folders of tasks from installed packages: an entry point names a path, or a module whose folder is meant."""
    from importlib.metadata import entry_points

    folders = []
    for point in entry_points(group="evalkit.tasks"):
        value = point.load()
        if isinstance(value, ModuleType):
            value = value.__path__[0] if hasattr(value, "__path__") else Path(str(value.__file__)).parent
        folders.append(Path(value))
    return folders
