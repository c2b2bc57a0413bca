"""What goes wrong at the mock API, and when: rules, and a rate limit that is enforced. Standard library only."""

from __future__ import annotations

import math
import time
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

#: What a rule's ``fault`` may be.
FAULTS = frozenset(
    {
        "status",  # an error reply: status, message, code, type, retry_after, headers, echo_key
        "reset",  # the connection is reset before a byte was answered
        "reset-body",  # headers and half of the body, then a reset
        "cut",  # headers and half of the body, then a clean end
        "truncated-json",  # whole HTTP, half the JSON
        "trickle",  # byte after byte: interval
        "hang",  # never a byte
        "slow",  # seconds more latency
        "html",  # 200 with a page
        "not-json",  # 200, application/json, but text
        "empty-choices",
        "wrong-n",  # one choice too many
        "same-id",  # every reply has the same id
        "content-filter",  # the answer was filtered
        "refusal",
        "reply",  # another answer: text, message, finish, usage, output, response
        "gzip",
        "die",  # the server's process ends
    }
)


class Rules:
    """The first rule that fits a request is what happens to it.

    A rule is a dict: ``fault`` and that fault's own keys, and the conditions, all of which must hold: ``match`` (text in the
    request's body), ``path`` (text in its path), ``first`` (only so many attempts of each distinct body), ``share`` (of the
    attempts, drawn by content), ``since`` and ``until`` (number of the request, counted from 0), ``times`` (so often in
    all).
    """

    def __init__(self, rules: Sequence[Mapping[str, Any]]) -> None:
        self._rules = list(rules)
        for rule in self._rules:
            if rule["fault"] not in FAULTS:
                raise ValueError(f"unknown fault {rule['fault']!r}: {sorted(FAULTS)}")
        self._used: Counter[int] = Counter()

    def pick(self, number: int, attempt: int, path: str, body: bytes, digest: str) -> Mapping[str, Any] | None:
        """``number`` counts requests, ``attempt`` those of this body, both from 0."""
        for at, rule in enumerate(self._rules):
            if "match" in rule and rule["match"].encode() not in body:
                continue
            if rule.get("path", "") not in path or attempt >= rule.get("first", math.inf):
                continue
            if not rule.get("since", 0) <= number < rule.get("until", math.inf):
                continue
            if "share" in rule and zlib.crc32(f"{digest}{attempt}".encode()) / 2**32 >= rule["share"]:
                continue
            if self._used[at] >= rule.get("times", math.inf):
                continue
            self._used[at] += 1
            return rule
        return None


class Limit:
    """A rate limit as providers have it: ``rpm`` and ``tpm`` as buckets that refill, ``burst`` seconds deep (default 1),
    and ``concurrency``. ``headers`` False keeps Retry-After and the rest to itself.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        self._depth = float(given.get("burst", 1.0))
        self._level = {name: self._depth * given[name] / 60 for name in ("rpm", "tpm") if name in given}
        self._then = time.monotonic()
        self.refused = 0

    def refuse(self, tokens: int, in_flight: int) -> dict[str, str] | None:
        """None where the request may pass, else the headers of the 429."""
        now = time.monotonic()
        for name in self._level:
            rate = self._given[name] / 60
            self._level[name] = min(self._depth * rate, self._level[name] + (now - self._then) * rate)
        self._then = now
        wait = 0.0
        for name, cost in (("rpm", 1), ("tpm", tokens)):
            if name in self._level and self._level[name] < cost:
                wait = max(wait, (cost - self._level[name]) / (self._given[name] / 60))
        if in_flight > self._given.get("concurrency", math.inf):
            wait = max(wait, 0.05)
        if wait:
            self.refused += 1
            return {**self.headers(), **self._after(wait)}
        for name, cost in (("rpm", 1), ("tpm", tokens)):
            if name in self._level:
                self._level[name] -= cost
        return None

    def _after(self, wait: float) -> dict[str, str]:
        if not self._given.get("headers", True):
            return {}
        return {"retry-after": str(math.ceil(wait)), "retry-after-ms": str(math.ceil(1000 * wait))}

    def headers(self) -> dict[str, str]:
        """The ``x-ratelimit-*`` headers as OpenAI sends them, with every reply."""
        found: dict[str, str] = {}
        if not self._given.get("headers", True):
            return found
        for name, word in (("rpm", "requests"), ("tpm", "tokens")):
            if name in self._level:
                full = self._depth * self._given[name] / 60
                missing = (full - self._level[name]) / (self._given[name] / 60)
                found[f"x-ratelimit-limit-{word}"] = str(self._given[name])
                found[f"x-ratelimit-remaining-{word}"] = str(int(self._level[name]))
                found[f"x-ratelimit-reset-{word}"] = f"{math.ceil(1000 * missing)}ms"
        return found
