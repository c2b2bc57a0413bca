"""What evalkit's own definition of a task lends to an imported one: its samples are then called as in a run of evalkit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalkit.errors import TaskError, TemplateError
from evalkit.tasks.ids import column_value
from evalkit.tasks.load import TaskLibrary
from evalkit.tasks.schema import TaskConfig

#: Keys that only evalkit has. They say nothing of what is asked.
_PLAIN = ("ability", "rubric", "summary", "licence", "content_warning")


def with_own_keys(config: TaskConfig, library: TaskLibrary, doc: Mapping[str, Any]) -> tuple[TaskConfig, list[str]]:
    """The definition with ``sample_id``, ``slices``, ``cluster`` and the like of the library's task of that name.

    ``doc``: a document as it was logged. What reads a column that it lacks is left out; the notes say so.
    """
    own = _definition(config.task, library)
    if own is None:
        return config, []
    slices = own.slices if isinstance(own.slices, dict) else {name: name for name in own.slices}
    fields = {"sample_id": own.sample_id, "cluster": own.cluster, **{f"slice {name}": f for name, f in slices.items()}}
    wrong = [key for key, field in fields.items() if field is not None and not _fits(config.task, key, field, doc)]
    lent: dict[str, Any] = {key: value for key in _PLAIN if (value := getattr(own, key)) is not None}
    lent |= {key: fields[key] for key in ("sample_id", "cluster") if fields[key] is not None and key not in wrong}
    lent["slices"] = {name: field for name, field in slices.items() if f"slice {name}" not in wrong}
    where = f"evalkit's definition ({own.source})" if own.source else "evalkit's definition"
    notes = (
        [f"{config.task}: {', '.join(wrong)} of {where} do not fit the logged documents and are left out"] if wrong else []
    )
    return config.model_copy(update=lent), notes


def _definition(task: str, library: TaskLibrary) -> TaskConfig | None:
    entry = library.entries.get(task)
    if entry is None or entry.kind != "task":
        return None
    try:
        return library.resolve([task]).tasks[0]
    except TaskError:
        return None  # it could not be run either, so that nothing needs to pair with it


def _fits(task: str, key: str, field: str, doc: Mapping[str, Any]) -> bool:
    try:
        column_value(task, key, field, list(doc))(doc)
    except (TaskError, TemplateError):
        return False
    return True
