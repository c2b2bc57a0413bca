"""Calls over an aiohttp session: kept-open connections, TLS, gzip, proxies of the environment, limits on time and size."""

from __future__ import annotations

import json
import os
import ssl
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from evalkit.errors import ModelError
from evalkit.models.remote.base import Call, Reply, TransportError
from evalkit.models.remote.connection import Connection, KeySigner, Signed, Signer

if TYPE_CHECKING:
    import aiohttp

#: A reply larger than this is not an answer to a request of ours.
MAX_REPLY_BYTES = 64 << 20
#: Seconds for name, connection and TLS.
CONNECT_S = 30.0

_encode = json.JSONEncoder(separators=(",", ":")).encode


class HttpTransport:
    """`Transport` over HTTP/1.1. To be made inside the event loop that uses it.

    Messages name the server by host, never by the whole address, and never hold a header.
    """

    def __init__(self, connection: Connection, connections: int, signer: Signer | None = None) -> None:
        self._aiohttp = require_aiohttp()
        self._connection = connection
        self._signer = signer or signer_of(connection)
        self._host = urlsplit(connection.base_url).netloc
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}
        self._ready: dict[str, _Target] = {}
        self._proxy = _proxy_of(connection.base_url)
        self._session = self._aiohttp.ClientSession(
            connector=self._aiohttp.TCPConnector(limit=connections + 2, ttl_dns_cache=300),
            cookie_jar=self._aiohttp.DummyCookieJar(),
            auto_decompress=True,
        )

    async def send(self, call: Call, timeout: float) -> Reply:
        reply = await self._send("POST", call.path, str(call.body.get("model", "")), _encode(call.body).encode(), timeout)
        if reply.status == 401 and self._signer.renew():
            self._ready.clear()
            reply = await self._send(
                "POST", call.path, str(call.body.get("model", "")), _encode(call.body).encode(), timeout
            )
        return reply

    async def get(self, path: str, timeout: float) -> Reply:
        """A GET of ``path`` below the base URL; as `send` otherwise."""
        return await self._send("GET", path, "", None, timeout)

    async def close(self) -> None:
        await self._session.close()

    async def _send(self, method: str, path: str, model: str, data: bytes | None, timeout: float) -> Reply:
        aiohttp = self._aiohttp
        signed = self._signer.sign(path, model)
        target = self._ready.get(path)
        if target is None or target.signed is not signed:
            target = self._ready[path] = _Target(signed)
        limits = self._timeouts.get(timeout)
        if limits is None:
            if len(self._timeouts) > 64:
                self._timeouts.clear()
            limits = self._timeouts[timeout] = aiohttp.ClientTimeout(total=timeout, sock_connect=min(CONNECT_S, timeout))
        begun = time.monotonic()
        try:
            async with self._session.request(
                method, target.url, data=data, headers=target.headers, timeout=limits, allow_redirects=False, **self._proxy
            ) as response:
                body = await self._body(response)
                return Reply(response.status, response.headers, body, time.monotonic() - begun)
        except aiohttp.ConnectionTimeoutError as error:
            raise TransportError(
                "connection", f"no connection to {self._host} in {min(CONNECT_S, timeout):.0f} s"
            ) from error
        except TimeoutError as error:
            raise TransportError("timeout", f"no whole reply from {self._host} in {timeout:.0f} s") from error
        except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError) as error:
            raise TransportError("protocol", f"a broken reply from {self._host} ({type(error).__name__})") from error
        except (aiohttp.ClientError, OSError) as error:
            raise TransportError("connection", f"no connection to {self._host}: {_why(error)}") from error

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        content = response.content
        body = await content.readany()
        if content.at_eof():
            return body
        parts = [body]
        size = len(body)
        while part := await content.readany():
            parts.append(part)
            size += len(part)
            if size > MAX_REPLY_BYTES:
                response.close()
                raise TransportError("protocol", f"a reply of more than {MAX_REPLY_BYTES >> 20} MiB from {self._host}")
        return b"".join(parts)


class _Target:
    """A path's address and headers in the classes that aiohttp would make of them for every request."""

    __slots__ = ("headers", "signed", "url")

    def __init__(self, signed: Signed) -> None:
        from multidict import CIMultiDict
        from yarl import URL

        self.signed = signed
        self.url = URL(signed.url, encoded=True)
        self.headers = CIMultiDict(signed.headers)


def require_aiohttp() -> Any:
    """The module; raises ModelError with the way to get it."""
    try:
        import aiohttp
    except ImportError as error:
        raise ModelError("remote models need the package aiohttp: pip install 'evalkit[openai]'") from error
    return aiohttp


def signer_of(connection: Connection) -> Signer:
    """The official client's signing where a connection needs it; its import takes 0.4 s."""
    if not connection.official:
        return KeySigner(connection)
    from evalkit.models.remote.official import OfficialSigner

    return OfficialSigner(connection)


def _proxy_of(base_url: str) -> dict[str, Any]:
    """What aiohttp is told about the proxy that the environment names for this host: looked up once, not for every call."""
    parts = urlsplit(base_url)
    address = getproxies().get(parts.scheme) or getproxies().get("all")
    if not address or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return {}
    from aiohttp import BasicAuth
    from yarl import URL

    url = URL(address if "://" in address else f"http://{address}")
    if url.scheme not in ("http", "https"):
        raise ModelError(f"the environment names a {url.scheme} proxy, which cannot be used; set no_proxy or an http proxy")
    auth = BasicAuth(url.user, url.password or "") if url.user else None
    return {"proxy": url.with_user(None), "proxy_auth": auth}


def _why(error: BaseException) -> str:
    """The reason in a few words, without an address or a header."""
    cause = getattr(error, "os_error", None) or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({cause.verify_message}); SSL_CERT_FILE names further authorities"
    number = getattr(cause, "errno", None)
    if number:  # aiohttp's own text holds addresses; those of name look-ups are below 0 and speak for themselves
        return os.strerror(number) if number > 0 else str(getattr(cause, "strerror", None) or type(cause).__name__)
    return {"ServerDisconnectedError": "the server hung up"}.get(type(error).__name__, type(error).__name__)
