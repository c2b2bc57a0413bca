"""Evaluation steps: read from a model's reply, and written into a rubric's file without touching the rest of it.

G-Eval (Liu et al., 2023) lets the judge write down once how it would go about a criterion, and keeps what it wrote in the
prompt of every item from then on. Frozen in the file, steps are read by people before they are used, and change the rubric's
hash when they change.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import yaml

from evalkit.errors import RubricError

#: Fewer are no list, and more are no plan.
LEAST, MOST = 2, 15

_NUMBERED = re.compile(r"^\s*(?:[-*•]\s+)?(?:#+\s*)?\**(?:step\s*)?(\d{1,2})\s*[.):\-]+\**:?\s*(.*)$", re.IGNORECASE)
_BULLET = re.compile(r"^\s*[-*•]\s+(.*)$")
_THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)


def read_steps(reply: str) -> tuple[str, ...]:
    """The last list of a reply: numbered from 1 on, else bulleted. Raises RubricError where there is none.

    Lines that go on with an item belong to it; marks of emphasis, thoughts and what stands around the list do not.
    """
    lines = re.sub(r"[*_`]{2,}", "", _THOUGHT.sub("", reply)).splitlines()
    numbered = [(at, int(found[1]), found[2]) for at, line in enumerate(lines) if (found := _NUMBERED.match(line))]
    starts = [i for i, (_, number, _) in enumerate(numbered) if number == 1]
    items = [(at, text) for at, _, text in numbered[starts[-1] :]] if starts else []
    if len(items) < LEAST:
        items = [(at, found[1]) for at, line in enumerate(lines) if (found := _BULLET.match(line))]
    steps = [_whole(lines, at, text, {other for other, _ in items}) for at, text in items]
    steps = list(dict.fromkeys(step for step in steps if step))
    if not LEAST <= len(steps) <= MOST:
        raise RubricError(f"the reply holds no list of {LEAST} to {MOST} steps: {' '.join(reply.split())[:120]!r}")
    return tuple(steps)


def _whole(lines: Sequence[str], at: int, text: str, starts: set[int]) -> str:
    """An item with the lines that go on with it, up to a blank one."""
    parts = [text]
    for place in range(at + 1, len(lines)):
        if place in starts or not lines[place].strip():
            break
        parts.append(re.sub(r"^\s*[-*•]\s+", "", lines[place]))
    return " ".join(" ".join(parts).split()).strip("*_ ")


def with_steps(text: str, steps: dict[str, Sequence[str]], *, force: bool = False) -> str:
    """A rubric's YAML with the steps of some criteria (name -> steps) and the next version; all else stays as it stands.

    Raises RubricError for a criterion that is not there or has steps already (unless ``force``), and for a file whose layout
    leaves no safe place for them.
    """
    before = yaml.safe_load(text)
    edits = []
    for name, lines in steps.items():
        node = _criterion(text, name)
        keys = {key.value: (key, value) for key, value in node.value}
        if "steps" in keys and keys["steps"][1].value and not force:
            raise RubricError(f"criterion {name} has steps already; --force writes over them")
        edits.append(_edit(text, node, keys, lines))
    edits.append(_version(text, before))
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    _check(before, text, steps)
    return text


Edit = tuple[int, int, str]


def _criterion(text: str, name: str) -> yaml.MappingNode:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    criteria = next((value for key, value in getattr(root, "value", ()) if key.value == "criteria"), None)
    for node in getattr(criteria, "value", ()):
        if isinstance(node, yaml.MappingNode) and any(k.value == "name" and v.value == name for k, v in node.value):
            return node
    raise RubricError(f"the file has no criterion {name!r}")


def _edit(text: str, node: yaml.MappingNode, keys: dict[str, Any], lines: Sequence[str]) -> Edit:
    """Where the steps go, and as what."""
    old = keys.get("steps")
    flow = "[" + ", ".join(json.dumps(line, ensure_ascii=False) for line in lines) + "]"
    if node.flow_style:
        if old is not None:
            return old[1].start_mark.index, old[1].end_mark.index, flow
        end = node.end_mark.index - 1
        return end, end, f", steps: {flow}"
    newline = "\r\n" if "\r\n" in text else "\n"
    indent = " " * node.value[0][0].start_mark.column
    block = f"steps:{newline}" + "".join(f"{indent}  - {_scalar(line)}{newline}" for line in lines)
    if old is not None:
        return old[0].start_mark.index, _content_end(text, old[0].start_mark.index, old[1].end_mark.index), block
    end = _content_end(text, node.start_mark.index, node.end_mark.index)
    missing = "" if text[:end].endswith("\n") else newline
    return end, end, f"{missing}{indent}{block}"


def _content_end(text: str, start: int, end: int) -> int:
    """The end of the last line with content between two places: what follows (blanks, comments) belongs to what comes."""
    lines = text[start:end].splitlines(keepends=True)
    if end < len(text) and not text[:end].endswith("\n") and text[text.rfind("\n", 0, end) + 1 : end].strip():
        rest = text.find("\n", end)
        return len(text) if rest < 0 else rest + 1
    while len(lines) > 1 and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
        lines.pop()
    return start + sum(map(len, lines))


def _scalar(text: str) -> str:
    """As YAML that reads back as this text: plain where that is safe."""
    try:
        plain = yaml.safe_load(f"- {text}") == [text] and not text.startswith(("{", "[", "&", "*", "!", "|", ">", "%", "@"))
    except yaml.YAMLError:
        plain = False
    return text if plain else json.dumps(text, ensure_ascii=False)


def _version(text: str, before: dict[str, Any]) -> Edit:
    """The next version, where the old one stands, or behind the first line."""
    root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    found = {key.value: (key, value) for key, value in root.value}
    if "version" in found:
        value = found["version"][1]
        return value.start_mark.index, value.end_mark.index, str(int(before["version"]) + 1)
    name = found["rubric"][1]
    if root.flow_style:
        return name.end_mark.index, name.end_mark.index, ", version: 2"
    end = text.find("\n", name.end_mark.index)
    end = len(text) if end < 0 else end + 1
    return end, end, "version: 2\n"


def _check(before: dict[str, Any], text: str, steps: dict[str, Sequence[str]]) -> None:
    """That nothing but the steps and the version changed; raises RubricError."""
    try:
        after = yaml.safe_load(text)
    except yaml.YAMLError:
        after = None
    wanted = {**before, "version": int(before.get("version", 1)) + 1}
    wanted["criteria"] = [
        {**one, "steps": list(steps[one["name"]])} if one.get("name") in steps else one for one in before["criteria"]
    ]
    if after != wanted:
        raise RubricError("the file's layout leaves no safe place for the steps; copy them from the output into it yourself")
