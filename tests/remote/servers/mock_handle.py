"""Start, steer, kill and bring back the mock API (`mock_api.py`) as a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Self


class MockServer:
    """A mock API on a free port of loopback.

    ``configure(**settings)`` sets what it does (see `mock_api.Settings`), ``stats()`` are its counters since the last
    ``reset()`` or start. With a ``log`` file every request's outcome is kept, over its death as well: ``seen()``.
    ``core`` pins it to that core of the machine.
    """

    def __init__(self, log: Path | None = None, *, latency: float = 0.0, core: int | None = None) -> None:
        self.log, self.latency, self.core = log, latency, core
        self.port = 0
        self._process: subprocess.Popen[str] | None = None
        self._settings: dict[str, Any] = {}
        self.start()

    @property
    def url(self) -> str:
        """What a client takes as its base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Serve (again), on the same port as before, with the settings given last except the fault ``die``."""
        command = [sys.executable, str(Path(__file__).with_name("mock_api.py")), "--port", str(self.port)]
        command += ["--latency", str(self.latency)]
        if self.log:
            command += ["--log", str(self.log)]
        if self.core is not None and shutil.which("taskset"):
            command = ["taskset", "-c", str(self.core), *command]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        if self._settings:
            rules = [rule for rule in self._settings.get("rules", ()) if rule["fault"] != "die"]
            self.configure(**{**self._settings, "rules": rules})

    def kill(self) -> None:
        """The server is gone at once, with every connection."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()

    def configure(self, **settings: Any) -> None:
        self._settings = settings
        self._call("POST", "/control", {"latency": self.latency, **settings})

    def reset(self) -> None:
        """Counters to zero, and an empty log."""
        self._call("GET", "/reset")
        if self.log:
            self.log.write_bytes(b"")

    def stats(self) -> dict[str, Any]:
        return self._call("GET", "/stats")

    def headers(self) -> dict[str, str]:
        """Of the last call, by lower-case name; ``:target`` is its path with the query."""
        return self._call("GET", "/headers")

    def seen(self, marker: str = "") -> list[dict[str, Any]]:
        """Every call so far, in order: ``outcome`` (status or fault), ``path``, ``digest``, ``text`` (of the last message
        or the prompt, 200 characters), ``t``. Only those whose text has ``marker`` in it.
        """
        assert self.log is not None
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return [row for row in rows if marker in row["text"]]

    def asked_again(self, marker: str = "") -> list[str]:
        """Texts that were asked again after they had a good answer: what nobody wants to pay for twice."""
        answered: Counter[str] = Counter()
        again = []
        for row in self.seen(marker):
            if answered[row["digest"]]:
                again.append(row["text"])
            answered[row["digest"]] += row["outcome"] == "200"
        return again

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.kill()
