"""The journal: every response of a run, by request key, written before anything is made of it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from evalkit.jsonlines import encoder
from evalkit.runner.keys import KeyIndex
from evalkit.runner.log import Log
from evalkit.secrets import scrub, scrub_message
from evalkit.types import EMPTY, Failure, Response


def _unknown(value: Any) -> Any:
    raise TypeError(f"{type(value).__name__} is no JSON value")


_DEFAULTS = tuple((f.name, f.default) for f in fields(Response) if f.name not in ("key", "error", "extra"))
_encode = encoder(default=_unknown, allow_nan=False)
_decode = json.JSONDecoder().raw_decode


class Journal:
    """Responses by key. The last success of a key wins; a failure never hides a success nor blocks a retry.

    The index costs about 50 bytes a response; the responses themselves stay on disk. For reading it is made when first
    needed: most readers of a run want its summary alone.
    """

    def __init__(self, folder: Path, *, write: bool = False) -> None:
        self.folder = folder
        self._log = Log(folder, write=write)
        self._made: KeyIndex | None = None
        self._answers = 0

    @property
    def _index(self) -> KeyIndex:
        """Key -> where it stands in the log, twice, plus 1 for an answer."""
        if self._made is None:
            self._made = KeyIndex()
            for key, ok, where in self._log.entries():
                self._note(key, ok, where)
        return self._made

    @property
    def damaged(self) -> int:
        """Lines that cannot be read, as after a power cut or on a bad disk; what stood there is asked again."""
        self.load()
        return self._log.damaged

    def load(self) -> None:
        """Make the index now rather than when it is first needed."""
        assert self._index is not None

    def __len__(self) -> int:
        """Number of keys with an answer."""
        self.load()
        return self._answers

    @property
    def failures(self) -> int:
        """Number of keys whose only answers are failures."""
        return len(self._index) - self._answers

    def __contains__(self, key: str) -> bool:
        """Whether ``key`` has a successful answer."""
        found = self._index.get(key)
        return found is not None and found & 1 == 1

    def known(self, key: str) -> bool:
        """Whether anything came back for ``key``, an answer or a failure."""
        return self._index.get(key) is not None

    def position(self) -> int:
        """A mark for `written`: what is appended from now on."""
        return self._log.position()

    def written(self, key: str, since: int) -> bool:
        """Whether the answer to ``key`` that counts, or its last failure, was appended since a `position`."""
        found = self._index.get(key)
        return found is not None and found >> 1 >= since

    def failed(self, key: str) -> Response | None:
        """The last failure of a key that has no success."""
        found = self._index.get(key)
        return None if found is None or found & 1 else decode(key, self._log.read(found >> 1))

    def get(self, key: str) -> Response | None:
        """The answer to ``key``, or its last failure, or ``None``."""
        found = self._index.get(key)
        return None if found is None else decode(key, self._log.read(found >> 1))

    def append(self, response: Response, *, task: str = "", role: str = "model") -> Response:
        """Store a response; returns what was stored (an answer that is no number becomes a failure, secrets are blank).

        ``task`` and ``role`` say who asked, for the account of what a run took. Raises StoreError where it cannot be
        written (a full disk); what was stored before stays.
        """
        response = _finite(response)
        ok = response.error is None
        if response.error is not None:
            response = replace(response, error=replace(response.error, message=scrub_message(response.error.message)))
        line = scrub(text := encode(response, task, role))
        if line is not text:
            response = decode(response.key, line.encode("utf-8", "surrogatepass"))
        where = self._log.append(response.key, line, ok=ok)
        self._note(response.key, ok, where)
        return response

    def asked(self, since: int = 0) -> Iterator[tuple[str, str, Response]]:
        """Role, task and response of everything that ever came back, from a `position` on: also what was asked again."""
        for key, value in self._log.values(since):
            data = _decode(value.decode("utf-8", "surrogatepass"))[0]
            yield data.get("role", "model"), data.get("task", ""), _response(key, data)

    def commit(self) -> None:
        self._log.commit()

    def close(self) -> None:
        self._log.close()

    def release(self) -> None:
        self._log.release()

    def _note(self, key: str, ok: bool, where: int) -> None:
        before = self._index.get(key)
        answered = before is not None and before & 1
        if ok or not answered:
            self._index.set(key, where << 1 | ok)
            self._answers += ok and not answered


def encode(response: Response, task: str = "", role: str = "model") -> str:
    """A response as JSON on one line: only what differs from the defaults, without the key; who asked stands last."""
    value: dict[str, Any] = {
        name: found for name, default in _DEFAULTS if (found := getattr(response, name)) is not default and found != default
    }
    if response.extra:
        value["extra"] = dict(response.extra)
    if response.error is not None:
        value["error"] = asdict(response.error)
    if task:
        value["task"] = task
    if role != "model":
        value["role"] = role
    return _encode(value)


def decode(key: str, value: bytes) -> Response:
    """The response that `encode` wrote."""
    return _response(key, _decode(value.decode("utf-8", "surrogatepass"))[0])


def _response(key: str, data: dict[str, Any]) -> Response:
    data.pop("task", None)
    data.pop("role", None)
    if "error" in data:
        data["error"] = Failure(**data["error"])
    return Response(key, **data)


def _finite(response: Response) -> Response:
    """An infinite or undefined log-probability is a failure of the model, not a number to average."""
    if response.logprob is None or math.isfinite(response.logprob):
        return response
    failure = Failure("non-finite", f"the model gave a log-probability of {response.logprob}")
    return Response(key=response.key, truncated=response.truncated, extra=EMPTY, error=failure)
