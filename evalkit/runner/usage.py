"""What answers took: tokens, attempts, seconds and money, summed in constant memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from evalkit.prices import CHARACTERS_A_TOKEN, Tokens
from evalkit.types import Json, Prompt, Response

#: Latencies are counted in classes of 2 %, so that quantiles of a million cost a few hundred numbers.
_CLASSES = 50

#: Names in `Response.extra`, as the adapters of hosted models write them.
CACHED, ATTEMPTS, USAGE = "cached", "attempts", "usage"


def estimated_tokens(text: Prompt) -> int:
    """About how many tokens a text has, where nobody counts them."""
    size = len(text) if isinstance(text, str) else sum(len(message.content) for message in text)
    return -(-size // CHARACTERS_A_TOKEN)


def tokens_of(response: Response) -> Tokens:
    """The tokens of an answer as they are billed: whatever was read, a scored continuation too, is prompt."""
    usage = response.extra.get(USAGE) or {}
    cached, reasoning = usage.get("cached_tokens") or 0, usage.get("reasoning_tokens") or 0
    prompt, output = response.prompt_tokens, response.tokens
    if response.logprob is not None:
        return Tokens(None if prompt is None else prompt + (output or 0), 0, cached)
    return Tokens(prompt, output, cached, reasoning)


@dataclass(slots=True)
class Usage:
    """Sums over answers and failures. Those out of the response cache are counted in ``from_cache`` and nowhere else.

    ``attempts`` counts calls, retries too; ``estimated`` answers whose tokens were guessed from their length, ``uncounted``
    those whose tokens nobody knows; ``unpriced`` those with tokens and no price. ``latency`` counts uncached answers by
    class of their seconds.
    """

    requests: int = 0
    failed: int = 0
    from_cache: int = 0
    attempts: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: int = 0
    uncounted: int = 0
    unpriced: int = 0
    cost_usd: float = 0.0
    latency: Counter[int] = field(default_factory=Counter)

    @property
    def tokens(self) -> int:
        """Prompt and output."""
        return self.prompt_tokens + self.output_tokens

    def add(self, response: Response) -> None:
        extra = response.extra
        if extra and extra.get(CACHED):
            self.from_cache += 1
            return
        prompt, output, cached, reasoning = tokens_of(response)
        self.requests += 1
        if response.error is None:
            self.attempts += extra.get(ATTEMPTS, 1) if extra else 1
            if response.latency_s is not None:
                self.latency[_class(response.latency_s)] += 1
            if prompt is None or output is None:
                self.uncounted += 1
        else:
            self.failed += 1
            self.attempts += response.error.attempts
        self.prompt_tokens += prompt or 0
        self.output_tokens += output or 0
        if extra:
            self.cached_tokens += cached
            self.reasoning_tokens += reasoning
            self.estimated += bool((extra.get(USAGE) or {}).get("estimated"))
        if response.cost_usd is not None:
            self.cost_usd += response.cost_usd
        elif prompt or output:
            self.unpriced += 1

    def __iadd__(self, other: Usage) -> Usage:
        for f in fields(self):
            setattr(self, f.name, getattr(self, f.name) + getattr(other, f.name))
        return self

    def quantile(self, share: float) -> float | None:
        """Seconds that this share of the uncached answers did not exceed, within 2 %; None where none were timed."""
        wanted, seen = share * self.latency.total(), 0
        for number in sorted(self.latency):
            seen += self.latency[number]
            if seen >= wanted:
                return round(math.exp((number + 0.5) / _CLASSES), 4)
        return None

    def stored(self) -> dict[str, Json]:
        """As JSON from which `restored` makes it again."""
        return {f.name: dict(value) if (value := getattr(self, f.name)) is self.latency else value for f in fields(self)}

    def public(self, *, priced: bool) -> dict[str, Json]:
        """For readers: p50 and p95 stand for the latencies; no cost where the model has no price (``priced``), never 0."""
        shown: dict[str, Json] = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "latency"}
        known = priced or self.cost_usd > 0 or (self.from_cache > 0 and not self.requests)
        shown["cost_usd"] = round(self.cost_usd, 8) if known else None
        return {**shown, "latency_p50_s": self.quantile(0.5), "latency_p95_s": self.quantile(0.95)}


def restored(value: Mapping[str, Any]) -> Usage:
    """What `Usage.stored` gave."""
    latency = Counter({int(number): count for number, count in value["latency"].items()})
    return Usage(**{**value, "latency": latency})


def _class(seconds: float) -> int:
    return math.floor(math.log(max(seconds, 1e-6)) * _CLASSES)
