"""How a local model computes: engine, attention, threads, compiling. None of it changes what the model is."""

from __future__ import annotations

import pytest

from evalkit.errors import ModelError
from evalkit.models.base import ModelOptions
from evalkit.models.registry import load_model


def test_describe_says_which_engine_ran_once_it_is_known(tiny, asker):
    model = asker.load(f"hf/{tiny}", dtype="float32")
    assert "engine" not in model.describe()
    asker.ask(model, [asker.score("a", " b")])
    assert (model.describe()["engine"], model.describe()["engine_reason"]) == ("prefix", None)
    assert asker.load(f"hf/{tiny}", engine="plain").describe()["engine"] == "plain"


def test_describe_says_why_prefixes_are_not_shared(asker, caplog):
    import torch
    from tiny_models import tiny_tokenizer

    tokenizer = tiny_tokenizer(False)
    module = torch.nn.Sequential(torch.nn.Embedding(len(tokenizer), 8), torch.nn.Linear(8, len(tokenizer)))
    model = load_model((module, tokenizer))
    asker.ask(model, [asker.score("a", " b")])
    facts = model.describe()
    assert facts["engine"] == "plain"
    assert "cannot share prefixes" in facts["engine_reason"]


def test_threads_hold_while_the_model_answers_only(tiny, asker):
    import torch

    before = torch.get_num_threads()
    model = asker.load(f"hf/{tiny}", threads=str(before + 1))
    seen = []
    model._loaded.module.register_forward_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
    asker.ask(model, [asker.score("a", " b")])
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before
    assert model.describe()["threads"] == before + 1


def test_attention_is_the_models_own_choice(tiny, asker):
    model = asker.load(f"hf/{tiny}", attn_implementation="eager")
    assert model.describe()["attn_implementation"] == "eager"


def test_flags_are_as_good_as_model_options(tiny):
    flags = {"engine": "plain", "threads": "1", "device": "cpu", "attn_implementation": "eager"}
    model = load_model(f"hf/{tiny}", ModelOptions(flags=flags))
    facts = model.describe()
    assert (facts["engine"], facts["threads"], facts["attn_implementation"]) == ("plain", 1, "eager")
    same = ModelOptions(args={"threads": "01"}, flags={"threads": "1"})
    assert load_model(f"hf/{tiny}", same).describe()["threads"] == 1


@pytest.mark.parametrize(
    ("spec", "args", "flags", "line"),
    [
        ("hf", {"engine": "plain"}, {"engine": "prefix"}, "--engine prefix contradicts -M engine=plain"),
        ("hf", {}, {"engine": "fast"}, "--engine fast: expected one of auto, prefix, plain"),
        ("hf", {"device": "cpu"}, {"device": "cuda"}, "--device cuda contradicts -M device=cpu"),
        ("mock/echo", {}, {"engine": "plain"}, "--engine plain: mock/echo has no option 'engine'"),
        ("mock/echo", {}, {"attn_implementation": "sdpa"}, "--attn-implementation sdpa: mock/echo has no option"),
        ("mock/echo", {}, {"device": "cpu"}, "--device cpu: mock/echo has no option 'device'"),
        ("hf", {"compile": "true", "engine": "prefix"}, {}, "a compiled model cannot share beginnings"),
    ],
)
def test_what_cannot_be_is_one_clear_line(tiny, spec, args, flags, line):
    with pytest.raises(ModelError, match=r"^[^\n]*$") as told:
        load_model(f"hf/{tiny}" if spec == "hf" else spec, ModelOptions(args=args, flags=flags))
    assert line in str(told.value)


def test_a_callable_takes_no_flags():
    with pytest.raises(ModelError, match="--threads 2: a callable is not loaded by evalkit"):
        load_model(lambda prompt: prompt, ModelOptions(flags={"threads": "2"}))


def test_without_a_compiler_that_is_said(tiny, asker, monkeypatch):
    import torch

    def broken(function, **_):
        def call(*_):
            raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nmore")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(ModelError, match=r"-M compile=true: torch cannot compile here, it needs a C\+\+ compiler"):
        asker.load(f"hf/{tiny}", compile="true")


@pytest.mark.slow
def test_a_compiled_model_gives_the_same_numbers(tiny, asker):
    import shutil

    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs g++")
    requests = [asker.score("The cat sat " * (1 + i % 3), " on" + " the mat" * (i % 4)) for i in range(12)]
    requests.append(asker.generate("The dog", max_gen_toks=4))
    plain = asker.load(f"hf/{tiny}", dtype="float32", engine="plain")
    compiled = asker.load(f"hf/{tiny}", dtype="float32", compile="true")
    facts = compiled.describe()
    assert (facts["engine"], facts["engine_reason"]) == ("plain", "-M compile=true")
    for one, other in zip(asker.ask(compiled, requests), asker.ask(plain, requests), strict=True):
        assert one.text == other.text
        if one.text is None:
            assert one.logprob == pytest.approx(other.logprob, abs=1e-4)
    assert compiled._loaded.module.base_model._compiled_call_impl is None, "the module is as it was"
