"""What a server understands beyond (or short of) OpenAI's API: decided once by ``-M`` options and the model's name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from evalkit.models.provider import Arg, flag, mapping, one_of, positive
from evalkit.types import Json

#: OpenAI's models that reason before they answer: they take no temperature and no stop strings.
_REASONING = re.compile(r"^(?:.*/)?(?:o\d|gpt-5)(?![\w.]*-chat)", re.IGNORECASE)

Echo = Literal["echo", "prompt_logprobs"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How to speak to one server.

    Attributes:
        length: the chat API's name for the longest answer: ``max_completion_tokens`` or (older servers) ``max_tokens``.
        fixed_sampling: the model takes no temperature, top_p and the like; they are not sent.
        reasons: the model thinks before it answers. Stop strings would cut its thoughts, so they only apply to the answer.
        extensions: the server takes vLLM's and SGLang's own settings (``top_k``, ``min_p``, ``repetition_penalty``, ...).
        prefill: the server continues a final assistant message (vLLM's and SGLang's ``continue_final_message``).
        think_end: what ends reasoning that stands in the answer's text; ``None``: none does.
        scoring: how prompts are scored: OpenAI's ``echo`` with ``logprobs``, or vLLM's ``prompt_logprobs``.
        scored_max_tokens: ``max_tokens`` of a call that only scores; some servers refuse 0.
        body: further members of every call, over all others.
    """

    length: str = "max_completion_tokens"
    fixed_sampling: bool = False
    reasons: bool = False
    extensions: bool = False
    prefill: bool = False
    think_end: str | None = "</think>"
    scoring: Echo = "echo"
    scored_max_tokens: int = 1
    body: Mapping[str, Json] = field(default_factory=dict)


def _zero_or_one(text: str) -> int:
    if text not in ("0", "1"):
        raise ValueError("expected 0 or 1")
    return int(text)


#: The ``-M`` options that `dialect_of` reads, for a provider's table.
DIALECT_ARGS: tuple[Arg, ...] = (
    Arg("length_name", "the API's name for the longest answer", one_of("max_completion_tokens", "max_tokens")),
    Arg("reasoning", "whether the model reasons before it answers (found from OpenAI's names)", flag),
    Arg("reasoning_effort", "how long it reasons, as the API names it: minimal, low, medium, high"),
    Arg("extensions", "whether the server takes top_k, min_p, repetition_penalty, ... as vLLM does", flag, False),
    Arg("prefill", "whether the server continues a begun answer as vLLM does (continue_final_message)", flag, False),
    Arg("think_end", "what ends reasoning inside the answer's text; empty: nothing does", str, "</think>"),
    Arg("scoring", "how log-likelihoods are asked for", one_of("echo", "prompt_logprobs"), "echo"),
    Arg("scored_max_tokens", "max_tokens of calls that only score", _zero_or_one, 1),
    Arg("extra_body", "JSON object merged into the body of every call", mapping),
    Arg("tokenizer", "name or folder of the tokenizer that cuts prompts for log-likelihoods (package transformers)"),
    Arg("max_length", "longest text to score, in tokens, where a tokenizer is given", positive),
)


def dialect_of(model: str, args: Mapping[str, Any], *, official: bool) -> Dialect:
    """The dialect by parsed options; ``official``: the server is OpenAI's or Azure's, where names say what models are."""
    named = official and bool(_REASONING.match(model))
    reasons = args.get("reasoning")
    body = dict(args.get("extra_body") or {})
    if args.get("reasoning_effort"):
        body.setdefault("reasoning_effort", args["reasoning_effort"])
    return Dialect(
        length=args.get("length_name") or ("max_completion_tokens" if official else "max_tokens"),
        fixed_sampling=named if reasons is None else official and reasons,
        reasons=named if reasons is None else reasons,
        extensions=bool(args.get("extensions")),
        prefill=bool(args.get("prefill")),
        think_end=args.get("think_end", "</think>") or None,
        scoring=args.get("scoring", "echo"),
        scored_max_tokens=args.get("scored_max_tokens", 1),
        body=body,
    )


def about(text: str) -> int:
    """A rough number of tokens."""
    return len(text) // 4 + 1
