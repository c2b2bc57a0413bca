"""inspect's samples: one sample with its epochs, as evalkit's sample with its repeats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evalkit.importers.base import Answered
from evalkit.importers.inspect_values import numbers
from evalkit.scorers.given import GIVEN
from evalkit.types import EMPTY, Failure, Finish, Json, Message, Prompt, Request, Response, Sample

Epochs = Mapping[int, Mapping[str, Any]]
_FINISH: Mapping[str, Finish] = {"stop": "stop", "max_tokens": "length", "model_length": "length"}
#: inspect's names of generation settings, where lm-eval's (and so evalkit's) are others.
_SETTINGS = {"max_tokens": "max_gen_toks", "stop_seqs": "until"}
#: Settings of the client, not of the answer.
_CLIENT = frozenset(
    {"max_retries", "timeout", "attempt_timeout", "max_connections", "adaptive_connections", "cache", "batch"}
)
_MESSAGE_LIMIT = 1000


class SampleReader:
    """Makes records of one log. ``reduced``: (metric, sample id) -> value, where epochs are not reduced by their mean."""

    def __init__(
        self,
        task: str,
        model: str,
        params: Mapping[str, Json],
        slices: Sequence[str],
        cluster: str | None,
        reduced: Mapping[tuple[str, str], float | None] | None,
    ) -> None:
        self._task, self._model, self._params = task, model, params
        self._slices, self._cluster, self._reduced = slices, cluster, reduced

    def record(self, index: int, name: str, epochs: Epochs) -> Answered:
        """A sample of the log."""
        first = next(iter(epochs.values()))
        metadata = first.get("metadata") or {}
        target = first.get("target")
        choices = first.get("choices")
        sample = Sample(
            self._task,
            name,
            index,
            {**metadata, **{key: first[key] for key in ("input", "choices", "target") if first.get(key) is not None}},
            tuple(map(str, target)) if isinstance(target, list) else None if target in (None, "") else str(target),
            None if not choices else tuple(map(str, choices)),
            {key: str(metadata[key]) for key in self._slices if metadata.get(key) is not None},
            None if self._cluster is None or metadata.get(self._cluster) is None else str(metadata[self._cluster]),
        )
        requests = tuple(
            Request("generate", asked(found), "", self._params, 0, repeat, self._task, name)
            for repeat, found in enumerate(epochs.values())
        )
        return sample, requests, tuple(self._response(name, found) for found in epochs.values())

    def _response(self, name: str, found: Mapping[str, Any]) -> Response:
        scores = found.get("scores")
        if failed(found):
            error = found["error"]
            message = str(error.get("message") if isinstance(error, Mapping) else error)[:_MESSAGE_LIMIT]
            return Response("", error=Failure("inspect", message), latency_s=found.get("working_time"))
        output = found.get("output") or {}
        choice: Mapping[str, Any] = next(iter(output.get("choices") or ()), {})
        usage = (found.get("model_usage") or {}).get(self._model) or output.get("usage") or {}
        cached = usage.get("input_tokens_cache_read") or 0
        prompt_tokens = usage.get("input_tokens")
        values = {metric: value for metric, value in numbers(scores) if value is not None}
        if self._reduced is not None:
            reduced = {metric: self._reduced.get((metric, name)) for metric in values}
            values = {metric: value for metric, value in reduced.items() if value is not None}
        extra: dict[str, Json] = {GIVEN: {"none": values}}
        told = {"cached_tokens": cached, "reasoning_tokens": usage.get("reasoning_tokens") or 0}
        if any(told.values()):
            extra["usage"] = told
        return Response(
            "",
            text=_answer(output, choice),
            tokens=usage.get("output_tokens"),
            prompt_tokens=None if prompt_tokens is None else prompt_tokens + cached,
            finish=_FINISH.get(choice.get("stop_reason", "")),
            latency_s=_seconds(found, output),
            cost_usd=usage.get("total_cost"),
            extra=extra,
        )


def failed(found: Mapping[str, Any]) -> bool:
    """Whether an epoch ended in an error (and was not scored all the same)."""
    return bool(found.get("error")) and not found.get("scores")


def settings(*configs: Mapping[str, Any] | None) -> Mapping[str, Json]:
    """Generation settings by evalkit's names, the later ones winning."""
    merged = {key: value for config in configs for key, value in (config or {}).items() if value is not None}
    return {_SETTINGS.get(key, key): value for key, value in merged.items() if key not in _CLIENT} or EMPTY


def asked(found: Mapping[str, Any]) -> Prompt:
    """What the model was first asked: the messages before its first own, else the sample's input."""
    messages = found.get("messages") or []
    first = next((i for i, m in enumerate(messages) if m.get("role") == "assistant" and m.get("source") != "input"), None)
    taken = messages[:first]
    if not taken:
        given = found.get("input")
        taken = [{"role": "user", "content": given}] if isinstance(given, str) else list(given or ())
    return tuple(Message(str(m.get("role", "user")), _text(m.get("content"))) for m in taken)


def _answer(output: Mapping[str, Any], choice: Mapping[str, Any]) -> str:
    completion = output.get("completion")
    return str(completion) if completion else _text((choice.get("message") or {}).get("content"))


def _text(content: Any) -> str:
    """The text of a message; what is no text is named, as it is part of what was asked."""
    if isinstance(content, str):
        return content
    parts = [part if isinstance(part, Mapping) else {"type": "text", "text": str(part)} for part in content or ()]
    shown = [part for part in parts if part.get("type") != "reasoning"]
    return "\n".join(str(part["text"]) if "text" in part else f"[{part.get('type', 'part')}]" for part in shown)


def _seconds(found: Mapping[str, Any], output: Mapping[str, Any]) -> float | None:
    """Of the model's call where there was one, else what the sample took without waiting."""
    calls = sum(m.get("role") == "assistant" and m.get("source") != "input" for m in found.get("messages") or ())
    value = output.get("time") if calls <= 1 and output.get("time") is not None else found.get("working_time")
    return float(value) if isinstance(value, int | float) else None
