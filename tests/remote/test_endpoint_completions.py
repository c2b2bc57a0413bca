"""The completions endpoint: generations, and log-likelihoods that must be those of the same tokens scored locally."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny_llama import byte_tokenizer

from evalkit.errors import ModelError
from evalkit.models.remote.base import TOP
from evalkit.models.remote.completions import CompletionsEndpoint
from evalkit.models.remote.dialect import Dialect
from evalkit.models.remote.endpoints import endpoint_of
from evalkit.models.tokens import Tokens
from evalkit.types import Message, Request, RequestKind, Response

TEXT = "the cat sat on the mat and the dog sat on the log, naïve café 東京 the end of the story"


@pytest.fixture(scope="module")
def words() -> Any:
    """A byte-level BPE with whole words, a beginning token and tokens that cut characters in pieces."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([TEXT] * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>")


class Server:
    """Answers as vLLM does, with log-probabilities that depend on all tokens before."""

    def __init__(self, tokenizer: Any, *, bos: bool = False, offsets: bool = True, usage: bool = True) -> None:
        self.tokenizer, self.bos, self.offsets, self.usage = tokenizer, bos, offsets, usage

    def likely(self, ids: Sequence[int]) -> tuple[float, float]:
        """Log-probability of the last token, and that of the likeliest one there."""
        draw = hashlib.blake2b(repr(list(ids)).encode(), digest_size=8).digest()
        value = -0.01 - 10 * int.from_bytes(draw[:4], "big") / 2**32
        return value, value if draw[7] % 2 else value / 2

    def encode(self, prompt: Any) -> list[int]:
        if not isinstance(prompt, str):
            return list(prompt)
        ids = self.tokenizer.encode(prompt, add_special_tokens=False)
        return [self.tokenizer.bos_token_id, *ids] if self.bos else list(ids)

    def __call__(self, body: Mapping[str, Any]) -> dict[str, Any]:
        prompt = body["prompt"]
        many = isinstance(prompt, list) and prompt and isinstance(prompt[0], list)
        prompts = [self.encode(p) for p in prompt] if many else [self.encode(prompt)]
        choices = [{"index": i, "text": "?", "finish_reason": "length", **self.scores(ids, body)}
                   for i, ids in enumerate(prompts)]  # fmt: skip
        usage = {"prompt_tokens": sum(map(len, prompts)), "completion_tokens": body["max_tokens"]}
        return {"model": "m", "choices": choices, **({"usage": usage} if self.usage else {})}

    def scores(self, ids: list[int], body: Mapping[str, Any]) -> dict[str, Any]:
        if body.get("prompt_logprobs"):
            return {"prompt_logprobs": [None if i == 0 else self.entry(ids[: i + 1]) for i in range(len(ids))]}
        ids = ids + [2] * body["max_tokens"]
        texts = [self.tokenizer.decode([token]) for token in ids]
        values = [None if i == 0 else self.likely(ids[: i + 1]) for i in range(len(ids))]
        logprobs: dict[str, Any] = {
            "tokens": texts,
            "token_logprobs": [None if v is None else v[0] for v in values],
            "top_logprobs": [None if v is None else {t: v[0], "other": v[1]} for t, v in zip(texts, values, strict=True)],
        }
        if self.offsets:
            logprobs["text_offset"] = [sum(map(len, texts[:i])) for i in range(len(texts))]
        return {"logprobs": logprobs, "prompt_logprobs": None}  # vLLM names what it was not asked for, too

    def entry(self, ids: list[int]) -> dict[str, Any]:
        value, best = self.likely(ids)
        own = {"logprob": value, "rank": 1 if value == best else 2, "decoded_token": self.tokenizer.decode([ids[-1]])}
        return {str(ids[-1]): own} if value == best else {str(ids[-1]): own, "9999": {"logprob": best, "rank": 1}}

    def score(self, context: list[int], continuation: list[int]) -> tuple[float, bool]:
        pairs = [self.likely([*context, *continuation[: i + 1]]) for i in range(len(continuation))]
        return sum(v for v, _ in pairs), all(v == best for v, best in pairs)


PAIRS = [
    ("the cat", " sat"),
    ("the cat ", "sat on"),
    ("the cat sat on the", " naïve café"),
    ("naïve café 東京", " the end"),
    ("naïve café 東京:", " naïve café"),
    ("a b", "\n\nc"),
    ("the\n\n", "dog"),
    ("x = ", "1"),
]


def ask(context: str, continuation: str, kind: RequestKind = "loglikelihood") -> Request:
    return Request(kind, context, continuation, key="k")


def local(server: Server, tokens: Tokens, context: str, continuation: str) -> tuple[float, bool]:
    (cut,) = tokens.pairs([(context, continuation)])
    before = [server.tokenizer.bos_token_id] if server.bos else []
    return server.score([*before, *cut.context], cut.continuation)


def through(endpoint: CompletionsEndpoint, server: Server, request: Request) -> Response:
    return endpoint.response(request, server(endpoint.call(request).body))


@pytest.mark.parametrize("max_tokens", [0, 1])
@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("offsets", [False, True])
def test_text_prompts_are_scored_as_locally(words: Any, bos: bool, offsets: bool, max_tokens: int) -> None:
    server, tokens = Server(words, bos=bos, offsets=offsets), Tokens(words, 512)
    endpoint = CompletionsEndpoint("m", Dialect(scored_max_tokens=max_tokens))
    for context, continuation in PAIRS:
        response = through(endpoint, server, ask(context, continuation))
        assert response.error is None, (context, continuation, response.error)
        logprob, greedy = local(server, tokens, context, continuation)
        assert response.logprob == pytest.approx(logprob, abs=1e-9), (context, continuation)
        assert response.is_greedy is greedy


@pytest.mark.parametrize("scoring", ["echo", "prompt_logprobs"])
@pytest.mark.parametrize("tokenizer", ["words", "bytes"])
def test_token_prompts_are_scored_as_locally_whatever_the_text(words: Any, tokenizer: str, scoring: Any) -> None:
    chosen = words if tokenizer == "words" else byte_tokenizer()
    server, tokens = Server(chosen), Tokens(chosen, 512)
    endpoint = CompletionsEndpoint("m", Dialect(scoring=scoring), tokens)
    for context, continuation in [*PAIRS, ("", "the cat"), ("東京", "東京")]:
        response = through(endpoint, server, ask(context, continuation))
        (cut,) = tokens.pairs([(context, continuation)])
        assert response.error is None, response.error
        assert (response.logprob, response.is_greedy) == (pytest.approx(server.score(cut.context, cut.continuation)[0]),
                                                          server.score(cut.context, cut.continuation)[1])  # fmt: skip
        assert response.tokens == len(cut.continuation)


def test_long_contexts_are_cut_from_the_left_and_that_is_said(words: Any) -> None:
    server, tokens = Server(words), Tokens(words, 20)
    endpoint = CompletionsEndpoint("m", None, tokens)
    response = through(endpoint, server, ask("the cat " * 30, "sat"))
    (cut,) = tokens.pairs([("the cat " * 30, "sat")])
    assert cut.truncated and response.truncated == cut.truncated
    assert response.logprob == pytest.approx(server.score(cut.context, cut.continuation)[0])
    with pytest.raises(ModelError, match="longer than max_length"):
        endpoint.call(ask("a", " the cat" * 40))


def test_rolling_texts_are_scored_in_windows_by_one_call(words: Any) -> None:
    server, tokens = Server(words), Tokens(words, 16)
    endpoint = CompletionsEndpoint("m", None, tokens)
    request = ask(TEXT, "", "loglikelihood_rolling")
    windows = tokens.windows([TEXT])[0]
    assert len(endpoint.call(request).body["prompt"]) == len(windows) > 1
    response = through(endpoint, server, request)
    total = sum(server.score(cut.context, cut.continuation)[0] for cut in windows)
    assert response.logprob == pytest.approx(total)
    assert (response.tokens, response.is_greedy) == (sum(len(c.continuation) for c in windows), None)


def test_a_rolling_text_without_tokenizer_needs_a_server_that_begins_it(words: Any) -> None:
    request, endpoint = ask(TEXT, "", "loglikelihood_rolling"), CompletionsEndpoint("m")
    ids = words.encode(TEXT)
    response = through(endpoint, Server(words, bos=True), request)
    assert response.logprob == pytest.approx(Server(words).score([words.bos_token_id], ids)[0])
    error = through(endpoint, Server(words), request).error
    assert error is not None and error.kind == "no-context" and "-M tokenizer=" in error.message


def test_a_split_that_cannot_be_told_is_refused_not_guessed() -> None:
    tokenizer = byte_tokenizer()
    error = through(CompletionsEndpoint("m"), Server(tokenizer, offsets=False), ask("東京", " 東京")).error
    assert error is not None and error.kind == "bad-split" and "-M tokenizer=" in error.message


def test_a_token_over_the_join_needs_the_tokenizer(words: Any) -> None:
    server, tokens = Server(words), Tokens(words, 64)
    for continuation in ("at sat", "at"):
        error = through(CompletionsEndpoint("m"), server, ask("the c", continuation)).error
        assert error is not None and error.kind == "bad-split" and "-M tokenizer=" in error.message
    (cut,) = tokens.pairs([("the c", "at sat")])
    response = through(CompletionsEndpoint("m", None, tokens), server, ask("the c", "at sat"))
    assert response.logprob == pytest.approx(server.score(cut.context, cut.continuation)[0])


def test_a_server_that_ignores_echo_is_found_out(words: Any) -> None:
    generated = {"tokens": ["x"], "token_logprobs": [-1.0], "top_logprobs": [{"x": -1.0}], "text_offset": [0]}
    choice = {"index": 0, "text": "x", "finish_reason": "length"}
    for endpoint in (CompletionsEndpoint("m"), CompletionsEndpoint("m", None, Tokens(words, 64))):
        for logprobs in (generated, None, {"content": []}):
            error = endpoint.response(ask("the cat", " sat"), {"choices": [{**choice, "logprobs": logprobs}]}).error
            assert error is not None and error.kind == "no-logprobs", logprobs


@pytest.mark.parametrize(
    "change",
    [
        {"token_logprobs": [None, math.nan, -1.0]},
        {"token_logprobs": [None, 3.0, -1.0]},
        {"token_logprobs": [None, -1.0]},
        {"tokens": ["the"]},
        {"top_logprobs": None},
        {"top_logprobs": [None, None, None]},
    ],
)
def test_broken_lists_are_bad_replies(change: dict[str, Any]) -> None:
    logprobs = {
        "tokens": ["the", " cat", "!"],
        "token_logprobs": [None, -1.0, -1.0],
        "top_logprobs": [None, {"a": -1.0}, {}],
    }
    body = {"choices": [{"index": 0, "text": "", "logprobs": {**logprobs, **change}}], "usage": {"prompt_tokens": 2}}
    error = CompletionsEndpoint("m").response(ask("the", " cat"), body).error
    assert error is not None and error.kind == "bad-reply"


def test_generation() -> None:
    endpoint = CompletionsEndpoint("m")
    params = {"until": ["Q:"], "max_gen_toks": 8, "do_sample": False, "top_logprobs": 3}
    request = Request("generate", "Hi", params=params, key="k")
    assert dict(endpoint.call(request).body) == {
        "model": "m", "prompt": "Hi", "max_tokens": 8, "temperature": 0, "stop": ["Q:"], "logprobs": 3,
    }  # fmt: skip
    logprobs = {"tokens": [" ", "B"], "token_logprobs": [-1.0, -0.5], "top_logprobs": [{" ": -1.0}, {"B": -0.5, "A": -1.5}]}
    choice = {"index": 0, "text": " B Q: more", "finish_reason": "length", "logprobs": logprobs}
    usage = {"prompt_tokens": 3, "completion_tokens": 8}
    response = endpoint.response(request, {"choices": [choice], "usage": usage})
    assert (response.text, response.finish, response.tokens, response.prompt_tokens) == (" B ", "stop", 8, 3)
    assert response.extra[TOP] == {"B": -0.5, "A": -1.5}
    missing = endpoint.response(request, {"choices": [{"index": 0, "finish_reason": "stop"}]})
    assert missing.error is not None and missing.error.kind == "bad-reply"


def test_chat_messages_need_a_template() -> None:
    with pytest.raises(ModelError, match="--apply-chat-template"):
        CompletionsEndpoint("m").call(Request("generate", (Message("user", "Hi"),)))


def test_the_endpoint_is_chosen_by_option(tmp_path: Any) -> None:
    assert endpoint_of("m", {"endpoint": "completions"}, official=False).name == "completions"
    assert endpoint_of("m", {"endpoint": "responses"}, official=True).name == "responses"
    assert endpoint_of("m", {}, official=True).name == "chat"
    with pytest.raises(ModelError, match="log-likelihoods on the completions endpoint"):
        endpoint_of("m", {"tokenizer": "x"}, official=True)
    with pytest.raises(ModelError, match=str(tmp_path / "none")):
        endpoint_of("m", {"endpoint": "completions", "tokenizer": str(tmp_path / "none")}, official=False)
    byte_tokenizer().save_pretrained(tmp_path)
    found = endpoint_of("m", {"endpoint": "completions", "tokenizer": str(tmp_path), "max_length": 9}, official=False)
    assert len(found.call(Request("loglikelihood", "a" * 99, "b")).body["prompt"]) == 10
