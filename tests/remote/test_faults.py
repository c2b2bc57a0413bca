"""Whatever a server does: every sample is answered, failed (how, and after how many attempts) or not asked, and the same
command again finishes the rest without asking anything twice that was answered."""

from __future__ import annotations

import threading
import time

import pytest
from fault_kit import MARK, question

from evalkit.errors import ModelError

TRANSIENT = {
    "429 with Retry-After": {"fault": "status", "status": 429, "retry_after": 0.1},
    "429 with retry-after-ms": {"fault": "status", "status": 429, "headers": {"retry-after-ms": "50"}},
    "429 that says nothing": {"fault": "status", "status": 429},
    "500": {"fault": "status", "status": 500},
    "502": {"fault": "status", "status": 502},
    "503 with Retry-After": {"fault": "status", "status": 503, "retry_after": 0.05},
    "529": {"fault": "status", "status": 529},
    "408": {"fault": "status", "status": 408},
    "reset": {"fault": "reset"},
    "reset in mid-body": {"fault": "reset-body"},
    "a body that ends too early": {"fault": "cut"},
    "truncated JSON": {"fault": "truncated-json"},
    "an HTML page": {"fault": "html"},
    "text that says it is JSON": {"fault": "not-json"},
    "no choices": {"fault": "empty-choices"},
}


@pytest.mark.parametrize("rule", TRANSIENT.values(), ids=TRANSIENT.keys())
def test_what_passes_is_tried_again(rule, riddles):
    riddles.mock.configure(rules=[{**rule, "match": MARK, "first": 1}])
    found = riddles.go()
    assert len(found.answered) == riddles.count
    assert found.attempts() == 2, "the record says that it took two"
    assert set(riddles.asked().values()) == {2}


@pytest.mark.parametrize("fault", ["hang", "trickle"])
def test_a_server_that_does_not_finish_is_given_up_on_and_tried_again(fault, riddles):
    riddles.mock.configure(rules=[{"fault": fault, "interval": 0.01, "match": MARK, "first": 1, "share": 0.5}])
    found = riddles.go(attempt_timeout=0.4)
    assert len(found.answered) == riddles.count
    assert set(riddles.asked().values()) == {1, 2}


@pytest.mark.parametrize("fault", ["gzip", "same-id"])
def test_what_is_no_fault_at_all(fault, riddles):
    riddles.mock.configure(rules=[{"fault": fault}])
    assert len(riddles.go().answered) == riddles.count
    assert set(riddles.asked().values()) == {1}


FOREVER = {
    "500": ({"fault": "status", "status": 500}, "server", 500),
    "429": ({"fault": "status", "status": 429}, "rate-limit", 429),
    "reset": ({"fault": "reset"}, "connection", None),
    "cut": ({"fault": "cut"}, "protocol", None),
    "truncated JSON": ({"fault": "truncated-json"}, "protocol", 200),
    "HTML": ({"fault": "html"}, "protocol", 200),
}


@pytest.mark.parametrize(("rule", "kind", "status"), FOREVER.values(), ids=FOREVER.keys())
def test_what_does_not_pass_is_a_failure_that_a_resume_mends(rule, kind, status, riddles):
    riddles.mock.configure(rules=[{**rule, "match": question(number)} for number in (3, 11)])
    found = riddles.go(max_retries=2)
    assert found.failed.keys() == {3, 11} and not found.unanswered
    for failure in found.failed.values():
        assert (failure.kind, failure.status, failure.attempts, failure.retryable) == (kind, status, 3, True)
    assert {text for text, times in riddles.asked().items() if times == 3} == {question(3), question(11)}
    riddles.mock.configure()
    riddles.mock.reset()
    found = riddles.go(max_retries=2)
    assert len(found.answered) == riddles.count and riddles.runs() == 1
    assert riddles.asked() == {question(3): 1, question(11): 1}, "only the rest is asked"


FINAL = {
    "400": ({"fault": "status", "status": 400, "message": "bad image"}, "bad-request", 400),
    "Azure's filter of prompts": ({"fault": "status", "status": 400, "code": "content_filter"}, "content-filter", 400),
    "a filter of answers": ({"fault": "content-filter"}, "content-filter", None),
    "a refusal": ({"fault": "refusal"}, "refusal", None),
    "too long": ({"fault": "status", "status": 400, "code": "context_length_exceeded"}, "context-length", 400),
}


@pytest.mark.parametrize(("rule", "kind", "status"), FINAL.values(), ids=FINAL.keys())
def test_what_the_server_will_never_answer_is_final_and_counted(rule, kind, status, riddles):
    riddles.mock.configure(rules=[{**rule, "match": question(5)}])
    found = riddles.go()
    assert found.failed.keys() == {5} and found.run.status == "complete"
    failure = found.failed[5]
    assert (failure.kind, failure.status, failure.attempts, failure.retryable) == (kind, status, 1, False)
    assert set(riddles.asked().values()) == {1}


REFUSED = {
    401: "refuses the key",
    403: "refuses the key",
    404: "knows neither this address nor model",
}


@pytest.mark.parametrize("status", REFUSED)
def test_a_refusal_at_the_door_ends_the_run_before_it_begins(status, riddles):
    riddles.mock.configure(rules=[{"fault": "status", "status": status, "echo_key": True}])
    with pytest.raises(ModelError, match=REFUSED[status]) as told:
        riddles.go()
    assert "\n" not in str(told.value) and "sk-mock-0123456789" not in str(told.value)
    assert not riddles.asked()


def test_a_key_that_is_revoked_in_mid_run_stops_it_and_costs_nothing(riddles):
    riddles.mock.configure(latency=0.01, rules=[{"fault": "status", "status": 401, "since": 12, "echo_key": True}])
    found = riddles.go()
    assert found.run.status == "incomplete" and found.answered and found.unanswered
    assert not found.failed, "nobody's fault is no sample's failure"
    riddles.mock.configure()
    done = riddles.go()
    assert len(done.answered) == riddles.count and not riddles.mock.asked_again(MARK)
    for path in riddles.folder.rglob("*"):
        assert not path.is_file() or b"sk-mock-0123456789" not in path.read_bytes(), path


def test_one_request_that_is_forbidden_is_not_the_end(riddles):
    riddles.mock.configure(rules=[{"fault": "status", "status": 403, "match": question(7), "message": "blocked by a rule"}])
    found = riddles.go()
    assert found.failed.keys() == {7} and found.failed[7].status == 403
    assert len(found.answered) == riddles.count - 1


def test_a_storm_of_429s_is_ridden_out(riddles):
    riddles.mock.configure(rules=[{"fault": "status", "status": 429, "since": 6, "until": 40}])
    found = riddles.go(max_connections=16)
    assert len(found.answered) == riddles.count and not riddles.mock.asked_again(MARK)


def test_everything_goes_wrong_at_once(riddles):
    kinds = [{"fault": "status", "status": status} for status in (429, 500, 503)]
    kinds += [{"fault": fault} for fault in ("reset", "reset-body", "cut", "truncated-json", "html", "not-json")]
    riddles.mock.configure(rules=[{**kind, "match": MARK, "share": 0.05} for kind in kinds])
    found = riddles.go()
    assert len(found.answered) == riddles.count and not riddles.mock.asked_again(MARK)


@pytest.mark.parametrize("told", [True, False])
def test_a_rate_limit_is_kept_to(told, riddles):
    riddles.mock.configure(latency=0.01, limit={"rpm": 2400, "burst": 0.2, "headers": told})
    found = riddles.go(max_connections=24)
    assert len(found.answered) == riddles.count and not riddles.mock.asked_again(MARK)


def test_a_server_that_takes_few_at_once_is_found_out(riddles):
    riddles.mock.configure(latency=0.02, limit={"concurrency": 3})
    found = riddles.go(max_connections=16)
    assert len(found.answered) == riddles.count
    assert riddles.mock.stats()["refused"] < 3 * riddles.count


def test_a_server_that_dies_and_comes_back(riddles):
    riddles.mock.configure(latency=0.02, rules=[{"fault": "die", "since": 9}])

    def revive() -> None:
        while riddles.mock.alive:
            time.sleep(0.01)
        time.sleep(0.5)
        riddles.mock.start()

    reviver = threading.Thread(target=revive)
    reviver.start()
    found = riddles.go(max_retries=30)
    reviver.join()
    assert len(found.answered) == riddles.count, found.failed
    assert not riddles.mock.asked_again(MARK)
    assert sum(row["outcome"] == "die" for row in riddles.mock.seen()) == 1


def test_a_server_that_stays_away_ends_the_run_which_goes_on_when_it_is_back(riddles):
    riddles.mock.configure(latency=0.02, rules=[{"fault": "die", "since": 9}])
    found = riddles.go(outage=0.5, max_retries=1000)
    assert found.run.status == "incomplete" and found.answered and found.unanswered
    assert not found.failed, "a server that is down is no sample's failure"
    with pytest.raises(ModelError, match="does not answer"):
        riddles.go(outage=0.5)
    riddles.mock.start()
    done = riddles.go(outage=0.5, max_retries=1000)
    assert len(done.answered) == riddles.count and riddles.runs() == 1
    assert not riddles.mock.asked_again(MARK)


def test_choices_that_nobody_asked_for_are_no_answer(riddles):
    riddles.mock.configure(rules=[{"fault": "wrong-n", "match": question(2)}])
    found = riddles.go()
    assert len(found.answered) + len(found.failed) == riddles.count
    assert found.failed.keys() <= {2}
