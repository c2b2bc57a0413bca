"""How many calls may be on their way, and when the next may start. Pure bookkeeping: time is handed in.

Additive increase, multiplicative decrease: a 429 takes the limit down (once for all the calls that were on their way
together), every answer takes it up again, and server errors and time-outs only pause that growth: fewer calls do not
mend a server that is broken, and a limit that shrinks with every hiccup never recovers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

#: A 429 leaves this share of what was on its way; growth then rests for so long (seconds), or as the server says.
SHRINK = 0.7
REST_S = 2.0
#: Growth a round (as many answers as may be on their way): this share, and at least one call.
GROWTH = 0.1

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Pace:
    """At most ``per_minute`` units a minute, a second's worth of them at once.

    Units are reserved in order: each caller is told how long to wait, and the next one stands behind it.
    """

    def __init__(self, per_minute: float) -> None:
        self._interval = 60.0 / per_minute
        self._burst = max(0.0, 1.0 - self._interval)
        self._next = -math.inf  # when all that was reserved has been earned

    def reserve(self, amount: float, now: float) -> float:
        """Seconds to wait before using ``amount`` units."""
        start = max(now, self._next - self._burst)
        self._next = max(self._next, start) + amount * self._interval
        return start - now

    def correct(self, amount: float) -> None:
        """So many units more (or, negative, fewer) were used than reserved."""
        self._next += amount * self._interval


class Limits:
    """The limit in force, between 1 and ``ceiling``, and the pauses that a server asks for.

    Args:
        ceiling: calls on their way at most.
        rpm: requests a minute, ``tpm``: tokens a minute (prompt and answer); ``None``: no such limit.
    """

    def __init__(self, ceiling: int, *, rpm: float | None = None, tpm: float | None = None) -> None:
        self.ceiling = ceiling
        self.limit = float(ceiling)
        self.in_flight = 0
        self._rpm = Pace(rpm) if rpm else None
        self._tpm = Pace(tpm) if tpm else None
        self._shrunk = -math.inf
        self._rests_until = -math.inf
        self._paused_until = -math.inf

    @property
    def room(self) -> bool:
        """Whether one more call may be on its way."""
        return self.in_flight < int(self.limit)

    def reserve(self, tokens: int, now: float) -> float:
        """Seconds until a call of ``tokens`` may start by the paces. Its place is taken."""
        wait = self._rpm.reserve(1, now) if self._rpm is not None else 0.0
        if self._tpm is not None:
            wait = max(wait, self._tpm.reserve(tokens, now))
        return wait

    def used(self, estimated: int, tokens: int) -> None:
        """A call that was reserved as ``estimated`` tokens took ``tokens``."""
        if self._tpm is not None:
            self._tpm.correct(tokens - estimated)

    def paused(self, now: float) -> float:
        """Seconds until calls may start again; 0 where there is no pause."""
        return max(0.0, self._paused_until - now)

    def pause(self, seconds: float, now: float) -> None:
        """No call starts for so long."""
        self._paused_until = max(self._paused_until, now + seconds)

    def succeeded(self, now: float) -> None:
        """A call was answered."""
        if self.limit < self.ceiling and now >= self._rests_until:
            self.limit = min(self.ceiling, self.limit + max(1.0, GROWTH * self.limit) / self.limit)

    def throttled(self, started: float, now: float, after: float | None) -> None:
        """A call that began at ``started`` met a 429; the server asks to wait ``after`` seconds, if it says so."""
        self._rests_until = max(self._rests_until, now + max(REST_S, after or 0.0))
        if started >= self._shrunk:
            self.limit = max(1.0, SHRINK * min(self.limit, max(self.in_flight, 1)))
            self._shrunk = now
        if after:
            self.pause(after, now)

    def troubled(self, now: float) -> None:
        """A call met a server error, a time-out or a broken connection."""
        self._rests_until = max(self._rests_until, now + REST_S)


def asked_wait(headers: Mapping[str, str], epoch: float) -> float | None:
    """Seconds that ``retry-after-ms`` or ``Retry-After`` (seconds or a date) ask for; ``epoch`` is the time now."""
    milliseconds = headers.get("retry-after-ms")
    if milliseconds is not None:
        found = _number(milliseconds)
        return None if found is None else found / 1000
    text = headers.get("retry-after")
    return None if text is None else seconds_until(text, epoch)


def drained(headers: Mapping[str, str], in_flight: int, tokens: int, epoch: float) -> float:
    """Seconds to pause because ``x-ratelimit-remaining-*`` says that what is left does not cover the next calls.

    ``reset`` is when the whole allowance is back (OpenAI's meaning), so only the share of it that ``in_flight`` calls of
    ``tokens`` each need is waited for. A server that means another thing answers 429 with a `Retry-After`.
    """
    wait = 0.0
    for unit, need in (("requests", 1), ("tokens", tokens)):
        remaining = _number(headers.get(f"x-ratelimit-remaining-{unit}"))
        if remaining is None or remaining >= max(need, 1):
            continue
        reset = seconds_until(headers.get(f"x-ratelimit-reset-{unit}", ""), epoch)
        limit = _number(headers.get(f"x-ratelimit-limit-{unit}"))
        if reset:
            wait = max(wait, reset * (min(1.0, need * max(1, in_flight) / limit) if limit else 1.0))
    return wait


def seconds_until(text: str, epoch: float) -> float | None:
    """Seconds from now: ``2``, ``1.5s``, ``6m0s``, ``20ms``, an HTTP or ISO date, or a moment in seconds (or ms) of 1970."""
    text = text.strip()
    number = _number(text)
    if number is not None:
        if number > 1e11:
            number /= 1000
        return max(0.0, number - epoch if number > 1e9 else number)
    parts = _DURATION.findall(text)
    if parts and "".join(a + b for a, b in parts) == text:
        return sum(float(amount) * _UNITS[unit] for amount, unit in parts)
    moment = _date(text)
    return None if moment is None else max(0.0, moment.timestamp() - epoch)


def _date(text: str) -> datetime | None:
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            found = parse(text)
        except ValueError:
            continue
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    return None


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
