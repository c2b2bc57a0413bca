"""From a document and its examples to the prompt, byte for byte as lm-eval puts it together.

A prompt is a list of turns. As text they are joined with their delimiters; for a chat model they become messages (the
delimiters go), with the examples as turns of their own or collapsed into the user's one message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evalkit.errors import TemplateError
from evalkit.models.base import ChatModel
from evalkit.tasks.fewshot import Draw, Pool
from evalkit.tasks.fields import Fields, column_or_template
from evalkit.types import Message, Prompt, Sample

Doc = Mapping[str, Any]
#: Rendered examples kept in memory.
_KEPT = 4096


@dataclass(frozen=True, slots=True)
class Turn:
    """A message, and what follows it where the prompt is plain text."""

    role: str
    content: str
    delimiter: str = ""


@dataclass(frozen=True, slots=True)
class Shots:
    """The few-shot examples of a task: rows, how they are chosen and how they read."""

    pool: Pool
    draw: Draw
    fields: Fields
    target_delimiter: str
    fewshot_delimiter: str
    gen_prefix: str | None
    name: str
    """The split's name, for error messages."""


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """What the run says about prompts."""

    chat: bool = False
    multiturn: bool = True
    system_instruction: str | None = None


def joined(prefix: str | None, suffix: str | None, delimiter: str) -> str:
    """Both parts, with the delimiter where neither has whitespace at the join; an empty part adds nothing."""
    if not prefix or not suffix:
        return prefix or suffix or ""
    return prefix + (delimiter if needs_delimiter(prefix, suffix) else "") + suffix


def needs_delimiter(prefix: str, suffix: str) -> bool:
    """Whether neither text has whitespace where they meet."""
    return bool(prefix) and not (prefix[-1].isspace() or suffix[0].isspace())


def turns(question: str, answer: str | None, gen_prefix: str | None, target_delimiter: str, after: str) -> list[Turn]:
    """A question and its answer; without one, the question and the prefix that the model's answer starts with."""
    if answer is not None:
        delimit = not gen_prefix or needs_delimiter(question, gen_prefix)
        reply = Turn("assistant", joined(gen_prefix, answer, " "), after)
    elif gen_prefix:
        delimit = needs_delimiter(question, gen_prefix)
        reply = Turn("assistant", gen_prefix)
    else:
        return [Turn("user", question)]
    return [Turn("user", question, target_delimiter if delimit else ""), reply]


def as_text(prompt: Sequence[Turn]) -> str:
    """The turns as one text."""
    return "".join([part for turn in prompt for part in (turn.content, turn.delimiter)])


def as_messages(prompt: Sequence[Turn], *, multiturn: bool) -> tuple[Message, ...]:
    """The turns as chat messages; without ``multiturn`` at most one each of system, user and (a prefix) assistant."""
    if not multiturn:
        prompt = _collapsed(prompt)
    return tuple(Message(turn.role, turn.content) for turn in prompt)


def _collapsed(prompt: Sequence[Turn]) -> list[Turn]:
    system = list(prompt[:1]) if prompt[0].role == "system" else []
    rest = list(prompt[len(system) :])
    prefill = [rest.pop()] if rest[-1].role == "assistant" else []
    rest[-1] = replace(rest[-1], delimiter="")
    return [*system, Turn("user", as_text(rest)), *prefill]


class PromptBuilder:
    """Builds the prompts of one task.

    ``description`` and ``gen_prefix`` are columns or templates (a description may be a function of the document);
    ``multiple_inputs``: the choices are the contexts (Winogrande style).
    """

    def __init__(
        self,
        fields: Fields,
        shots: Shots | None,
        options: ChatOptions,
        *,
        description: str | Callable[[Doc], str],
        gen_prefix: str | None,
        target_delimiter: str,
        fewshot_delimiter: str,
        multiple_inputs: bool,
    ) -> None:
        self._fields = fields
        self._shots = shots
        self._options = options
        self._description = description
        self._gen_prefix = gen_prefix
        self._target_delimiter = target_delimiter
        self._fewshot_delimiter = fewshot_delimiter
        self._multiple_inputs = multiple_inputs
        self._rendered: dict[int, list[Turn]] = {}

    def contexts(self, sample: Sample, ordinal: int, chat: ChatModel | None) -> list[Prompt]:
        """The sample's prompt, or one a choice for a task with several inputs."""
        doc = sample.doc
        before = self._opening(doc)
        if self._shots is not None:
            for position in self._shots.draw.positions(sample, ordinal):
                before += self._shot(position)
        prefix = column_or_template(self._gen_prefix, doc)
        if not self._multiple_inputs:
            question = self._fields.question(doc)
            return [self._finished([*before, *turns(question, None, prefix, self._target_delimiter, "")], prefix, chat)]
        return [
            self._finished([*before, *turns(context, None, prefix, "", "")], prefix, chat)
            for context in sample.choices or ()
        ]

    def choice_delimiter(self) -> str:
        """What stands before a choice in a multiple-choice continuation: nothing in chat, unless a prefix needs it."""
        if not self._options.chat:
            return self._target_delimiter
        prefix = self._gen_prefix
        return self._target_delimiter if prefix and not prefix[-1].isspace() else ""

    def _opening(self, doc: Doc) -> list[Turn]:
        description = self._description
        about = description(doc) if callable(description) else column_or_template(description, doc)
        system = joined(self._options.system_instruction, about, self._fewshot_delimiter)
        return [Turn("system", system)] if system else []

    def _shot(self, position: int) -> list[Turn]:
        found = self._rendered.get(position)
        if found is None:
            shots = self._shots
            assert shots is not None
            try:
                found = _example(shots, shots.pool[position], self._multiple_inputs)
            except TemplateError as error:
                raise TemplateError(f"few-shot example (row {position} of {shots.name}): {error}") from error
            if len(self._rendered) < _KEPT:
                self._rendered[position] = found
        return found

    def _finished(self, prompt: list[Turn], prefix: str | None, chat: ChatModel | None) -> Prompt:
        if not self._options.chat:
            return as_text(prompt)
        messages = as_messages(prompt, multiturn=self._options.multiturn)
        return messages if chat is None else chat.render_chat(messages, continue_final=bool(prefix))


def _example(shots: Shots, row: Doc, multiple_inputs: bool) -> list[Turn]:
    fields = shots.fields
    choices = fields.doc_to_choice(row) if fields.choice else None
    target = fields.doc_to_target(row)
    if multiple_inputs:
        question = _pick(choices or [], fields.doc_to_text(row))
        answer = _answer(None, target)
    else:
        question = fields.question(row)
        answer = _answer(choices, target)
    prefix = column_or_template(shots.gen_prefix, row)
    return turns(question, answer, prefix, shots.target_delimiter, shots.fewshot_delimiter)


def _answer(choices: Sequence[str] | None, target: Any) -> str | None:
    """The answer that an example shows: the chosen text, the first of several, or the target itself."""
    if isinstance(target, list | tuple):
        target = target[0] if target else None
    elif target == "":
        return None
    if isinstance(target, int) and choices:
        return _pick(choices, target)
    return None if target is None else str(target)


def _pick(choices: Sequence[str], index: Any) -> str:
    if not isinstance(index, int) or not -len(choices) <= index < len(choices):
        raise TemplateError(f"answer {index!r} is not the index of one of {len(choices)} choices")
    return choices[index]
