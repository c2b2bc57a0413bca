"""The Encoder contract: token rows in, one array a row out; whatever was encoded before is not encoded again.

A learned metric gets its network from `encoder`, turns texts into `Tokens`, and asks for `Encoder.map`: that drops repeats,
sorts by true token count, packs batches by a token budget, runs ``forward`` and keeps the rows in memory and on disk. What a
row means (token states of a layer, a pooled vector, a score) is the metric's own affair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from evalkit.types import Json

Rows = npt.NDArray[np.float32]
Dtype = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """Which network, and how it computes. Equal specs share one loaded network for the life of the process.

    ``model`` is a hub name or a directory. ``device`` is ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ``cuda:1``,
    ``mps``; float16 is refused on a CPU, which computes it slower and no better than bfloat16. ``batch_tokens`` bounds
    rows x longest row of a batch; ``None``: by device and memory. ``cache``: whether rows are kept on disk beyond the
    process.
    """

    model: str
    dtype: Dtype = "float32"
    device: str = "auto"
    revision: str | None = None
    batch_tokens: int | None = None
    cache: bool = True


@dataclass(frozen=True, slots=True)
class Tokens:
    """One input row: token ids, special ones included.

    ``special`` marks the ids that the tokeniser added; ``types`` are token type ids, where the network takes them;
    ``target`` are the decoder's ids for a seq2seq network. ``cut`` counts the tokens that did not fit and were dropped;
    ``blank`` says that the text had nothing to encode.
    """

    ids: tuple[int, ...]
    special: tuple[bool, ...] = ()
    types: tuple[int, ...] | None = None
    target: tuple[int, ...] | None = None
    cut: int = 0
    blank: bool = False


@dataclass(slots=True)
class Counts:
    """What a reader must know of the texts that went in: distinct texts, and how many were cut or blank."""

    texts: int = 0
    cut: int = 0
    blank: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded tensors (n, longest) on the network's device; ``mask`` is 1 on real tokens. ``lengths`` are true counts."""

    ids: Any
    mask: Any
    lengths: Sequence[int]
    types: Any = None
    target: Any = None
    target_mask: Any = None
    rows: Sequence[Tokens] = field(default=())


#: From a batch to one tensor a row, in order (a row's own shape: scalar, vector, or tokens x width without padding).
Forward = Callable[[Batch], Sequence[Any]]

#: From a spec to the ``torch.nn.Module`` in evaluation mode and its tokeniser (``None``: the metric tokenises itself).
Loader = Callable[[EncoderSpec], tuple[Any, Any]]


class Encoder(Protocol):
    """A loaded network behind the service."""

    spec: EncoderSpec
    module: Any
    tokenizer: Any
    device: Any
    counts: Counts

    @property
    def fingerprint(self) -> str:
        """Hash of weights, configuration and tokeniser; with dtype and ``key`` it is what cached rows hang on."""
        ...

    def max_tokens(self) -> int:
        """Most tokens of a row, special ones included: what tokeniser and positions allow, 512 if neither says."""
        ...

    def tokenise(self, texts: Sequence[str], *, prefix_space: bool = False, max_tokens: int | None = None) -> list[Tokens]:
        """Rows of stripped texts in one batched call, special tokens added, cut at ``max_tokens``.

        ``prefix_space`` puts a space before the text, for byte-level BPE (RoBERTa, GPT-2). Adds to ``counts``.
        """
        ...

    def map(self, rows: Sequence[Tokens], forward: Forward, *, key: str, what: str = "encoding") -> list[Rows]:
        """One float32 array a row, in order, equal rows computed once. The arrays are read-only: copy one to change it.

        ``key`` names what ``forward`` computes (layer, pooling, version): rows of equal content under the same key, dtype
        and fingerprint are taken from memory or disk. ``what`` is the word of the progress bar. ``forward`` may be called
        again with parts of a batch that did not fit the memory. Raises ScorerError where not even one row fits, and where
        a row's values are not numbers (NaN).
        """
        ...

    def describe(self) -> Mapping[str, Json]:
        """Network, revision, dtype, device, fingerprint: what a signature needs."""
        ...


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a network's files are, found without loading any weights.

    ``name`` is what a reader sees (a hub id, or a folder's own name); ``source`` is the folder or hub id itself, as
    ``from_pretrained`` takes it together with ``revision`` (a hub commit where that is known). ``fingerprint`` is a hash of
    weights, configuration and tokeniser files, of a hub id and its commit otherwise. ``found`` lists a folder's files.
    """

    name: str
    source: str
    folder: Path | None
    revision: str | None
    fingerprint: str
    found: tuple[str, ...] = ()

    def file(self, name: str) -> Path | None:
        """The path of one of its files, fetched from the hub where need be; ``None`` if it has no such file.

        Also ``None`` for a file that is not in the hub's cache while the hub cannot be asked.
        """
        from evalkit.encoder.checkpoint import file_of

        return file_of(self, name)


def checkpoint(
    model: str, revision: str | None = None, *, needs: Sequence[str] = ("config.json",), kind: str = ""
) -> Checkpoint:
    """Find ``model``, a directory or a hub id, and see whether it has the files in ``needs``.

    ``kind`` is what it should be, for the message ("a COMET checkpoint"). Cheap: only small files come from the hub.
    Raises ScorerError with one line: no such directory or id, no network, or what was found and what was expected.
    """
    from evalkit.encoder.checkpoint import locate

    return locate(model, revision, tuple(needs), kind)


def wrong_kind(place: Checkpoint, expected: str) -> Exception:
    """The ScorerError to raise for a checkpoint that is not what a metric needs: what was found, and what was expected."""
    from evalkit.encoder.checkpoint import misfit

    return misfit(place, expected)


def encoder(spec: EncoderSpec, load: Loader | None = None, *, name: str = "encoder") -> Encoder:
    """The process-wide encoder of ``spec``; loaded by ``load`` (default: ``AutoModel`` and ``AutoTokenizer``) on first use.

    ``name`` tells apart networks that different loaders make of one directory. The service moves what ``load`` gives to the
    device and the dtype, silences its libraries, and turns whatever it raises into a line. Raises ScorerError with one line
    where the model cannot be found or is of the wrong kind, the device is not there, or packages are missing.
    """
    from evalkit.encoder.service import shared

    return shared(spec, load, name)


def require_device(spec: EncoderSpec) -> None:
    """Raises ScorerError where the device of ``spec`` is not there, or cannot compute in its dtype. Loads no weights."""
    from evalkit.encoder.loading import pick_device

    pick_device(spec)


def release() -> None:
    """Let go of all loaded networks and the rows in memory (those on disk stay)."""
    from evalkit.encoder.service import forget

    forget()


class Watcher(Protocol):
    """Who shows how far an encoder is."""

    def __call__(self, what: str, done: int, total: int) -> None: ...


def watched(watcher: Watcher | None, warn: Callable[[str], None] | None = None) -> AbstractContextManager[None]:
    """Within the context, every `Encoder.map` reports rows done and rows in all to ``watcher``, and trouble to ``warn``."""
    from evalkit.encoder.progress import watching

    return watching(watcher, warn)
