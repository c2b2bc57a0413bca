"""Stored samples come back as they were."""

from __future__ import annotations

from pathlib import Path

from evalkit.runner.samples import SampleLog
from evalkit.types import Message, Request, Sample, keyed


def test_a_sample_and_its_requests_come_back(tmp_path: Path) -> None:
    sample = Sample("t", "q1", 0, {"q": "Sky?", "n": 3}, ("blue", "grey"), ("a", "b"), {"level": "easy"}, "p1")
    requests = tuple(
        keyed(Request("loglikelihood", "Sky?", c, slot=i, task="t", sample_id="q1"), "m") for i, c in enumerate(" ab")
    )
    log = SampleLog(tmp_path / "t", write=True)
    log.append(sample, requests)
    log.close()
    again = SampleLog(tmp_path / "t")
    assert again[0] == (sample, requests)
    again.release()


def test_chat_messages_come_back_as_messages(tmp_path: Path) -> None:
    prompt = (Message("system", "Be brief."), Message("user", "Hi"))
    request = keyed(Request("generate", prompt, params={"until": ["\n"]}, task="t", sample_id="1"), "m")
    log = SampleLog(tmp_path / "t", write=True)
    log.append(Sample("t", "1", 0, {}), (request,))
    assert log[0][1] == (request,)
    log.release()


def test_keys_depend_on_content_and_for_sampling_on_the_sample() -> None:
    def key(**changes: object) -> str:
        base = {"kind": "generate", "prompt": "p", "params": {"max_gen_toks": 5}, "task": "t", "sample_id": "1"}
        return keyed(Request(**(base | changes)), "m").key  # type: ignore[arg-type]

    assert key() == key(sample_id="2"), "greedy answers to equal prompts are shared"
    assert key() != key(repeat=1)
    assert key() != key(params={"max_gen_toks": 6})
    sampled = {"do_sample": True, "temperature": 0.7}
    assert key(params=sampled) != key(params=sampled, sample_id="2"), "drawn answers are not"
    assert keyed(Request("generate", "p"), "m").key != keyed(Request("generate", "p"), "other").key
