"""Any server with an OpenAI-compatible API as a `Model`."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from evalkit.models.base import Capabilities, Sink, Source
from evalkit.models.remote.attempts import Caller, Patience
from evalkit.models.remote.base import Endpoint
from evalkit.models.remote.connection import Connection
from evalkit.models.remote.limits import Limits
from evalkit.models.remote.probe import Found, probe, still_answers
from evalkit.models.remote.retry import Verdict
from evalkit.models.remote.transport import HttpTransport, require_aiohttp, signer_of
from evalkit.models.remote.workers import Workers, in_loop
from evalkit.types import Json, RequestKind, content_hash


@dataclass(frozen=True, slots=True)
class Rates:
    """Ceilings: calls on their way, requests and tokens a minute, and repeats of one prompt that share a call."""

    max_connections: int = 64
    rpm: float | None = None
    tpm: float | None = None
    several: int = 1


#: OpenAI's models that have the completions endpoint, and what is said of the others.
_COMPLETES = re.compile(r"(ft:)?(davinci|babbage|gpt-3\.5-turbo-instruct)")
_CHATS = "OpenAI's chat models do not score given texts"

#: What probes found in this process, by what was probed: nothing is paid for twice.
_PROBED: dict[str, Found] = {}


@dataclass(slots=True)
class RemoteModel:
    """A model behind an HTTP API.

    Args:
        name: as the user wrote it, ``openai/gpt-4o``; ``model`` is what the server calls it.
        endpoints: which endpoint answers which kind of request.
        identity: what else changes answers (options of the body), as JSON.
        probed: whether `connect` asks the server anything.
    """

    name: str
    model: str
    connection: Connection
    endpoints: Mapping[RequestKind, Endpoint]
    identity: Json = None
    rates: Rates = field(default_factory=Rates)
    patience: Patience = field(default_factory=Patience)
    probed: bool = True
    _found: Found | None = None

    @property
    def capabilities(self) -> Capabilities:
        """As the probe found them; before `connect`, what is likely: OpenAI's chat models score no given texts."""
        generator = self.endpoints.get("generate")
        chat = generator is not None and generator.name != "completions"
        found = self._found or Found(frozenset(self.endpoints))
        if self._found is None and chat and self.connection.is_openai and not _COMPLETES.match(self.model):
            found = Found(frozenset({"generate"}), dict.fromkeys(self.endpoints.keys() - {"generate"}, _CHATS))
        return Capabilities(found.kinds, chat, found.max_length, found.why_not)

    @property
    def fingerprint(self) -> str:
        """Address, model, API and what is sent along; not keys, limits or patience."""
        apis = sorted({endpoint.name for endpoint in self.endpoints.values()})
        return content_hash(["remote", *self.connection.identity(), self.model, apis, self.identity])

    def describe(self) -> Mapping[str, Json]:
        generator = self.endpoints.get("generate")
        facts: dict[str, Json] = {
            "provider": self.name.partition("/")[0],
            "model": self.model,
            **self.connection.public(),
            "api": generator.name if generator is not None else None,
            "kinds": sorted(self.capabilities.kinds),
            "max_length": self.capabilities.max_length,
            "max_connections": self.rates.max_connections,
            "body": self.identity,
        }
        return {name: value for name, value in facts.items() if value is not None}

    def connect(self) -> None:
        """Find out what the server can do. Raises ModelError where it cannot be reached or turns us away."""
        self.connection.require()
        if self._found is not None or not self.probed:
            return
        key = content_hash([self.fingerprint, self.connection.key, dict(self.connection.headers)])
        if key not in _PROBED:
            _PROBED[key] = in_loop(self._probe)
        self._found = _PROBED[key]

    def run(self, source: Source, sink: Sink, stop: threading.Event) -> None:
        self.connect()
        in_loop(lambda: self._run(source, sink, stop))

    async def _probe(self) -> Found:
        require_aiohttp()
        transport = HttpTransport(self.connection, 4)
        try:
            return await probe(transport, self.endpoints, self.model, self.connection.base_url)
        finally:
            await transport.close()

    async def _run(self, source: Source, sink: Sink, stop: threading.Event) -> None:
        rates = self.rates
        transport = HttpTransport(self.connection, rates.max_connections, signer_of(self.connection))

        async def recheck() -> Verdict | None:
            return await still_answers(transport, able)

        limits = Limits(rates.max_connections, rpm=rates.rpm, tpm=rates.tpm)
        caller = Caller(transport, limits, self.patience, recheck)
        found = self.capabilities
        able = {kind: endpoint for kind, endpoint in self.endpoints.items() if kind in found.kinds}
        try:
            workers = Workers(able, found.why_not, rates.several)
            await workers.run(caller, rates.max_connections, source, sink, stop)
        finally:
            await transport.close()
