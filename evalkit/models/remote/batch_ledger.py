"""What was submitted, on disk: one JSON file a submission, so that no process ever submits it again.

::

    <folder>/<token>.json   {"token", "path", "created", "file", "batch", "keys": [...]}

It is written before anything is sent (``file`` and ``batch`` are null), after the upload and after the batch was started,
each time whole and fsynced. A submission whose batch is null may or may not have been started: the provider's list of
batches tells, by the token. The file goes once every answer has been handed over.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from evalkit.errors import StoreError


@dataclass(frozen=True, slots=True)
class Submission:
    """Requests (by key) that are sent in one file; ``path`` is their calls'. ``created`` is in seconds since 1970."""

    token: str
    path: str
    created: float
    keys: tuple[str, ...]
    file: str | None = None
    batch: str | None = None

    @property
    def file_name(self) -> str:
        """What the input file is called at the provider."""
        return f"evalkit-{self.token}.jsonl"


class Ledger:
    """The submissions of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out: two that saw the same gap would both fill it. Raises StoreError where one is in."""
        with _writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("a")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StoreError(f"another process waits for the batches in {self.folder}; wait for it") from None
            yield

    def load(self) -> list[Submission]:
        """All of them, oldest first. Raises StoreError for a file that cannot be read: to guess could pay twice."""
        found = []
        for path in self.folder.glob("*.json") if self.folder.is_dir() else ():
            try:
                fields = json.loads(path.read_text("utf-8"))
                found.append(Submission(**{**fields, "keys": tuple(fields["keys"])}))
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise StoreError(
                    f"{path} cannot be read ({error}); it says which batch was submitted: delete it only where that batch "
                    "may be paid for again"
                ) from error
        return sorted(found, key=lambda submission: submission.created)

    def begin(self, path: str, keys: Sequence[str]) -> Submission:
        """Write down that these requests are about to be submitted."""
        return self._write(Submission(secrets.token_hex(12), path, time.time(), tuple(keys)))

    def uploaded(self, submission: Submission, file: str) -> Submission:
        return self._write(replace(submission, file=file))

    def started(self, submission: Submission, batch: str) -> Submission:
        return self._write(replace(submission, batch=batch))

    def forget(self, submission: Submission) -> None:
        """All of its answers were handed over, or it never became a batch."""
        self._path(submission).unlink(missing_ok=True)

    def _path(self, submission: Submission) -> Path:
        return self.folder / f"{submission.token}.json"

    def _write(self, submission: Submission) -> Submission:
        path = self._path(submission)
        temporary = path.with_suffix(".tmp")
        with _writing(path):
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(asdict(submission), file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            opened = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(opened)  # the name is on disk too before anything is sent
            finally:
                os.close(opened)
        return submission


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}; what was submitted must be written down first"
        ) from error
