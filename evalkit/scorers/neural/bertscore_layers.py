"""The network of BERTScore: an encoder whose layers after the chosen one are dropped, and its token states as unit vectors.

Dropping, as the bert-score package does, and not picking one of the hidden states: models with a norm after the stack (T5,
mBART, ModernBERT) then have it after the chosen layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evalkit.encoder.base import Batch, Checkpoint, EncoderSpec, Forward, Loader
from evalkit.errors import ScorerError

#: Stacks of layers, by the path of attributes that leads to them.
_STACKS = ("layer", "encoder.layer", "encoder.block", "block", "transformer.layer", "encoder.layers", "layers")

#: Byte-level BPE models whose words begin with a space, the first one too: bert-score asks their tokenisers for that
#: form. BART and Longformer are left out: their tokenisers were of another class where the package worked.
_SPACED_MODELS = frozenset({"roberta", "roberta-prelayernorm", "data2vec-text", "ibert", "gpt2"})
_SPACED_TOKENIZERS = ("RobertaTokenizer", "GPT2Tokenizer")


def loader(place: Checkpoint, num_layers: int) -> Loader:
    """How the first ``num_layers`` layers of the encoder at ``place`` are loaded."""

    def load(spec: EncoderSpec) -> tuple[Any, Any]:
        import torch
        from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, AutoTokenizer

        where: dict[str, Any] = {"revision": place.revision, "trust_remote_code": False}
        config = AutoConfig.from_pretrained(place.source, **where)
        auto = AutoModelForTextEncoding if "t5" in config.model_type else AutoModel  # T5's decoder is not even read
        tokenizer = AutoTokenizer.from_pretrained(place.source, **where)
        module = auto.from_pretrained(place.source, dtype=getattr(torch, spec.dtype), **where)
        if hasattr(module, "encoder") and hasattr(module, "decoder"):
            module = module.encoder
        return keep_layers(module, num_layers, place.name), tokenizer

    return load


def keep_layers(module: Any, num_layers: int, name: str) -> Any:
    """``module`` with its first ``num_layers`` layers only. ScorerError where it has fewer, or their place is unknown."""
    import torch

    encoder: Any = getattr(module, "encoder", None)
    if hasattr(module, "n_layers"):  # XLM counts them itself
        _require(num_layers, int(module.n_layers), name)
        module.n_layers = num_layers
    elif hasattr(encoder, "albert_layer_groups"):  # ALBERT repeats one layer
        _require(num_layers, int(encoder.config.num_hidden_layers), name)
        encoder.config.num_hidden_layers = num_layers
    else:
        for path in _STACKS:
            *owners, last = path.split(".")
            owner = module
            for part in owners:
                owner = getattr(owner, part, None)
            layers = getattr(owner, last, None)
            if isinstance(layers, torch.nn.ModuleList):
                _require(num_layers, len(layers), name)
                setattr(owner, last, layers[:num_layers])
                return module
        raise ScorerError(f"bertscore: {name} ({type(module).__name__}) is no encoder whose layers can be told apart")
    return module


def _require(num_layers: int, there: int, name: str) -> None:
    if num_layers > there:
        raise ScorerError(f"bertscore: num_layers is {num_layers}, and {name} has {there} layers")


def wants_space(module: Any, tokenizer: Any) -> bool:
    """Whether texts get a leading space before they are tokenised."""
    kind = type(tokenizer).__name__.removesuffix("Fast")
    return kind in _SPACED_TOKENIZERS and getattr(module.config, "model_type", "") in _SPACED_MODELS


def unit_states(module: Any) -> Forward:
    """The last layer's states, (tokens, width) a row, each token's of length 1."""

    def forward(batch: Batch) -> Sequence[Any]:
        states = module(input_ids=batch.ids, attention_mask=batch.mask)[0].float()
        states = states / states.norm(dim=-1, keepdim=True)
        return [states[i, :length] for i, length in enumerate(batch.lengths)]

    return forward
