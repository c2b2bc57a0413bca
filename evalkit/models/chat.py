"""Chat messages to prompt text, through the tokenizer's own template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit.errors import ModelError, nearest
from evalkit.types import Json, Message, content_hash


class ChatTemplate:
    """A tokenizer's chat template and the variables it is rendered with.

    ``choice`` is a file with a template, or the name of one of the tokenizer's several. ``dropped`` counts the prompts
    whose system message the template refused, and which were rendered without it (as lm-eval does).
    """

    def __init__(self, tokenizer: Any, choice: str | None, variables: Mapping[str, Json]) -> None:
        self._tokenizer = tokenizer
        self._variables = dict(variables)
        self._template = _template(tokenizer, choice)
        self.dropped = 0

    @property
    def known(self) -> bool:
        """Whether there is a template at all."""
        return self._template is not None

    @property
    def digest(self) -> str | None:
        """A hash of template and variables."""
        return content_hash([self._template, self._variables]) if self.known else None

    def render(self, messages: Sequence[Message], *, continue_final: bool) -> str:
        """The prompt; ``continue_final`` leaves the last message open.

        Raises ModelError where there is no template, or it fails.
        """
        if not self.known:
            raise ModelError(
                "this model has no chat template: run it without --apply-chat-template, or pass -M chat_template="
            )
        from jinja2 import TemplateError

        turns = [{"role": message.role, "content": message.content} for message in messages]
        try:
            try:
                return self._render(turns, continue_final)
            except TemplateError:
                without = [turn for turn in turns if turn["role"] != "system"]
                if len(without) == len(turns):
                    raise
                text = self._render(without, continue_final)
                self.dropped += 1
                return text
        except (TemplateError, ValueError) as error:
            raise ModelError(f"the chat template failed: {error}") from error

    def _render(self, turns: list[dict[str, str]], continue_final: bool) -> str:
        return str(
            self._tokenizer.apply_chat_template(
                turns,
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=not continue_final,
                continue_final_message=continue_final,
                **self._variables,
            )
        )


def _template(tokenizer: Any, choice: str | None) -> str | None:
    own = getattr(tokenizer, "chat_template", None)
    several: Mapping[str, str] = own if isinstance(own, dict) else {}
    if choice is None:
        if several and "default" not in several:
            raise ModelError(f"the model has several chat templates: choose one with -M chat_template={'|'.join(several)}")
        return several["default"] if several else own
    if choice in several:
        return several[choice]
    if not Path(choice).is_file():
        raise ModelError(
            f"-M chat_template={choice} is neither a file nor a template of the model{nearest(choice, several)}"
        )
    return Path(choice).read_text(encoding="utf-8")
