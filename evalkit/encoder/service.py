"""The encoder service: one network a process for equal specs, and rows that are computed once."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evalkit.encoder.base import Checkpoint, Counts, Encoder, EncoderSpec, Forward, Loader, Rows, Tokens, checkpoint
from evalkit.encoder.batches import ENOUGH, computed, default_budget, packed, size
from evalkit.encoder.disk import LIMIT, Disk, default_folder
from evalkit.encoder.loading import loaded, pick_device
from evalkit.encoder.progress import report
from evalkit.encoder.rows import Memory, row_key
from evalkit.encoder.tokenising import most_tokens, tokenised
from evalkit.errors import ScorerError
from evalkit.onednn import through_onednn
from evalkit.types import Json, content_hash

#: What a cached row hangs on beside what it was made from; raised where the service itself would give other numbers.
_VERSION = 1
#: Bytes of new rows that are written to disk in one transaction.
_WRITE_BYTES = 16 << 20
#: Weights of which a copy in a faster order is made for a call, and the tokens from which on that pays.
_COPY_BYTES, _COPY_TOKENS = 1 << 29, 4096

_NETWORKS: dict[tuple[str, ...], _Network] = {}
_DISKS: dict[tuple[str, int], Disk] = {}
_LOCK = threading.RLock()
_MEMORY = Memory()


class _Network:
    """What encoders of equal specs share: the module, its tokeniser, and a lock (neither may be used twice at once)."""

    def __init__(self, module: Any, tokenizer: Any, device: Any) -> None:
        self.module = module
        self.tokenizer = tokenizer
        self.device = device
        self.lock = threading.RLock()
        self.most = most_tokens(tokenizer, module)
        self.pad = _pad(tokenizer, module)
        self.budget: int | None = None
        """Tokens of a batch that were found to fit, once some did not."""
        self.counts = Counts()
        self.seen: set[int] = set()


def shared(spec: EncoderSpec, load: Loader | None, name: str) -> Encoder:
    """See `evalkit.encoder.base.encoder`."""
    place = checkpoint(spec.model, spec.revision, needs=("config.json",) if load is None else ())
    device = pick_device(spec)
    key = (place.source, place.fingerprint, spec.dtype, str(device), name)
    with _LOCK:
        network = _NETWORKS.get(key)
        if network is None:
            module, tokenizer = loaded(spec, place, load, device)
            network = _NETWORKS[key] = _Network(module, tokenizer, device)
    return ServiceEncoder(spec, place, network, name)


def forget() -> None:
    """See `evalkit.encoder.base.release`."""
    with _LOCK:
        _NETWORKS.clear()
        _MEMORY.clear()
        for disk in _DISKS.values():
            disk.close()
        _DISKS.clear()


class ServiceEncoder:
    """The `Encoder` of a spec; equal ones share a network, its counts and the rows in memory."""

    def __init__(self, spec: EncoderSpec, place: Checkpoint, network: _Network, name: str) -> None:
        self.spec = spec
        self.module = network.module
        self.tokenizer = network.tokenizer
        self.device = network.device
        self.counts = network.counts
        self._place = place
        self._network = network
        self._name = name

    @property
    def fingerprint(self) -> str:
        return self._place.fingerprint

    def describe(self) -> Mapping[str, Json]:
        return {
            "model": self._place.name,
            "revision": self._place.revision,
            "dtype": self.spec.dtype,
            "device": str(self.device),
            "fingerprint": self.fingerprint,
        }

    def max_tokens(self) -> int:
        return self._network.most

    def tokenise(self, texts: Sequence[str], *, prefix_space: bool = False, max_tokens: int | None = None) -> list[Tokens]:
        network = self._network
        most = network.most if max_tokens is None else max(1, min(max_tokens, network.most))
        with network.lock:
            if self.tokenizer is None:
                raise ScorerError(f"{self._place.name} was loaded without a tokeniser")
            rows = tokenised(self.tokenizer, texts, prefix_space=prefix_space, most=most)
            for text, row in zip(texts, rows, strict=True):
                self._count(text, row)
        return rows

    def _count(self, text: str, row: Tokens) -> None:
        mark = hash(text)
        if mark not in self._network.seen:
            self._network.seen.add(mark)
            self.counts.texts += 1
            self.counts.cut += row.cut > 0
            self.counts.blank += row.blank

    def map(self, rows: Sequence[Tokens], forward: Forward, *, key: str, what: str = "encoding") -> list[Rows]:
        space = self._space(key)
        keys = [row_key(space, row) for row in rows]
        wanted = dict(zip(keys, rows, strict=True))
        disk = _disk() if self.spec.cache else None
        with self._network.lock:
            found = {k: row for k in wanted if (row := _MEMORY.get(k)) is not None}
            if disk is not None and len(found) < len(wanted):
                for k, row in disk.get([k for k in wanted if k not in found]).items():
                    found[k] = row
                    _MEMORY.put(k, row)
            report(what, len(found), len(wanted))
            todo = {k: row for k, row in wanted.items() if k not in found}
            copies = _COPY_BYTES if sum(map(size, todo.values())) >= _COPY_TOKENS else 0
            fast = through_onednn(self.module, self.device, copy_bytes=copies)
            with _Kept(disk, self._place.name) as kept, fast:
                for k, row in self._encoded(todo, forward, what, len(wanted)):
                    found[k] = row
                    _MEMORY.put(k, row)
                    kept.add(k, row)
        return [found[k] for k in keys]

    def _encoded(
        self, todo: Mapping[bytes, Tokens], forward: Forward, what: str, total: int
    ) -> Iterator[tuple[bytes, Rows]]:
        """What ``forward`` makes of these rows, batch by batch."""
        if not todo:
            return
        network = self._network
        keys, rows = list(todo), list(todo.values())
        lengths = [size(row) for row in rows]
        budget = self.spec.batch_tokens or default_budget(self.module, self.device)
        done = total - len(rows)
        enough = ENOUGH.get(self.device.type, budget)
        for batch in packed(lengths, budget, enough):
            # once more, since the budget may have become smaller on the way
            for part in packed([lengths[i] for i in batch], min(budget, network.budget or budget), budget):
                at = [batch[i] for i in part]
                arrays = computed(
                    [rows[i] for i in at], forward, self.device, network.pad, self._shrink(len(at), lengths[at[0]])
                )
                for i, array in zip(at, arrays, strict=True):
                    _require_numbers(array, self._place.name, self.spec.dtype)
                    array.flags.writeable = False
                    yield keys[i], array
                done += len(at)
                report(what, done, total)

    def _shrink(self, count: int, longest: int) -> Any:
        def note() -> None:
            tried = count * max(1, longest)
            self._network.budget = max(1, min(self._network.budget or tried, tried) // 2)

        return note

    def _space(self, key: str) -> bytes:
        """What the rows of ``key`` hang on beside their content."""
        import torch
        import transformers

        versions = [_VERSION, torch.__version__, transformers.__version__]
        parts: list[Json] = [self.fingerprint, self._name, key, self.spec.dtype, self.device.type, *versions]
        return bytes.fromhex(content_hash(parts))


class _Kept:
    """New rows on their way to the disk: written when there are enough of them, and whatever happens at the end."""

    def __init__(self, disk: Disk | None, model: str) -> None:
        self._disk = disk
        self._model = model
        self._rows: dict[bytes, Rows] = {}
        self._bytes = 0

    def add(self, key: bytes, row: Rows) -> None:
        if self._disk is None:
            return
        self._rows[key] = row
        self._bytes += row.nbytes
        if self._bytes >= _WRITE_BYTES:
            self._write()

    def __enter__(self) -> _Kept:
        return self

    def __exit__(self, *exc: object) -> None:
        self._write()

    def _write(self) -> None:
        if self._disk is not None:
            self._disk.put(self._rows, self._model)
        self._rows, self._bytes = {}, 0


def _require_numbers(array: Rows, model: str, dtype: str) -> None:
    import numpy as np

    if np.isnan(array).any():
        hint = "; use bfloat16 or float32" if dtype == "float16" else ""
        raise ScorerError(f"{model} in {dtype} gives values that are no numbers{hint}")


def _pad(tokenizer: Any, module: Any) -> int:
    for owner in (tokenizer, getattr(module, "config", None)):
        found = getattr(owner, "pad_token_id", None)
        if isinstance(found, int) and found >= 0:
            return found
    return 0


def _disk() -> Disk | None:
    """The cache on disk, unless ``EVALKIT_ENCODER_CACHE`` turns it off."""
    limit = _limit(os.environ.get("EVALKIT_ENCODER_CACHE", ""))
    if not limit:
        return None
    folder = default_folder()
    with _LOCK:
        known = _DISKS.get((str(folder), limit))
        if known is None:
            known = _DISKS[(str(folder), limit)] = Disk(folder, limit)
        return known


def _limit(text: str) -> int:
    """Bytes from ``off``, ``500MB``, ``8GB``; the default where nothing is said. Raises ScorerError."""
    if not text or text.lower() == "on":
        return LIMIT
    if text.lower() in ("off", "0", "no", "false"):
        return 0
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(MB|GB|TB)", text.strip(), re.IGNORECASE)
    if match is None:
        raise ScorerError(f"EVALKIT_ENCODER_CACHE is {text!r}: use off, or a size such as 500MB or 8GB")
    return int(float(match[1]) * {"MB": 1e6, "GB": 1e9, "TB": 1e12}[match[2].upper()])
