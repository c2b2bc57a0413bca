"""A provider's files and batches (``/v1/files``, ``/v1/batches``), over the official client.

What goes wrong becomes one of two: a ModelError (a key, a path, a request that is wrong: asking again is no use) or an
`Unreachable` (the provider or the way to it: later it may work).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from evalkit.errors import ModelError
from evalkit.models.remote.base import Call
from evalkit.secrets import scrub_message

if TYPE_CHECKING:
    from openai import OpenAI

#: Statuses after which a batch does not change any more.
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
#: How many of the newest batches (or files) are looked through for one whose id was never written down.
LOOK_BACK = 500
#: Metadata under which a batch carries the name of its submission.
TOKEN = "evalkit"


class Unreachable(Exception):
    """The provider did not answer, or answered 429 or 5xx, after the client's own retries."""


class QueueFull(Exception):
    """The provider holds as many tokens of ours as it takes; nothing was started."""


#: The code under which providers say so: when a batch is started, or when they look at its file.
TOKEN_LIMIT = "token_limit_exceeded"


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as the provider reports it. ``errors`` are those of its input file: (code, message)."""

    id: str
    status: str
    done: int = 0
    total: int = 0
    input_file: str | None = None
    output_file: str | None = None
    error_file: str | None = None
    errors: tuple[tuple[str, str], ...] = ()
    token: str | None = None

    @property
    def ended(self) -> bool:
        return self.status in ENDED


class InputFile:
    """The lines of one batch in the making, on disk; all are calls of ``path``. Close it when it was uploaded."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.keys: list[str] = []
        self.size = 0
        self._file: IO[bytes] = tempfile.NamedTemporaryFile(prefix="evalkit-batch-", suffix=".jsonl")  # noqa: SIM115

    def add(self, key: str, line: bytes) -> None:
        self.keys.append(key)
        self.size += self._file.write(line)

    def ready(self) -> Path:
        """The file, with everything in it."""
        self._file.flush()
        return Path(self._file.name)

    def close(self) -> None:
        self._file.close()


class BatchService:
    """What the batch runner asks of a provider. Blocking; used from one thread.

    An input file names a call's path with ``/v1`` before it, but for the ``bare`` ones (Azure's chat), and ``model`` in
    place of the calls' own (Azure's deployment). ``window`` is the time within which the provider must have answered;
    OpenAI and Azure know ``24h`` only.
    """

    def __init__(
        self,
        client: OpenAI,
        *,
        bare: Set[str] = frozenset(),
        model: str | None = None,
        window: str = "24h",
    ) -> None:
        self._client = client
        self._bare = bare
        self._model = {} if model is None else {"model": model}
        self._window = window
        self.where = str(client.base_url).rstrip("/")

    def line(self, key: str, call: Call) -> bytes:
        """The line of an input file that makes ``call`` and is answered under ``key``."""
        line = {"custom_id": key, "method": "POST", "url": self._url(call.path), "body": {**call.body, **self._model}}
        return json.dumps(line, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"

    def _url(self, path: str) -> str:
        return path if path in self._bare else f"/v1{path}"

    def upload(self, path: Path, name: str) -> str:
        """Upload an input file under ``name``; its id."""
        with self._errors("upload the file of requests"), path.open("rb") as file:
            return str(self._client.files.create(file=(name, file), purpose="batch").id)

    def find_file(self, name: str) -> str | None:
        """The id of an uploaded input file by name."""
        with self._errors("list files"):
            found = islice(self._client.files.list(purpose="batch", order="desc"), LOOK_BACK)
            return next((str(file.id) for file in found if file.filename == name), None)

    def delete_file(self, file: str) -> None:
        """Delete a file; one that is not there is no error."""
        with self._errors("delete a file", missing=True):
            self._client.files.delete(file)

    def create(self, file: str, path: str, token: str) -> Batch:
        """Start a batch. Sent once, never again by the client: a lost answer may hide a batch that was started.

        Raises Unreachable where it is not known whether it was, and QueueFull.
        """
        once: Any = self._client.with_options(max_retries=0)
        with self._errors("start a batch"):
            return _batch(
                once.batches.create(
                    input_file_id=file,
                    endpoint=self._url(path),
                    completion_window=self._window,
                    metadata={TOKEN: token},
                )
            )

    def find(self, token: str, file: str | None) -> Batch | None:
        """The batch of a submission, by its token or (servers without metadata) by its input file; its id was lost."""
        with self._errors("list batches"):
            for found in islice(self._client.batches.list(limit=100), LOOK_BACK):
                batch = _batch(found)
                if batch.token == token or (file is not None and batch.input_file == file):
                    return batch
        return None

    def get(self, batch: str) -> Batch | None:
        """A batch by id; ``None`` where this account has none of that id."""
        found = None
        with self._errors("ask for a batch", missing=True):
            found = _batch(self._client.batches.retrieve(batch))
        return found

    def lines(self, file: str) -> Iterator[bytes]:
        """The lines of a file, streamed; none where it is not there any more (files expire)."""
        # by line feeds alone: answers hold other characters that text readers take for line ends
        with (
            self._errors("fetch answers", missing=True),
            self._client.files.with_streaming_response.content(file) as response,
        ):
            rest = b""
            for chunk in response.iter_bytes(1 << 16):
                *whole, rest = (rest + chunk).split(b"\n")
                yield from filter(None, whole)
            if rest.strip():
                yield rest

    @contextmanager
    def _errors(self, doing: str, *, missing: bool = False) -> Iterator[None]:
        import httpx2
        import openai

        try:
            yield
        except openai.NotFoundError as error:
            if not missing:
                raise ModelError(f"cannot {doing}: {self.where} has no batch API (404); leave out batch_api") from error
        except openai.APIStatusError as error:
            if TOKEN_LIMIT in f"{error.code} {error.body}":
                raise QueueFull(self._said(error)) from error
            if error.status_code in (408, 409, 429) or error.status_code >= 500:
                raise Unreachable(f"cannot {doing}: status {error.status_code}") from error
            raise ModelError(f"cannot {doing}: {self.where} answered {error.status_code}: {self._said(error)}") from None
        except (openai.APIConnectionError, httpx2.HTTPError) as error:  # the latter while an answer's body is read
            raise Unreachable(f"cannot {doing}: {type(error).__name__} at {self.where}") from error
        except openai.APIError as error:
            raise Unreachable(f"cannot {doing}: {self._said(error)}") from error

    def _said(self, error: Any) -> str:
        """The provider's own words on one line, without the key (some repeat it)."""
        body = error.body if isinstance(error.body, Mapping) else {}
        return scrub_message(" ".join(str(body.get("message") or error.message).split()))[:300]


def _batch(found: Any) -> Batch:
    counts, errors = found.request_counts, found.errors
    problems = (errors.data or []) if errors else []
    return Batch(
        id=str(found.id),
        status={"canceled": "cancelled"}.get(str(found.status), str(found.status)),
        done=(counts.completed or 0) + (counts.failed or 0) if counts else 0,
        total=(counts.total or 0) if counts else 0,
        input_file=found.input_file_id,
        output_file=found.output_file_id,
        error_file=found.error_file_id,
        errors=tuple((str(p.code or ""), str(p.message or "")) for p in problems),
        token=(found.metadata or {}).get(TOKEN),
    )
