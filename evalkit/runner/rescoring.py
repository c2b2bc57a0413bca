"""What a run is scored again with: further scorers that fit its tasks, and that it holds all data and answers for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from evalkit.errors import ScorerError
from evalkit.runner.judging import Rounds
from evalkit.runner.prepare import check_columns
from evalkit.runner.store import RunStore
from evalkit.runner.stored import StoredTask
from evalkit.scorers.base import ScorerSpec
from evalkit.scorers.registry import fits


def with_scorers(tasks: Mapping[str, Any], added: Sequence[ScorerSpec]) -> dict[str, Any]:
    """The manifest's tasks with the further scorers that fit them, each once a task."""
    entries = {}
    for name, entry in tasks.items():
        known = entry.get("extra_scorers", [])
        fitting = [asdict(spec) for spec in added if fits(spec, entry["output_type"])]
        entries[name] = {**entry, "extra_scorers": [*known, *(item for item in fitting if item not in known)]}
    return entries


def require_columns(store: RunStore, tasks: Sequence[StoredTask], entries: Mapping[str, Any]) -> None:
    """Refuse a further scorer that reads a column which the stored samples have not."""
    for task in tasks:
        log = store.samples(task.name)
        if entries[task.name]["extra_scorers"] and len(log) and not log.damaged:
            check_columns(log[0][0], task.scorers)


def require_answers(store: RunStore, tasks: Sequence[StoredTask], fingerprints: Mapping[str, str]) -> None:
    """Refuse a scorer that asks models, where the run does not hold a single one of the answers it needs."""
    for task in tasks:
        for scorer in task.scorers:
            for role in set(scorer.roles) - set(fingerprints):
                raise ScorerError(
                    f"a scorer asks the role {role!r}, which this run had no model for; run it anew with --role"
                )
            only = replace(task, scorers=(scorer,))
            asked = [q.key for q in Rounds(store, [only], fingerprints).requests()] if scorer.roles else []
            if asked and not any(key in store.journal or store.journal.failed(key) for key in asked):
                raise ScorerError(
                    f"{task.name}: {scorer.name} asks a model ({', '.join(scorer.roles)}) what this run did not ask it; "
                    "rescoring calls no model, so run it anew with this scorer"
                )
