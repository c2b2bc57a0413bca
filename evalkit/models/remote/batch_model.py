"""A remote model whose answers come through the batch API."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from evalkit.models.base import Capabilities, Sink, Source
from evalkit.models.provider import Arg, flag, positive
from evalkit.models.remote.adapter import RemoteModel
from evalkit.models.remote.batch import MAX_REQUESTS, BatchLimits, BatchRunner
from evalkit.models.remote.files import BatchService
from evalkit.models.remote.official import official_client
from evalkit.types import Json

#: The ``-M`` options of the batch API, for a provider's table.
BATCH_ARGS: tuple[Arg, ...] = (
    Arg("batch_api", "ask through the batch API: half the price, answers within a day", flag, False),
    Arg("batch_poll", "batch API: seconds between two looks at a batch, at most", positive, 60),
    Arg("batch_parallel", "batch API: batches on their way at most; a budget is looked at before each", positive),
    Arg("batch_requests", "batch API: requests in one file at most", positive, MAX_REQUESTS),
)


class BatchModel:
    """``remote`` through the batch API; its answers, name and fingerprint are the same.

    `keep` says where to remember what was submitted; without it that is a temporary folder, and a crash forgets it.
    """

    def __init__(self, remote: RemoteModel, limits: BatchLimits) -> None:
        self._remote = remote
        self._limits = limits
        self._folder: Path | None = None
        self.name = remote.name

    @property
    def capabilities(self) -> Capabilities:
        return self._remote.capabilities

    @property
    def fingerprint(self) -> str:
        return self._remote.fingerprint

    def describe(self) -> Mapping[str, Json]:
        return {**self._remote.describe(), "batch_api": True}

    def connect(self) -> None:
        self._remote.connect()

    def keep(self, folder: Path) -> None:
        """Remember submissions in this folder, which must be the run's own."""
        self._folder = folder

    def run(self, source: Source, sink: Sink, stop: threading.Event) -> None:
        self.connect()
        able = {kind: e for kind, e in self._remote.endpoints.items() if kind in self._remote.capabilities.kinds}
        with ExitStack() as stack:
            folder = self._folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evalkit-batches-")))
            BatchRunner(self._service(), able, folder, limits=self._limits).run(source, sink, stop)

    def _service(self) -> BatchService:
        """Files and batches belong to the resource; the lines of a file name the deployment as their model."""
        connection = self._remote.connection
        if connection.azure is None:
            return BatchService(official_client(connection))
        whole = replace(connection, azure=replace(connection.azure, deployment=None))
        return BatchService(official_client(whole), bare={"/chat/completions"}, model=connection.azure.deployment)


def in_batches(remote: RemoteModel, args: Mapping[str, Any]) -> RemoteModel | BatchModel:
    """``remote``, through the batch API where the parsed options (`BATCH_ARGS`) say so."""
    if not args.get("batch_api"):
        return remote
    return BatchModel(remote, BatchLimits(args["batch_requests"], args["batch_parallel"], poll=args["batch_poll"]))
