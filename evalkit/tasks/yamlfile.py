"""Task files as lm-eval writes them: safe YAML, `!function` references and `include`.

Nothing of a task's meaning is here, only how its files are read. Line numbers are looked up when an error needs one (the
file is parsed once more), so that reading thousands of good files stays fast.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from evalkit.errors import TaskError
from evalkit.tasks.schema import FunctionRef

#: Where a value stands in a file: keys of mappings and positions in lists, from the top.
KeyPath = tuple[str | int, ...]

# libyaml parses about eight times faster; both build the same objects.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]  # the base is chosen at run time
    """A safe loader that knows the folder of its file, for `!function`."""

    def __init__(self, text: bytes, folder: Path) -> None:
        super().__init__(text)
        self.folder = folder


def _function(loader: _Loader, node: yaml.Node) -> FunctionRef:
    spec = str(loader.construct_scalar(node)).strip()
    module, _, name = spec.rpartition(".")
    if not module or not name:
        raise yaml.constructor.ConstructorError(
            None, None, f"!function needs module.name, got {spec or 'nothing'!r}", node.start_mark
        )
    return FunctionRef(module=module, name=name, folder=loader.folder)


_Loader.add_constructor("!function", _function)


@dataclass(frozen=True, slots=True)
class TaskFile:
    """A task file with its includes merged in.

    ``origin`` says for every top-level key which file gave its value and where in that file it stands; ``sources`` are
    all files that were read, this one first.
    """

    path: Path
    data: Mapping[str, Any]
    origin: Mapping[str, tuple[Path, KeyPath]]
    sources: tuple[Path, ...] = ()

    def overlaid(self, overrides: Mapping[str, Any], origin: Mapping[str, tuple[Path, KeyPath]]) -> TaskFile:
        """The same file with ``overrides`` over its keys, as a group gives them to its members."""
        return TaskFile(self.path, {**self.data, **overrides}, {**self.origin, **origin}, self.sources)

    def where(self, *keys: str | int) -> str:
        """``file:line`` of the value at ``keys`` (of the nearest thing around it that has a line)."""
        if keys and (found := self.origin.get(str(keys[0]))):
            path, prefix = found
            return locate(path, (*prefix, *keys[1:]))
        return str(self.path)


@dataclass(slots=True)
class YamlReader:
    """Reads task files, each once: templates are included by thousands of tasks."""

    _raw: dict[Path, dict[str, Any]] = field(default_factory=dict)

    def load(self, path: Path) -> TaskFile:
        """The file at ``path`` with its includes: a later include wins over an earlier one, local keys over all.

        Raises TaskError for an unreadable file, a YAML error (with its line), a top level that is no mapping, an include
        that is missing and a file that includes itself.
        """
        return self._load(path.expanduser().resolve(), ())

    def _load(self, path: Path, trail: tuple[Path, ...]) -> TaskFile:
        if path in trail:
            chain = " -> ".join(str(p) for p in (*trail[trail.index(path) :], path))
            raise TaskError(f"{locate(trail[-1], ('include',))}: include goes round in a circle: {chain}")
        if path not in self._raw:
            self._raw[path] = read(path)
        return self._merged(path, self._raw[path], (), trail)

    def inline(self, path: Path, values: Mapping[str, Any], at: KeyPath) -> TaskFile:
        """A task written inside the file at ``path``: its keys, which stand at ``at``, over those that it includes."""
        return self._merged(path, values, at, ())

    def _merged(self, path: Path, values: Mapping[str, Any], at: KeyPath, trail: tuple[Path, ...]) -> TaskFile:
        own = dict(values)
        data: dict[str, Any] = {}
        origin: dict[str, tuple[Path, KeyPath]] = {}
        sources: dict[Path, None] = {path: None}
        for number, target in enumerate(includes(own.pop("include", None), path, at)):
            if isinstance(target, Mapping):  # 0.5: a group may give its members' defaults inline
                data.update(target)
                origin.update({key: (path, (*at, "include", key)) for key in target})
                continue
            if not target.is_file():
                raise TaskError(f"{locate(path, (*at, 'include', number))}: included file not found: {target}")
            part = self._load(target.resolve(), (*trail, path))
            sources.update(dict.fromkeys(part.sources))
            # An included file's task_list names that file's own tasks, never those of the file that includes it.
            data.update({key: value for key, value in part.data.items() if key != "task_list"})
            origin.update(part.origin)
        data.update(own)
        origin.update({key: (path, (*at, key)) for key in own})
        return TaskFile(path, data, origin, tuple(sources))


def includes(value: Any, path: Path, at: KeyPath = ()) -> list[Path | Mapping[str, Any]]:
    """The targets of an ``include`` value that stands in ``path``; relative ones are relative to its folder."""
    targets: list[Path | Mapping[str, Any]] = []
    for item in value if isinstance(value, list) else [] if value is None else [value]:
        if isinstance(item, str):
            targets.append(path.parent / Path(item).expanduser())
        elif isinstance(item, Mapping):
            targets.append(item)
        else:
            raise TaskError(
                f"{locate(path, (*at, 'include'))}: include: expected a file name or a list of them, got {item!r}"
            )
    return targets


def read(path: Path, keys: Collection[str] | None = None) -> dict[str, Any]:
    """One file's top-level mapping, includes not followed; with ``keys``, only these are built (much cheaper)."""
    loader = None
    try:
        loader = _Loader(path.read_bytes(), path.parent)
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            found = "nothing" if node is None else f"a {node.id}"
            raise TaskError(f"{path}:1: expected a mapping of keys, found {found}")
        if keys is not None:
            node.value = [pair for pair in node.value if pair[0].value in keys or pair[0].tag.endswith(":merge")]
        data: dict[Any, Any] = loader.construct_document(node)
        if wrong := [key for key in data if not isinstance(key, str)]:
            raise TaskError(f"{path}: top-level keys must be text, found {wrong[0]!r}")
        return data
    except OSError as error:
        raise TaskError(f"cannot read {path}: {error.strerror or error}") from error
    except yaml.YAMLError as error:
        raise TaskError(_yaml_message(path, error)) from error
    except (ValueError, RecursionError) as error:  # e.g. a date that does not exist, brackets nested a thousand deep
        raise TaskError(f"{path}: YAML error: {error}") from error
    finally:
        if loader is not None:
            loader.dispose()


def _yaml_message(path: Path, error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        column = f" (column {mark.column + 1})" if mark else ""
        begun = f" (begun in line {error.context_mark.line + 1})" if error.context_mark else ""
        context = f"{error.context}{begun}, " if error.context else ""
        return f"{place}: YAML error: {context}{error.problem}{column}"
    return f"{path}: YAML error: {' '.join(str(error).split())}"


def locate(path: Path, keys: Sequence[str | int]) -> str:
    """``path:line`` of the value at ``keys``, or of its nearest parent; just the path where the file cannot be parsed."""
    try:
        node = yaml.compose(path.read_bytes(), Loader=_Base)
    except (OSError, yaml.YAMLError):
        return str(path)
    line = 1
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            match = next(((k, v) for k, v in node.value if k.value == str(key)), None)
            if match is None:
                break
            line, node = match[0].start_mark.line + 1, match[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line + 1
        else:
            break
    return f"{path}:{line}"
