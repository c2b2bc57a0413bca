"""Asking a remote model without a run around it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from evalkit.models.base import Model, ModelOptions
from evalkit.models.registry import load_model
from evalkit.types import Request, Response, keyed


class Given:
    """A source of requests that were made before."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self.left = list(requests)
        self.taken = 0

    def take(self, limit: int) -> Sequence[Request]:
        out, self.left = self.left[:limit], self.left[limit:]
        self.taken += len(out)
        return out


def remote(name: str = "openai/mock", *, batch_size: int | None = None, **args: Any) -> Any:
    """The model of a provider with ``-M`` options, which are text on a command line."""
    return load_model(name, ModelOptions({key: str(value) for key, value in args.items()}, batch_size))


def question(number: int | str, repeat: int = 0, **params: Any) -> Request:
    settings = {"max_gen_toks": 8, "until": [], "do_sample": False, "temperature": 0.0, **params}
    return keyed(
        Request("generate", f"question {number}", params=settings, repeat=repeat, task="t", sample_id=str(number)), "f"
    )


def asked(
    model: Model, requests: Sequence[Request], each: Callable[[Response, threading.Event], None] | None = None
) -> dict[str, Response]:
    """All responses by key; ``each`` sees them as they come. No request may be answered twice."""
    found: dict[str, Response] = {}
    stop = threading.Event()

    def sink(response: Response) -> None:
        assert response.key not in found
        found[response.key] = response
        if each is not None:
            each(response, stop)

    model.run(Given(requests), sink, stop)
    return found
