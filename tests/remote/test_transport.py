"""The HTTP transport and the headers of calls, against servers on loopback that misbehave."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from mock_handle import MockServer

from evalkit.errors import ModelError
from evalkit.models.remote import transport as module
from evalkit.models.remote.base import Call, Reply, TransportError
from evalkit.models.remote.connection import Connection, KeySigner, Signed, azure_of, connection_of
from evalkit.models.remote.official import OfficialSigner
from evalkit.models.remote.provider import AZURE, OPENAI
from evalkit.models.remote.transport import HttpTransport

CALL = Call("/chat/completions", {"model": "m", "messages": []})
CANARY = "sk-canary-0123456789abcdef"
Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


def arguments(provider: Any = OPENAI, **given: Any) -> dict[str, Any]:
    return {arg.name: arg.default for arg in provider.args} | given


def send(handler: Handler, timeout: float = 5.0, times: int = 1, **connection: Any) -> list[Reply]:
    """Replies of a server that hands each request (head and body) to ``handler``."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(int(x.split(b":")[1]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length"))
                await handler(head + await reader.readexactly(length), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def main() -> list[Reply]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        transport = HttpTransport(Connection(f"http://127.0.0.1:{port}/v1", **connection), 2)
        try:
            return [await transport.send(CALL, timeout) for _ in range(times)]
        finally:
            await transport.close()
            server.close()

    return asyncio.run(main())


def answer(body: bytes, *headers: str, length: int | None = None) -> bytes:
    head = ["HTTP/1.1 200 OK", "Content-Type: application/json", *headers]
    if length != -1:
        head.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def writing(data: bytes) -> Handler:
    async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return handler


def test_a_call_is_a_post_of_its_json_and_connections_are_kept_open() -> None:
    seen: list[tuple[bytes, Any]] = []

    async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
        seen.append((request, writer.get_extra_info("peername")))
        writer.write(answer(b'{"ok": 1}', "X-Request-Id: 7"))

    first, second = send(handler, times=2, key=CANARY, organization="org-1", project="p")
    assert (first.status, json.loads(first.body), second.status) == (200, {"ok": 1}, 200)
    assert first.headers.get("x-request-id") == "7"
    assert 0 < first.seconds < 5
    head, _, body = seen[0][0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1")
    assert json.loads(body) == CALL.body
    for line in (f"Authorization: Bearer {CANARY}", "OpenAI-Organization: org-1", "OpenAI-Project: p"):
        assert line.encode() in head
    assert seen[0][1] == seen[1][1]


def test_gzip_and_chunks_are_read() -> None:
    packed = gzip.compress(b'{"a": 1}')
    assert send(writing(answer(packed, "Content-Encoding: gzip")))[0].body == b'{"a": 1}'
    chunked = answer(b'4\r\n{"a"\r\n4\r\n: 2}\r\n0\r\n\r\n', "Transfer-Encoding: chunked", length=-1)
    assert send(writing(chunked))[0].body == b'{"a": 2}'


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (answer(b'{"a"', length=100), "protocol"),
        (b"not HTTP at all\r\n\r\n", "protocol"),
        (answer(b"no gzip", "Content-Encoding: gzip"), "protocol"),
        (b"", "connection"),
    ],
)
def test_broken_replies(data: bytes, kind: str) -> None:
    async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        writer.close()

    with pytest.raises(TransportError) as caught:
        send(handler, key=CANARY)
    assert caught.value.kind == kind
    assert CANARY not in str(caught.value)


def test_a_reply_that_never_ends_is_given_up() -> None:
    async def trickle(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"", length=1000))
        while not writer.is_closing():
            writer.write(b" ")
            await asyncio.sleep(0.02)

    with pytest.raises(TransportError, match="no whole reply") as caught:
        send(trickle, timeout=0.3)
    assert caught.value.kind == "timeout"


def test_a_reply_that_is_too_large_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REPLY_BYTES", 100_000)
    for data in (answer(b"x" * 2_000_000), answer(gzip.compress(b"x" * 5_000_000), "Content-Encoding: gzip")):
        with pytest.raises(TransportError, match="more than") as caught:
            send(writing(data))
        assert caught.value.kind == "protocol"


def test_redirects_are_not_followed_with_the_key() -> None:
    (reply,) = send(writing(b"HTTP/1.1 302 Found\r\nLocation: http://other/\r\nContent-Length: 0\r\n\r\n"), key=CANARY)
    assert reply.status == 302


def test_nobody_listening_is_said_in_words() -> None:
    async def main() -> None:
        transport = HttpTransport(Connection("http://127.0.0.1:9/v1", key=CANARY), 2)
        try:
            await transport.send(CALL, 5.0)
        finally:
            await transport.close()

    with pytest.raises(TransportError, match=r"no connection to 127\.0\.0\.1:9: Connection refused"):
        asyncio.run(main())


def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://me:pass@127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    proxy = module._proxy_of("http://example.org/v1")
    assert str(proxy["proxy"]) == "http://127.0.0.1:9"
    assert (proxy["proxy_auth"].login, proxy["proxy_auth"].password) == ("me", "pass")
    monkeypatch.setenv("no_proxy", "example.org")
    assert module._proxy_of("http://example.org/v1") == {}
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(ModelError, match="socks5 proxy"):
        module._proxy_of("http://example.org/v1")


@pytest.mark.parametrize("given", [{}, {"organization": "org-1", "project": "p-1"}, {"query": {"a": "b c"}}])
def test_lean_headers_are_those_of_the_official_client(given: dict[str, Any]) -> None:
    connection = Connection("http://localhost:1/v1", key=CANARY, headers={"X-Mine": "1"}, **given)
    ours = KeySigner(connection).sign("/chat/completions", "m")
    theirs = OfficialSigner(connection).sign("/chat/completions", "m")
    assert ours.url.replace("+", "%20") == theirs.url.replace("+", "%20")
    about_the_machine = {name for name in theirs.headers if name.lower().startswith("x-stainless")}
    assert {n.lower(): v for n, v in ours.headers.items() if n != "User-Agent"} == {
        n.lower(): v for n, v in theirs.headers.items() if n not in about_the_machine and n.lower() != "user-agent"
    }


def test_azure_is_signed_by_the_official_client(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_OPENAI_AD_TOKEN", "AZURE_OPENAI_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    given = {"azure_endpoint": "https://res.openai.azure.com/", "api_version": "2025-01-01", "api_key": CANARY}
    signed = OfficialSigner(azure_of(arguments(AZURE, **given), "azure/gpt")).sign("/chat/completions", "gpt")
    assert signed.url == "https://res.openai.azure.com/openai/deployments/gpt/chat/completions?api-version=2025-01-01"
    assert signed.headers["api-key"] == CANARY

    named = azure_of(arguments(AZURE, **given, azure_deployment="mine"), "azure/gpt")
    assert "/deployments/mine/chat/completions?" in OfficialSigner(named).sign("/chat/completions", "gpt").url

    monkeypatch.setenv("AZURE_OPENAI_AD_TOKEN", "token-0123456789")
    by_token = azure_of(arguments(AZURE, **{**given, "api_key": None}), "azure/gpt")
    assert OfficialSigner(by_token).sign("/chat/completions", "gpt").headers["authorization"] == "Bearer token-0123456789"


def test_what_azure_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_OPENAI_ENDPOINT", "OPENAI_API_VERSION", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ModelError, match="AZURE_OPENAI_ENDPOINT"):
        azure_of(arguments(AZURE), "azure/x")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://res.openai.azure.com")
    with pytest.raises(ModelError, match="OPENAI_API_VERSION"):
        azure_of(arguments(AZURE), "azure/x")
    monkeypatch.setenv("OPENAI_API_VERSION", "2025-01-01")
    without_key = azure_of(arguments(AZURE), "azure/x")  # enough to count what would be asked
    with pytest.raises(ModelError, match="AZURE_OPENAI_API_KEY"):
        without_key.require()


def test_the_environment_of_the_official_client_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://here:1/v1/")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-9")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-9")
    found = connection_of(arguments(), "openai/x")
    assert (found.base_url, found.key, found.organization, found.project) == ("http://here:1/v1", CANARY, "org-9", "proj-9")
    assert CANARY not in repr(found)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-From-Env: yes")
    signed = OfficialSigner(connection_of(arguments(), "openai/x")).sign("/responses", "m")
    assert signed.headers["x-from-env"] == "yes"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("localhost:8000/v1", "is no address"),
        ("ftp://host/v1", "is no address"),
        ("https://me:secret@host/v1", "name or password"),
        ("http://host/v1/chat/completions", "leave that out"),
    ],
)
def test_addresses_that_cannot_be_used(url: str, why: str) -> None:
    with pytest.raises(ModelError, match=why) as caught:
        connection_of(arguments(base_url=url), "openai/x")
    assert "secret" not in str(caught.value)


def test_openai_itself_needs_a_key_and_other_servers_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    without_key = connection_of(arguments(), "openai/x")
    with pytest.raises(ModelError, match="set OPENAI_API_KEY"):
        without_key.require()
    local = connection_of(arguments(base_url="http://localhost:1/v1"), "openai/x")
    local.require()
    assert local.key is None
    monkeypatch.setenv("OPENAI_API_KEY", "sk-with a blank")
    with pytest.raises(ModelError, match="OPENAI_API_KEY holds blanks"):
        connection_of(arguments(), "openai/x")


class Tokens:
    """A signer whose first token is too old."""

    def __init__(self, port: int) -> None:
        self.url, self.token = f"http://127.0.0.1:{port}/v1", "Bearer old"

    def sign(self, path: str, model: str) -> Signed:
        return Signed(self.url + path, {"Authorization": self.token, "Content-Type": "application/json"})

    def renew(self) -> bool:
        self.token = "Bearer new"
        return True


def test_a_token_that_can_be_renewed_is(mock: MockServer) -> None:
    mock.configure(key="new")

    async def main() -> Reply:
        transport = HttpTransport(Connection(mock.url), 2, Tokens(mock.port))
        messages = [{"role": "user", "content": "x"}]
        try:
            return await transport.send(Call("/chat/completions", {"model": "m", "messages": messages}), 5)
        finally:
            await transport.close()

    assert asyncio.run(main()).status == 200
    assert mock.stats()["outcomes"] == {"401": 1, "200": 1}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_certificates_are_checked(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(certificate, key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "localhost", 0, ssl=own)
        port = server.sockets[0].getsockname()[1]
        transport = HttpTransport(Connection(f"https://localhost:{port}/v1", key=CANARY), 2)
        try:
            await transport.send(CALL, 5.0)
        finally:
            await transport.close()
            server.close()

    with pytest.raises(TransportError, match=r"certificate is not accepted \(self-signed certificate\)"):
        asyncio.run(main())
