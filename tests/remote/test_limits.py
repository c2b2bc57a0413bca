"""Limits: additive increase, multiplicative decrease, paces and what servers say about their own limits."""

from __future__ import annotations

import pytest

from evalkit.models.remote.limits import Limits, Pace, asked_wait, drained, seconds_until


def test_a_pace_spreads_units_over_the_minute() -> None:
    pace = Pace(600)  # ten a second, so ten at once and then one every 100 ms
    waits = [pace.reserve(1, 0.0) for _ in range(30)]
    assert waits[:10] == [0.0] * 10
    assert waits[29] == pytest.approx(2.0, abs=0.11)
    assert pace.reserve(1, 100.0) == 0.0


def test_a_slow_pace_lets_one_go_at_once() -> None:
    pace = Pace(6)
    assert [pace.reserve(1, 0.0) for _ in range(3)] == pytest.approx([0.0, 10.0, 20.0])


def test_no_window_of_a_minute_holds_more_than_the_rate_and_one_burst() -> None:
    pace, now, sent = Pace(120), 0.0, []
    for _ in range(500):
        now += pace.reserve(1, now)
        sent.append(now)
    assert max(sum(1 for t in sent if start <= t < start + 60) for start in sent) <= 122


def test_tokens_that_were_not_used_are_given_back() -> None:
    limits = Limits(8, tpm=6000)
    assert limits.reserve(6000, 0.0) == 0.0
    limits.used(6000, 600)
    assert limits.reserve(100, 0.0) == pytest.approx(5.0, abs=0.02)  # 600 tokens take 6 s, one of which may be ahead


def test_one_round_of_429s_shrinks_once_and_answers_grow_again() -> None:
    limits = Limits(100)
    limits.in_flight = 100
    for _ in range(50):
        limits.throttled(0.0, 1.0, None)
    assert limits.limit == pytest.approx(70)
    limits.throttled(1.5, 2.0, None)
    assert limits.limit == pytest.approx(49)
    limits.succeeded(2.5)
    assert limits.limit == pytest.approx(49)  # growth rests for a while
    for _ in range(200):
        limits.succeeded(10.0)
    assert 60 < limits.limit < 80
    for _ in range(2000):
        limits.succeeded(10.0)
    assert limits.limit == 100


def test_shrinking_starts_from_what_was_on_its_way() -> None:
    limits = Limits(64)
    limits.in_flight = 10
    limits.throttled(0.0, 1.0, None)
    assert limits.limit == pytest.approx(7)
    limits.in_flight = 1
    for moment in range(2, 20):
        limits.throttled(moment, moment, None)
    assert limits.limit == 1


def test_server_errors_only_pause_growth() -> None:
    limits = Limits(64)
    limits.in_flight = 64
    limits.throttled(0.0, 0.0, None)
    before = limits.limit
    limits.troubled(10.0)
    assert limits.limit == before
    limits.succeeded(11.0)
    assert limits.limit == before
    limits.succeeded(13.0)
    assert limits.limit > before


def test_a_wait_that_the_server_asks_for_holds_everything() -> None:
    limits = Limits(4)
    limits.throttled(0.0, 1.0, 20.0)
    assert limits.paused(1.0) == pytest.approx(20.0)
    assert limits.paused(21.5) == 0.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:20:00 GMT"}, 200.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:01 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "-3"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_wait(headers, 1000.0) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360.0),
        ("20ms", 0.02),
        ("1h2m3.5s", 3723.5),
        ("1.5", 1.5),
        ("2000000030", 30.0),
        ("2000000030000", 30.0),
        ("2033-05-18T03:33:30Z", 10.0),
        ("", None),
        ("6 minutes", None),
    ],
)
def test_moments_as_providers_write_them(text: str, seconds: float | None) -> None:
    assert seconds_until(text, 2000000000.0) == (seconds if seconds is None else pytest.approx(seconds))


def test_an_allowance_that_is_used_up_is_waited_for() -> None:
    left = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "60s"}
    assert drained(left, in_flight=6, tokens=10, epoch=0) == pytest.approx(6.0)  # room for six more comes back in 6 s
    assert drained({**left, "x-ratelimit-remaining-requests": "5"}, 6, 10, 0) == 0.0
    assert drained({"x-ratelimit-remaining-tokens": "9", "x-ratelimit-reset-tokens": "3s"}, 6, 10, 0) == 3.0
    assert drained({}, 6, 10, 0) == 0.0
