"""What a task file's fields mean for a document: question, target and choices.

The rules are lm-eval's (``ConfigurableTask.doc_to_text`` and friends of 0.4): a string that names a column gives that
column untouched, any other string is a template; numbers, lists and functions stand for themselves.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evalkit.errors import TemplateError
from evalkit.tasks.templates import compiled, render, shortened

Doc = Mapping[str, Any]
#: A field of a task file with its functions loaded.
FieldSpec = str | int | list[Any] | dict[str, Any] | Callable[..., Any] | None


@dataclass(frozen=True, slots=True)
class Fields:
    """``doc_to_text``, ``doc_to_target`` and ``doc_to_choice`` of a task (or of its shots) over known columns.

    ``has_choices`` says whether the *task* has a doc_to_choice: then a rendered text or target that is all digits is a
    number, for the task's own document and for its shots.
    """

    text: FieldSpec
    target: FieldSpec
    choice: FieldSpec
    columns: Collection[str]
    has_choices: bool

    def doc_to_text(self, doc: Doc) -> Any:
        """The question; an int where it is the gold index of a task with several inputs."""
        value = self.text
        if not isinstance(value, str):
            return _called("doc_to_text", value, doc)
        if value in self.columns:
            return _column("doc_to_text", value, doc)
        text = compiled(value)(doc)
        return _number(text) if self.has_choices and text.isdigit() else text

    def question(self, doc: Doc) -> str:
        """The question as text, for a task with one input. Raises TemplateError where it is not text."""
        value = self.text
        if isinstance(value, str) and value not in self.columns:
            return compiled(value)(doc)
        text = self.doc_to_text(doc)
        if not isinstance(text, str):
            raise TemplateError(f"doc_to_text must give text, got {shortened(str(text))} ({type(text).__name__})")
        return text

    def doc_to_target(self, doc: Doc) -> Any:
        """The answer: text, the index of a choice, or a list where several answers are right; None where there is none."""
        value = self.target
        if isinstance(value, list):
            return value
        if not isinstance(value, str):
            return None if value is None else _called("doc_to_target", value, doc)
        if value in self.columns:
            return _column("doc_to_target", value, doc)
        text = compiled(value)(doc)
        if self.has_choices and text.isdigit():
            return _number(text)
        if len(text) >= 2 and text[0] == "[" and text[-1] == "]":
            try:
                return ast.literal_eval(text)
            except (SyntaxError, ValueError):
                return text
        return text

    def doc_to_choice(self, doc: Doc) -> list[str]:
        """The choices as text. Raises TemplateError where the field gives no list."""
        value = self.choice
        if isinstance(value, dict):
            found: Any = list(value.values())
        elif isinstance(value, list):
            found = value
        elif isinstance(value, str):
            found = _column("doc_to_choice", value, doc) if value in self.columns else _literal_list(value, doc)
        else:
            found = _called("doc_to_choice", value, doc)
        if isinstance(found, str) or not isinstance(found, Sequence) or not found:
            raise TemplateError(f"doc_to_choice must give a list of choices, got {shortened(str(found))}")
        return [choice if isinstance(choice, str) else str(choice) for choice in found]


def column_or_template(value: str | None, doc: Doc) -> str | None:
    """A field that is a column of the document if there is one of that name, else a template (description, gen_prefix)."""
    if not value:
        return None
    if value not in doc:
        return render(value, doc)
    return None if doc[value] is None else str(doc[value])


def _column(field: str, column: str, doc: Doc) -> Any:
    try:
        return doc[column]
    except KeyError:
        raise TemplateError(f"{field}: the row has no column {column!r}; columns: {', '.join(map(str, doc))}") from None


def _called(field: str, value: Any, doc: Doc) -> Any:
    if isinstance(value, int):
        return value
    if not callable(value):
        raise TemplateError(f"{field} must be text, a number or a function, got {shortened(str(value))}")
    try:
        found = value(doc)
    except Exception as error:  # a task folder's own function: whatever it raises is reported with the sample
        name = getattr(value, "__name__", str(value))
        raise TemplateError(f"{field}: function {name} raised {type(error).__name__}: {error}") from error
    return found.item() if isinstance(found, np.generic) else found  # NumPy's numbers are numbers here


def _literal_list(template: str, doc: Doc) -> Any:
    text = compiled(template)(doc)
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        raise TemplateError(f"doc_to_choice {shortened(template)} must render a list, got {shortened(text)}") from None


def _number(text: str) -> int | str:
    """All-digit text as a number; text that Python does not read as one ("07", superscripts) stays text."""
    try:
        return int(ast.literal_eval(text))
    except (SyntaxError, ValueError):
        return text
