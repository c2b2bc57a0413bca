"""Groups, tags and tasks expanded to leaf tasks, with the overrides that groups push to their members.

Follows lm-eval 0.4's rules of who wins, weakest first: the task's own file, further keys of the group that names it, what
the caller of that group gave, keys of the member's own entry in the list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.errors import TaskError, nearest
from evalkit.tasks.index import TaskEntry
from evalkit.tasks.parse import group_config, task_config
from evalkit.tasks.schema import GROUP_KEYS, STRUCTURE_KEYS, GroupConfig, TaskConfig
from evalkit.tasks.yamlfile import KeyPath, TaskFile, YamlReader


@dataclass(frozen=True, slots=True)
class _Overrides:
    """Keys that a group gives its members, and where each of them stands."""

    values: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, tuple[Path, KeyPath]] = field(default_factory=dict)

    def under(self, other: _Overrides) -> _Overrides:
        """Both, ``other`` winning."""
        return _Overrides({**self.values, **other.values}, {**self.origin, **other.origin})


@dataclass(slots=True)
class Expander:
    """Collects tasks and groups by name, in order of first mention. ``entries`` are all names that members may use."""

    entries: Mapping[str, TaskEntry]
    reader: YamlReader = field(default_factory=YamlReader)
    tasks: dict[str, TaskConfig] = field(default_factory=dict)
    groups: dict[str, GroupConfig] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add(self, entry: TaskEntry) -> None:
        """Add what ``entry`` names. Raises TaskError for a broken definition, a Python class, a circle of groups."""
        self._entry(entry, _Overrides(), ())

    def _entry(self, entry: TaskEntry, over: _Overrides, trail: tuple[str, ...]) -> list[str]:
        """Names of the direct members that ``entry`` stands for: a group is one, a tag is all its tasks."""
        if entry.kind == "tag":
            return [name for member in entry.children for name in self._entry(self.entries[member], over, trail)]
        assert entry.path is not None, "only tags have no file"
        if entry.kind == "class":
            raise TaskError(f"{entry.path}: {entry.name!r} is a Python task class; evalkit runs YAML tasks")
        file = self.reader.load(entry.path)
        if entry.kind == "group":
            return [self._group(entry.name, file.data, file, (), over, trail)]
        values = {key: value for key, value in over.values.items() if key not in ("task", *STRUCTURE_KEYS)}
        return [self._task(file.overlaid({**values, "task": entry.name}, over.origin), entry.tags)]

    def _task(self, file: TaskFile, tags: Sequence[str]) -> str:
        config = task_config(file, tags, self.warnings)
        known = self.tasks.setdefault(config.task, config)
        if known is not config and _settings(known) != _settings(config):
            different = sorted(key for key, value in _settings(config).items() if _settings(known)[key] != value)
            raise TaskError(
                f"task {config.task!r} is asked for twice with different {', '.join(different)} "
                f"({known.source} and {config.source}, or a group's overrides): run them apart"
            )
        return config.task

    def _group(
        self, name: str, data: Mapping[str, Any], file: TaskFile, prefix: KeyPath, over: _Overrides, trail: tuple[str, ...]
    ) -> str:
        if name in trail:
            raise TaskError(f"{file.where(*prefix, 'task')}: group goes round in a circle: {' -> '.join((*trail, name))}")
        own = {key: value for key, value in data.items() if key not in GROUP_KEYS | STRUCTURE_KEYS}
        merged = _overrides(own, file, prefix).under(over)
        # Before its members, so that a group is listed before the groups inside it.
        config = self.groups[name] = group_config(name, data, file, prefix, self.warnings)
        members = data.get("task") or []
        children = []
        for number, item in enumerate(members if isinstance(members, list) else [members]):
            at = (*prefix, "task", number)
            children += self._member(item, file, at, name, merged, (*trail, name))
        children = list(dict.fromkeys(children))
        leaves = dict.fromkeys(
            leaf for child in children for leaf in (self.groups[child].leaves if child in self.groups else [child])
        )
        if not leaves:
            raise TaskError(f"{file.where(*prefix, 'task')}: group {name!r} has no tasks")
        self.groups[name] = config.model_copy(update={"children": children, "leaves": list(leaves)})
        return name

    def _member(
        self, item: Any, file: TaskFile, at: KeyPath, group: str, over: _Overrides, trail: tuple[str, ...]
    ) -> list[str]:
        if not isinstance(item, dict):
            item = {"task": item}
        if "group" in item:
            name = str(item["group"])
            if name not in self.entries:
                return [self._group(f"{group}::{name}", item, file, at, over, trail)]
        elif "task" in item:
            name = str(item["task"])
        else:
            raise TaskError(f"{file.where(*at)}: a member of group {group!r} needs `task` or `group`, got {list(item)}")
        own = {key: value for key, value in item.items() if key not in ("task", "group")}
        path, above = file.origin[str(at[0])]
        if name in self.entries:
            return self._entry(self.entries[name], over.under(_overrides(own, file, at)), trail)
        part = self.reader.inline(path, own, (*above, *at[1:]))
        over = over.under(_Overrides(part.data, part.origin))
        if "dataset_path" not in over.values and "custom_dataset" not in over.values:
            raise TaskError(f"{file.where(*at)}: group {group!r}: unknown task {name!r}{nearest(name, self.entries)}")
        inline = TaskFile(file.path, {**over.values, "task": f"{group}::{name}"}, over.origin, file.sources)
        return [self._task(inline, ())]


def _overrides(values: Mapping[str, Any], file: TaskFile, at: KeyPath) -> _Overrides:
    """``values``, which stand at ``at`` in ``file`` (its top level where ``at`` is empty), with their places."""
    if not at:
        return _Overrides(values, {key: file.origin[key] for key in values})
    path, prefix = file.origin[str(at[0])]
    return _Overrides(values, {key: (path, (*prefix, *at[1:], key)) for key in values})


def _settings(config: TaskConfig) -> dict[str, Any]:
    """All of a task that changes what it measures: a group may well call a task by another alias."""
    return {key: value for key, value in config if key not in ("task_alias", "source", "tags")}
