"""``-M engine=``: another way to the same numbers, of which the fingerprint knows nothing."""

from __future__ import annotations

import pytest

from evalkit.errors import ModelError

SHOTS = "Question: what is the capital of France? Answer: Paris.\n" * 2


def test_engines_agree_and_share_a_fingerprint(tiny, asker):
    requests = [
        asker.score(SHOTS[-40:] + start, end) for start in ("The cat", "A quick") for end in (" sat", " fox is", " 12")
    ]
    requests += [asker.score("", "The dog"), asker.roll("The dog ate 12 apples and 30 pears in 1999, then it slept. " * 9)]
    models = [asker.load(f"hf/{tiny}", dtype="float32", engine=engine) for engine in ("plain", "prefix", "auto")]
    models.append(asker.load(f"hf/{tiny}", dtype="float32"))
    assert len({model.fingerprint for model in models}) == 1
    truth, *others = [asker.ask(model, requests) for model in models]
    for answers in others:
        for one, other in zip(answers, truth, strict=True):
            assert one.logprob == pytest.approx(other.logprob, abs=2e-5, rel=2e-6)
            assert (one.is_greedy, one.tokens, one.truncated) == (other.is_greedy, other.tokens, other.truncated)


def test_a_wrong_engine_is_told(tiny, asker):
    with pytest.raises(ModelError, match=r"-M engine=fast: expected one of auto, prefix, plain"):
        asker.load(f"hf/{tiny}", engine="fast")


def test_a_plain_torch_module_is_scored_without_sharing(asker, caplog):
    import torch
    from tiny_models import tiny_tokenizer

    from evalkit.models.registry import load_model

    tokenizer = tiny_tokenizer(False)
    module = torch.nn.Sequential(torch.nn.Embedding(len(tokenizer), 8), torch.nn.Linear(8, len(tokenizer)))
    got = asker.ask(load_model((module, tokenizer)), [asker.score("a", " b"), asker.score("a", " c")])
    assert all(response.logprob < 0 for response in got)
    assert "cannot share prefixes" in caplog.text
