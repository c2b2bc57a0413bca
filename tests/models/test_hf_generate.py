"""Generation: stops, limits, seeds and reasoning, each per sequence whatever its batch."""

from __future__ import annotations

import itertools
import threading

import pytest

from evalkit.models.base import ModelOptions
from evalkit.models.registry import load_model

PROMPTS = [
    "The cat",
    "The dog ate 12 apples and",
    "Question: what is",
    "A quick brown fox jumps over the",
    "It isn't",
    "café",
]


@pytest.fixture(scope="module")
def model(tiny):
    return load_model(f"hf/{tiny}", ModelOptions(device="cpu"))


def greedy(folder, prompt, n):
    """Token ids of a plain greedy loop, without cache or padding."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    module = AutoModelForCausalLM.from_pretrained(folder)
    ids = tokenizer.encode(prompt)
    start = len(ids)
    with torch.no_grad():
        while len(ids) < start + n:
            ids.append(int(module(torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == tokenizer.eos_token_id:
                break
    return tokenizer.decode(ids[start:], skip_special_tokens=True), len(ids) - start


def test_greedy_equals_a_plain_loop_in_any_batch(model, tiny, asker):
    requests = [asker.generate(prompt, max_gen_toks=12, until=[]) for prompt in PROMPTS]
    together = asker.ask(model, requests)
    alone = asker.ask(asker.load(f"hf/{tiny}", batch_size=1), requests[::-1])[::-1]
    assert [r.text for r in together] == [r.text for r in alone]
    for prompt, response in zip(PROMPTS, together, strict=True):
        text, n = greedy(tiny, prompt, 12)
        assert (response.text, response.tokens) == (text, n)
        assert response.finish == ("length" if n == 12 else "stop")
        assert response.prompt_tokens == len(model.split(asker.generate(prompt, max_gen_toks=12)).context)


def test_stop_strings_end_each_sequence_by_itself(model, asker):
    free = asker.ask(model, [asker.generate(prompt, max_gen_toks=20) for prompt in PROMPTS])
    stops = [response.text[5:8] for response in free]
    assert all(stops)
    cut = asker.ask(model, [asker.generate(p, max_gen_toks=20, until=[s]) for p, s in zip(PROMPTS, stops, strict=True)])
    for whole, stop, response in zip(free, stops, cut, strict=True):
        assert response.text == whole.text.split(stop)[0]
        assert response.finish == "stop"
        assert response.tokens <= whole.tokens
    assert any(response.tokens < whole.tokens for whole, response in zip(free, cut, strict=True))


def test_a_stop_may_be_a_special_token_or_one_string(model, asker):
    free = asker.ask(model, [asker.generate("The cat", max_gen_toks=8)])[0]
    one = asker.ask(model, [asker.generate("The cat", max_gen_toks=8, until=free.text[3])])[0]
    assert one.text == free.text.split(free.text[3])[0]
    assert asker.ask(model, [asker.generate("The cat", max_gen_toks=8, until=["<pad>", ""])])[0].text is not None


def forced(tiny, ids):
    """A model that says ``ids`` whatever the prompt, by biasing the next token on the last one said."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    module = AutoModelForCausalLM.from_pretrained(tiny)
    table = torch.zeros(module.config.vocab_size, dtype=torch.long)
    table[:] = ids[0]
    for now, following in itertools.pairwise(ids):
        table[now] = following

    def bend(_, args, kwargs, output):
        last = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
        output.logits = (
            torch.nn.functional.one_hot(table[last[:, -output.logits.shape[1] :]], module.config.vocab_size) * 100.0
        )
        return output

    module.register_forward_hook(bend, with_kwargs=True)
    return module, AutoTokenizer.from_pretrained(tiny)


def test_the_end_token_stops_and_is_not_in_the_text(tiny, asker):
    module, tokenizer = forced(tiny, [50, 51, 52, 1])
    response = asker.ask(load_model((module, tokenizer)), [asker.generate("a", max_gen_toks=10)])[0]
    assert response.text == tokenizer.decode([50, 51, 52])
    assert (response.finish, response.tokens) == ("stop", 4)


def test_reasoning_is_cut_off_and_stops_count_only_after_it(tiny, asker):
    # says: 50, stop, 51, <think>, 52, 53, stop
    module, tokenizer = forced(tiny, [50, 60, 51, 3, 52, 53, 61])
    stop_early, stop_late = tokenizer.decode([60]), tokenizer.decode([61])
    for think in ("3", "<think>"):
        model = load_model((module, tokenizer), ModelOptions(args={"think_end_token": think}))
        response = asker.ask(model, [asker.generate("a", max_gen_toks=20, until=[stop_early, stop_late])])[0]
        assert response.finish == "stop"
        assert response.tokens == 7
        if think == "3":  # as text it is a special token, which decoding drops before the text is cut
            assert response.text == tokenizer.decode([52, 53])


def test_prompts_leave_room_for_the_answer(model, asker):
    long, none = asker.ask(
        model, [asker.generate("The dog ate 12 apples. " * 20, max_gen_toks=10), asker.generate("a", max_gen_toks=64)]
    )
    assert long.prompt_tokens == 54 and long.truncated > 0
    assert none.error.kind == "no-room"


def test_sampling_depends_on_the_key_and_on_nothing_else(model, tiny, asker):
    settings = {"do_sample": True, "temperature": 0.9, "max_gen_toks": 8}
    requests = [asker.generate("The cat", repeat=n, sample_id="s", **settings) for n in range(6)]
    together = [r.text for r in asker.ask(model, requests)]
    alone = [r.text for r in asker.ask(asker.load(f"hf/{tiny}", batch_size=1), requests[::-1])][::-1]
    assert together == alone
    assert len(set(together)) > 3
    assert together == [r.text for r in asker.ask(model, requests)]


def test_sampling_draws_from_the_softmax(model, tiny, asker):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(tiny)(torch.tensor([tokenizer.encode("The cat")])).logits[0, -1]
    top = torch.softmax(logits / 1.5, -1)
    kept = torch.where(top >= top.topk(3).values[-1], top, 0)
    kept = kept / kept.sum()
    n = 600
    requests = [
        asker.generate("The cat", repeat=r, do_sample=True, temperature=1.5, top_k=3, max_gen_toks=1) for r in range(n)
    ]
    said = [r.text for r in asker.ask(model, requests)]
    for token in kept.topk(3).indices.tolist():
        p = float(kept[token])
        assert said.count(tokenizer.decode([token])) / n == pytest.approx(p, abs=4.5 * (p * (1 - p) / n) ** 0.5 + 1e-9)


def test_the_checkpoints_own_sampling_defaults_do_not_touch_greedy(tiny, asker):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    module = AutoModelForCausalLM.from_pretrained(tiny)
    module.generation_config.do_sample = True
    module.generation_config.temperature = 5.0
    model = load_model((module, AutoTokenizer.from_pretrained(tiny)))
    response = asker.ask(model, [asker.generate("The cat", max_gen_toks=6)])[0]
    assert response.text == greedy(tiny, "The cat", 6)[0]


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"temprature": 0.5}, r"unknown generation setting 'temprature' \(did you mean temperature"),
        ({"max_length": 10}, "lengths are set by max_gen_toks"),
        ({"do_sample": True, "num_beams": 2}, "cannot be used together"),
        ({"temperature": "hot"}, "could not convert"),
    ],
)
def test_wrong_settings_fail_the_request_alone(model, asker, params, says):
    import re

    bad, good = asker.ask(model, [asker.generate("a", **params), asker.generate("a", max_gen_toks=1)])
    assert bad.error.kind == "bad-settings" and re.search(says, bad.error.message)
    assert good.error is None


def test_beams_and_penalties_pass_through(model, asker):
    got = asker.ask(
        model,
        [
            asker.generate("The cat", num_beams=2, max_gen_toks=4),
            asker.generate("The cat", repetition_penalty=1.5, max_gen_toks=4),
        ],
    )
    assert all(response.error is None and response.tokens for response in got)


def test_stop_drops_the_batch_in_flight(model, asker):
    stop = threading.Event()
    stop.set()
    assert asker.ask(model, [asker.generate("a", max_gen_toks=2)], stop) == [None]
