"""Tools: from the forms in which task files and data describe them to the API's, and calls from a reply to plain data."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from evalkit.errors import ModelError
from evalkit.models.remote.wire import bad
from evalkit.types import Json

#: Type names of function lists made for several programming languages (BFCL), as JSON schema has them.
_TYPES = {
    "dict": "object", "hashmap": "object", "float": "number", "double": "number", "long": "integer", "short": "integer",
    "byte": "integer", "bigint": "integer", "tuple": "array", "list": "array", "arraylist": "array", "set": "array",
    "char": "string", "str": "string", "int": "integer", "bool": "boolean",
}  # fmt: skip
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")


def with_tools(body: Mapping[str, Json]) -> dict[str, Json]:
    """A body with its tools as the chat API takes them; none at all where the list is empty, which APIs refuse."""
    if "tools" not in body:
        return dict(body)
    tools = tools_body(body["tools"])
    own = ("tools", "tool_choice", "parallel_tool_calls")
    return {**body, "tools": tools} if tools else {key: value for key, value in body.items() if key not in own}


def tools_body(tools: Any) -> list[Json]:
    """Tools as the chat API takes them.

    Each may be in that form already (``{"type": "function", "function": {...}}``) or the bare function (name, description,
    parameters), whose type names may be another language's and whose name may have dots, which become underscores.
    Raises ModelError for anything else.
    """
    if isinstance(tools, str):
        try:
            tools = json.loads(tools)
        except ValueError:
            raise ModelError("generation setting 'tools' must be a list of functions") from None
    if not isinstance(tools, Sequence) or not all(isinstance(tool, Mapping) for tool in tools):
        raise ModelError("generation setting 'tools' must be a list of functions")
    return [_tool(tool) for tool in tools]


def _tool(tool: Mapping[str, Any]) -> Json:
    if "function" not in tool and "name" not in tool:
        raise ModelError("generation setting 'tools': a function needs a name")
    if "function" in tool:
        return dict(tool)
    function = {
        "name": _NOT_IN_NAMES.sub("_", str(tool["name"])),
        "description": str(tool.get("description") or ""),
        "parameters": _schema(tool.get("parameters") or {"type": "object", "properties": {}}),
    }
    return {"type": "function", "function": function}


def _schema(value: Any) -> Json:
    """A JSON schema with the type names that JSON schema has; ``any`` is any type, said by none."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_schema(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    found = {key: _schema(item) for key, item in value.items()}
    kind = value.get("type")
    if isinstance(kind, str):
        if kind.lower() == "any":
            del found["type"]
        else:
            found["type"] = _TYPES.get(kind.lower(), kind)
            if found["type"] == "array":
                found.setdefault("items", {})
    return found


def flat(tools: Sequence[Any]) -> list[Json]:
    """Chat tools in the form of the responses API, where a function's members stand beside its type."""
    return [
        {"type": "function", **tool["function"]} if isinstance(tool.get("function"), Mapping) else dict(tool)
        for tool in tools
    ]


def call_of(name: Any, arguments: Any, call_id: Any) -> Json:
    """One returned call. Arguments are an object; text that is no JSON object stays text, for the scorer to tell."""
    if not isinstance(name, str) or not name:
        raise bad("has a tool call without a name")
    if isinstance(arguments, str):
        arguments = parsed(arguments)
    elif arguments is None:
        arguments = {}
    elif not isinstance(arguments, Mapping):
        raise bad(f"has a tool call whose arguments are {type(arguments).__name__}")
    return {"name": name, "arguments": arguments, "id": call_id if isinstance(call_id, str) else ""}


def parsed(arguments: str) -> Json:
    """The object that ``arguments`` is the JSON of; an empty text is no arguments, any other text stays what it is."""
    if not arguments.strip():
        return {}
    try:
        found = json.loads(arguments, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return arguments
    return found if isinstance(found, dict) else arguments


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
