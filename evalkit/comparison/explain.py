"""What explains that two runs asked differently: the options and definitions that their prompts came from."""

from __future__ import annotations

import json
from collections.abc import Iterable

from evalkit.comparison.base import RunScores, TaskScores
from evalkit.types import Json

#: Options that show in prompts (or in how they are answered), in the order in which they are told.
_PROMPTING = ("apply_chat_template", "system_instruction", "fewshot_as_multiturn", "gen_kwargs")
#: Options that decide which examples are drawn, where there are any.
_DRAWING = ("seed", "compat")
#: What a run that does not name the option does.
_USUAL = {"apply_chat_template": False, "gen_kwargs": {}, "seed": 1234}


def differing_prompts(baseline: RunScores, system: RunScores, b: TaskScores, s: TaskScores) -> list[str]:
    """Each thing that can have changed a task's prompts, as ``what A in BASELINE, B in SYSTEM``.

    Hashes of the definition and the data come only where nothing else explains it.
    """
    found = [] if b.n_shot == s.n_shot else [_differs("num_fewshot", baseline, b.n_shot, system, s.n_shot)]
    forms = [
        run.manifest["tasks"][b.task].get("definition", {}).get("form") or "loglikelihood" for run in (baseline, system)
    ]
    if forms[0] != forms[1]:
        found.append(_differs("form", baseline, forms[0], system, forms[1]))
    found += differing_options(baseline, system, _PROMPTING + (_DRAWING if max(b.n_shot, s.n_shot) else ()))
    if found:
        return found
    if other_data(b, s):
        found.append(_differs("data hash", baseline, b.data[:8], system, s.data[:8]))
    if b.definition != s.definition:
        found.append(_differs("definition hash", baseline, b.definition[:8], system, s.definition[:8]))
    return found


def other_data(b: TaskScores, s: TaskScores) -> bool:
    """Whether the data is known to differ: its hash covers the examples of prompts that have any."""
    return b.data != s.data and bool(b.n_shot) == bool(s.n_shot)


def differing_options(baseline: RunScores, system: RunScores, names: Iterable[str]) -> list[str]:
    """Options of the runs that differ."""
    one, other = baseline.manifest["config"], system.manifest["config"]
    pairs = ((name, one.get(name, _USUAL.get(name)), other.get(name, _USUAL.get(name))) for name in names)
    return [_differs(name, baseline, a, system, b) for name, a, b in pairs if a != b]


def _differs(what: str, baseline: RunScores, one: Json, system: RunScores, other: Json) -> str:
    return f"{what} {_short(one)} in {baseline.name}, {_short(other)} in {system.name}"


def _short(value: Json) -> str:
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "..."
