"""Mock models: deterministic by content, quick, and able to fail, wait and die on request."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import pytest

from evalkit.errors import ModelError
from evalkit.models.base import Model, ModelOptions
from evalkit.models.mock import MockModel, echo
from evalkit.models.mock_script import Script
from evalkit.models.registry import load_model
from evalkit.types import Message, Request, Response, keyed


class ListSource:
    def __init__(self, requests):
        self.requests = list(requests)
        self.at = 0

    def take(self, limit):
        wave = self.requests[self.at : self.at + limit]
        self.at += len(wave)
        return wave


def answers(model: Model, requests) -> dict[str, Response]:
    got: list[Response] = []
    model.run(ListSource(requests), got.append, threading.Event())
    assert len({r.key for r in got}) == len(got)
    return {r.key: r for r in got}


def load(name: str, **args) -> Model:
    return load_model(name, ModelOptions(args=args))


def asked(n: int, kind="loglikelihood") -> list[Request]:
    return [
        keyed(Request(kind, f"question {i}\nanswer:", f" choice {i}" if kind != "generate" else ""), "f") for i in range(n)
    ]


def test_echo_repeats_the_last_line_and_scores_by_content():
    model = load("mock/echo")
    say = keyed(Request("generate", "first\nlast line\n"), model.fingerprint)
    chat = keyed(Request("generate", (Message("system", "be kind"), Message("user", "hello"))), model.fingerprint)
    got = answers(model, [say, chat, *asked(50)])
    assert got[say.key].text == "last line"
    assert got[chat.key].text == "hello"
    assert got[say.key].finish == "stop"
    scores = [got[q.key].logprob for q in asked(50)]
    assert len(set(scores)) == 50 and all(-20 <= s <= 0 for s in scores)
    assert answers(load("mock/echo", text="hi"), [say])[say.key].text == "hi"


def test_answers_do_not_depend_on_order_or_waves():
    plain = answers(load("mock/echo"), asked(300))
    mixed = answers(load("mock/echo", shuffle="3", wave="64"), asked(300)[::-1])
    assert plain == mixed
    assert list(plain) != list(mixed)


def test_uniform_gives_exactly_eight_bits_a_byte():
    request = keyed(Request("loglikelihood_rolling", "", "héllo"), "f")
    got = answers(load("mock/uniform"), [request])[request.key]
    assert got.logprob == pytest.approx(-6 * 8 * 0.6931471805599453, abs=1e-12)
    assert got.tokens == 6


def test_failing_fails_the_same_requests_each_time_until_healed(tmp_path):
    heal = tmp_path / "heal"
    args = {"rate": "0.3", "kind": "timeout", "retryable": "true", "heal_file": str(heal)}
    first, second = (answers(load("mock/failing", **args), asked(1000)) for _ in range(2))
    assert first == second
    failed = [r.error for r in first.values() if r.error]
    assert 250 < len(failed) < 350
    assert failed[0].kind == "timeout" and failed[0].retryable
    heal.touch()
    assert not any(r.error for r in answers(load("mock/failing", **args), asked(1000)).values())


def test_slow_waits_a_latency_for_each_group_of_connections_and_stops_at_once():
    started = time.perf_counter()
    answers(load("mock/slow", latency="0.02", connections="5"), asked(20))
    assert time.perf_counter() - started >= 0.08, "20 requests, 5 at a time, 0.02 s each"
    stop, got = threading.Event(), []
    threading.Timer(0.05, stop.set).start()
    load("mock/slow", latency="30").run(ListSource(asked(2)), got.append, stop)
    assert not got


def test_scripted_matches_key_sample_continuation_and_prompt_parts(tmp_path):
    file = tmp_path / "answers.jsonl"
    rows = [
        {"match": "question 1", "text": "one"},
        {"match": "question 12", "text": "twelve", "finish": "length"},
        {"match": "s7", "logprob": -1.5, "is_greedy": True},
        {"match": "broken", "error": "refused"},
    ]
    file.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    model = load("mock/scripted", file=str(file))
    ask = [
        keyed(Request("generate", "question 1?"), ""),
        keyed(Request("generate", "question 12?"), ""),
        keyed(Request("loglikelihood", "x", " y", sample_id="s7"), ""),
        keyed(Request("generate", "this is broken"), ""),
        keyed(Request("generate", "unheard of"), ""),
    ]
    got = [answers(model, ask)[q.key] for q in ask]
    assert [r.text for r in got[:2]] == ["one", "twelve"]
    assert got[1].finish == "length"
    assert (got[2].logprob, got[2].is_greedy) == (-1.5, True)
    assert [r.error.kind for r in got[3:]] == ["refused", "unscripted"]
    assert answers(load("mock/scripted", file=str(file), text="dunno"), ask)[ask[4].key].text == "dunno"


def test_scripted_gives_each_repeat_its_own_answer():
    model = MockModel("mock/x", Script({"p": ["a", "b"]}).answer)
    ask = [keyed(Request("generate", "p", repeat=i), "") for i in range(3)]
    assert [answers(model, ask)[q.key].text for q in ask] == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("text", "says"),
    [('{"match": 1}', ":1: expected"), ("{", ":1: not JSON"), ('{"match": "a", "txt": "b"}', "unknown field 'txt'")],
)
def test_a_broken_script_names_file_and_line(tmp_path, text, says):
    file = tmp_path / "a.jsonl"
    file.write_text(text)
    with pytest.raises(ModelError, match=says):
        load("mock/scripted", file=str(file))


def test_die_after_kills_the_process_with_answers_handed_over():
    code = """
import threading
from evalkit.models.base import ModelOptions
from evalkit.models.registry import load_model
from evalkit.types import Request
class S:
    n = 0
    def take(self, limit):
        self.n += 1
        return [Request("generate", "p", key=str(i)) for i in range(100)] if self.n == 1 else []
model = load_model("mock/echo", ModelOptions(args={"die_after": "7"}))
model.run(S(), lambda r: print(r.key, flush=True), threading.Event())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -9
    assert done.stdout.split() == [str(i) for i in range(7)]


def test_fingerprint_pins_what_can_change_an_answer_and_nothing_else():
    base = load("mock/echo").fingerprint
    assert load("mock/echo", shuffle="1", die_after="5", wave="7").fingerprint == base
    assert load("mock/echo", text="x").fingerprint != base
    assert load("mock/uniform").fingerprint != base


def test_a_hundred_thousand_requests_are_answered_one_by_one():
    requests = [Request("loglikelihood", "p", str(i), key=str(i)) for i in range(100_000)]
    count = 0

    def sink(response):
        nonlocal count
        count += 1

    MockModel("m", echo()).run(ListSource(requests), sink, threading.Event())
    assert count == 100_000


def test_split_and_count_are_by_words():
    model = load("mock/echo")
    cut = model.split(Request("loglikelihood", "two words", " and more"))
    assert (cut.context, cut.continuation) == (("two", " words"), (" and", " more"))
    assert model.count_tokens(["a b c", (Message("user", "d e"),)]) == [3, 2]
