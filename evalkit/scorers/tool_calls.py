"""Tool calls against what they should have been, as the Berkeley Function-Calling Leaderboard compares them.

Followed is its AST checker (Python category): the target is ``[{"f": {"argument": [allowed, ...]}}, ...]``; an argument
that may be left out has ``""`` among its allowed values; texts are compared without case, blanks and ``,./-_*^``; a whole
number stands for the float it equals, not the other way round. Calls may come in any order. Two differences: where several
calls fit several targets, the best assignment counts (there, the first fit), and texts are compared like that at any depth.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalkit.scorers.base import BaseScorer
from evalkit.scorers.call_text import Call, calls_in, listed
from evalkit.scorers.common import serves, share
from evalkit.types import Json, Record, Response, Score

#: Where a response keeps the calls that an API returned as data.
TOOL_CALLS = "tool_calls"
_IGNORED = re.compile(r"[ ,./\-_*^]")


@dataclass(frozen=True, slots=True)
class Miss:
    """Why a call is not the one that was wanted. ``kind``: count, name, missing, unexpected, value, arguments, none."""

    kind: str
    reason: str


class ToolCalls(BaseScorer):
    """Whether the answer makes the calls that the target names, no more and no fewer; an empty target wants none.

    Calls that the API returned as data are scored; where there are none, the answer's text is read. ``column`` holds the
    target in the data, without it the task's own target is it. Several answers count with their mean.
    """

    name = "tool_calls"
    metrics = (share("tool_calls"),)

    def __init__(self, column: str | None = None) -> None:
        self._column = column
        self.columns = (column,) if column else ()

    def parameters(self) -> Mapping[str, Json]:
        return {"column": self._column} if self._column else {}

    def score_one(self, record: Record) -> Score:
        given = record.sample.doc.get(self._column) if self._column else record.sample.target
        wanted = wanted_calls(given)
        if wanted is None:
            return Score.unscored("the target is not a list of {function: {argument: [allowed values]}}")
        texts = record.answer if isinstance(record.answer, list) else [record.answer]
        made = [_made(response, text) for response, text in zip(record.responses, texts, strict=False)]
        if not made:
            return Score.unscored("no answer")
        misses = [compared(calls, wanted) for calls in made]
        value = sum(miss is None for miss in misses) / len(misses)
        first = next((miss for miss in misses if miss is not None), None)
        shown: dict[str, Json] = {"calls": [[{"name": n, "arguments": a} for n, a in calls or ()] for calls in made]}
        if first is not None:
            shown.update({"miss": first.kind, "why": first.reason})
        return Score((value,), value, detail=shown)


def wanted_calls(target: Any) -> list[Call] | None:
    """The target as calls whose argument values are lists of what is allowed; ``None`` where it is none."""
    if isinstance(target, str):
        target = _literal(target)
    if isinstance(target, Mapping):
        target = [target]
    if not isinstance(target, Sequence) or isinstance(target, str):
        return None
    found: list[Call] = []
    for entry in [_literal(item) if isinstance(item, str) else item for item in target]:
        if not isinstance(entry, Mapping) or not all(isinstance(arguments, Mapping) for arguments in entry.values()):
            return None
        found += [(str(name), {str(k): _allowed(v) for k, v in arguments.items()}) for name, arguments in entry.items()]
    return found


def compared(calls: Sequence[Call] | None, wanted: Sequence[Call]) -> Miss | None:
    """None where every wanted call was made and nothing else; the first reason otherwise."""
    if calls is None:
        return Miss("none", "the answer holds no call that can be read") if wanted else None
    if len(calls) != len(wanted):
        return Miss("count", f"{len(calls)} calls where {len(wanted)} are wanted")
    misses = [[difference(call, target) for call in calls] for target in wanted]
    owner: dict[int, int] = {}
    for at in range(len(wanted)):
        if not _assigned(at, misses, owner, set()):
            return next((m for m in misses[at] if m is not None and m.kind != "name"), misses[at][0]) or Miss(
                "count", f"no call is left for {wanted[at][0]}"
            )
    return None


def difference(call: Call, wanted: Call) -> Miss | None:
    """What keeps a call from being the wanted one. Dots and underscores of names are one: APIs allow no dots."""
    (name, arguments), (right, allowed) = call, wanted
    if name.replace(".", "_") != right.replace(".", "_"):
        return Miss("name", f"calls {name} where {right} is wanted")
    for key, value in arguments.items():
        if key not in allowed:
            return Miss("unexpected", f"{right}: argument {key} is not expected")
        if not any(fits(value, one) for one in allowed[key]):
            return Miss("value", f"{right}: {key} is {_short(value)}, not one of {_short(allowed[key])}")
    for key, values in allowed.items():
        if key not in arguments and "" not in values:
            return Miss("missing", f"{right}: argument {key} is missing")
    return None


def fits(value: Any, allowed: Any) -> bool:
    """Whether an argument's value is the allowed one, type included."""
    if isinstance(value, bool) or isinstance(allowed, bool):
        return isinstance(value, bool) and isinstance(allowed, bool) and value == allowed
    if isinstance(value, str) and isinstance(allowed, str):
        return _bare(value) == _bare(allowed)
    if isinstance(value, int | float) and isinstance(allowed, int | float):
        return value == allowed and (isinstance(value, int) or isinstance(allowed, float))
    if isinstance(value, Sequence) and isinstance(allowed, Sequence) and not isinstance(value, str):
        return (
            not isinstance(allowed, str)
            and len(value) == len(allowed)
            and all(fits(v, a) for v, a in zip(value, allowed, strict=True))
        )
    if isinstance(value, Mapping) and isinstance(allowed, Mapping):
        known = all(key in allowed and _member(item, allowed[key]) for key, item in value.items())
        return known and all(key in value or "" in _allowed(item) for key, item in allowed.items())
    return type(value) is type(allowed) and bool(value == allowed)


def _member(value: Any, allowed: Any) -> bool:
    """A member of an object: its value among the allowed ones, or the list itself where that is the value."""
    return any(fits(value, one) for one in _allowed(allowed)) or fits(value, allowed)


def _assigned(at: int, misses: Sequence[Sequence[Miss | None]], owner: dict[int, int], tried: set[int]) -> bool:
    """Give target ``at`` a call of its own, moving others where that helps (augmenting paths)."""
    for call, miss in enumerate(misses[at]):
        if miss is None and call not in tried:
            tried.add(call)
            if call not in owner or _assigned(owner[call], misses, owner, tried):
                owner[call] = at
                return True
    return False


def _made(response: Response | None, text: Any) -> list[Call] | None:
    """The calls of one answer; ``None`` where there is none that can be read."""
    given = response.extra.get(TOOL_CALLS) if response is not None else None
    if given:
        return listed(given)
    return calls_in(text) if isinstance(text, str) else None


def _allowed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _literal(text: str) -> Any:
    """JSON, or a Python literal (what a template makes of a list); ``None`` for other text."""
    try:
        return json.loads(text)
    except ValueError:
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return None


def _bare(text: str) -> str:
    return _IGNORED.sub("", text).lower().replace("'", '"')


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + " ..."


@serves("generate_until")
def tool_calls(column: str | None = None) -> ToolCalls:
    """Whether the answer makes the wanted tool calls with allowed arguments (as BFCL compares them)."""
    return ToolCalls(column)
