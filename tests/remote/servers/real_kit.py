"""Start the servers over real weights, and put requests to models."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from evalkit.models.base import Model, ModelOptions
from evalkit.models.registry import load_model
from evalkit.types import Request, Response, keyed


@contextmanager
def serving(script: str, *arguments: str) -> Iterator[str]:
    """The base URL of the server in ``script`` (beside this file), which prints it once it is ready."""
    command = [sys.executable, str(Path(__file__).with_name(script)), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None and process.stderr is not None
    told: list[str] = []
    reader = threading.Thread(target=lambda: told.extend(process.stderr), daemon=True)  # or a chatty server would block
    reader.start()
    try:
        url = process.stdout.readline().strip()
        assert url, f"{script} did not start:\n{''.join(told)[-2000:]}"
        yield url
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        reader.join(10)
        process.stderr.close()


def remote(name: str, url: str, **args: str) -> Model:
    """A model of the ``openai`` provider, connected."""
    model = load_model(name, ModelOptions(args={"base_url": url, **args}))
    model.connect()
    return model


def ask(model: Model, requests: Sequence[Request]) -> list[Response]:
    """The responses in order."""
    left = [keyed(request, model.fingerprint) for request in requests]
    keys, got = [request.key for request in left], {}

    class Source:
        def take(self, limit: int) -> list[Request]:
            head = left[:limit]
            del left[:limit]
            return head

    def sink(response: Response) -> None:
        assert response.key not in got, "every request has one answer"
        got[response.key] = response

    model.run(Source(), sink, threading.Event())
    return [got[key] for key in keys]
