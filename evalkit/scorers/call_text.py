"""Tool calls out of text: Python-call syntax and JSON, read and never run."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

#: A longer text is no list of calls, and nobody should wait for a parser to find out.
_LONGEST = 50_000
_FENCE = re.compile(r"```[\w-]*\s*\n?(.*?)```", re.DOTALL)
_TAGGED = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
_ARGUMENTS = ("arguments", "parameters", "args", "input")
_WORDS = {"true": True, "false": False, "null": None}

#: A call: the function's name and its arguments.
Call = tuple[str, dict[str, Any]]


def calls_in(text: str) -> list[Call] | None:
    """The calls that a whole text is, in order; ``None`` where it is not calls.

    Read are ``[f(a=1), g(b="x")]`` (brackets optional, one call a line too), JSON (``{"name": ..., "arguments": ...}``,
    ``{"f": {...}}``, lists of those), and either in a code block or in ``<tool_call>`` tags. Python values that are no
    literals are kept as their source text; arguments without a name are called ``#1``, ``#2``, ...
    """
    if len(text) > _LONGEST:
        return None
    if tagged := _TAGGED.findall(text):
        parts = [_parsed(part) for part in tagged]
        return None if None in parts else [call for part in parts for call in part or ()]
    fenced = _FENCE.findall(text)
    return _parsed(fenced[-1] if fenced else text)


def listed(value: Any) -> list[Call] | None:
    """Calls in any of the shapes that JSON has for them; ``None`` for anything else."""
    if isinstance(value, Mapping):
        found = _one(value)
        if found is not None:
            return [found]
        if value and all(isinstance(item, Mapping) for item in value.values()):
            return [(str(name), dict(item)) for name, item in value.items()]
        return None
    if not isinstance(value, Sequence) or isinstance(value, str):
        return None
    parts = [listed(item) if isinstance(item, Mapping) else None for item in value]
    return None if None in parts else [call for part in parts for call in part or ()]


def _one(value: Mapping[str, Any]) -> Call | None:
    """A call that names its function under ``name``, perhaps inside of ``function``."""
    inner = value.get("function")
    if isinstance(inner, Mapping):
        return _one(inner)
    name = value.get("name", inner if isinstance(inner, str) else None)
    if not isinstance(name, str):
        return None
    given: Any = next((value[key] for key in _ARGUMENTS if key in value), {})
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            return None
    return (name, dict(given)) if isinstance(given, Mapping) else None


def _parsed(text: str) -> list[Call] | None:
    text = text.strip().strip("`").strip()
    if not text:
        return None
    try:
        return listed(json.loads(text))
    except (ValueError, RecursionError):
        return _python(text)


def _python(text: str) -> list[Call] | None:
    try:
        statements = ast.parse(text).body
        nodes: list[ast.expr] = []
        for statement in statements:
            if not isinstance(statement, ast.Expr):
                return None
            value = statement.value
            nodes += value.elts if isinstance(value, ast.List | ast.Tuple) else [value]
        calls = [_call(node) for node in nodes]
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # what a parser says of text that is no code
        return None
    return None if None in calls else [call for call in calls if call is not None]


def _call(node: ast.expr) -> Call | None:
    name = _dotted(node.func) if isinstance(node, ast.Call) else None
    if name is None or not isinstance(node, ast.Call) or any(keyword.arg is None for keyword in node.keywords):
        return None
    arguments = {f"#{i}": _value(item) for i, item in enumerate(node.args, 1)}
    return name, arguments | {str(keyword.arg): _value(keyword.value) for keyword in node.keywords}


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return None if before is None else f"{before}.{node.attr}"
    return None


def _value(node: ast.expr) -> Any:
    """A literal's value; JSON's words; else the source text."""
    if isinstance(node, ast.Name):
        return _WORDS.get(node.id, node.id)
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Dict) and all(isinstance(key, ast.Constant) for key in node.keys):
        return {
            str(key.value): _value(value)
            for key, value in zip(node.keys, node.values, strict=True)
            if isinstance(key, ast.Constant)
        }
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)
