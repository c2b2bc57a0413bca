"""The mock API is what the other tests stand on: its answers, counters and faults, seen through a plain HTTP client."""

from __future__ import annotations

import gzip
import http.client
import json

import pytest
from mock_answers import answer, greedy, logprob, pieces
from mock_handle import MockServer


def post(mock: MockServer, path: str, body: dict, timeout: float = 5.0):
    connection = http.client.HTTPConnection("127.0.0.1", mock.port, timeout=timeout)
    try:
        connection.request("POST", f"/v1{path}", json.dumps(body), {"Authorization": "Bearer sk-mock-0123456789"})
        reply = connection.getresponse()
        return reply.status, dict(reply.getheaders()), reply.read()
    finally:
        connection.close()


def chat(mock: MockServer, text: str = "hello", **more):
    return post(mock, "/chat/completions", {"model": "mock", "messages": [{"role": "user", "content": text}], **more})


def test_answers_depend_on_content_and_seed_alone(mock):
    said = [json.loads(chat(mock, "hi", seed=seed)[2])["choices"][0]["message"]["content"] for seed in (None, 1, None)]
    assert said[0] == said[2] == answer("hi")
    many = json.loads(chat(mock, "hi", n=3)[2])["choices"]
    assert [choice["message"]["content"] for choice in many] == [answer("hi", None, i) for i in range(3)]
    stats = mock.stats()
    assert (stats["requests"], stats["distinct"], stats["in_flight"], stats["max_in_flight"]) == (4, 3, 0, 1)
    assert (stats["paths"], stats["outcomes"], stats["connections"]) == ({"/v1/chat/completions": 4}, {"200": 4}, 4)
    assert mock.asked_again("hi") == ["hi"]


def test_echo_gives_the_log_probabilities_of_the_prompt(mock):
    text = "The cat sat on the mat."
    body = {"model": "mock", "prompt": text, "echo": True, "logprobs": 1, "max_tokens": 0}
    found = json.loads(post(mock, "/completions", body)[2])["choices"][0]
    tokens = found["logprobs"]["tokens"]
    assert found["text"] == text == "".join(tokens) and tokens == pieces(text)
    assert found["logprobs"]["token_logprobs"] == [None] + [logprob("".join(tokens[:i]), tokens[i]) for i in range(1, 6)]
    assert [text[offset:][: len(t)] for offset, t in zip(found["logprobs"]["text_offset"], tokens, strict=True)] == tokens
    tops = found["logprobs"]["top_logprobs"]
    best = [max(top, key=top.get) == token for top, token in zip(tops[1:], tokens[1:], strict=True)]
    assert best == [greedy("".join(tokens[:i]), tokens[i]) for i in range(1, 6)]
    many = json.loads(post(mock, "/completions", {**body, "prompt": [text, "Another"], "max_tokens": 1})[2])["choices"]
    assert [choice["text"] for choice in many] == [text + answer(text), "Another" + answer("Another")]


def test_other_endpoints(mock):
    found = json.loads(post(mock, "/responses", {"model": "mock", "input": "hi"})[2])
    assert found["output"][0]["content"][0]["text"] == answer("hi") and found["usage"]["output_tokens"] == 2
    verdicts = json.loads(post(mock, "/moderations", {"input": ["fine", "awful"]})[2])["results"]
    assert [verdict["flagged"] for verdict in verdicts] == [False, True]
    assert post(mock, "/nothing", {})[0] == 404


def test_faults_in_replies(mock):
    def under(**rule):
        mock.configure(rules=[rule])
        return chat(mock)

    status, headers, body = under(fault="status", status=429, retry_after=2, message="slow down", echo_key=True)
    assert status == 429 and headers["retry-after"] == "2" and "sk-mock-0123456789" in body.decode()
    assert under(fault="html")[1]["content-type"] == "text/html"
    assert json.loads(gzip.decompress(under(fault="gzip")[2]))["choices"]
    assert json.loads(under(fault="empty-choices")[2])["choices"] == []
    assert len(json.loads(under(fault="wrong-n")[2])["choices"]) == 2
    assert json.loads(under(fault="content-filter")[2])["choices"][0]["finish_reason"] == "content_filter"
    assert json.loads(under(fault="refusal")[2])["choices"][0]["message"]["refusal"]
    assert json.loads(under(fault="reply", text="42")[2])["choices"][0]["message"]["content"] == "42"
    assert json.loads(under(fault="trickle", interval=0.0001)[2])["choices"]
    with pytest.raises(json.JSONDecodeError):
        json.loads(under(fault="truncated-json")[2])


def test_faults_of_the_connection(mock):
    mock.configure(rules=[{"fault": "reset"}])
    with pytest.raises(ConnectionResetError):
        chat(mock)
    mock.configure(rules=[{"fault": "reset-body"}])
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        chat(mock)
    mock.configure(rules=[{"fault": "cut"}])
    with pytest.raises(http.client.IncompleteRead):
        chat(mock)
    mock.configure(rules=[{"fault": "hang"}])
    with pytest.raises(TimeoutError):
        post(mock, "/chat/completions", {"messages": []}, timeout=0.1)
    assert mock.stats()["outcomes"] == {"reset": 1, "reset-body": 1, "cut": 1, "hang": 1}
    mock.configure(rules=[{"fault": "die"}])
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        chat(mock)
    mock.kill()
    mock.start()
    assert chat(mock)[0] == 200
    assert [row["outcome"] for row in mock.seen()][-2:] == ["die", "200"], "the log outlives the process"


def test_conditions_of_a_rule(mock):
    mock.configure(rules=[{"fault": "status", "status": 500, "first": 1, "match": "odd"}])
    assert [chat(mock, text)[0] for text in ("odd", "even", "odd", "odd 2")] == [500, 200, 200, 500]
    mock.configure(rules=[{"fault": "status", "status": 503, "share": 0.3}])
    share = sum(chat(mock, f"{i}")[0] == 503 for i in range(200)) / 200
    assert 0.2 < share < 0.4
    mock.reset()
    mock.configure(rules=[{"fault": "status", "status": 502, "since": 1, "until": 3}])
    assert [chat(mock)[0] for _ in range(4)] == [200, 502, 502, 200]


def test_the_rate_limit_is_enforced(mock):
    mock.configure(limit={"rpm": 6000, "burst": 0.05})
    replies = [chat(mock, f"{i}") for i in range(30)]
    refused = [headers for status, headers, _ in replies if status == 429]
    assert refused and mock.stats()["refused"] == len(refused)
    assert int(refused[0]["retry-after-ms"]) <= 10 and refused[0]["x-ratelimit-limit-requests"] == "6000"
