"""What tells two models apart: hashes of weights files, of loaded parameters and of tokenizers."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from evalkit.resources import user_cache_dir
from evalkit.types import content_hash

#: What of a checkpoint's folder can change an answer (its tokenizer is hashed as loaded).
_FILES = ("*.safetensors", "*.bin", "*.pt", "*.gguf", "config.json", "generation_config.json", "adapter_config.json")


def file_digest(path: Path) -> str:
    """Hex blake2b of a file's content, remembered in the user's cache by path, size and modification time.

    Where that cache cannot be written the file is read again next time.
    """
    path = path.resolve()
    stat = path.stat()
    stamp = [str(path), stat.st_size, stat.st_mtime_ns]
    note = user_cache_dir("digests", content_hash(str(path)) + ".json")
    with suppress(OSError, ValueError, KeyError):
        known = json.loads(note.read_text(encoding="utf-8"))
        if known["stamp"] == stamp:
            return str(known["digest"])
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    with suppress(OSError):
        write_atomically(note, json.dumps({"stamp": stamp, "digest": digest}))
    return digest


def folder_digest(folder: Path) -> str:
    """One hash over a checkpoint's weights and configuration, by file name and content."""
    files = sorted({path for pattern in _FILES for path in folder.glob(pattern) if path.is_file()})
    return content_hash([[path.name, file_digest(path)] for path in files])


def module_digest(module: Any) -> str:
    """A hash over all parameters and buffers of a loaded module: names, shapes, dtypes and bytes."""
    return state_digest(module.state_dict())


def state_digest(state: Mapping[str, Any]) -> str:
    """The same over the tensors of a state dict."""
    total = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(_tensors(state)):
        total.update(f"{name}|{tuple(tensor.shape)}|{tensor.dtype}|".encode())
        total.update(_bytes(tensor))
    return total.hexdigest()


def module_checksum(module: Any) -> tuple[tuple[str, int, float], ...]:
    """A quick look at a module's parameters (version counters and sums), to see whether a digest is still good."""
    return tuple(
        (name, tensor._version, float(tensor.detach().double().sum()))
        for name, tensor in sorted(_tensors(module.state_dict(keep_vars=True)))
    )


def tokenizer_digest(tokenizer: Any) -> str:
    """A hash over all that shapes token ids and chat prompts."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = backend.to_str() if backend is not None else sorted(tokenizer.get_vocab().items())
    special = {name: str(value) for name, value in sorted(tokenizer.special_tokens_map.items())}
    return content_hash([type(tokenizer).__name__, rules, special, getattr(tokenizer, "chat_template", None)])


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` so that a reader sees the old content or the new, never a part. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def _tensors(state: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    return ((name, tensor) for name, tensor in state.items() if hasattr(tensor, "detach"))


def _bytes(tensor: Any) -> Any:
    import torch

    flat = tensor.detach().to("cpu").contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy() if flat.numel() else b""
