"""Python functions as models."""

from __future__ import annotations

import threading

from evalkit.models.callable import CallableModel, cut_at
from evalkit.types import Message, Request, keyed


def ask(model, requests):
    left, got = [list(requests)], []

    class Source:
        def take(self, limit):
            head, left[0] = left[0][:limit], left[0][limit:]
            return head

    model.run(Source(), got.append, threading.Event())
    return {r.key: r for r in got}


def request(prompt, **kw):
    return keyed(Request(kw.pop("kind", "generate"), prompt, **kw), "f")


def test_a_function_answers_text_and_chat():
    seen = []

    def model(prompt):
        seen.append(prompt)
        return "Paris.\nNext"

    plain = request("Capital of France?", params={"until": ["\n"]})
    chat = request((Message("user", "Capital?"),))
    got = ask(CallableModel(model), [plain, chat])
    assert got[plain.key].text == "Paris."
    assert got[chat.key].text == "Paris.\nNext"
    assert seen == ["Capital of France?", [{"role": "user", "content": "Capital?"}]]


def test_batches():
    sizes = []

    def model(prompts):
        sizes.append(len(prompts))
        return [p.upper() for p in prompts]

    requests = [request(f"p{i}") for i in range(10)]
    got = ask(CallableModel(model, batched=True, batch_size=4), requests)
    assert [got[q.key].text for q in requests] == [f"P{i}" for i in range(10)]
    assert sizes == [4, 4, 2]


def test_what_goes_wrong_is_a_failure_of_that_request():
    def model(prompt):
        if prompt == "bad":
            raise ValueError("no")
        return None if prompt == "none" else "fine"

    bad, none, good, score = request("bad"), request("none"), request("ok"), request("x", kind="loglikelihood")
    got = ask(CallableModel(model), [bad, none, good, score])
    assert got[bad.key].error.message == "ValueError: no"
    assert got[none.key].error.message == "expected text, got NoneType"
    assert got[good.key].text == "fine"
    assert got[score.key].error.kind == "unsupported"
    short = ask(CallableModel(lambda prompts: [], batched=True), [good])
    assert "0 answers to 1 prompts" in short[good.key].error.message


def test_the_fingerprint_follows_the_code_and_the_version():
    one, two = CallableModel(lambda p: "a", name="m"), CallableModel(lambda p: "b" + p, name="m", version="2")
    assert one.fingerprint != two.fingerprint


def test_stop_strings_are_cut_in_turn():
    assert cut_at("a b c", ["c", "b"]) == "a "
    assert cut_at("a b", [""]) == "a b"
    assert cut_at("a b", None) == "a b"
    assert cut_at("a b", " ") == "a"
