"""Servers for the tests of remote models: a mock API that can be made to fail."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "servers"))

from fault_kit import Riddles
from mock_handle import MockServer


@pytest.fixture(scope="session")
def _mock_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MockServer]:
    with MockServer(tmp_path_factory.mktemp("mock") / "seen.jsonl") as server:
        yield server


@pytest.fixture
def mock(_mock_server: MockServer, monkeypatch: pytest.MonkeyPatch) -> MockServer:
    """The session's mock API with clean counters, no faults and no latency, as the openai provider's default endpoint."""
    if not _mock_server.alive:
        _mock_server.start()
    _mock_server.configure()
    _mock_server.reset()
    monkeypatch.setenv("OPENAI_BASE_URL", _mock_server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mock-0123456789")
    return _mock_server


@pytest.fixture
def riddles(tmp_path: Path, mock: MockServer, monkeypatch: pytest.MonkeyPatch) -> Riddles:
    """The riddles against the mock API; retries wait milliseconds."""
    from evalkit.models.remote import retry

    monkeypatch.setattr(retry, "BACKOFF_S", (0.01, 0.1))
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return Riddles(tmp_path, mock)
