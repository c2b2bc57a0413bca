"""What the right answer of a document is, as a sample carries it and scorers read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evalkit.errors import TemplateError
from evalkit.scorers.base import ScoringPlan
from evalkit.tasks.fields import Fields
from evalkit.types import OutputType


def resolve_target(
    output_type: OutputType, fields: Fields, doc: Mapping[str, Any], choices: Sequence[str] | None, plan: ScoringPlan
) -> Any:
    """The target by lm-eval's rules for the kind of task; a tuple where several answers are right.

    ``multiple_choice``: the index of the right choice (text that equals a choice becomes its index; anything else is left
    as it is, for the scorer to refuse). Log-likelihoods: the text to score. Generation: the reference text, looked up
    among the choices where the task has them; ``None`` where the task names no target.
    """
    if output_type == "multiple_choice":
        gold = fields.doc_to_text(doc) if plan.multiple_inputs else fields.doc_to_target(doc)
        if isinstance(gold, list | tuple):
            return tuple(_index(value, choices or ()) for value in gold)
        return _index(gold, choices or ())

    target = fields.doc_to_target(doc)
    if output_type != "generate_until":
        if target is None or isinstance(target, list | tuple | dict):
            raise TemplateError(f"doc_to_target must give the text to score, got {target!r:.60}")
        return str(target)
    if isinstance(target, list | tuple):
        return tuple(_reference(value, choices) for value in target)
    value = _reference(target, choices)
    return (value,) if plan.multiple_targets and value is not None else value


def _index(gold: Any, choices: Sequence[str]) -> Any:
    if isinstance(gold, str) and gold in choices:
        return choices.index(gold)
    if isinstance(gold, bool) or (isinstance(gold, float) and gold.is_integer()):
        return int(gold)
    return gold


def _reference(value: Any, choices: Sequence[str] | None) -> Any:
    """A reference answer as text; nested ones (for a task's own ``process_results``) stay as they are."""
    if isinstance(value, int) and choices is not None:
        if not -len(choices) <= value < len(choices):
            raise TemplateError(f"doc_to_target gives {value}, which is not the index of one of {len(choices)} choices")
        return choices[value]
    return str(value) if isinstance(value, int | float) else value
