"""A request's generation parameters as the settings of a job."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from evalkit.engine.base import WARPERS
from evalkit.errors import ModelError, nearest
from evalkit.types import Json, content_hash

_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
#: Handled outside of ``settings``, or meaningless for one answer a request.
_OWN = frozenset({*_LENGTHS, "until", "seed"})
_REFUSED = frozenset({"max_length", "num_return_sequences", "stop_strings", "return_dict_in_generate", "streamer"})


def max_tokens_of(params: Mapping[str, Any], default: int = 256) -> int:
    """The answer's limit by any of its names, lm-eval's first."""
    return int(next((params[name] for name in _LENGTHS if params.get(name) is not None), default))


def stops_of(params: Mapping[str, Any], end_text: str | None) -> tuple[str, ...]:
    """The stop strings, the end-of-text token's own text always among them; empty ones are dropped."""
    until = params.get("until") or ()
    stops = [until] if isinstance(until, str) else list(until)
    return tuple(dict.fromkeys(str(stop) for stop in [*stops, end_text] if stop))


def settings_of(params: Mapping[str, Any]) -> dict[str, Any]:
    """What is left for the engine: ``do_sample`` resolved as lm-eval does, greedy without its sampling settings.

    Raises ModelError for a setting that transformers does not know, or that one answer a request cannot have.
    """
    settings = {name: value for name, value in params.items() if name not in _OWN and value is not None}
    for name in settings:
        if name in _REFUSED:
            raise ModelError(f"generation setting {name!r} cannot be used here; lengths are set by max_gen_toks")
        if name not in _known_settings():
            raise ModelError(f"unknown generation setting {name!r}{nearest(name, _known_settings())}")
    temperature = float(settings.get("temperature", 1.0 if settings.get("do_sample") else 0.0))
    if settings.get("do_sample", temperature > 0) and temperature > 0:
        if int(settings.get("num_beams", 1)) > 1:
            raise ModelError("generation settings do_sample and num_beams > 1 cannot be used together")
        return {**settings, "do_sample": True, "temperature": temperature}
    return {name: value for name, value in settings.items() if name not in WARPERS and name != "do_sample"}


@lru_cache(maxsize=1)
def _known_settings() -> frozenset[str]:
    from transformers import GenerationConfig

    return frozenset(name for name in vars(GenerationConfig()) if not name.startswith("_")) | frozenset(WARPERS)


def seed_of(*parts: Json) -> int:
    """A generator's seed from anything that names a request."""
    return int(content_hash(list(parts), 8), 16) >> 1
