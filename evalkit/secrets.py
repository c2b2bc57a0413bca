"""Keys and tokens that must never be written: known by value, and blanked in whatever leaves the process.

The values are those of environment variables whose name says KEY, TOKEN, SECRET or PASSWORD, and whatever `protect` was
told (``-M api_key=...``). Looking for a handful of values costs less than a microsecond a line.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

BLANK = "***"
#: Shorter values are words that stand in text by chance.
SHORTEST = 8

_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
#: Variables of such names that hold no secret: places and switches.
_HARMLESS = re.compile(r"(_PATH|_FILE|_DIR|_URL|_SOCK)$|^TOKENIZERS_|^EVALKIT_", re.IGNORECASE)
#: What people write where a key is asked for and none is needed.
_PLACEHOLDERS = frozenset(
    {"password", "changeme", "dummykey", "dummy-key", "not-needed", "required", "placeholder", "undefined"}
)
_NUMBER = re.compile(r"[\d.,_]+")

#: How an option, a header or a member of a JSON object is called that holds a secret.
_NAME = r"(?:^|[^a-z])(?:api_?key|key|token|secret|password|authorization|auth|cookie|credentials?)"
_SECRET = re.compile(_NAME + "$", re.IGNORECASE)
#: A secret inside text: ``key=value`` up to the next ``,name=``, or a member of a JSON object.
_PAIR = re.compile(rf"({_NAME}=).+?(?=,[\w.-]+=|$)", re.IGNORECASE | re.DOTALL)
_MEMBER = re.compile(rf'({_NAME}"\s*:\s*)"(?:[^"\\]|\\.)*"', re.IGNORECASE)
_SPECIAL_TOKEN = re.compile(r"(?:pad|eos|bos|unk|sep|cls|mask|stop)_token=$", re.IGNORECASE)

_URL_LOGIN = re.compile(r"(\w://)[^/\s@\"'\\]+@")
_QUERY = re.compile(r"([?&][\w.-]*(?:key|token|secret|signature|sig|password|credential)=)[^&\s\"'#\\]+", re.IGNORECASE)
_HEADER = re.compile(
    r"((?:authorization|proxy-authorization|x-api-key|api-key|x-goog-api-key)[\"']?\s*[:=]\s*[\"']?)"
    r"(?:(?:bearer|basic|token)\s+)?[^\s\"',}\\]+",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(\bbearer\s+)[\w.~+/=-]{8,}", re.IGNORECASE)

_values: tuple[str, ...] = ()


def protect(values: Iterable[str]) -> None:
    """Blank these values from now on, as they are and as JSON, URLs and basic authentication spell them."""
    global _values
    known = dict.fromkeys(_values)
    for value in values:
        value = value.strip()
        if len(value) < SHORTEST or value.lower() in _PLACEHOLDERS:
            continue
        in_json = json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]
        for spelled in (value, *in_json, quote(value, safe=""), base64.b64encode(value.encode()).decode().rstrip("=")):
            known[spelled] = None
    if len(known) > len(_values):
        _values = tuple(sorted(known, key=len, reverse=True))  # a key that holds another one goes first


def protect_environment() -> None:
    """Blank the values of the environment's secrets from now on."""
    protect(
        value
        for name, value in os.environ.items()
        if _NAMES.search(name) and not _HARMLESS.search(name) and not _NUMBER.fullmatch(value)
    )


def scrub(text: str) -> str:
    """``text`` without the known values; the same object where it holds none."""
    for value in _values:
        if value in text:
            text = text.replace(value, BLANK)
    return text


def scrub_message(text: str) -> str:
    """As `scrub`, and without whatever looks like a secret: logins and keys in URLs, authorization headers."""
    text = scrub_urls(scrub(text))
    return _BEARER.sub(rf"\g<1>{BLANK}", _HEADER.sub(rf"\g<1>{BLANK}", text))


def scrub_urls(text: str) -> str:
    """``text`` with the logins of URLs blanked, and the keys among their queries."""
    if "://" not in text:
        return text
    return _QUERY.sub(rf"\g<1>{BLANK}", _URL_LOGIN.sub(rf"\g<1>{BLANK}@", text))


def scrub_facts(value: Any) -> Any:
    """JSON-like ``value`` with `scrub_message` done to all its texts."""
    if isinstance(value, str):
        return scrub_message(value)
    if isinstance(value, Mapping):
        return {name: scrub_facts(item) for name, item in value.items()}
    return [scrub_facts(item) for item in value] if isinstance(value, list | tuple) else value


def is_secret(name: str) -> bool:
    """Whether an option of that name holds a secret."""
    return _SECRET.search(name) is not None


def redact_text(text: str) -> str:
    """``text`` with the values of secret ``key=value`` pairs and JSON members blanked."""
    return _MEMBER.sub(rf'\g<1>"{BLANK}"', _PAIR.sub(rf"\g<1>{BLANK}", text))


def secret_values(texts: Iterable[str]) -> Iterator[str]:
    """What `redact_text` would blank (but not ``pad_token=...``), and the keys and logins of URLs."""
    for text in texts:
        for found in (*_PAIR.finditer(text), *_MEMBER.finditer(text), *_QUERY.finditer(text)):
            value = found.group(0)[len(found.group(1)) :].strip('"')
            if not _SPECIAL_TOKEN.search(text[: found.end(1)]):
                yield value
                yield value.rpartition(" ")[2]  # of "Bearer ...", too
        for found in _URL_LOGIN.finditer(text):
            yield found.group(0)[len(found.group(1)) : -1].partition(":")[2]


class _Scrubbing:
    """A text stream that blanks the known values in what is written to it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(scrub(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def scrubbed_output() -> Iterator[None]:
    """Inside the block stdout and stderr hold no known value, whoever writes to them (libraries, tracebacks, logs)."""
    protect_environment()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Scrubbing(before[0]), _Scrubbing(before[1])
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
