"""Loading: what is wrong with a checkpoint is said in one line; what is right gets a fingerprint that means something."""

from __future__ import annotations

import gc
import json
import shutil

import pytest

from evalkit.errors import ModelError
from evalkit.models.base import ChatModel, Model, ModelOptions, TokenizingModel
from evalkit.models.registry import load_model
from evalkit.types import Message


def copied(folder, to):
    shutil.copytree(folder, to)
    return to


def test_it_is_a_model_that_chats_and_tokenizes(tiny, asker):
    model = asker.load(f"hf/{tiny}")
    assert isinstance(model, Model) and isinstance(model, ChatModel) and isinstance(model, TokenizingModel)
    assert model.capabilities.kinds == {"loglikelihood", "loglikelihood_rolling", "generate"}
    assert model.capabilities.chat and model.capabilities.max_length == 64
    facts = model.describe()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["class"] == "LlamaForCausalLM" and facts["parameters"] > 1000 and facts["device"] == "cpu"
    assert model.count_tokens(["The cat", "<s>The cat"]) == [2, 3]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda d: (d / "config.json").unlink(), "has no config.json"),
        (lambda d: (d / "model.safetensors").unlink(), "has no weights"),
        (lambda d: (d / "config.json").write_text("{"), "cannot load"),
        (lambda d: (d / "model.safetensors").write_bytes(b"torn"), "cannot load"),
        (lambda d: [f.unlink() for f in d.glob("tokenizer*")], "has no tokenizer that can be loaded"),
    ],
)
def test_a_broken_folder(tiny, tmp_path, asker, damage, says):
    folder = copied(tiny, tmp_path / "m")
    damage(folder)
    with pytest.raises(ModelError, match=says) as caught:
        asker.load(f"hf/{folder}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("collecting", [True, False])
def test_no_garbage_is_looked_for_while_a_model_loads(tiny, asker, monkeypatch, collecting):
    was, seen = gc.isenabled(), []

    def fail(*args, **kwargs):
        seen.append(gc.isenabled())
        raise OSError("no more")

    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", fail)
    try:
        (gc.enable if collecting else gc.disable)()
        with pytest.raises(ModelError, match="no more"):
            asker.load(f"hf/{tiny}")
        assert (seen, gc.isenabled()) == ([False], collecting), "also after an error it is as it was"
    finally:
        (gc.enable if was else gc.disable)()
    assert gc.get_freeze_count() == 0, "what was loaded can be collected later"


def test_weights_that_lack_a_tensor_are_not_filled_with_noise(tiny, tmp_path, asker):
    from safetensors.torch import load_file, save_file

    folder = copied(tiny, tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lack 1 tensors of LlamaForCausalLM, e.g. model.layers.1.mlp.up_proj.weight"):
        asker.load(f"hf/{folder}")


def test_code_in_the_repository_needs_a_flag(tiny, tmp_path, asker):
    folder = copied(tiny, tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "homemade", "auto_map": {"AutoConfig": "c.C", "AutoModelForCausalLM": "c.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "c.py").write_text("raise SystemExit('code of the repository ran')")
    with pytest.raises(ModelError, match="--trust-remote-code"):
        asker.load(f"hf/{folder}")


@pytest.mark.parametrize(
    ("name", "args", "says"),
    [
        ("/no/such/folder", {}, "model folder /no/such/folder is not there"),
        ("nobody/nothing-here-9", {}, "cannot find nobody/nothing-here-9: neither a local folder"),
        ("TINY", {"dtype": "float8"}, "-M dtype=float8: expected one of auto"),
        ("TINY", {"device": "gpu"}, "device 'gpu' is not one"),
        ("TINY", {"device": "cuda:7"}, "device 'cuda:7' is not there"),
        ("TINY", {"dtyp": "x"}, "did you mean dtype"),
        ("TINY", {"gguf_file": "x.gguf"}, "has no file x.gguf"),
        ("TINY", {"peft": "TINY"}, "has no adapter_config.json"),
        ("TINY", {"subfolder": "inner"}, "inner is not there"),
        ("TINY", {"enable_thinking": "true"}, "needs -M think_end_token"),
        ("TINY", {"chat_template": "nope.jinja"}, "neither a file nor a template"),
        ("TINY", {"chat_template_args": "[1]"}, "expected a JSON object"),
    ],
)
def test_wrong_options(tiny, name, args, says):
    args = {key: value.replace("TINY", str(tiny)) for key, value in args.items()}
    with pytest.raises(ModelError, match=says) as caught:
        load_model(f"hf/{name.replace('TINY', str(tiny))}", ModelOptions(args=args))
    assert "\n" not in str(caught.value)


def test_the_fingerprint_follows_whatever_can_change_an_answer(tiny, tmp_path, asker):
    base = asker.load(f"hf/{tiny}").fingerprint
    moved = copied(tiny, tmp_path / "moved")
    assert asker.load(f"hf/{moved}", batch_size=3).fingerprint == base
    others = [
        asker.load(f"hf/{tiny}", **args).fingerprint
        for args in (
            {"dtype": "bfloat16"},
            {"max_length": "32"},
            {"add_bos_token": "true"},
            {"chat_template_args": '{"x": 1}'},
            {"prefix_token_id": "2"},
        )
    ]
    from safetensors.torch import load_file, save_file

    tensors = load_file(moved / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"] * 2
    save_file(tensors, moved / "model.safetensors", metadata={"format": "pt"})
    others.append(asker.load(f"hf/{moved}").fingerprint)
    assert len({base, *others}) == len(others) + 1


def test_subfolder_and_another_tokenizer(tiny, tmp_path, asker):
    copied(tiny, tmp_path / "repo" / "inner")
    inner = asker.load(f"hf/{tmp_path / 'repo'}", subfolder="inner")
    request = asker.score("The cat", " sat")
    assert asker.ask(inner, [request]) == asker.ask(asker.load(f"hf/{tiny}"), [request])
    for file in (tmp_path / "repo" / "inner").glob("tokenizer*"):
        file.unlink()
    other = asker.load(f"hf/{tmp_path / 'repo'}", subfolder="inner", tokenizer=str(tiny))
    assert asker.ask(other, [request]) == asker.ask(inner, [request])


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_an_adapter_changes_answers_and_fingerprint(tiny, tmp_path, asker):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    base = AutoModelForCausalLM.from_pretrained(tiny)
    adapted = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "lora")
    plain, with_lora = asker.load(f"hf/{tiny}"), asker.load(f"hf/{tiny}", peft=str(tmp_path / "lora"))
    requests = [asker.score("The cat", " sat"), asker.generate("The cat", max_gen_toks=4)]
    one, two = asker.ask(plain, requests), asker.ask(with_lora, requests)
    assert one[0].logprob != two[0].logprob and two[1].text is not None
    assert plain.fingerprint != with_lora.fingerprint
    assert with_lora.fingerprint == asker.load(f"hf/{tiny}", peft=str(tmp_path / "lora")).fingerprint


def test_chat_templates(tiny, asker, tmp_path):
    model = asker.load(f"hf/{tiny}")
    turns = (Message("system", "S"), Message("user", "U"))
    assert model.render_chat(turns, continue_final=False) == "<|system|>\nS</s>\n<|user|>\nU</s>\n<|assistant|>\n"
    open_end = (*turns, Message("assistant", "The answer is"))
    assert model.render_chat(open_end, continue_final=True).endswith("<|assistant|>\nThe answer is")
    own = tmp_path / "t.jinja"
    own.write_text(
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{% for m in messages %}[{{ m['content'] }}]{% endfor %}{{ mark }}"
    )
    strict = asker.load(f"hf/{tiny}", chat_template=str(own), chat_template_args='{"mark": "!"}')
    assert strict.render_chat(turns, continue_final=False) == "[U]!"
    assert strict.describe()["system_messages_dropped"] == 1
    assert strict.fingerprint != model.fingerprint


def test_a_model_without_a_chat_template_says_so(tmp_path, asker):
    from tiny_models import build_tiny

    model = asker.load(f"hf/{build_tiny(tmp_path, template=None)}")
    assert not model.capabilities.chat
    with pytest.raises(ModelError, match="has no chat template"):
        model.render_chat((Message("user", "U"),), continue_final=False)


def test_a_model_in_training_is_scored_and_left_as_it_was(tiny, asker):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    module = AutoModelForCausalLM.from_pretrained(tiny)
    module.train()
    module.model.layers[0].eval()
    model = load_model((module, AutoTokenizer.from_pretrained(tiny)))
    assert load_model(module).name == "memory/LlamaForCausalLM"
    request = asker.score("The cat", " sat")
    before, first = model.fingerprint, asker.ask(model, [request])[0]
    assert first.logprob == pytest.approx(asker.ask(asker.load(f"hf/{tiny}"), [request])[0].logprob, abs=1e-6)
    assert module.training and module.model.layers[1].training and not module.model.layers[0].training
    assert model.fingerprint == before
    loss = module(torch.tensor([[1, 2, 3]]), labels=torch.tensor([[1, 2, 3]])).loss
    loss.backward()
    torch.optim.SGD(module.parameters(), lr=0.1).step()
    assert model.fingerprint != before
    assert asker.ask(model, [request])[0].logprob != first.logprob


def test_a_plain_module_from_ids_to_logits_can_be_scored(tiny, asker):
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    module = torch.nn.Sequential(torch.nn.Embedding(len(tokenizer), 8), torch.nn.Linear(8, len(tokenizer)))
    model = load_model((module, tokenizer))
    score, say = asker.ask(model, [asker.score("The cat", " sat"), asker.generate("The cat")])
    ids = tokenizer.encode("The cat sat")
    want = torch.log_softmax(module(torch.tensor([ids])), -1)[0].detach()
    n = score.tokens
    assert score.logprob == pytest.approx(sum(float(want[-n - 1 + i, ids[-n + i]]) for i in range(n)), abs=1e-5)
    assert say.error.kind == "unsupported"
    with pytest.raises(ModelError, match="needs its tokenizer"):
        load_model(module)
