"""A model asked once how it would go about a criterion (auto-CoT, as in G-Eval), outside of any run."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from evalkit.errors import ModelError, RubricError
from evalkit.models.base import ConnectingModel, Model
from evalkit.rubric.schema import Criterion, Rubric
from evalkit.rubric.steps import read_steps
from evalkit.scorers.judge.asking import plain
from evalkit.scorers.judge.prompt import NAMES, described
from evalkit.types import Message, Request, Response, keyed


def steps_prompt(rubric: Rubric, criterion: Criterion) -> tuple[Message, ...]:
    """What the model is asked: the rubric's introduction, the criterion, and how it would go about it."""
    shown = ", ".join(NAMES[part] for part in rubric.shows(criterion))
    blocks = [rubric.task.strip(), *([rubric.guidelines.strip()] if rubric.guidelines else []), described(criterion)]
    blocks.append(
        f"Whoever rates by this criterion sees {shown}. How should they go about it? Write the evaluation steps: a numbered "
        "list of three to six short instructions, in the order in which they are to be followed, the last of them about "
        "choosing a point of the scale. Rate nothing now. Reply with the list and nothing else."
    )
    return (Message("user", "\n\n".join(blocks)),)


def written_steps(model: Model, rubric: Rubric, criterion: Criterion, max_tokens: int = 1024) -> tuple[str, ...]:
    """The steps that ``model`` writes.

    Raises ModelError where it cannot be asked, RubricError for a reply without steps or without an end.
    """
    if "generate" not in model.capabilities.kinds:
        raise ModelError(f"{model.name} cannot generate, so that it writes no steps")
    if isinstance(model, ConnectingModel):
        model.connect()
    messages = steps_prompt(rubric, criterion)
    params = {"until": [], "max_gen_toks": max_tokens, "do_sample": False, "temperature": 0.0}
    prompt = messages if model.capabilities.chat else plain(messages, "Evaluation steps:\n1.")
    response = _answered(model, Request("generate", prompt, params=params))
    if response.error is not None:
        raise ModelError(f"{model.name} did not answer: {response.error.message}")
    if response.finish == "length":
        raise RubricError(f"{model.name} found no end: its reply was cut off after {max_tokens} tokens; take another model")
    said = response.text or ""
    return read_steps(said if isinstance(prompt, tuple) else f"1. {said}")


def _answered(model: Model, request: Request) -> Response:
    found: list[Response] = []
    model.run(_One(keyed(request, model.fingerprint)), found.append, threading.Event())
    if not found:
        raise ModelError(f"{model.name} gave no answer")
    return found[-1]


class _One:
    """A source of a single request."""

    def __init__(self, request: Request) -> None:
        self._left = [request]

    def take(self, limit: int) -> Sequence[Request]:
        taken, self._left = self._left, []
        return taken
