"""A Llama of a few thousand random weights with a byte tokenizer, made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def byte_tokenizer() -> Any:
    """One token a byte, ``<s>`` and ``</s>`` beside them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<s>", "</s>", *letters])}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="</s>")


def llama(tokenizer: Any, seed: int = 0, **changes: Any) -> Any:
    """A LlamaForCausalLM in float32, with weights large enough that its answers differ."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    settings = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "initializer_range": 0.3,
    }
    return LlamaForCausalLM(LlamaConfig(**{**settings, **changes}))


def checkpoint(folder: Path) -> Path:
    """The model and its tokenizer as a folder that ``hf/`` loads."""
    tokenizer = byte_tokenizer()
    llama(tokenizer).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
