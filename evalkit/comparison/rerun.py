"""The command that runs one model as another was run: what to do about runs that cannot be compared."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping

from evalkit.comparison.base import RunScores
from evalkit.types import Json

#: Options that change what is asked or how it is scored, with the value that needs no flag.
ASKING: Mapping[str, Json] = {
    "num_fewshot": None, "limit": None, "samples": None, "seed": 1234, "apply_chat_template": False,
    "system_instruction": None, "fewshot_as_multiturn": None, "gen_kwargs": {}, "compat": None, "form": "auto",
    "scorers": [], "data": {}, "task_dirs": [], "allow_code": False,
}  # fmt: skip
_SHORT = {"model_args": "-M", "task_dirs": "--task-dir"}


def rerun_command(of: RunScores, like: RunScores, tasks: Iterable[str] | None = None) -> str:
    """``evalkit run ...`` for the model of ``of`` with the tasks and options of ``like``.

    ``tasks``: only these, where the run named its tasks. What it named otherwise stays as it is: a file's path says where to
    find them, and a group of which some tasks are left out is no group. A model that is no name (a Python callable) is left
    for the reader to name.
    """
    model, asked = of.manifest["config"], like.manifest["config"]
    words = ["evalkit", "run"]
    if isinstance(model.get("model"), str) and not model["model"].startswith("<"):
        words += ["--model", model["model"], *_flags({"model_args": model.get("model_args", {})})]
    own = list(map(str, asked.get("tasks", ())))
    plain = all(name in like.manifest["tasks"] for name in own)
    names = own if tasks is None or not plain else list(tasks)
    words += ["--tasks", ",".join(names)]
    given = {name: asked[name] for name, usual in ASKING.items() if name in asked and asked[name] != usual}
    return shlex.join([*words, *_flags(given)])


def _flags(options: Mapping[str, Json]) -> Iterator[str]:
    for name, value in options.items():
        flag = _SHORT.get(name, "--" + name.replace("_", "-"))
        if isinstance(value, bool):
            yield flag if value else flag.replace("--", "--no-", 1)
        elif name == "samples":
            yield from (flag, json.dumps(value))
        else:
            for item in _items(value):
                yield from (flag, item)


def _items(value: Json) -> Iterator[str]:
    """One flag an item; generation settings are written together."""
    if isinstance(value, Mapping):
        yield from (f"{key}={item if isinstance(item, str) else json.dumps(item)}" for key, item in value.items())
    elif isinstance(value, list | tuple):
        yield from (item if isinstance(item, str) else json.dumps(item) for item in value)
    else:
        yield str(value)
