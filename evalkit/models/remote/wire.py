"""Reading the bodies of replies: what is not as the API says becomes a `Failure`, never an empty answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalkit.models.remote.base import REASONING, SERVED_BY, TOOL_CALLS, TOP, USAGE
from evalkit.types import Failure, Finish, Json, Response

#: Longest piece of a server's own words in a message.
_QUOTED = 300


class Unreadable(Exception):
    """A reply that is no answer; ``failure`` says why."""

    def __init__(self, kind: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.failure = Failure(kind, message, retryable=retryable)


def bad(message: str) -> Unreadable:
    """A body that is not as the API says. Asking again may work: proxies and overloaded servers send such bodies."""
    return Unreadable("bad-reply", f"the server's reply {message}", retryable=True)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a reply as the server counted them; ``None`` where it did not."""

    prompt: int | None = None
    completion: int | None = None
    details: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a reply, whichever endpoint it came from."""

    text: str
    finish: Finish | None
    reasoning: str = ""
    tool_calls: Sequence[Json] = ()
    top: Mapping[str, float] | None = None


def mapping_at(value: Any, what: str) -> Mapping[str, Any]:
    """``value`` as an object; Unreadable otherwise."""
    if not isinstance(value, Mapping):
        raise bad(f"has no object {what!r}")
    return value


def list_at(value: Any, what: str) -> Sequence[Any]:
    """``value`` as a list; Unreadable otherwise."""
    if not isinstance(value, list):
        raise bad(f"has no list {what!r}")
    return value


def no_error(body: Mapping[str, Any]) -> None:
    """Raise for an error that came with status 200 (gateways do that)."""
    error = body.get("error")
    if error:
        text = error.get("message") if isinstance(error, Mapping) else error
        raise bad(f"is an error: {quoted(text)}")


def choices_of(body: Mapping[str, Any], count: int) -> list[Mapping[str, Any] | Unreadable]:
    """The ``count`` choices by index; one that is missing or there twice is the reason why it cannot be used."""
    no_error(body)
    found: dict[int, list[Mapping[str, Any]]] = {}
    for choice in list_at(body.get("choices"), "choices"):
        index = mapping_at(choice, "choices[]").get("index", 0 if count == 1 else None)
        if isinstance(index, bool) or not isinstance(index, int):
            raise bad(f"has a choice with the index {index!r}")
        found.setdefault(index, []).append(choice)
    if any(not 0 <= index < count for index in found):
        raise bad(f"has choices {sorted(found)} where {count} were asked for")
    return [_only(found.get(index, ()), index) for index in range(count)]


def _only(choices: Sequence[Mapping[str, Any]], index: int) -> Mapping[str, Any] | Unreadable:
    return choices[0] if len(choices) == 1 else bad(f"has choice {index} {'twice' if choices else 'missing'}")


def finish_of(reason: Any) -> Finish | None:
    """Why an answer ended. Raises Unreadable for a content filter and for an answer that was given up."""
    if reason is None:
        return None
    if reason in ("length", "max_tokens", "max_output_tokens"):
        return "length"
    if reason == "content_filter":
        raise Unreadable("content-filter", "the provider's content filter withheld the answer")
    if reason in ("error", "abort", "cancelled", "failed") or not isinstance(reason, str):
        raise bad(f"ended with {reason!r}")
    return "stop"


def refused(text: Any) -> None:
    """Raise where the model refused in so many words (the API's ``refusal`` field)."""
    if text:
        raise Unreadable("refusal", f"the model refused: {quoted(text)}")


def count_of(value: Any) -> int | None:
    """A token count; None where it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def usage_of(body: Mapping[str, Any]) -> Usage:
    """What the server counted. A usage that cannot be read is one that is not there: the answer is no worse for it."""
    usage = body.get("usage")
    if not isinstance(usage, Mapping):
        return Usage()
    prompt = count_of(usage.get("prompt_tokens", usage.get("input_tokens")))
    completion = count_of(usage.get("completion_tokens", usage.get("output_tokens")))
    details = {
        "cached_tokens": _detail(usage, ("prompt_tokens_details", "input_tokens_details"), "cached_tokens"),
        "reasoning_tokens": _detail(usage, ("completion_tokens_details", "output_tokens_details"), "reasoning_tokens"),
    }
    return Usage(prompt, completion, {name: value for name, value in details.items() if value})


def _detail(usage: Mapping[str, Any], groups: Sequence[str], name: str) -> int | None:
    for group in groups:
        if isinstance(usage.get(group), Mapping):
            return count_of(usage[group].get(name))
    return count_of(usage.get(name))


def shared(usage: Usage, count: int) -> list[Usage]:
    """One call's usage over its ``count`` answers with the right sums: prompt and cache with the first, the rest evenly."""
    if count == 1:
        return [usage]
    details = usage.details or {}
    completion = _parts(usage.completion, count)
    reasoning = _parts(details.get("reasoning_tokens"), count)
    found = []
    for i in range(count):
        own = {"cached_tokens": details.get("cached_tokens") if i == 0 else None, "reasoning_tokens": reasoning[i]}
        prompt = usage.prompt if i == 0 or usage.prompt is None else 0
        found.append(Usage(prompt, completion[i], {name: value for name, value in own.items() if value}))
    return found


def _parts(total: int | None, count: int) -> list[int | None]:
    if total is None:
        return [None] * count
    each, rest = divmod(total, count)
    return [each + (i < rest) for i in range(count)]


def split_thoughts(text: str, finish: Finish | None, think_end: str | None) -> tuple[str, str]:
    """Reasoning and answer of a text: what stands before the last ``think_end`` is reasoning (its opening tag may be in
    the prompt), and so is a text that opens a ``<think>`` and is cut off in it.
    """
    if not think_end:
        return "", text
    before, end, after = text.rpartition(think_end)
    opening = "<" + think_end[2:] if think_end.startswith("</") else ""
    if end:
        return _opened(before, opening), after.lstrip()
    if opening and finish == "length" and text.lstrip().startswith(opening):
        return _opened(text, opening), ""
    return "", text


def _opened(thoughts: str, opening: str) -> str:
    return thoughts.strip().removeprefix(opening).strip() if opening else thoughts.strip()


def top_of(entries: Sequence[tuple[str, Mapping[str, Any]]], think_end: str | None) -> dict[str, float]:
    """Likeliest tokens at the answer's first token that is no blank, past any reasoning, by their text.

    ``entries`` are the generated tokens, each its text and the likeliest texts there with their log-probabilities.
    """
    texts = [text for text, _ in entries]
    start = 0
    if think_end and think_end in (whole := "".join(texts)):
        end, seen = whole.rindex(think_end) + len(think_end), 0
        while seen < end:
            seen += len(texts[start])
            start += 1
    first = next((i for i in range(start, len(texts)) if texts[i].strip()), None)
    if first is None:
        return {}
    found: dict[str, float] = {}
    for text, value in entries[first][1].items():
        number = log_probability(value)
        if number > -math.inf:  # two tokens may read the same
            found[text] = number if text not in found else math.log(math.exp(found[text]) + math.exp(number))
    return found


def log_probability(value: Any) -> float:
    """A number up to 0 (rounding allowed); Unreadable for anything else, NaN above all."""
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or value > 1e-3:
        raise bad(f"has the log-probability {value!r}")
    return min(float(value), 0.0)


def answered(key: str, answer: Answer, usage: Usage, body: Mapping[str, Any], model: str) -> Response:
    """The response of one answer, with what is not text beside it."""
    extra: dict[str, Json] = {}
    if answer.reasoning:
        extra[REASONING] = answer.reasoning
    if answer.tool_calls:
        extra[TOOL_CALLS] = list(answer.tool_calls)
    if usage.details:
        extra[USAGE] = dict(usage.details)
    if answer.top is not None:
        extra[TOP] = dict(answer.top)
    served = body.get("model")
    if isinstance(served, str) and served and served != model:
        extra[SERVED_BY] = served
    return Response(
        key,
        text=answer.text,
        tokens=usage.completion,
        prompt_tokens=usage.prompt,
        finish=answer.finish,
        extra=extra,
    )


def quoted(text: Any) -> str:
    """A server's own words in one short line."""
    words = " ".join(str(text).split())
    return words if len(words) <= _QUOTED else words[:_QUOTED] + " ..."


def tokens_of(choice: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Each generated token of a choice with the likeliest ones in its place, in the chat API's form or the older one."""
    logprobs = choice.get("logprobs")
    if isinstance(logprobs, Mapping) and isinstance(logprobs.get("content"), list):
        return [_token(mapping_at(item, "logprobs.content[]")) for item in logprobs["content"]]
    if isinstance(logprobs, Mapping) and isinstance(logprobs.get("tokens"), list):
        top = list_at(logprobs.get("top_logprobs"), "logprobs.top_logprobs")
        if len(top) != len(logprobs["tokens"]):
            raise bad("has log-probabilities of different lengths")
        return [
            (str(text), {} if likeliest is None else mapping_at(likeliest, "top_logprobs[]"))
            for text, likeliest in zip(logprobs["tokens"], top, strict=True)
        ]
    raise Unreadable("no-logprobs", "the server gave no log-probabilities though they were asked for")


def _token(item: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    found: dict[str, Any] = {}
    for entry in list_at(item.get("top_logprobs"), "top_logprobs"):
        found.setdefault(str(mapping_at(entry, "top_logprobs[]").get("token")), entry.get("logprob"))
    return str(item.get("token")), found
