"""Tiny random checkpoints, built once a session, and the plumbing to ask a model a list of requests."""

from __future__ import annotations

import os
import threading

import pytest

from evalkit.models.base import ModelOptions
from evalkit.models.registry import load_model
from evalkit.types import Request, keyed

TEXT = """The cat sat on the mat. The dog ate 12 apples and 30 pears in 1999, then it slept.
Question: what is the capital of France? Answer: Paris is the capital of France.
A quick brown fox jumps over the lazy dog; it isn't the fox's fault. Naïve café, größer, 東京.
"""


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Nothing of these tests goes to the user's cache, nor to the network."""
    keep = {key: os.environ.get(key) for key in ("EVALKIT_CACHE", "HF_HUB_OFFLINE", "TOKENIZERS_PARALLELISM")}
    os.environ["EVALKIT_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    yield
    for key, value in keep.items():
        if value is None:
            os.environ.pop(key, None)
        else:
            os.environ[key] = value


def tiny_tokenizer(bos: bool):
    """Byte-level BPE with ``<s> </s> <pad> <think>``; ``bos`` adds ``<s>`` to every text, as Llama's does."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>", "<pad>", "<think>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([TEXT] * 3, trainer)
    if bos:
        raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


CHATML = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def build_tiny(folder, *, bos=False, template=CHATML, family="llama"):
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(7)
    tokenizer = tiny_tokenizer(bos)
    tokenizer.chat_template = template
    common = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 1, "initializer_range": 0.5}
    if family == "llama":
        config = LlamaConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
            **common,
        )
        model = LlamaForCausalLM(config)
    else:
        model = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=64, **common))
    model.eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A Llama that adds no BOS."""
    return build_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_bos(tmp_path_factory):
    """A Llama whose tokenizer puts BOS before every text."""
    return build_tiny(tmp_path_factory.mktemp("tiny_bos"), bos=True)


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory):
    return build_tiny(tmp_path_factory.mktemp("tiny_gpt2"), family="gpt2")


class Asker:
    """Load models and put lists of requests to them."""

    @staticmethod
    def load(spec, batch_size=None, trust=False, **args):
        return load_model(spec, ModelOptions(args=args, batch_size=batch_size, device="cpu", trust_remote_code=trust))

    @staticmethod
    def ask(model, requests, stop=None):
        """Responses in the order of ``requests``; each must be answered exactly once."""
        left, got = list(requests), {}
        keys = [request.key for request in left]

        class Source:
            def take(self, limit):
                head = left[:limit]
                del left[:limit]
                return head

        def sink(response):
            assert response.key not in got
            got[response.key] = response

        model.run(Source(), sink, stop or threading.Event())
        return [got.get(key) for key in keys]

    @staticmethod
    def score(context, continuation, fingerprint=""):
        return keyed(Request("loglikelihood", context, continuation), fingerprint)

    @staticmethod
    def roll(text):
        return keyed(Request("loglikelihood_rolling", "", text), "")

    @staticmethod
    def generate(prompt, repeat=0, sample_id="", **params):
        return keyed(Request("generate", prompt, params=params, repeat=repeat, sample_id=sample_id), "")


@pytest.fixture(scope="session")
def asker():
    return Asker
