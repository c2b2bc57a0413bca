"""How a task's ``generation_kwargs`` and the run's overrides become the parameters of a request (lm-eval's rules)."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from evalkit.errors import TaskError, nearest

DEFAULT_MAX_GEN_TOKS = 256
#: Names for the length limit, strongest first.
_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")

#: Settings that models commonly take, to tell a slip from a setting this page has not heard of.
_KNOWN = frozenset(
    {
        *_LENGTHS, "until", "do_sample", "temperature", "top_p", "top_k", "top_h", "min_p", "typical_p", "epsilon_cutoff",
        "eta_cutoff", "repetition_penalty", "encoder_repetition_penalty", "frequency_penalty", "presence_penalty",
        "length_penalty", "diversity_penalty", "no_repeat_ngram_size", "num_beams", "num_beam_groups", "early_stopping",
        "num_return_sequences", "min_length", "min_new_tokens", "max_length", "max_time", "penalty_alpha", "guidance_scale",
        "bad_words_ids", "suppress_tokens", "begin_suppress_tokens", "stop_strings", "use_cache", "seed", "stop", "n",
        "logprobs", "top_logprobs", "logit_bias", "response_format", "reasoning_effort", "tools", "tool_choice",
        "parallel_tool_calls", "verbosity",
    }
)  # fmt: skip

log = logging.getLogger(__name__)


def generation_params(
    task: str, kwargs: Mapping[str, Any] | None, fewshot_delimiter: str, overrides: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The parameters of a ``generate`` request: at least ``until``, ``max_gen_toks``, ``do_sample``, ``temperature``.

    ``until`` defaults to the few-shot delimiter and ``max_gen_toks`` to 256. Nothing said about sampling means greedy; a
    temperature above 0 alone means sampling; ``do_sample: false`` wins over any temperature. ``overrides`` (the command
    line) replace single keys; a name that is nearly a known one is refused as a slip. One difference from lm-eval: a length
    given there under any of its names wins over the task's, whatever name the task uses. Raises TaskError for values that
    cannot be used.
    """
    params: dict[str, Any] = {"temperature": 0.0, "do_sample": False} if kwargs is None else dict(kwargs)
    given = dict(overrides or {})
    for name in set(given) - _KNOWN:
        if hint := nearest(name, _KNOWN, limit=1, cutoff=0.8):
            raise TaskError(f"task {task}: unknown generation setting {name!r}{hint}")
    if any(name in given for name in _LENGTHS):
        for name in _LENGTHS:
            params.pop(name, None)
    params.update(given)

    lengths = [params.pop(name, None) for name in _LENGTHS]
    length = next((value for value in lengths if value is not None), DEFAULT_MAX_GEN_TOKS)
    params["max_gen_toks"] = _positive(task, length)
    params["until"] = _stops(task, params.get("until", fewshot_delimiter))
    temperature = _temperature(task, params.get("temperature"))
    if params.get("do_sample") is None:
        params["do_sample"] = bool(temperature)
    params["do_sample"] = bool(params["do_sample"])
    if not params["do_sample"]:
        if temperature and "temperature" in given:
            log.warning(
                "task %s: temperature %s has no effect, the task sets do_sample: false (add do_sample=true)",
                task,
                temperature,
            )
        temperature = 0.0
    if temperature is not None:
        params["temperature"] = temperature
    else:
        params.pop("temperature", None)
    return params


def tools_of(doc: Mapping[str, Any], column: str) -> list[Any]:
    """A sample's own tools: the list in that column of its data, or the JSON of one. Raises TaskError for anything else."""
    if column not in doc:
        raise TaskError(
            f"generation_kwargs: tools names the column {column!r}, which the data has not{nearest(column, doc)}"
        )
    found = doc[column]
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except ValueError:
            found = None
    if isinstance(found, Mapping):
        found = [found]
    if not isinstance(found, list | tuple) or not all(isinstance(tool, Mapping) for tool in found):
        raise TaskError(f"generation_kwargs: tools: column {column!r} must hold a list of functions")
    return [dict(tool) for tool in found]


def _positive(task: str, value: Any) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = 0
    if number < 1:
        raise TaskError(f"task {task}: generation_kwargs: max_gen_toks must be a number above 0, got {value!r}")
    return number


def _stops(task: str, value: Any) -> list[str]:
    stops = value if isinstance(value, list | tuple) else [] if value is None else [value]
    if not all(isinstance(stop, str) for stop in stops):
        raise TaskError(f"task {task}: generation_kwargs: until must be text or a list of texts, got {value!r}")
    return [stop for stop in stops if stop]


def _temperature(task: str, value: Any) -> float | None:
    try:
        number = None if value is None else float(value)
    except (TypeError, ValueError):
        number = -1.0
    if number is not None and not number >= 0:
        raise TaskError(f"task {task}: generation_kwargs: temperature must be a number from 0, got {value!r}")
    return number
