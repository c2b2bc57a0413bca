"""Tiny checkpoints, built once a session, and the plumbing to ask a model a list of requests."""

from __future__ import annotations

import os
import threading

import pytest
from tiny_models import build_tiny

from evalkit.models.base import ModelOptions
from evalkit.models.registry import load_model
from evalkit.types import Request, keyed


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Nothing of these tests goes to the user's cache, nor to the network."""
    keep = {key: os.environ.get(key) for key in ("EVALKIT_CACHE", "HF_HUB_OFFLINE", "TOKENIZERS_PARALLELISM")}
    os.environ["EVALKIT_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    yield
    for key, value in keep.items():
        if value is None:
            os.environ.pop(key, None)
        else:
            os.environ[key] = value


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A Llama that adds no BOS."""
    return build_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_bos(tmp_path_factory):
    """A Llama whose tokenizer puts BOS before every text."""
    return build_tiny(tmp_path_factory.mktemp("tiny_bos"), bos=True)


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory):
    return build_tiny(tmp_path_factory.mktemp("tiny_gpt2"), family="gpt2")


class Asker:
    """Load models and put lists of requests to them."""

    @staticmethod
    def load(spec, batch_size=None, trust=False, **args):
        return load_model(spec, ModelOptions(args=args, batch_size=batch_size, device="cpu", trust_remote_code=trust))

    @staticmethod
    def ask(model, requests, stop=None):
        """Responses in the order of ``requests``; each must be answered exactly once."""
        left, got = list(requests), {}
        keys = [request.key for request in left]

        class Source:
            def take(self, limit):
                head = left[:limit]
                del left[:limit]
                return head

        def sink(response):
            assert response.key not in got
            got[response.key] = response

        model.run(Source(), sink, stop or threading.Event())
        return [got.get(key) for key in keys]

    @staticmethod
    def score(context, continuation, fingerprint=""):
        return keyed(Request("loglikelihood", context, continuation), fingerprint)

    @staticmethod
    def roll(text):
        return keyed(Request("loglikelihood_rolling", "", text), "")

    @staticmethod
    def generate(prompt, repeat=0, sample_id="", **params):
        return keyed(Request("generate", prompt, params=params, repeat=repeat, sample_id=sample_id), "")


@pytest.fixture(scope="session")
def asker():
    return Asker
