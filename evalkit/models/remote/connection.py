"""Where calls go and what they carry: address, key, headers, from ``-M`` options and the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from evalkit import secrets
from evalkit.errors import ModelError
from evalkit.types import EMPTY, Json

OPENAI_URL = "https://api.openai.com/v1"


@dataclass(frozen=True, slots=True)
class Azure:
    """An Azure resource. ``ad_token``: a fixed Entra token; ``entra``: tokens of the machine's own identity, renewed."""

    endpoint: str
    api_version: str
    deployment: str | None = None
    ad_token: str | None = field(default=None, repr=False)
    entra: bool = False


@dataclass(frozen=True, slots=True)
class Connection:
    """What is needed to reach a server. Nothing secret shows in its ``repr``.

    ``official``: the ``openai`` package makes address and headers; else a key, organisation and project are all there is.
    ``lacks``: why nothing can be asked yet (a key is missing), though what would be asked can be counted.
    """

    base_url: str
    key: str | None = field(default=None, repr=False)
    organization: str | None = None
    project: str | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: EMPTY, repr=False)
    query: Mapping[str, str] = field(default_factory=lambda: EMPTY, repr=False)
    azure: Azure | None = None
    official: bool = False
    lacks: str | None = None

    @property
    def is_openai(self) -> bool:
        """Whether the models behind it are OpenAI's own, so that their names say what they take."""
        host = urlsplit(self.base_url).hostname or ""
        return self.azure is not None or host == "api.openai.com" or host.endswith(".api.openai.com")

    def require(self) -> None:
        """Raises ModelError where something is missing that every call needs."""
        if self.lacks is not None:
            raise ModelError(self.lacks)

    def identity(self) -> list[Json]:
        """What of it can change an answer, without secrets."""
        return [self.base_url, self.azure.api_version if self.azure else None, self.azure and self.azure.deployment]

    def public(self) -> dict[str, Json]:
        """Facts for the manifest."""
        facts: dict[str, Json] = {"base_url": self.base_url, "organization": self.organization, "project": self.project}
        if self.azure is not None:
            facts |= {"api_version": self.azure.api_version, "deployment": self.azure.deployment}
        return {name: value for name, value in facts.items() if value is not None}

    def blank(self, text: str) -> str:
        """``text`` without secrets: this connection's were made known when it was made."""
        return secrets.scrub_message(text)


@dataclass(frozen=True, slots=True)
class Signed:
    """A path's full address and headers."""

    url: str
    headers: Mapping[str, str]


class Signer(Protocol):
    """Gives a call its address and headers: the same object for a path as long as they are the same."""

    def sign(self, path: str, model: str) -> Signed: ...

    def renew(self) -> bool:
        """Forget tokens that can be renewed; whether there are any."""
        ...


class KeySigner:
    """The headers that a key needs; those of the official client, less what it says about the machine it runs on."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._kept: dict[str, Signed] = {}
        self._headers = {"Accept": "application/json", "Content-Type": "application/json", "User-Agent": "evalkit"}
        given = {
            "Authorization": f"Bearer {connection.key}" if connection.key else None,
            "OpenAI-Organization": connection.organization,
            "OpenAI-Project": connection.project,
        }
        self._headers |= {name: value for name, value in given.items() if value}
        for name, value in connection.headers.items():
            known = next((own for own in self._headers if own.lower() == name.lower()), name)
            self._headers[known] = value

    def sign(self, path: str, model: str) -> Signed:
        signed = self._kept.get(path)
        if signed is None:
            query = urlencode(self._connection.query)
            url = self._connection.base_url + path + (f"?{query}" if query else "")
            signed = self._kept[path] = Signed(url, self._headers)
        return signed

    def renew(self) -> bool:
        return False


def connection_of(args: Mapping[str, Any], model: str) -> Connection:
    """The connection by parsed options (see `PROVIDER`) and, where they are silent, the environment.

    Raises ModelError where the address or the key cannot be used; a key that is missing is told by `Connection.require`.
    """
    base_url, query = _address(args["base_url"] or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL)
    name = args["api_key_env"]
    key = args["api_key"] or os.environ.get(name) or None
    headers = _secret_texts(args["extra_headers"], "extra_headers")
    secrets.protect([key or ""])
    found = Connection(
        base_url,
        key=key,
        organization=args["organization"] or os.environ.get("OPENAI_ORG_ID") or None,
        project=args["project"] or os.environ.get("OPENAI_PROJECT_ID") or None,
        headers=headers,
        query={**query, **_secret_texts(args["extra_query"], "extra_query")},
        official=args["client"] == "official" or "OPENAI_CUSTOM_HEADERS" in os.environ,
    )
    if key is not None and any(ord(letter) < 33 or ord(letter) > 126 for letter in key):
        raise ModelError(f"the key in {name} holds blanks or letters that no key has; set it anew")
    signs = {header.lower() for header in headers} & {"authorization", "api-key"}
    if key is None and found.is_openai and not signs and not found.official:
        found = replace(found, lacks=f"{model} needs a key: set {name}, or name another variable with -M api_key_env=NAME")
    return found


def azure_of(args: Mapping[str, Any], model: str) -> Connection:
    """The connection to an Azure resource. Raises ModelError where its address or the version is missing."""
    endpoint = args["azure_endpoint"] or os.environ.get("AZURE_OPENAI_ENDPOINT")
    version = args["api_version"] or os.environ.get("OPENAI_API_VERSION")
    if not endpoint:
        raise ModelError(f"{model} needs the resource's address: set AZURE_OPENAI_ENDPOINT or -M azure_endpoint=https://...")
    if not version:
        raise ModelError(f"{model} needs the API's version: set OPENAI_API_VERSION or -M api_version=2025-04-01-preview")
    address, query = _address(endpoint)
    key = args["api_key"] or os.environ.get(args["api_key_env"]) or None
    token = None if args["api_key"] else os.environ.get("AZURE_OPENAI_AD_TOKEN") or None
    lacks = None
    if key is None and token is None and not args["entra"]:
        lacks = f"{model} needs a key: set {args['api_key_env']}, AZURE_OPENAI_AD_TOKEN, or give -M entra=true"
    if args["entra"] or token:
        key = None
    deployment = args["azure_deployment"]
    azure = Azure(address, version, deployment, None if args["entra"] else token, args["entra"])
    secrets.protect([key or "", token or ""])
    headers = _secret_texts(args["extra_headers"], "extra_headers")
    query |= _secret_texts(args["extra_query"], "extra_query")
    base = f"{address}/openai" + (f"/deployments/{deployment}" if deployment else "")
    return Connection(base, key=key, headers=headers, query=query, azure=azure, official=True, lacks=lacks)


def _address(text: str) -> tuple[str, dict[str, str]]:
    """A base URL without its query, and that query. Raises ModelError where calls cannot be sent there."""
    parts = urlsplit(text.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        shown = text if parts.username is None and "@" not in text else "(not shown)"
        raise ModelError(f"base_url={shown} is no address; write for example base_url=http://localhost:8000/v1")
    if parts.username is not None or parts.password is not None:
        raise ModelError("base_url holds a name or password; give them as a header instead: -M extra_headers={...}")
    path = parts.path.rstrip("/")
    for ending in ("/chat/completions", "/completions", "/responses"):
        if path.endswith(ending):
            raise ModelError(f"base_url ends in {ending}; leave that out, it is added to each call")
    query = dict(parse_qsl(parts.query))
    secrets.protect(query.values())
    return urlunsplit((parts.scheme, parts.netloc, path, "", "")), query


def _secret_texts(value: Mapping[str, Any] | None, name: str) -> dict[str, str]:
    """Headers or parameters of the user's own, whose values nobody else is to see."""
    found = {str(key): item if isinstance(item, str) else str(item) for key, item in (value or {}).items()}
    if any("\n" in item or "\r" in item for item in found.values()):
        raise ModelError(f"-M {name}: a value holds a line end")
    secrets.protect(found.values())
    return found
