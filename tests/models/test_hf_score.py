"""Log-likelihoods of local models: equal to one naive forward pass a request, whatever the batch."""

from __future__ import annotations

import math
import threading

import pytest

PAIRS = [
    ("Question: what is the capital of France? Answer:", " Paris"),
    ("Question: what is the capital of France? Answer:", " Paris is"),
    ("Question: what is the capital of France? Answer:", " the mat"),
    ("Question: what is the capital of France? Answer: ", "Paris"),
    ("The cat sat on", " the mat."),
    ("The cat\n\n", "  sat on the mat. The dog ate 12 apples"),
    ("", "The dog"),
    ("", "<s>The dog"),
    ("   ", "The dog"),
    ("<s>The cat", " sat"),
    ("naïve", " café größer 東京"),
    ("The dog ate 12 apples and 30 pears in 1999, then it slept. " * 4, " It isn't the fox's fault."),
    ("x", " The quick brown fox" * 12),
]


def naive(folder, context_ids, continuation_ids):
    """Sum of log-probabilities and greediness, one plain forward pass, float64 softmax."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.tensor([[*context_ids, *continuation_ids]])
    with torch.no_grad():
        logits = model(ids[:, :-1]).logits[0].double()
    rows = torch.log_softmax(logits, -1)[-len(continuation_ids) :]
    total = sum(float(row[token]) for row, token in zip(rows, continuation_ids, strict=True))
    return total, all(int(row.argmax()) == token for row, token in zip(rows, continuation_ids, strict=True))


def test_token_split_moves_blanks_and_encodes_the_whole(tiny, asker):
    model = asker.load(f"hf/{tiny}")
    cut = model.split(asker.score("The cat ", "sat"))
    assert "".join(cut.context) == "The cat"
    assert "".join(cut.continuation) == " sat"
    cut = model.split(asker.score("", "The dog"))
    assert cut.context == ("<s>",) and "".join(cut.continuation) == "The dog"
    cut = model.split(asker.score("", "<s>The dog"))
    assert cut.context == ("<s>",) and "".join(cut.continuation) == "The dog"
    cut = model.split(asker.score("  ", "The dog"))
    assert cut.context == ("<s>",) and "".join(cut.continuation) == "  The dog"


@pytest.mark.parametrize(
    ("context", "args", "first"),
    [
        ("The cat", {}, "<s>"),
        ("<s>The cat", {}, "<s>"),
        ("The cat", {"add_bos_token": "false"}, "The"),
        ("", {"prefix_token_id": "2"}, "<pad>"),
    ],
)
def test_bos_is_there_once_or_as_asked(tiny_bos, asker, context, args, first):
    cut = asker.load(f"hf/{tiny_bos}", **args).split(asker.score(context, " sat"))
    assert cut.context[0] == first
    assert cut.context.count("<s>") == (first == "<s>")
    assert "".join(cut.continuation) == " sat"


def test_add_bos_token_makes_a_plain_tokenizer_keep_its_own_way(tiny, tiny_bos, asker):
    assert asker.load(f"hf/{tiny_bos}", add_bos_token="true").split(asker.score("a", " b")).context[0] == "<s>"
    assert asker.load(f"hf/{tiny}").split(asker.score("a", " b")).context[0] == "a"


@pytest.mark.parametrize("which", ["tiny", "tiny_bos", "tiny_gpt2"])
def test_every_score_equals_a_naive_forward_pass(which, request, asker):
    from transformers import AutoTokenizer

    folder = request.getfixturevalue(which)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = asker.load(f"hf/{folder}", dtype="float32")
    got = asker.ask(model, [asker.score(*pair) for pair in PAIRS])
    for (context, continuation), response in zip(PAIRS, got, strict=True):
        stripped = context.rstrip()
        joined = context[len(stripped) :] + continuation
        flags = {"add_special_tokens": False} if context.startswith("<s>") else {}
        whole = tokenizer.encode(stripped + joined, **flags)
        head = tokenizer.encode(stripped, **flags)
        if not context:
            head, whole = [0], [0, *tokenizer.encode(continuation.removeprefix("<s>"), add_special_tokens=False)]
        elif not head:
            head, whole = [0], [0, *whole]
        rest = whole[len(head) :]
        window = whole[-65:]
        total, greedy = naive(folder, window[: len(window) - len(rest)], rest)
        assert response.logprob == pytest.approx(total, abs=2e-5), (context, continuation)
        assert response.is_greedy == greedy
        assert response.tokens == len(rest)
        assert response.truncated == len(whole) - len(window)


def test_batch_size_and_order_do_not_change_a_score(tiny, asker):
    requests = [asker.score(context + "x" * n, continuation) for context, continuation in PAIRS for n in (0, 3)]
    requests = list({request.key: request for request in requests}.values())
    alone = asker.ask(asker.load(f"hf/{tiny}", batch_size=1), requests)
    many = asker.ask(asker.load(f"hf/{tiny}"), requests[::-1])[::-1]
    for one, other in zip(alone, many, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-5)
        assert (one.is_greedy, one.tokens, one.truncated) == (other.is_greedy, other.tokens, other.truncated)


def test_the_most_likely_continuation_is_greedy(tiny, asker):
    model = asker.load(f"hf/{tiny}")
    prompt = "The cat sat on"
    said = asker.ask(model, [asker.generate(prompt, max_gen_toks=3)])[0]
    got = asker.ask(model, [asker.score(prompt, said.text), asker.score(prompt, " zebra")])
    if model.split(asker.score(prompt, said.text)).continuation and said.tokens == got[0].tokens:
        assert got[0].is_greedy
    assert not got[1].is_greedy


def test_what_cannot_be_scored_is_a_failure_not_a_crash(tiny, asker):
    model = asker.load(f"hf/{tiny}")
    empty, both, long, odd, good = (
        asker.score("The cat", ""),
        asker.score("", ""),
        asker.score("The cat", " xyz" * 100),
        asker.score("bad \ud800 text", " a"),
        asker.score("The cat", " sat"),
    )
    got = asker.ask(model, [empty, both, long, odd, good])
    kinds = [response.error.kind if response.error else None for response in got]
    assert kinds == ["empty-continuation", "empty-continuation", "continuation-too-long", "bad-text", None]
    assert not any(response.error and response.error.retryable for response in got)


def test_rolling_scores_every_token_once_in_disjoint_windows(tiny, asker):
    from transformers import AutoTokenizer

    text = "The dog ate 12 apples and 30 pears in 1999, then it slept. " * 15
    ids = AutoTokenizer.from_pretrained(tiny).encode(text)
    assert len(ids) > 3 * 64
    total, start = 0.0, 0
    while start < len(ids):
        end = min(start + 64, len(ids))
        context = [0] if start == 0 else ids[end - 65 : start]
        total += naive(tiny, context, ids[start:end])[0]
        start = end
    long, short, empty = asker.ask(asker.load(f"hf/{tiny}"), [asker.roll(text), asker.roll("The dog"), asker.roll("")])
    assert long.logprob == pytest.approx(total, abs=2e-4)
    assert long.tokens == len(ids)
    assert short.logprob == pytest.approx(
        asker.ask(asker.load(f"hf/{tiny}"), [asker.score("", "The dog")])[0].logprob, abs=1e-5
    )
    assert (empty.logprob, empty.tokens) == (0.0, 0)


def test_max_length_truncates_from_the_left_and_is_counted(tiny, asker):
    model = asker.load(f"hf/{tiny}", max_length="16")
    assert model.capabilities.max_length == 16
    context = "Question: what is the capital of France? Answer: " * 3
    cut = model.split(asker.score(context, " Paris"))
    assert len(cut.context) + len(cut.continuation) == 17
    response = asker.ask(model, [asker.score(context, " Paris")])[0]
    assert response.truncated == cut.truncated > 0


def test_chat_requests_are_rendered_and_dtype_is_kept(tiny, asker):
    from evalkit.types import Message, Request, keyed

    model = asker.load(f"hf/{tiny}", dtype="bfloat16")
    assert model.describe()["dtype"] == "bfloat16"
    chat = keyed(Request("loglikelihood", (Message("user", "Hi"),), "Paris"), "")
    text = asker.score("<|user|>\nHi</s>\n<|assistant|>\n", "Paris")
    one, two = asker.ask(model, [chat, text])
    assert one.logprob == two.logprob


def test_stop_ends_between_batches(tiny, asker):
    stop = threading.Event()
    stop.set()
    assert asker.ask(asker.load(f"hf/{tiny}"), [asker.score("a", " b")], stop) == [None]


def test_no_room_halves_the_batch_and_only_a_lone_sequence_fails(tiny, asker, monkeypatch):
    from evalkit.engine import plain

    real, sizes = plain.score_rows, []

    def picky(module, rows, jobs, device):
        sizes.append(len(rows))
        if len(rows) > 3 or any(len(row.tokens) > 60 for row in rows):
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(module, rows, jobs, device)

    requests = [asker.score("a" * n, " b") for n in range(1, 12)]
    whole = asker.ask(asker.load(f"hf/{tiny}", engine="plain"), requests)
    monkeypatch.setattr(plain, "score_rows", picky)
    long = asker.score("q " * 70, " b")
    got = asker.ask(asker.load(f"hf/{tiny}", engine="plain"), [*requests, long])
    assert sizes[0] == 12 and max(sizes[4:]) <= 3
    assert got[-1].error.kind == "out-of-memory" and got[-1].error.retryable
    assert [r.logprob for r in got[:-1]] == pytest.approx([r.logprob for r in whole], abs=1e-5)


def test_a_number_that_is_none_is_a_failure(tiny, asker):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    module = AutoModelForCausalLM.from_pretrained(tiny)
    with torch.no_grad():
        module.lm_head.weight.fill_(math.nan)
    from evalkit.models.registry import load_model

    model = load_model((module, AutoTokenizer.from_pretrained(tiny)))
    assert asker.ask(model, [asker.score("a", " b")])[0].error.kind == "not-finite"


def test_what_a_model_does_after_its_output_layer_is_kept(asker):
    """Gemma 2 caps its logits after the output layer, which sees the scored positions only."""
    import torch
    from tiny_models import tiny_tokenizer
    from transformers import Gemma2Config, Gemma2ForCausalLM

    from evalkit.models.registry import load_model

    torch.manual_seed(0)
    tokenizer = tiny_tokenizer(False)
    config = Gemma2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=8,
        max_position_embeddings=64,
        final_logit_softcapping=5.0,
        initializer_range=0.5,
    )
    module = Gemma2ForCausalLM(config).eval()
    model = load_model((module, tokenizer))
    pairs = [("The cat" + " sat" * n, " on the mat") for n in range(6)]
    for (context, continuation), response in zip(pairs, asker.ask(model, [asker.score(*p) for p in pairs]), strict=True):
        ids = tokenizer.encode(context + continuation)
        with torch.no_grad():
            rows = torch.log_softmax(module(torch.tensor([ids])).logits[0].double(), -1)
        first = len(tokenizer.encode(context))
        assert response.logprob == pytest.approx(sum(float(rows[i - 1, ids[i]]) for i in range(first, len(ids))), abs=1e-5)
