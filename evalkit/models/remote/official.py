"""The official ``openai`` client, where its own ways of signing are needed: Azure, Entra tokens, its environment.

It makes address and headers of one call; ours are sent with them over a session of our own, which costs a third of the
time. The client is never asked to talk to a server here: its HTTP transport notes the request and answers itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evalkit import secrets
from evalkit.errors import ModelError
from evalkit.models.remote.connection import Connection, Signed

if TYPE_CHECKING:
    from openai import OpenAI

#: Tokens of an identity live for an hour at least; signing anew this often (seconds) never meets an old one.
_RENEWED_S = 300.0
_ENTRA_SCOPE = "https://cognitiveservices.azure.com/.default"
#: Headers that belong to the one request the client made, not to ours.
_OWN = frozenset({"host", "content-length", "connection", "accept-encoding", "transfer-encoding"})


def official_client(connection: Connection, **more: Any) -> OpenAI:
    """The official client of a connection; ``more`` goes to its constructor (``http_client``, ``max_retries``, ...).

    Raises ModelError where the package is missing or the client wants what it was not given.
    """
    try:
        import openai
    except ImportError as error:
        raise ModelError("this needs the package openai: pip install 'evalkit[openai]'") from error
    common: dict[str, Any] = {"default_headers": connection.headers, "default_query": connection.query, **more}
    azure = connection.azure
    try:
        if azure is None:
            return openai.OpenAI(
                api_key=connection.key or "none",
                base_url=connection.base_url,
                organization=connection.organization,
                project=connection.project,
                **common,
            )
        return openai.AzureOpenAI(
            azure_endpoint=azure.endpoint,
            azure_deployment=azure.deployment,
            api_version=azure.api_version,
            api_key=connection.key,
            azure_ad_token=azure.ad_token,
            azure_ad_token_provider=_entra() if azure.entra else None,
            **common,
        )
    except (openai.OpenAIError, ValueError) as error:
        raise ModelError(f"the openai client: {secrets.scrub_message(str(error))}") from error


class OfficialSigner:
    """Addresses and headers as the official client makes them, kept until they may be out of date."""

    def __init__(self, connection: Connection) -> None:
        import httpx2
        import openai

        self._connection = connection
        self._requests: list[httpx2.Request] = []
        self._kept: dict[str, tuple[float, Signed]] = {}
        self._lock = threading.Lock()
        noting = httpx2.MockTransport(self._note)
        client = openai.DefaultHttpxClient(transport=noting)
        self._client = official_client(connection, http_client=client, max_retries=0)

    def sign(self, path: str, model: str) -> Signed:
        with self._lock:
            made, signed = self._kept.get(path, (0.0, None))
            if signed is None or (self._renews and time.monotonic() - made > _RENEWED_S):
                signed = self._signed(path, model)
                self._kept[path] = (time.monotonic(), signed)
            return signed

    def renew(self) -> bool:
        with self._lock:
            self._kept.clear()
        return self._renews

    @property
    def _renews(self) -> bool:
        return self._connection.azure is not None and self._connection.azure.entra

    def _signed(self, path: str, model: str) -> Signed:
        self._requests.clear()
        try:
            if path == "/models":
                self._client.get(path, cast_to=object)
            else:
                self._client.post(path, body={"model": model}, cast_to=object)
        except Exception as error:  # a credential's provider may raise anything; nothing was sent yet
            raise ModelError(f"the openai client cannot sign: {secrets.scrub_message(str(error))}") from error
        request = self._requests[-1]
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OWN}
        return Signed(str(request.url), headers)

    def _note(self, request: Any) -> Any:
        import httpx2

        self._requests.append(request)
        return httpx2.Response(200, json={})


def _entra() -> Callable[[], str]:
    try:
        from azure.identity import DefaultAzureCredential, get_bearer_token_provider
    except ImportError as error:
        raise ModelError("-M entra=true needs the package azure-identity: pip install azure-identity") from error
    provider: Callable[[], str] = get_bearer_token_provider(DefaultAzureCredential(), _ENTRA_SCOPE)
    return provider
