"""A YAML file as a pydantic model: safe YAML in, one line with file, line and key out where something is wrong."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from evalkit.errors import UsageError, nearest

M = TypeVar("M", bound=BaseModel)


def read_model(path: Path, model: type[M], what: str, error: type[UsageError]) -> M:
    """The file's content as ``model``; ``what`` it is called in messages ("rubric").

    Raises ``error`` with ``path:line: key: what is wrong`` for a file that cannot be read, is no YAML or does not fit.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise error(f"{what} {path} cannot be read: {getattr(problem, 'strerror', None) or problem}") from problem
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        reason = getattr(problem, "problem", None) or problem.__class__.__name__
        raise error(f"{where}: YAML error: {reason}") from problem
    if not isinstance(data, Mapping):
        raise error(f"{path}:1: a {what} is a mapping of keys, this file is {type(data).__name__}")
    try:
        return model.model_validate(data)
    except ValidationError as problem:
        first = first_error(problem)
        raise error(f"{path}:{line_of(text, first['loc'])}: {explained(first, model)}") from problem


def first_error(error: ValidationError) -> Mapping[str, Any]:
    """The error to tell: a key that is misspelt is also missing, and its spelling is what helps."""
    return min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")


def explained(error: Mapping[str, Any], model: type[BaseModel]) -> str:
    """A pydantic error as ``key: what is wrong``, with the nearest known keys for one that is not known."""
    loc = [part for part in error["loc"] if not str(part).startswith(("function-", "tagged-union"))]
    key = ".".join(str(part) for part in loc)
    if error["type"] == "extra_forbidden":
        name, known = str(loc[-1]), _fields(model, loc[:-1])
        return f"unknown key {name!r}{nearest(name, known) or ('; there are ' + ', '.join(known) if known else '')}"
    if error["type"] == "missing":
        return f"{key} is missing"
    message = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "expected")
    given = repr(error["input"])
    shown = "" if error["type"] == "value_error" else f", got {given if len(given) <= 60 else given[:57] + '...'}"
    return f"{key}: {message}{shown}" if key else f"{message}{shown}"


def line_of(text: str, keys: Sequence[str | int]) -> int:
    """The line of the value at ``keys``, or of its nearest parent."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    line = 1
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            match = next(((k, v) for k, v in node.value if k.value == str(key)), None)
            if match is None:
                continue  # a name that pydantic adds, for the branch of a union
            line, node = match[0].start_mark.line + 1, match[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line + 1
    return line


def _fields(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """The keys that are known at ``loc``."""
    at: Any = model
    for part in loc:
        field = getattr(at, "model_fields", {}).get(str(part)) if isinstance(part, str) else None
        found = _models(field.annotation) if field is not None else []
        at = found[0] if found else at
    return list(getattr(at, "model_fields", {}))


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models inside an annotation, as far as lists, mappings and unions go."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, types.UnionType, list, tuple, dict, Sequence, Mapping) or get_args(annotation):
        return [model for part in get_args(annotation) for model in _models(part)]
    return []
