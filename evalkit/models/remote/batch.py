"""Half-price answers through the provider's batch API: submit files of requests, wait, fetch, hand over.

A request counts as submitted from the moment its `Submission` is on disk. Killed at any point, the same command finds what
was submitted and asks for nothing twice:

- before the upload, or before the batch was started: the provider lists no batch of that token; the requests are pending;
- after the batch was started, before its id was written down: the provider's list has it, and it is taken up;
- while waiting, or while answers are handed over: answers that the journal has are not asked for, the rest is fetched again.

Requests of one sampled prompt are lines of their own, so ``n`` is not used here.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from evalkit.errors import Incomplete, ModelError
from evalkit.models.base import Sink, Source
from evalkit.models.remote.base import Call, Endpoint
from evalkit.models.remote.batch_ledger import Ledger, Submission
from evalkit.models.remote.batch_lines import BATCH, response_of
from evalkit.models.remote.files import TOKEN_LIMIT, Batch, BatchService, InputFile, QueueFull, Unreachable
from evalkit.types import Failure, Request, RequestKind, Response

T = TypeVar("T")
_TAKE = 512

#: Requests in one file, as OpenAI limits them.
MAX_REQUESTS = 50_000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """A file's limits as OpenAI has them, how many batches may be on their way, and how long to wait for what (seconds).

    ``poll`` is the longest pause between two looks at a batch, ``first`` the shortest; ``patience`` how long a provider may
    be out of reach before the run gives up (resumable). ``settle`` is how long the journal may take to bring what it was
    handed to the disk: only then may a submission be forgotten.
    """

    requests: int = MAX_REQUESTS
    parallel: int | None = None
    size: int = 200_000_000
    poll: float = 60.0
    first: float = 5.0
    patience: float = 3600.0
    settle: float = 0.1


class _Stopped(Exception):
    """The run was told to end while something was waited for."""


class BatchRunner:
    """Answers the requests of one `Model.run` through batches; ``folder``, the run's own, is where they are remembered.

    What fails for good or could be asked again is handed over last, as Failures: first what was paid for.
    """

    def __init__(
        self,
        service: BatchService,
        endpoints: Mapping[RequestKind, Endpoint],
        folder: Path,
        *,
        limits: BatchLimits | None = None,
        tell: Callable[[str], None] = log.warning,
    ) -> None:
        self._service = service
        self._endpoints = endpoints
        self._ledger = Ledger(folder)
        self._limits = limits or BatchLimits()
        self._tell = tell
        self._waiting: dict[str, Request] = {}
        self._failed: list[Response] = []
        self._submitted: dict[str, Submission] = {}
        """By request key, what earlier processes submitted."""
        self._drained = False
        """Whether the source has nothing left: what it did not ask for, nobody will."""
        self._open: list[Submission] = []
        self._held: deque[tuple[str, Sequence[str]]] = deque()
        """Requests that the provider had no room for, by call path."""
        self._full_since: float | None = None
        """Since when the provider takes nothing, with nothing of this run in its queue."""
        self._sink: Sink = self._failed.append
        self._stop = threading.Event()

    def run(self, source: Source, sink: Sink, stop: threading.Event) -> None:
        """As `Model.run`. Returns early, with requests unanswered, when ``stop`` is set or the provider is out of reach.

        Raises:
            ModelError: the provider refuses the files or the batches, or does not know a batch that was submitted.
            StoreError: what was submitted cannot be written down or read.
            Incomplete: the provider is out of reach.
        """
        self._sink, self._stop = sink, stop
        try:
            with self._ledger.held():
                self._recover()
                self._submit_all(source)
                self._wait()
        except _Stopped:
            pass
        except Unreachable as error:
            raise Incomplete(f"{error}; what was submitted goes on, and the same command fetches it") from error
        finally:
            if self._open:
                names = ", ".join(str(submission.batch) for submission in self._open[:3]) + ("…" if self._open[3:] else "")
                self._tell(f"{names} goes on at {self._service.where}; run the same command again to fetch the answers")
            for response in self._failed:
                sink(response)

    # What an earlier process submitted.

    def _recover(self) -> None:
        """Find out for each submission of an earlier process whether it became a batch."""
        for submission in self._ledger.load():
            if submission.batch is None:
                found = self._patiently(partial(self._service.find, submission.token, submission.file))
                if found is None:
                    self._discard(submission)
                    continue
                submission = self._ledger.started(submission, found.id)
            self._submitted.update(dict.fromkeys(submission.keys, submission))

    def _discard(self, submission: Submission) -> None:
        """Forget what never became a batch. Without its file, a batch that is being started this moment fails, unpaid."""
        file = submission.file or self._patiently(partial(self._service.find_file, submission.file_name))
        if file is not None:
            self._patiently(partial(self._service.delete_file, file))
        self._ledger.forget(submission)

    # Submitting.

    def _submit_all(self, source: Source) -> None:
        """Submit what is not yet; files of each call path fill up to the limits."""
        filling: dict[str, InputFile] = {}
        wanted: set[str] = set()
        try:
            try:
                while not self._stop.is_set() and (requests := source.take(_TAKE)):
                    for request in requests:
                        earlier = self._submitted.get(request.key)
                        if earlier is not None:
                            self._waiting[request.key] = request
                            wanted.add(earlier.token)
                        else:
                            self._add(filling, request)
                # a source that keeps to a budget may hold back requests that were submitted before
                self._drained = not self._stop.is_set() and getattr(source, "exhausted", True)
            finally:
                self._take_up(wanted)
            for file in filling.values():
                if file.keys:
                    self._submit(file)
        finally:
            for file in filling.values():
                file.close()

    def _take_up(self, wanted: Set[str]) -> None:
        """Wait for what earlier processes submitted: only now, when it is known which of their requests are still asked for.

        With the source drained, what nobody asks for any more was handed over before those processes died.
        """
        for submission in {s.token: s for s in self._submitted.values()}.values():
            if submission.token in wanted:
                self._open.append(submission)
                self._tell(f"{submission.batch} was submitted before; waiting for its answers")
            elif self._drained:
                self._ledger.forget(submission)

    def _add(self, filling: dict[str, InputFile], request: Request) -> None:
        try:
            call = self._call(request)
        except ModelError as error:
            self._failed.append(Response(request.key, error=Failure("unsupported", str(error))))
            return
        self._waiting[request.key] = request
        line = self._service.line(request.key, call)
        file = filling.get(call.path)
        if file is not None and (len(file.keys) >= self._limits.requests or file.size + len(line) > self._limits.size):
            self._submit(file)
            file.close()
            file = None
        if file is None:
            file = filling[call.path] = InputFile(call.path)
        file.add(request.key, line)

    def _call(self, request: Request) -> Call:
        endpoint = self._endpoints.get(request.kind)
        if endpoint is None:
            raise ModelError(f"this endpoint cannot answer {request.kind} requests")
        return endpoint.call(request)

    def _submit(self, file: InputFile, *, waits: bool = True) -> None:
        """Upload a file and start its batch, once there is room; each step is written down before the next."""
        if waits and self._limits.parallel is not None:
            self._wait(self._limits.parallel - 1)
        self._check_stop()
        submission = self._ledger.begin(file.path, file.keys)
        try:
            uploaded = self._patiently(partial(self._service.upload, file.ready(), submission.file_name))
            submission = self._ledger.uploaded(submission, uploaded)
            batch = self._start(submission, uploaded)
        except ModelError:
            self._ledger.forget(submission)  # refused, so there is no batch
            raise
        except QueueFull as full:
            self._discard(submission)
            self._hold(file.path, file.keys, str(full))
            return
        submission = self._ledger.started(submission, batch.id)
        self._open.append(submission)
        self._tell(f"submitted {len(submission.keys):,} requests as {batch.id}; the answers can take up to a day")

    def _start(self, submission: Submission, file: str) -> Batch:
        """Start the batch; an answer that got lost is looked for among the provider's batches before it is asked again."""

        def once() -> Batch:
            try:
                return self._service.create(file, submission.path, submission.token)
            except Unreachable:
                found = self._service.find(submission.token, file)
                if found is None:
                    raise
                return found

        return self._patiently(once)

    # Waiting and fetching.

    def _wait(self, most: int = 0) -> None:
        """Look at the open batches until ``most`` are left; pauses grow while nothing moves.

        A round of looks is finished once it has begun: answers that are ready are paid for, whoever wants to stop.
        """
        pause = min(self._limits.first, self._limits.poll)
        seen = -1
        while len(self._open) > most or (self._held and not most):
            self._check_stop()
            if not self._open:
                self._submit_held()
            done = 0
            for submission in list(self._open):
                batch = self._batch(submission)
                done += batch.done
                if batch.ended:
                    self._open.remove(submission)
                    self._collect(submission, batch)
                    done = -1  # something moved
                else:
                    log.info("%s: %s, %s of %s", batch.id, batch.status, batch.done, batch.total)
            if len(self._open) > most or self._held:
                pause = min(self._limits.first, self._limits.poll) if done != seen else min(pause * 1.5, self._limits.poll)
                seen = done
                self._stop.wait(pause)

    def _batch(self, submission: Submission) -> Batch:
        batch = self._patiently(partial(self._service.get, str(submission.batch)))
        if batch is None:
            raise ModelError(
                f"{self._service.where} knows no {submission.batch}, which this run submitted: use the key of the account "
                f"that did, or delete {self._ledger.folder / submission.token}.json to pay for its requests again"
            )
        return batch

    def _collect(self, submission: Submission, batch: Batch) -> None:
        """Hand over a batch's answers, then forget it, unless some of them may still be asked for."""
        whole = self._drained or all(key in self._waiting for key in submission.keys)
        if batch.status == "failed":
            self._ledger.forget(submission)  # no line of it was run
            self._not_accepted(submission, batch)
            return
        self._full_since = None
        for file in filter(None, (batch.output_file, batch.error_file)):
            self._patiently(partial(self._fetch, file))
        missing = {
            "expired": ("batch-expired", "the provider did not answer within the batch's time"),
            "cancelled": ("batch-cancelled", "the batch was cancelled at the provider"),
        }.get(batch.status, ("batch-missing", "the batch ended without an answer to this request"))
        for key in submission.keys:
            if self._waiting.pop(key, None) is not None:
                self._fail(key, Failure(missing[0], f"{missing[1]} ({batch.id})", retryable=True))
        time.sleep(self._limits.settle)
        if whole:
            self._ledger.forget(submission)

    def _fetch(self, file: str) -> None:
        """Hand over the answers of an output or error file; those handed over before a broken download are not repeated."""
        for raw in self._service.lines(file):
            try:
                line = json.loads(raw)
                request = self._waiting.pop(line["custom_id"], None)
            except (ValueError, TypeError, KeyError):
                log.warning("a line of %s is not what a batch writes; its request counts as not answered", file)
                continue
            if request is not None:
                self._answer(request, line)

    def _answer(self, request: Request, line: Mapping[str, Any]) -> None:
        response = response_of(self._endpoints[request.kind], request, line)
        (self._sink if response.error is None else self._failed.append)(response)

    def _fail(self, key: str, failure: Failure) -> None:
        self._failed.append(Response(key, extra={BATCH: True}, error=failure))

    # Batches that the provider does not take.

    def _not_accepted(self, submission: Submission, batch: Batch) -> None:
        """Too many tokens enqueued: later, in smaller files. Anything else would fail every time."""
        code, message = batch.errors[0] if batch.errors else ("", "no reason given")
        if not any(code == TOKEN_LIMIT for code, _ in batch.errors):
            raise ModelError(f"the provider refused {batch.id}: {message} {f'({code})' if code else ''}".rstrip())
        self._hold(submission.path, [key for key in submission.keys if key in self._waiting], message)

    def _hold(self, path: str, keys: Sequence[str], message: str) -> None:
        """Keep requests for later; where no other batch of this run takes the room, in halves, for others' may."""
        if self._open:
            self._held.append((path, keys))
            return
        self._full_since = self._full_since or time.monotonic()
        if len(keys) > 1:
            middle = len(keys) // 2
            self._held.extendleft(((path, keys[middle:]), (path, keys[:middle])))
            self._tell(f"{message.rstrip('.')}: going on in files of {middle:,} requests")
        elif time.monotonic() - self._full_since < self._limits.patience:
            self._held.appendleft((path, keys))
        else:
            for key in keys:
                del self._waiting[key]
                self._fail(key, Failure("batch-limit", message, retryable=True))

    def _submit_held(self) -> None:
        """Submit one of the files that there was no room for."""
        path, keys = self._held.popleft()
        file = InputFile(path)
        try:
            for key in keys:
                file.add(key, self._service.line(key, self._call(self._waiting[key])))
            self._submit(file, waits=False)
        finally:
            file.close()

    # Time.

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise _Stopped

    def _patiently(self, ask: Callable[[], T]) -> T:
        """``ask()``, again after growing pauses while the provider is out of reach, for as long as the limits allow."""
        deadline = time.monotonic() + self._limits.patience
        pause = min(1.0, self._limits.first)
        while True:
            try:
                return ask()
            except Unreachable as error:
                self._check_stop()
                if time.monotonic() + pause > deadline:
                    raise
                log.info("%s; trying again", error)
                self._stop.wait(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, self._limits.poll)
