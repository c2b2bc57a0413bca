"""GGUF checkpoints: dequantised once into a safetensors folder in the user's cache, named by content.

transformers dequantises a GGUF file on every load (20 s for 135M parameters) and refuses to save what it got; the copy
loads in a second. Two processes may convert at the same time: the first to finish wins, both use the same folder.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from evalkit.digest import file_digest
from evalkit.errors import ModelError
from evalkit.quiet import quiet
from evalkit.resources import user_cache_dir

#: Part of every folder's name: raise it when the conversion changes.
_VERSION = 1
#: Pre-tokenizers (by llama.cpp's names) that split digits one by one before the byte-level rule; transformers'
#: conversion leaves that step out, so that "\\n\\n1" would become other tokens than the model was trained on.
_DIGIT_SPLITTERS = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"})


def converted(path: Path, dtype: str = "float32") -> Path:
    """The folder that holds GGUF file ``path`` as a checkpoint in ``dtype``, with its tokenizer; made if it is not there.

    Raises ModelError for a file that is not GGUF, and where the cache cannot be written.
    """
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ModelError(f"{path} is not a GGUF file")
    target = user_cache_dir("gguf", f"{file_digest(path)}-{dtype}-v{_VERSION}")
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        work = Path(tempfile.mkdtemp(dir=target.parent, prefix=target.name, suffix=".part"))
    except OSError as error:
        raise ModelError(f"cannot write the converted weights to {target.parent} ({error}): set EVALKIT_CACHE") from error
    try:
        _convert(path, work, dtype)
        _publish(work, target)
    except OSError as error:
        raise ModelError(f"cannot convert {path} into {target.parent}: {error} (EVALKIT_CACHE sets the folder)") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _sweep(folder: Path) -> None:
    """Remove what conversions that were killed more than a day ago left behind."""
    for part in folder.glob("*.part"):
        if time.time() - part.stat().st_mtime > 86400:
            shutil.rmtree(part, ignore_errors=True)


def _publish(work: Path, target: Path) -> None:
    try:
        work.rename(target)
    except OSError:
        if not target.is_dir():  # else another process was first, and its folder is the same
            raise


def _convert(path: Path, folder: Path, dtype: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        loaded = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=getattr(torch, dtype))
        config = loaded.config
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        with torch.device("meta"):
            fresh = type(loaded)(config)
        fresh.load_state_dict(loaded.state_dict(), assign=True)
        fresh.tie_weights()
        fresh.generation_config = loaded.generation_config
        fresh.save_pretrained(folder)
        _mend_tokenizer(tokenizer, path, config)
        tokenizer.save_pretrained(folder)


def _mend_tokenizer(tokenizer: Any, path: Path, config: Any) -> None:
    """Give back what transformers' conversion drops: the digit splitting and the model's length."""
    from gguf import GGUFReader
    from tokenizers import pre_tokenizers

    field = GGUFReader(path).fields.get("tokenizer.ggml.pre")
    if field is not None and str(field.contents()) in _DIGIT_SPLITTERS:
        backend = tokenizer.backend_tokenizer
        digits = pre_tokenizers.Digits(individual_digits=True)
        backend.pre_tokenizer = pre_tokenizers.Sequence([digits, backend.pre_tokenizer])
    tokenizer.model_max_length = getattr(config, "max_position_embeddings", tokenizer.model_max_length)
