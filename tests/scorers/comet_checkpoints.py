"""Tiny COMET checkpoints of the kinds that the shared script does not build: other encoders, poolings, layers, segments."""

from __future__ import annotations

import json
import runpy
import shutil
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from tiny_networks import SCRIPT, tiny_networks

WIDTH, LAYERS, INNER, POSITIONS, HEADS = 32, 3, 64, 130, 4
_FOLDERS = {"BERT": "bert", "RemBERT": "rembert", "XLM-RoBERTa": "xlmr", "MiniLM": "minilm"}
_REGRESSION = {"class_identifier": "regression_metric"}
_UNIFIED = {"class_identifier": "unified_metric", "word_layer": 1, "word_level_training": False, "layer_norm": False}

#: Name -> COMET's name of the encoder, what else hparams.yaml says, vectors that the estimator reads.
VARIANTS: dict[str, tuple[str, dict[str, Any], int]] = {
    "bert_cls": ("BERT", {**_REGRESSION, "pool": "cls", "layer": "mix", "layer_norm": False}, 6),
    "bert_max": (
        "BERT",
        {**_REGRESSION, "pool": "max", "layer": "mix", "layer_transformation": "sparsemax", "layer_norm": True},
        6,
    ),
    "bert_qe": (
        "BERT",
        {"class_identifier": "referenceless_regression_metric", "pool": "avg", "layer": 2, "layer_norm": True},
        4,
    ),
    "bert_unite": (
        "BERT",
        {
            **_UNIFIED,
            "sent_layer": "mix",
            "layer_norm": True,
            "input_segments": ["mt", "src", "ref"],
            "word_level_training": True,
            "error_labels": ["minor", "major"],
        },
        1,
    ),
    "rembert_kiwi": ("RemBERT", {**_UNIFIED, "sent_layer": "mix", "input_segments": ["mt", "src"]}, 1),
    "minilm_kiwi": ("MiniLM", {**_UNIFIED, "sent_layer": "mix", "input_segments": ["mt", "src"]}, 1),
    "xlmr_ref": ("XLM-RoBERTa", {**_UNIFIED, "sent_layer": 1, "input_segments": ["mt", "ref"]}, 1),
}


@cache
def comet_variants() -> Path:
    """The folder of the checkpoints, and of their encoders' configurations and tokenisers."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tools = runpy.run_path(str(SCRIPT))
    root = tiny_networks() / "variants"
    sizes = _encoders(root, tools)
    for name, (encoder, own, width) in VARIANTS.items():
        folder = root / name
        (folder / "checkpoints").mkdir(parents=True)
        stated = {
            "encoder_model": encoder,
            "pretrained_model": str(root / _FOLDERS[encoder]),
            "layer_transformation": "softmax",
            "activations": "Sigmoid",
            "final_activation": None,
            "hidden_sizes": [16],
            **own,
        }
        (folder / "hparams.yaml").write_text(yaml.safe_dump(stated), "utf-8")
        state = _state(tools, encoder, sizes[encoder], own, width)
        torch.save({"state_dict": state, "hyper_parameters": stated}, folder / "checkpoints" / "model.ckpt")
    return root


def _encoders(root: Path, tools: dict[str, Any]) -> dict[str, int]:
    """Configurations and tokenisers; the size of each vocabulary."""
    pieces = tools["wordpiece"](str(root / "bert"), mx=512)
    tools["wordpiece"](str(root / "rembert"), mx=512)
    unigrams = tools["xlmr"](str(root / "xlmr"))
    shutil.copytree(root / "xlmr", root / "minilm")
    shared = {
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": INNER,
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": 2,
        "pad_token_id": 0,
        "layer_norm_eps": 1e-12,
    }
    narrow = {"input_embedding_size": 16, "output_embedding_size": 16, "cls_token_id": 2}
    for folder, own in (
        ("bert", {"model_type": "bert", "vocab_size": pieces}),
        ("rembert", {"model_type": "rembert", "vocab_size": pieces, **narrow}),
        ("minilm", {"model_type": "bert", "vocab_size": unigrams}),
    ):
        (root / folder / "config.json").write_text(json.dumps({**shared, **own}), "utf-8")
    return {"BERT": pieces, "RemBERT": pieces, "XLM-RoBERTa": unigrams, "MiniLM": unigrams}


def _state(tools: dict[str, Any], encoder: str, vocabulary: int, own: dict[str, Any], width: int) -> dict[str, Any]:
    from torch import zeros

    narrow = 16 if encoder == "RemBERT" else None
    projection = "encoder.embedding_hidden_mapping_in"
    state = tools["bert_sd"](vocabulary, WIDTH, LAYERS, INNER, POSITIONS, "encoder.model.", narrow, projection)
    if encoder == "XLM-RoBERTa":
        state["encoder.model.embeddings.token_type_embeddings.weight"] = zeros(1, WIDTH)
    if encoder in ("RemBERT", "MiniLM"):  # COMET keeps a pooler there that it never uses
        state |= {"encoder.model.pooler.dense.weight": zeros(WIDTH, WIDTH), "encoder.model.pooler.dense.bias": zeros(WIDTH)}
    if own.get("layer", own.get("sent_layer")) == "mix":
        state |= {f"layerwise_attention.scalar_parameters.{i}": zeros(1) for i in range(LAYERS + 1)}
        state["layerwise_attention.gamma"] = zeros(1)
    state |= {"estimator.ff.0.weight": zeros(16, WIDTH * width), "estimator.ff.0.bias": zeros(16)}
    state |= {"estimator.ff.3.weight": zeros(1, 16), "estimator.ff.3.bias": zeros(1)}
    if own.get("word_level_training"):
        state |= {"hidden2tag.weight": zeros(3, WIDTH), "hidden2tag.bias": zeros(3)}
    filled: dict[str, Any] = tools["fill_sd"](state)
    if "hidden2tag.weight" in filled:
        filled["hidden2tag.weight"] *= 8
    return filled
