"""A request's generation settings, by lm-eval's names, as members of a call's body."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from typing import Any

from evalkit.errors import ModelError, nearest
from evalkit.models.remote.dialect import Dialect
from evalkit.types import Json, Request

log = logging.getLogger(__name__)

#: The API takes no more stop strings than this; the others are applied to the answer here.
MAX_STOPS = 4

_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
#: Sampling settings that mean nothing to an answer that is not sampled.
_WARPERS = frozenset({"top_p", "top_k", "min_p", "typical_p", "top_h", "epsilon_cutoff", "eta_cutoff"})
_OPENAI = frozenset({"top_p", "frequency_penalty", "presence_penalty", "logit_bias"})
#: Members of chat and responses calls that are no sampling settings.
_ASKS = frozenset({"response_format", "reasoning_effort", "tools", "tool_choice", "parallel_tool_calls", "verbosity"})
_EXTENSIONS = frozenset(
    {
        "top_k", "min_p", "repetition_penalty", "length_penalty", "min_tokens", "ignore_eos", "stop_token_ids", "bad_words",
        "skip_special_tokens", "spaces_between_special_tokens", "include_stop_str_in_output", "chat_template_kwargs",
        "guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs", "thinking_token_budget",
    }
)  # fmt: skip
_OWN = frozenset({*_LENGTHS, "until", "stop", "do_sample", "temperature", "seed", "logprobs", "top_logprobs"})
#: Settings of transformers that are harmless at the value that means "off".
_OFF: Mapping[str, Any] = {"num_beams": 1, "num_return_sequences": 1, "n": 1, "use_cache": True, "early_stopping": False}
_KNOWN = _OWN | _OPENAI | _ASKS | _EXTENSIONS | _WARPERS | _OFF.keys()


def max_tokens_of(params: Mapping[str, Any], default: int = 256) -> int:
    """The answer's limit by any of its names, lm-eval's first."""
    found = next((name for name in _LENGTHS if params.get(name) is not None), None)
    return default if found is None else whole(found, params[found], 1)


def whole(name: str, value: Any, least: int = 0) -> int:
    """A setting that is a whole number of at least ``least``; ModelError otherwise."""
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = least - 1
    if number < least:
        raise ModelError(f"generation setting {name!r} must be a whole number of at least {least}, not {value!r}")
    return number


def top_asked(params: Mapping[str, Any]) -> int | None:
    """How many of the likeliest first tokens the task wants to see; ``None``: none."""
    wanted = params.get("top_logprobs") or params.get("logprobs")
    if not wanted:
        return None
    return 1 if wanted is True else whole("top_logprobs", wanted)


def stops_of(params: Mapping[str, Any]) -> list[str]:
    """All stop strings, whichever name they go by; empty ones are dropped."""
    found: list[str] = []
    for name in ("until", "stop"):
        given = params.get(name) or ()
        found += [given] if isinstance(given, str) else map(str, given)
    return [stop for stop in dict.fromkeys(found) if stop]


def seed_of(request: Request) -> int | None:
    """The seed to send. A sampled request gets one of its own, or equal prompts would be answered alike."""
    seed = request.params.get("seed")
    if seed is None:
        return None
    return int(request.key[:8], 16) & 0x7FFFFFFF if request.sampled and request.key else whole("seed", seed)


def sampling(request: Request, dialect: Dialect, *, allowed: frozenset[str] = _ASKS) -> dict[str, Json]:
    """Everything but length, stops, seed and log-probabilities, under the names that servers share.

    ``allowed`` are the members beside sampling settings that this endpoint takes. Raises ModelError, one line, for a
    setting that this server does not take or nobody knows.
    """
    params, sampled = request.params, request.sampled
    body: dict[str, Json] = {}
    if not dialect.fixed_sampling:
        temperature = params.get("temperature")
        if not sampled:
            body["temperature"] = 0
        elif temperature is not None:
            body["temperature"] = temperature
    for name, value in params.items():
        if name in _OWN or value is None or (name in _WARPERS and not sampled):
            continue
        if name in allowed or name in _OPENAI:
            if dialect.fixed_sampling and name in _OPENAI:
                _say_left_out(name)
            else:
                body[name] = value
        elif name in _EXTENSIONS and dialect.extensions:
            body[name] = value
        elif name not in _OFF or value != _OFF[name]:
            raise ModelError(_refusal(name))
    if dialect.fixed_sampling and sampled and params.get("temperature") not in (None, 1, 1.0):
        _say_left_out("temperature")
    return body


def _refusal(name: str) -> str:
    if name in _EXTENSIONS:
        return (
            f"generation setting {name!r} is not part of the API; where the server takes it, say so with -M extensions=true"
        )
    if name == "n" or name == "num_return_sequences":
        return f"generation setting {name!r}: several answers a prompt are asked for with the task's 'repeats'"
    if name in _OFF:
        return f"generation setting {name!r}: remote models search no beams; leave it out"
    if name in _ASKS:
        return f"generation setting {name!r} is not taken by this endpoint; chat models take it on the chat endpoint"
    if name in _KNOWN:
        return f"generation setting {name!r} is not taken by remote models"
    return f"unknown generation setting {name!r}{nearest(name, _KNOWN)}"


@cache
def _say_left_out(name: str) -> None:
    log.warning("generation setting %r is not sent: this model reasons, and its sampling is fixed", name)
