"""The remote adapter against a mock API that fails in every way: each request ends in exactly one state."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import Any

import pytest
from asking import Given, asked, question, remote
from mock_handle import MockServer

from evalkit.errors import Incomplete, ModelError
from evalkit.models.remote import retry
from evalkit.models.remote.base import ATTEMPTS
from evalkit.types import Request, Response, keyed


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "BACKOFF_S", (0.01, 0.05))


def errors(found: dict[str, Response]) -> Counter[str]:
    return Counter("ok" if r.error is None else r.error.kind for r in found.values())


def test_every_request_is_answered_and_the_sink_is_called_on_the_callers_thread(mock: MockServer) -> None:
    mock.configure(latency=0.01)
    threads = set()
    found = asked(remote(), [question(i) for i in range(200)], lambda r, stop: threads.add(threading.get_ident()))
    assert len(found) == 200
    assert threads == {threading.get_ident()}
    one = next(iter(found.values()))
    assert one.text
    assert one.latency_s is not None
    assert 0.01 <= one.latency_s < 5
    assert ATTEMPTS not in one.extra


def test_requests_are_taken_as_there_is_room(mock: MockServer) -> None:
    mock.configure(latency=0.05)
    source = Given([question(i) for i in range(100)])
    ahead = []
    done = 0

    def sink(response: Response) -> None:
        nonlocal done
        done += 1
        ahead.append(source.taken - done)

    remote(max_connections=8).run(source, sink, threading.Event())
    assert done == 100
    assert max(ahead) <= 8
    assert mock.stats()["max_in_flight"] == 8


@pytest.mark.parametrize(("args", "batch_size", "most"), [({}, 5, 5), ({"max_connections": 3}, 10, 3), ({}, 100, 100)])
def test_the_batch_size_caps_what_is_on_its_way(args: dict[str, Any], batch_size: int, most: int) -> None:
    assert remote(batch_size=batch_size, base_url="http://h/v1", **args).rates.max_connections == most


def test_a_storm_of_429s_is_lived_through(mock: MockServer) -> None:
    mock.configure(latency=0.005, limit={"concurrency": 4})
    found = asked(remote(max_connections=32, max_retries=200), [question(i) for i in range(150)])
    assert errors(found) == {"ok": 150}
    stats = mock.stats()
    assert 0 < stats["refused"] < 150 * 4


def test_the_pace_asked_for_is_kept(mock: MockServer) -> None:
    model = remote(rpm=1200, probe="false")
    begun = time.monotonic()
    found = asked(model, [question(i) for i in range(50)])
    assert errors(found) == {"ok": 50}
    assert time.monotonic() - begun >= 1.4  # 20 at once, 30 more at 20 a second


def test_faults_that_pass_are_tried_again_and_counted(mock: MockServer) -> None:
    faults = ("reset", "reset-body", "cut", "truncated-json", "html", "not-json")
    rules = [{"fault": fault, "match": f"question {at}0", "first": 1} for at, fault in enumerate(faults, 1)]
    rules.append({"fault": "status", "status": 503, "match": "question 70", "first": 2})
    mock.configure(rules=rules)
    found = asked(remote(), [question(f"{at}0") for at in range(1, 9)])
    assert errors(found) == {"ok": 8}
    attempts = [found[question(f"{at}0").key].extra.get(ATTEMPTS, 1) for at in range(1, 9)]
    assert attempts == [2, 2, 2, 2, 2, 2, 3, 1]


@pytest.mark.parametrize(
    ("rule", "kind", "status", "attempts"),
    [
        ({"fault": "status", "status": 500}, "server", 500, 3),
        ({"fault": "status", "status": 429}, "rate-limit", 429, 3),
        ({"fault": "reset"}, "connection", None, 3),
        ({"fault": "truncated-json"}, "protocol", 200, 3),
        ({"fault": "hang"}, "timeout", None, 3),
        ({"fault": "trickle", "interval": 0.05}, "timeout", None, 3),
    ],
)
def test_faults_that_stay_end_in_a_failure_to_ask_again(
    mock: MockServer, rule: dict[str, Any], kind: str, status: int | None, attempts: int
) -> None:
    mock.configure(rules=[{**rule, "match": 'question 1"'}])
    model = remote(max_retries=2, attempt_timeout=0.3)
    found = asked(model, [question(0), question(1), question(2)])
    assert errors(found) == {"ok": 2, kind: 1}
    failure = found[question(1).key].error
    assert failure is not None
    assert (failure.retryable, failure.status, failure.attempts) == (True, status, attempts)


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        ({"status": 400, "message": "temperature must be 1"}, "bad-request"),
        ({"status": 422, "message": "no"}, "bad-request"),
        ({"status": 400, "message": "long", "code": "context_length_exceeded"}, "context-length"),
        ({"status": 400, "message": "no", "code": "content_filter"}, "content-filter"),
    ],
)
def test_what_is_wrong_with_one_request_is_its_own_failure_at_once(
    mock: MockServer, rule: dict[str, Any], kind: str
) -> None:
    mock.configure(rules=[{"fault": "status", "match": 'question 1"', **rule}])
    found = asked(remote(), [question(0), question(1)])
    failure = found[question(1).key].error
    assert failure is not None
    assert (failure.kind, failure.retryable, failure.status, failure.attempts) == (kind, False, rule["status"], 1)
    assert rule["message"] in failure.message


def test_the_total_time_of_a_request_ends_its_attempts(mock: MockServer) -> None:
    mock.configure(rules=[{"fault": "status", "status": 503, "match": "question", "retry_after": 1}])
    begun = time.monotonic()
    found = asked(remote(max_retries=100, timeout=1.5), [question(0)])
    assert errors(found) == {"server": 1}
    assert time.monotonic() - begun < 5


def test_a_longer_wait_than_anyone_has_stops_the_run(mock: MockServer) -> None:
    mock.configure(rules=[{"fault": "status", "status": 429, "match": "question", "retry_after": 7200}])
    with pytest.raises(Incomplete, match="asks to wait for 7200 s"):
        asked(remote(), [question(i) for i in range(10)])


def test_a_key_that_is_revoked_in_mid_run_stops_it(mock: MockServer) -> None:
    mock.configure(rules=[{"fault": "status", "status": 401, "since": 6, "message": "key revoked"}])
    seen: list[Response] = []
    with pytest.raises(Incomplete, match="key revoked"):
        asked(remote(max_connections=2), [question(i) for i in range(50)], lambda r, stop: seen.append(r))
    assert seen
    assert all(r.error is None for r in seen)


def test_one_request_that_a_firewall_turns_away_is_its_own_failure(mock: MockServer) -> None:
    mock.configure(rules=[{"fault": "status", "status": 403, "match": 'question 1"', "message": "blocked by the firewall"}])
    found = asked(remote(), [question(i) for i in range(5)])
    assert errors(found) == {"ok": 4, "auth": 1}
    failure = found[question(1).key].error
    assert failure is not None
    assert not failure.retryable


def test_an_account_without_quota_stops_the_run(mock: MockServer) -> None:
    mock.configure(rules=[{"fault": "status", "status": 429, "code": "insufficient_quota", "match": "question"}])
    with pytest.raises(Incomplete, match="answers no more"):
        asked(remote(), [question(0)])


def test_a_server_that_dies_is_given_up_soon_and_one_that_comes_back_is_not(mock: MockServer) -> None:
    mock.configure(latency=0.05)
    model = remote(max_connections=4, max_retries=1000)
    seen: list[Response] = []
    mine: list[Request] = [question(i) for i in range(40)]

    def back() -> None:
        mock.kill()
        time.sleep(0.4)
        mock.start()

    def after_ten(response: Response, stop: threading.Event) -> None:
        seen.append(response)
        if len(seen) == 10:
            threading.Thread(target=back).start()

    assert errors(asked(model, mine, after_ten)) == {"ok": 40}

    seen.clear()
    begun = time.monotonic()
    hasty = remote(max_connections=4, max_retries=1000, outage=1)
    with pytest.raises(Incomplete, match="the server is down: no connection to"):
        asked(hasty, mine, lambda r, stop: (seen.append(r), mock.kill() if len(seen) == 10 else None))  # type: ignore[func-returns-value]
    assert time.monotonic() - begun < 10
    assert len(seen) < 40


def test_stop_lets_what_is_on_its_way_finish(mock: MockServer) -> None:
    mock.configure(latency=0.2)
    found = asked(remote(max_connections=4), [question(i) for i in range(40)], lambda r, stop: stop.set())
    assert 1 <= len(found) <= 8
    assert errors(found) == {"ok": len(found)}
    assert mock.stats()["in_flight"] == 0


def test_stop_does_not_wait_for_attempts_to_come(mock: MockServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "BACKOFF_S", (60.0, 60.0))
    mock.configure(rules=[{"fault": "status", "status": 503, "match": 'question 1"'}])
    begun = time.monotonic()
    found = asked(remote(), [question(0), question(1)], lambda r, stop: stop.set())
    assert list(found) == [question(0).key]
    assert time.monotonic() - begun < 3


def test_repeats_of_a_prompt_share_calls(mock: MockServer) -> None:
    drawn = [question(i, repeat, do_sample=True, temperature=0.7) for i in range(3) for repeat in range(5)]
    found = asked(remote(n=4, probe="false"), drawn)
    assert errors(found) == {"ok": 15}
    assert mock.stats()["requests"] == 6  # 4 and 1 of each


def test_a_server_that_does_not_know_n_is_asked_one_by_one(mock: MockServer) -> None:
    mock.configure(rules=[{"fault": "status", "status": 400, "message": "n must be 1", "match": '"n":'}])
    drawn = [question(0, repeat, do_sample=True, temperature=0.7) for repeat in range(4)]
    assert errors(asked(remote(n=4), drawn)) == {"ok": 4}


def test_what_the_endpoint_cannot_be_asked_is_a_failure(mock: MockServer) -> None:
    scored = keyed(Request("loglikelihood", "a", " b"), "f")
    found = asked(remote(api="responses", probe="false"), [scored, question(0)])
    assert errors(found) == {"ok": 1, "unsupported": 1}


def test_what_the_sink_raises_comes_out_once(mock: MockServer) -> None:
    def full(response: Response, stop: threading.Event) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        asked(remote(), [question(i) for i in range(20)], full)


def test_it_runs_inside_a_loop_that_runs_already(mock: MockServer) -> None:
    async def notebook() -> int:
        count = len(asked(remote(), [question(i) for i in range(3)]))
        await asyncio.sleep(0)
        return count

    assert asyncio.run(notebook()) == 3


def test_the_fingerprint_is_what_changes_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-one-0123456789")
    same = remote(base_url="http://h/v1").fingerprint
    patient = {"max_retries": 1, "timeout": 5, "rpm": 10, "max_connections": 3, "probe": "false", "organization": "o"}
    assert remote(base_url="http://h/v1/", **patient).fingerprint == same
    monkeypatch.setenv("OPENAI_API_KEY", "sk-two-0123456789")
    assert remote(base_url="http://h/v1").fingerprint == same
    others: list[dict[str, Any]] = [
        {"base_url": "http://other/v1"},
        {"api": "completions"},
        {"extra_body": '{"seed": 1}'},
        {"reasoning_effort": "low"},
        {"think_end": "</r>"},
    ]
    prints = {remote(**{"base_url": "http://h/v1", **args}).fingerprint for args in others}
    prints.add(remote("openai/other", base_url="http://h/v1").fingerprint)
    assert len(prints | {same}) == len(others) + 2


def test_no_secret_is_in_what_a_model_says_of_itself() -> None:
    canary = "canary-0123456789"
    model = remote(base_url=f"http://h/v1?sig={canary}", api_key=canary, extra_headers=f'{{"X-Auth": "{canary}"}}')
    assert canary not in repr(model)
    assert canary not in str(model.describe())
    assert model.describe()["base_url"] == "http://h/v1"


def test_slips_in_options_are_told() -> None:
    for args, why in (
        ({"max_retrys": 3}, "did you mean max_retries"),
        ({"rpm": "0"}, "above 0"),
        ({"api": "chats"}, "chat"),
    ):
        with pytest.raises(ModelError, match=why):
            remote(base_url="http://h/v1", **args)


def test_servers_at_their_usual_addresses(mock: MockServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "local-0123456789")
    vllm = remote("vllm/meta/llama", probe="false")
    assert (vllm.name, vllm.model) == ("vllm/meta/llama", "meta/llama")
    assert (vllm.connection.base_url, vllm.connection.key) == ("http://localhost:8000/v1", "local-0123456789")
    assert remote("ollama/llama3", base_url=mock.url).connection.key is None  # OpenAI's key stays at home
    found = asked(remote("vllm/mock", base_url=mock.url), [question(0, top_k=5)])
    assert errors(found) == {"ok": 1}
