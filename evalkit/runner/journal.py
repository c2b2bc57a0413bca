"""The journal: every response of a run, by request key, written before anything is made of it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from evalkit.runner.log import SEGMENT_BYTES, Log
from evalkit.types import EMPTY, Failure, Response

_DEFAULTS = {f.name: f.default for f in fields(Response) if f.name not in ("key", "error", "extra")}


class Journal:
    """Responses by key. The last success of a key wins; a failure never hides a success nor blocks a retry.

    The index costs about 180 bytes a response; the responses themselves stay on disk.
    """

    def __init__(self, folder: Path, *, write: bool = False, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = folder
        self._log = Log(folder, write=write, segment_bytes=segment_bytes)
        self._answers: dict[bytes, int] = {}
        self._failures: dict[bytes, int] = {}
        for key, ok, where in self._log.entries():
            self._note(key, ok, where)
        self.damaged = self._log.damaged

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def failures(self) -> int:
        """Number of keys whose only answers are failures."""
        return len(self._failures)

    def __contains__(self, key: str) -> bool:
        """Whether ``key`` has a successful answer."""
        return bytes.fromhex(key) in self._answers

    def failed(self, key: str) -> Response | None:
        """The last failure of a key that has no success."""
        where = self._failures.get(bytes.fromhex(key))
        return None if where is None else decode(key, self._log.read(where))

    def get(self, key: str) -> Response | None:
        """The answer to ``key``, or its last failure, or ``None``."""
        where = self._answers.get(bytes.fromhex(key))
        return self.failed(key) if where is None else decode(key, self._log.read(where))

    def append(self, response: Response) -> Response:
        """Store a response; returns what was stored (an answer that is no number becomes a failure)."""
        response = _finite(response)
        ok = response.error is None
        where = self._log.append(response.key, encode(response), ok=ok)
        self._note(bytes.fromhex(response.key), ok, where)
        return response

    def commit(self) -> None:
        self._log.commit()

    def close(self) -> None:
        self._log.close()

    def release(self) -> None:
        self._log.release()

    def _note(self, key: bytes, ok: bool, where: int) -> None:
        if ok:
            self._answers[key] = where
            self._failures.pop(key, None)
        elif key not in self._answers:
            self._failures[key] = where


def encode(response: Response) -> str:
    """A response as JSON on one line: only what differs from the defaults, without the key."""
    value: dict[str, Any] = {
        name: getattr(response, name) for name, default in _DEFAULTS.items() if getattr(response, name) != default
    }
    if response.extra:
        value["extra"] = dict(response.extra)
    if response.error is not None:
        value["error"] = asdict(response.error)
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def decode(key: str, value: bytes) -> Response:
    """The response that `encode` wrote."""
    data = json.loads(value)
    error = data.pop("error", None)
    return Response(key=key, error=Failure(**error) if error else None, **data)


def _finite(response: Response) -> Response:
    """An infinite or undefined log-probability is a failure of the model, not a number to average."""
    if response.logprob is None or math.isfinite(response.logprob):
        return response
    failure = Failure("non-finite", f"the model gave a log-probability of {response.logprob}")
    return Response(key=response.key, truncated=response.truncated, extra=EMPTY, error=failure)
