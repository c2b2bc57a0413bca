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
    """Each thing that can have changed a task's prompts, as ``what BASELINE against SYSTEM``.

    Hashes of the definition and the data come only where nothing else explains it.
    """
    found = [] if b.n_shot == s.n_shot else [_against("num_fewshot", b.n_shot, s.n_shot)]
    forms = [
        run.manifest["tasks"][b.task].get("definition", {}).get("form") or "loglikelihood" for run in (baseline, system)
    ]
    if forms[0] != forms[1]:
        found.append(_against("form", *forms))
    found += differing_options(baseline, system, _PROMPTING + (_DRAWING if max(b.n_shot, s.n_shot) else ()))
    if found:
        return found
    if other_data(b, s):
        found.append(_against("data hash", b.data[:8], s.data[:8]))
    if b.definition != s.definition:
        found.append(_against("definition hash", b.definition[:8], s.definition[:8]))
    return found


def other_data(b: TaskScores, s: TaskScores) -> bool:
    """Whether the data is known to differ: its hash covers the examples of prompts that have any."""
    return b.data != s.data and bool(b.n_shot) == bool(s.n_shot)


def differing_options(baseline: RunScores, system: RunScores, names: Iterable[str]) -> list[str]:
    """Options of the runs that differ."""
    one, other = baseline.manifest["config"], system.manifest["config"]
    pairs = ((name, one.get(name, _USUAL.get(name)), other.get(name, _USUAL.get(name))) for name in names)
    return [_against(name, a, b) for name, a, b in pairs if a != b]


def _against(what: str, baseline: Json, system: Json) -> str:
    return f"{what} {_short(baseline)} against {_short(system)}"


def _short(value: Json) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "..."
