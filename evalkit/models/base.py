"""The Model contract: what an adapter must do to be evaluated. Three attributes and one method carry it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from evalkit.types import Json, Message, Prompt, Request, RequestKind, Response

Sink = Callable[[Response], None]


@runtime_checkable
class BusySink(Protocol):
    """A sink that has work of its own for an adapter's idle moments; adapters that have none need not know of it."""

    def __call__(self, response: Response, /) -> None: ...

    def meanwhile(self) -> bool:
        """Do a piece of it, a millisecond or so, on the thread that called `Model.run`; whether there is more to do now."""
        ...


class Source(Protocol):
    """Where an adapter pulls its requests from, as it has room."""

    def take(self, limit: int) -> Sequence[Request]:
        """Up to ``limit`` further requests, rendered now; empty when there are none left."""
        ...


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model can do. ``max_length`` is in tokens, prompt and answer together; ``None``: unknown.

    ``why_not`` has a reason for kinds that a model of this sort could have and this one has not.
    """

    kinds: frozenset[RequestKind]
    chat: bool = False
    max_length: int | None = None
    why_not: Mapping[RequestKind, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """What the run tells every adapter; ``args`` are the ``-M key=value`` pairs, still text.

    ``flags`` are those of them that the run has settings of its own for (``--engine``, ``--threads``, ...). ``batch_size``
    caps the sequences in flight; ``None`` leaves it to the adapter (``auto``).
    """

    args: Mapping[str, str] = field(default_factory=dict)
    batch_size: int | None = None
    device: str | None = None
    trust_remote_code: bool = False
    flags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TokenSplit:
    """How a model cuts a request: token texts of the context and of the scored continuation."""

    context: tuple[str, ...]
    continuation: tuple[str, ...]
    truncated: int = 0


@runtime_checkable
class Model(Protocol):
    """A language model that answers requests.

    ``fingerprint`` changes whenever an answer could: weights, dtype, chat template, truncation length. ``run`` pulls
    from ``source``, hands every response to ``sink`` as it is ready (any order, the thread that called ``run``), and
    returns when the source is empty or soon after ``stop`` is set. One bad request never raises: its response carries
    a `Failure`. What would fail every request raises a ModelError; what comes up in mid-run and may pass (a server that is
    gone, a key that was revoked), Incomplete.
    """

    name: str

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def fingerprint(self) -> str: ...

    def run(self, source: Source, sink: Sink, stop: threading.Event) -> None: ...

    def describe(self) -> Mapping[str, Json]:
        """Facts for the manifest: source, revision, dtype, parameter count, device, chat template hash, ..."""
        ...


@runtime_checkable
class ConnectingModel(Protocol):
    """A model that something can keep from answering although it is made: a server, a key."""

    def connect(self) -> None:
        """Find out, as cheaply as can be, what it can do: `Model.capabilities` may be fewer afterwards.

        Raises ModelError where it cannot be reached or refuses us.
        """
        ...


@runtime_checkable
class KeepingModel(Protocol):
    """A model that must remember something between the processes of one run (work that a provider does meanwhile)."""

    def keep(self, folder: Path) -> None:
        """Where to: a folder of the run's own, which may not be there yet. Called before `Model.run`."""
        ...


@runtime_checkable
class ChatModel(Protocol):
    """A model that renders chat messages to text itself (a local model with a chat template)."""

    def render_chat(self, messages: Sequence[Message], *, continue_final: bool) -> str:
        """The prompt text; ``continue_final`` leaves the last (assistant) message open to be continued.

        Without it a generation prompt is added. Raises ModelError where the model has no chat template.
        """
        ...


@runtime_checkable
class TokenizingModel(Protocol):
    """A model that can say how it cuts text into tokens, for ``validate`` and ``--dry-run``."""

    def split(self, request: Request) -> TokenSplit: ...

    def count_tokens(self, prompts: Sequence[Prompt]) -> list[int]: ...
