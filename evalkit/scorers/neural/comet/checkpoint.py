"""COMET checkpoints: what their ``hparams.yaml`` says, and their weights in a network.

A checkpoint is a directory or hub id with ``hparams.yaml`` and ``checkpoints/model.ckpt``. The encoder's configuration and
tokeniser are not in it: they come from the model it was trained from, by its hub id or from a directory. Weights are read
with ``weights_only``: nothing in the file is run.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from evalkit.digest import file_digest
from evalkit.encoder.base import Checkpoint
from evalkit.errors import ScorerError
from evalkit.scorers.neural.comet.settings import ENCODERS, Settings, settings
from evalkit.types import content_hash

HPARAMS = "hparams.yaml"
WEIGHTS = "checkpoints/model.ckpt"

_KIWI = {"class_identifier": "unified_metric", "input_segments": ["mt", "src"]}
#: What these hub models are, so that a scorer can be made and data be checked before anything is fetched.
KNOWN: Mapping[str, Mapping[str, Any]] = {
    "Unbabel/wmt20-comet-da": {"class_identifier": "regression_metric"},
    "Unbabel/wmt20-comet-qe-da": {"class_identifier": "referenceless_regression_metric"},
    "Unbabel/wmt22-comet-da": {"class_identifier": "regression_metric"},
    "Unbabel/eamt22-cometinho-da": {"class_identifier": "regression_metric"},
    "Unbabel/wmt22-cometkiwi-da": _KIWI,
    "Unbabel/wmt23-cometkiwi-da-xl": _KIWI,
    "Unbabel/wmt23-cometkiwi-da-xxl": _KIWI,
    "Unbabel/XCOMET-XL": {"class_identifier": "xcomet_metric"},
    "Unbabel/XCOMET-XXL": {"class_identifier": "xcomet_metric"},
}
#: Entries of a checkpoint that only training reads.
_TRAINING = re.compile(
    r"layerwise_attention\.dropout_(mask|fill)|(word|sent)?loss\..*|(train|val)_(corr|mcc|metrics)\..*"
    r"|encoder\.model\.(pooler\..*|embeddings\.position_ids)"
)
#: Files of an encoder that are read: its configuration and its tokeniser.
_ENCODER_FILES = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",
    "sentencepiece.bpe.model", "sentencepiece.model", "spiece.model",
)  # fmt: skip


def stated(place: Checkpoint, transformation: str | None = None) -> Settings:
    """What the ``hparams.yaml`` of ``place`` says. Raises ScorerError."""
    return settings(f"{place.source}/{HPARAMS}", hparams(_file(place, HPARAMS)), transformation)


def _file(place: Checkpoint, name: str) -> Path:
    path = place.file(name)
    if path is None:
        away = "" if place.folder is not None else ", or it is not in the cache and the hub cannot be asked"
        raise ScorerError(f"{place.source} is not a COMET checkpoint: it has no {name}{away}")
    return path


def foreseen(model: str) -> Settings | None:
    """What is known of a hub model without a look at it: its class and what it reads; ``None`` for all others."""
    if model not in KNOWN:
        return None
    usual = {"encoder_model": "XLM-RoBERTa", "pretrained_model": "-", "layer_transformation": "softmax"}
    return settings(model, {**usual, **KNOWN[model]})


def hparams(path: Path) -> Mapping[str, Any]:
    """The keys of an ``hparams.yaml``. Raises ScorerError where it is no mapping."""
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ScorerError(f"{path}: cannot be read as YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(found, Mapping):
        raise ScorerError(
            f"{path}: holds {type(found).__name__}; expected the keys of a COMET model (class_identifier, ...)"
        )
    return found


def encoder_digest(name: str) -> str:
    """A short hash of the configuration and tokeniser in the directory ``name``; empty for a hub id."""
    path = Path(name).expanduser()
    files = [path / item for item in _ENCODER_FILES if (path / item).is_file()] if path.is_dir() else []
    return content_hash([[file.name, file_digest(file)] for file in files], 4) if files else ""


def load(place: Checkpoint, encoder: str | None = None, transformation: str | None = None) -> tuple[Any, Any]:
    """Network (on the CPU, in single precision; see `networks.split`) and tokeniser of a checkpoint.

    ``encoder`` names the directory or hub id of configuration and tokeniser in place of the checkpoint's own
    ``pretrained_model``. What the weights file says of the architecture counts before ``hparams.yaml``, as in COMET, but for
    ``layer_transformation``, which was mended in the YAML files only. Raises ScorerError with one line.
    """
    import torch

    from evalkit.scorers.neural.comet.networks import network, split

    written, stored = hparams(_file(place, HPARAMS)), _weights(_file(place, WEIGHTS))
    kept = stored.get("hyper_parameters")
    own = {k: v for k, v in kept.items() if k != "layer_transformation"} if isinstance(kept, Mapping) else {}
    where = f"{place.source}/{WEIGHTS}"
    found = settings(where, {**written, **own, "class_identifier": written.get("class_identifier")}, transformation)
    config, tokenizer = _encoder_parts(found, encoder, place)
    _check_layers(found, config)
    with torch.device("meta"):
        module: Any = network(found, _empty_encoder(config))
    _assign(module, stored["state_dict"], where, found)
    return split(module.eval().requires_grad_(False), found), tokenizer


def _weights(path: Path) -> Mapping[str, Any]:
    import torch

    try:
        stored = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise ScorerError(
            f"{path}: holds more than tensors, and evalkit runs no code from a weights file; where you trust it, load it in "
            "Python and save its state_dict and hyper_parameters alone"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise ScorerError(f"{path}: cannot be read as weights: {str(error).strip().splitlines()[0][:200]}") from error
    if not isinstance(stored, Mapping) or not isinstance(stored.get("state_dict"), Mapping):
        held = f"the keys {', '.join(map(str, list(stored)[:4]))}" if isinstance(stored, Mapping) else type(stored).__name__
        raise ScorerError(f"{path}: expected a Lightning checkpoint with a state_dict, found {held}")
    return stored


def _encoder_parts(found: Settings, encoder: str | None, place: Checkpoint) -> tuple[Any, Any]:
    """Configuration and tokeniser of the encoder."""
    from transformers import AutoConfig, AutoTokenizer

    name = encoder or found.pretrained_model
    try:
        source = checkpoint_source(name)
        config = AutoConfig.from_pretrained(source)
        # MiniLM has the tokeniser of XLM-R, under whose name COMET looks for it
        named = "xlm-roberta-base" if found.encoder_model == "MiniLM" and encoder is None else source
        tokenizer = AutoTokenizer.from_pretrained(named, use_fast=True)
    except (ScorerError, OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ScorerError(
            f"COMET model {place.name} needs configuration and tokeniser of {name!r}, which cannot be loaded ({reason}): "
            "give a directory with its config.json and tokeniser files (encoder=DIRECTORY)"
        ) from error
    expected = ENCODERS[found.encoder_model][0]
    if config.model_type != expected:
        raise ScorerError(
            f"COMET model {place.name} has a {found.encoder_model} encoder: expected model_type {expected} in the "
            f"config.json of {name!r}, found {config.model_type}"
        )
    return config, tokenizer


def checkpoint_source(name: str) -> str:
    """A directory or hub id as ``from_pretrained`` takes it. Raises ScorerError for a path that is no directory."""
    path = Path(name).expanduser()
    if path.is_dir():
        return str(path)
    if path.exists() or name.startswith(("/", ".", "~")) or name.count("/") > 1:
        raise ScorerError("no such directory")
    return name


def _check_layers(found: Settings, config: Any) -> None:
    deepest = max(found.layer or 0, found.word_layer)
    if deepest > config.num_hidden_layers:
        raise ScorerError(
            f"the COMET model reads layer {deepest} of its encoder {found.pretrained_model!r}, which has "
            f"{config.num_hidden_layers} layers by its config.json"
        )


def _empty_encoder(config: Any) -> Any:
    from transformers import AutoModel

    return AutoModel.from_config(config, add_pooling_layer=False)


def _assign(module: Any, weights: Mapping[str, Any], where: str, found: Settings) -> None:
    """Put the checkpoint's tensors in the empty network's place; refuse what is missing, left over or of another shape."""
    wanted = module.state_dict()
    given = {key: value for key, value in weights.items() if key in wanted}
    spare = [key for key in weights if key not in wanted and not _TRAINING.fullmatch(key)]
    # a word head that was not trained is there all the same
    extra = [key for key in spare if found.labels or not key.startswith("hidden2tag.")]
    missing = [key for key in wanted if key not in given]
    for problem, keys in (("lacks", missing), ("has the unknown entry", extra)):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise ScorerError(
                f"{where} {problem} {keys[0]}{more}: it does not fit a {found.kind} over {found.encoder_model} "
                f"(configuration of {found.pretrained_model})"
            )
    wrong = next((key for key, value in given.items() if value.shape != wanted[key].shape), None)
    if wrong is not None:
        raise ScorerError(
            f"{where}: {wrong} is {tuple(given[wrong].shape)}, where hparams.yaml and the encoder's config.json make it "
            f"{tuple(wanted[wrong].shape)}"
        )
    module.load_state_dict({key: value.float() for key, value in given.items()}, assign=True)
    _fill_buffers(module, where)


def _fill_buffers(module: Any, where: str) -> None:
    """Counting buffers that no checkpoint keeps."""
    import torch

    for name, buffer in list(module.named_buffers()):
        if not buffer.is_meta:
            continue
        owner, _, last = name.rpartition(".")
        if last not in ("position_ids", "token_type_ids"):
            raise ScorerError(
                f"{where}: this release of transformers has a buffer {name} that evalkit does not know to fill"
            )
        counted = torch.arange(buffer.shape[-1]).expand(buffer.shape).clone()
        setattr(module.get_submodule(owner), last, counted if last == "position_ids" else torch.zeros_like(counted))
